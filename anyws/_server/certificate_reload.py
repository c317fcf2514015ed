"""Reloading certificates while the server runs."""

from __future__ import annotations

import functools
import logging
import os
import ssl
import tempfile
from collections.abc import Callable, Generator
from contextlib import contextmanager, nullcontext

import anyio
from anyio.abc import TaskStatus

__all__ = ["reload_certificate", "watch_certificate"]

Path = str | os.PathLike[str]
Password = str | bytes | Callable[[], str | bytes]

_logger = logging.getLogger("anyws.server")


def reload_certificate(
    context: ssl.SSLContext, certfile: Path, keyfile: Path | None = None, password: Password | None = None
) -> None:
    """Load a certificate and its key into a TLS context that is in use.

    Open connections are not affected; the next TLS handshake uses the new certificate. The files are read only once. If
    they cannot be loaded, for example because they are just being written or the key does not match, the context keeps
    the old certificate. Call this function in the event loop's thread.

    A key of another type than the old one, for example EC instead of RSA, is added rather than replaced, and clients
    that prefer the old type continue to get the old certificate: start a new server instead.

    Args:
        context: the TLS context.
        certfile: the path of the certificate chain (PEM).
        keyfile: the path of the private key (PEM); by default it is in ``certfile``.
        password: the password of the private key, or a callable that returns it.

    Raises:
        OSError: a file cannot be read; as `ssl.SSLError`, it has no certificate, or the key does not match.
        ValueError: the key is encrypted, and no password was given.
    """
    # OpenSSL drops the old key before it checks that the new one matches. So the new files are first loaded into
    # another context, from the same bytes, with the same password and by the same rules.
    trial = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trial.set_ciphers(f"DEFAULT@SECLEVEL={context.security_level}")
    password_once = functools.cache(_as_callable(password))
    copy_of_key = nullcontext() if keyfile is None else _private_copy(keyfile)
    with _private_copy(certfile) as certificate, copy_of_key as key:
        for loading in (trial, context):
            loading.load_cert_chain(certificate, key, password_once)


async def watch_certificate(
    context: ssl.SSLContext,
    certfile: Path,
    keyfile: Path | None = None,
    password: Password | None = None,
    *,
    interval: float = 60,
    task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED,
) -> None:
    """Load a certificate into a TLS context, and reload it whenever its files change, until cancelled.

    ``await task_group.start(anyws.watch_certificate, context, "cert.pem", "key.pem")``. If a later reload fails, the
    error is logged, the old certificate stays in use, and the reload is retried; see `reload_certificate`.

    Args:
        context: the TLS context, which needs no certificate yet. Start watching before you start the server, which
            rejects a context without a certificate.
        certfile: see `reload_certificate`.
        keyfile: see `reload_certificate`.
        password: see `reload_certificate`.
        interval: how often to check the files, in seconds.
        task_status: notified once the certificate is loaded.

    Raises:
        OSError: the first load failed.
        ValueError: the key is encrypted, and no password was given.
    """
    paths = [path for path in (certfile, keyfile) if path is not None]
    loaded = _fingerprints(paths)
    reload_certificate(context, certfile, keyfile, password)
    task_status.started()
    failed: object = None
    while True:
        await anyio.sleep(interval)
        found = _fingerprints(paths)
        if found == loaded:
            continue
        try:
            reload_certificate(context, certfile, keyfile, password)
        except (OSError, ValueError) as exc:
            if found != failed:
                _logger.error("cannot reload certificate %s; keeping the old one: %s", os.fspath(certfile), exc)
            failed = found
        else:
            _logger.info("reloaded certificate %s", os.fspath(certfile))
            loaded, failed = found, None


def _fingerprints(paths: list[Path]) -> list[tuple[int, int, int] | None]:
    """Return values that change when the files change."""
    return [_fingerprint(path) for path in paths]


def _fingerprint(path: Path) -> tuple[int, int, int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino


@contextmanager
def _private_copy(path: Path) -> Generator[str, None, None]:
    """Copy a file for the duration of a block, so that nobody writes to it: `ssl` loads from files only."""
    with open(path, "rb") as file:
        content = file.read()
    descriptor, copy = tempfile.mkstemp(suffix=".pem")  # readable only by us
    try:
        with open(descriptor, "wb") as file:
            file.write(content)
        yield copy
    finally:
        os.unlink(copy)


def _as_callable(password: Password | None) -> Callable[[], str | bytes]:
    if password is None:
        return _no_password
    return password if callable(password) else lambda: password


def _no_password() -> str:
    raise ValueError("the private key is encrypted, and no password was given")
