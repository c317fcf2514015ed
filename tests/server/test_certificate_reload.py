"""Reloading a certificate: open connections continue, and the next TLS handshake uses the new one."""

from __future__ import annotations

import logging
import ssl
import tempfile
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest
import trustme
from anyio.streams.tls import TLSAttribute

import anyws
from tests.peers import echo, uri_of
from tests.pems import PASSPHRASE, Pems, encrypted

from .test_responses import Noticing


class Files:
    """The files of a certificate, and what a client is to see of it (DER)."""

    def __init__(self, directory: Path, authority: trustme.CA) -> None:
        self.certfile = directory / "cert.pem"
        self.keyfile = directory / "key.pem"
        self._authority = authority
        self.cert = b""
        self.renew()

    def renew(self) -> None:
        """Write a new certificate for the same name."""
        issued = Pems.issued_by(self._authority, "127.0.0.1")
        first, end, _ = issued.cert.decode().partition("-----END CERTIFICATE-----")
        self.cert = ssl.PEM_cert_to_DER_cert(first + end)
        self.keyfile.write_bytes(issued.key)
        self.certfile.write_bytes(issued.cert)


@pytest.fixture
def files(tmp_path: Path, certificate_authority: trustme.CA) -> Files:
    return Files(tmp_path, certificate_authority)


@pytest.fixture
def context() -> ssl.SSLContext:
    """A context without a certificate."""
    return ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)


async def seen(server: anyws.Server, client_ssl_context: ssl.SSLContext) -> object:
    """Return the certificate that a new client sees."""
    async with anyws.connect(uri_of(server, scheme="wss"), ssl_context=client_ssl_context) as websocket:
        return websocket.extra(TLSAttribute.peer_certificate_binary)


async def test_open_connections_continue(
    files: Files, context: ssl.SSLContext, client_ssl_context: ssl.SSLContext
) -> None:
    anyws.reload_certificate(context, files.certfile, files.keyfile)
    async with anyws.open_server(echo, "127.0.0.1", 0, ssl_context=context) as server:
        uri = uri_of(server, scheme="wss")
        async with anyws.connect(uri, ssl_context=client_ssl_context) as websocket:
            old = files.cert
            assert websocket.extra(TLSAttribute.peer_certificate_binary) == old
            files.renew()
            anyws.reload_certificate(context, str(files.certfile), str(files.keyfile))
            assert await seen(server, client_ssl_context) == files.cert != old
            await websocket.send("still there")
            assert await websocket.receive() == "still there"
        assert websocket.close_code == 1000


@pytest.mark.parametrize("damage", ["another key", "no certificate", "no file", "encrypted"])
async def test_an_invalid_certificate_leaves_the_old_one_in_use(
    damage: str, files: Files, context: ssl.SSLContext, client_ssl_context: ssl.SSLContext
) -> None:
    anyws.reload_certificate(context, files.certfile, files.keyfile)
    old, key = files.cert, files.keyfile.read_bytes()
    files.renew()
    if damage == "another key":
        files.keyfile.write_bytes(key)
    elif damage == "no certificate":
        files.certfile.write_text("not yet")
    elif damage == "no file":
        files.certfile.unlink()
    else:
        files.keyfile.write_bytes(encrypted(files.keyfile.read_bytes()))
    async with anyws.open_server(echo, "127.0.0.1", 0, ssl_context=context) as server:
        with pytest.raises(ValueError if damage == "encrypted" else OSError):
            anyws.reload_certificate(context, files.certfile, files.keyfile)
        assert await seen(server, client_ssl_context) == old


async def test_an_encrypted_key(files: Files, context: ssl.SSLContext, client_ssl_context: ssl.SSLContext) -> None:
    files.keyfile.write_bytes(encrypted(files.keyfile.read_bytes()))
    anyws.reload_certificate(context, files.certfile, files.keyfile, PASSPHRASE)
    async with anyws.open_server(echo, "127.0.0.1", 0, ssl_context=context) as server:
        assert await seen(server, client_ssl_context) == files.cert
        anyws.reload_certificate(context, files.certfile, files.keyfile, lambda: PASSPHRASE)


async def test_a_password_callable_is_called_once(
    files: Files, context: ssl.SSLContext, client_ssl_context: ssl.SSLContext
) -> None:
    """A second answer could be another, and would be too late."""
    answers = [PASSPHRASE]
    files.keyfile.write_bytes(encrypted(files.keyfile.read_bytes()))
    anyws.reload_certificate(context, files.certfile, files.keyfile, answers.pop)
    async with anyws.open_server(echo, "127.0.0.1", 0, ssl_context=context) as server:
        assert await seen(server, client_ssl_context) == files.cert


async def test_files_that_change_while_they_are_loaded(
    files: Files, context: ssl.SSLContext, client_ssl_context: ssl.SSLContext
) -> None:
    """What is tried is what is loaded: the password is asked for between the two."""
    files.keyfile.write_bytes(encrypted(files.keyfile.read_bytes()))
    anyws.reload_certificate(context, files.certfile, files.keyfile, PASSPHRASE)
    async with anyws.open_server(echo, "127.0.0.1", 0, ssl_context=context) as server:
        files.renew()
        files.keyfile.write_bytes(encrypted(files.keyfile.read_bytes()))
        new = files.cert

        def password() -> str:
            files.keyfile.write_bytes(b"half a")
            return PASSPHRASE

        anyws.reload_certificate(context, files.certfile, files.keyfile, password)
        assert await seen(server, client_ssl_context) == new
        with pytest.raises(ssl.SSLError):
            anyws.reload_certificate(context, files.certfile, files.keyfile, PASSPHRASE)
        assert await seen(server, client_ssl_context) == new


async def test_a_key_that_the_context_does_not_allow_leaves_the_old_one(
    tmp_path: Path, certificate_authority: trustme.CA, context: ssl.SSLContext, client_ssl_context: ssl.SSLContext
) -> None:
    context.set_ciphers("DEFAULT@SECLEVEL=3")  # RSA from 3072 bits on
    issued = {kind: certificate_authority.issue_cert("127.0.0.1", key_type=kind) for kind in trustme.KeyType}
    for kind, one in issued.items():
        one.private_key_and_cert_chain_pem.write_to_path(tmp_path / kind.name)
    anyws.reload_certificate(context, tmp_path / "ECDSA")
    async with anyws.open_server(echo, "127.0.0.1", 0, ssl_context=context) as server:
        old = await seen(server, client_ssl_context)
        with pytest.raises(ssl.SSLError, match="TOO_SMALL"):
            anyws.reload_certificate(context, tmp_path / "RSA")
        assert await seen(server, client_ssl_context) == old


async def test_no_copy_of_a_key_is_left_behind(
    files: Files, context: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = files.certfile.parent / "copies"
    directory.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(directory))
    anyws.reload_certificate(context, files.certfile, files.keyfile)
    files.keyfile.write_bytes(b"none")
    with pytest.raises(ssl.SSLError):
        anyws.reload_certificate(context, files.certfile, files.keyfile)
    assert list(directory.iterdir()) == []


async def test_a_certificate_of_one_of_several_hosts(
    files: Files, context: ssl.SSLContext, client_ssl_context: ssl.SSLContext
) -> None:
    several = anyws.virtual_hosts({}, default=context)
    async with anyws.open_server(echo, "127.0.0.1", 0, ssl_context=several) as server:
        for _ in range(2):
            files.renew()
            anyws.reload_certificate(context, files.certfile, files.keyfile)
            assert await seen(server, client_ssl_context) == files.cert


class Log(Noticing):
    """Lets a test wait for the next line of the log."""

    def __init__(self) -> None:
        super().__init__(anyio.Event())
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(f"{record.levelname} {record.getMessage()}")
        self._event.set()

    async def next(self) -> str:
        """Wait for one line."""
        while not self.lines:
            self._event = anyio.Event()
            await self._event.wait()
        return self.lines.pop(0)


@pytest.fixture
def log() -> Iterator[Log]:
    """The lines of the server's logger, from INFO on."""
    logger, log = logging.getLogger("anyws.server"), Log()
    level = logger.level
    logger.addHandler(log)
    logger.setLevel(logging.INFO)
    yield log
    logger.removeHandler(log)
    logger.setLevel(level)


async def test_a_watched_certificate_is_loaded_when_it_changes(
    files: Files, context: ssl.SSLContext, client_ssl_context: ssl.SSLContext, log: Log
) -> None:
    async def watch(*, task_status: anyio.abc.TaskStatus[None]) -> None:
        await anyws.watch_certificate(context, files.certfile, files.keyfile, interval=0.001, task_status=task_status)

    async with anyio.create_task_group() as tasks:
        await tasks.start(watch)
        async with anyws.open_server(echo, "127.0.0.1", 0, ssl_context=context) as server:
            assert await seen(server, client_ssl_context) == files.cert
            old = files.cert

            files.certfile.rename(files.certfile.with_suffix(".old"))
            line = await log.next()
            assert line.startswith(f"ERROR cannot reload certificate {files.certfile}; keeping the old one: ")
            assert await seen(server, client_ssl_context) == old

            files.renew()
            while (line := await log.next()).startswith("ERROR"):
                pass  # a file is there, the other is not yet
            assert line == f"INFO reloaded certificate {files.certfile}"
            assert await seen(server, client_ssl_context) == files.cert != old
        tasks.cancel_scope.cancel()
    assert log.lines == []


async def test_a_certificate_that_cannot_be_loaded_at_first_raises(files: Files, context: ssl.SSLContext) -> None:
    files.certfile.unlink()
    with pytest.raises(FileNotFoundError):
        await anyws.watch_certificate(context, files.certfile, files.keyfile)
