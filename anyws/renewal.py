"""Certificates that are renewed while the server runs."""

from __future__ import annotations

import logging
import os
import ssl
from collections.abc import Callable

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

    Connections that are open go on as they are; the next TLS handshake sees the new certificate. Where it cannot be
    loaded, such as with another's key, the context keeps the old one. Call it in the event loop's thread.

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
    # OpenSSL drops the old key before it finds that the new one does not fit: so it is tried elsewhere.
    for loading in (ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), context):
        loading.load_cert_chain(certfile, keyfile, _no_password if password is None else password)


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
        context: the context; it needs no certificate before.
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


def _no_password() -> str:
    raise ValueError("the private key is encrypted: expected a password")
