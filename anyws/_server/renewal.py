"""Certificates that are renewed while the server runs."""

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
    """Load a certificate and its key into a context that is in use.

    Connections that are open go on as they are; the next TLS handshake sees the new certificate. The files are read
    once. If they cannot be loaded, for instance because they are being written or the key is another's, the context
    keeps the old certificate. Call it in the event loop's thread.

    A key of another kind than the old one's, such as of an elliptic curve instead of RSA, comes beside it, and clients
    that prefer the old kind go on to see the old certificate: make a new server for it.

    Args:
        context: the context.
        certfile: the path of the certificate chain, as PEM.
        keyfile: the path of the private key; by default it is in ``certfile``.
        password: of the private key, or a callable that returns it.

    Raises:
        OSError: a file cannot be read; as `ssl.SSLError`, it has no certificate, or not the key of the certificate.
        ValueError: the key is encrypted, and there is no password.
    """
    # OpenSSL drops the old key before it finds that the new one does not fit. So a context of our own tries first what
    # the other will get: the same bytes and password, by the same rules.
    trial = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trial.set_ciphers(f"DEFAULT@SECLEVEL={context.security_level}")
    given = functools.cache(_as_callable(password))
    copy_of_key = nullcontext() if keyfile is None else _private_copy(keyfile)
    with _private_copy(certfile) as certificate, copy_of_key as key:
        for loading in (trial, context):
            loading.load_cert_chain(certificate, key, given)


async def watch_certificate(
    context: ssl.SSLContext,
    certfile: Path,
    keyfile: Path | None = None,
    password: Password | None = None,
    *,
    interval: float = 60,
    task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED,
) -> None:
    """Load a certificate into a context, and again when its files change, until cancelled.

    ``await task_group.start(anyws.watch_certificate, context, "cert.pem", "key.pem")``. What later cannot be loaded is
    logged, and tried again; until then the old one stays, see `reload_certificate`.

    Args:
        context: the context; it needs no certificate before. Start watching before the server, which refuses a context
            without one.
        certfile: see `reload_certificate`.
        keyfile: see `reload_certificate`.
        password: see `reload_certificate`.
        interval: how often to look at the files, in seconds.
        task_status: is told once the certificate is loaded.

    Raises:
        OSError: it cannot be loaded in the beginning.
        ValueError: the key is encrypted, and there is no password.
    """
    paths = [path for path in (certfile, keyfile) if path is not None]
    loaded = _stamps(paths)
    reload_certificate(context, certfile, keyfile, password)
    task_status.started()
    failed: object = None
    while True:
        await anyio.sleep(interval)
        found = _stamps(paths)
        if found == loaded:
            continue
        try:
            reload_certificate(context, certfile, keyfile, password)
        except (OSError, ValueError) as exc:
            if found != failed:
                _logger.error("the certificate %s cannot be loaded; the old one stays: %s", os.fspath(certfile), exc)
            failed = found
        else:
            _logger.info("the certificate %s was loaded anew", os.fspath(certfile))
            loaded, failed = found, None


def _stamps(paths: list[Path]) -> list[tuple[int, int, int] | None]:
    """What changes with the files."""
    return [_stamp(path) for path in paths]


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino


@contextmanager
def _private_copy(path: Path) -> Generator[str, None, None]:
    """The path of a copy that nobody writes to, for the time of the block: ssl loads from files only."""
    with open(path, "rb") as file:
        content = file.read()
    descriptor, copy = tempfile.mkstemp(suffix=".pem")  # that only we can read
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
    raise ValueError("the private key is encrypted: expected a password")
