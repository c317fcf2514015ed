"""Streams that misbehave: whatever a stream of the user's raises, the connection ends and nobody hangs."""

from __future__ import annotations

import errno
import logging
import socket
import ssl
from pathlib import Path
from typing import Any

import anyio
import pytest

import anyws
from anyws._transport.listening import listen_tcp, listen_unix
from tests.peers import TEXT, Peer, Side, Wire, connected, ended, meeting, open_sockets, resolve_to


class BadStream(Wire):
    """A stream that raises where it is told to."""

    raises: dict[str, Exception]

    async def receive(self, max_bytes: int = 65536) -> bytes:
        data = await super().receive(max_bytes)
        self._raise("receive")
        return data

    async def send(self, item: bytes) -> None:
        self._raise("send")
        await super().send(item)

    async def send_eof(self) -> None:
        self._raise("send_eof")
        await super().send_eof()

    async def aclose(self) -> None:
        try:
            await super().aclose()
        finally:
            self._raise("aclose")

    def _raise(self, where: str) -> None:
        if where in self.raises:
            raise self.raises[where]


@pytest.fixture
def peer(ours: Side) -> Peer:
    """A peer on a `BadStream`."""
    peer = Peer(ours)
    peer.stream.__class__ = BadStream
    peer.stream.raises = {}  # type: ignore[attr-defined]
    return peer


def opened_on(peer: Peer, **options: Any) -> Any:
    """Return what opens our side of a connection to the peer."""
    if peer.ours == "client":
        return anyws.connect("ws://localhost/", stream=peer.stream, **options)
    return anyws.accept(peer.stream, **options)


def let_raise(peer: Peer, **exceptions: Exception) -> None:
    """Let methods of the stream raise from now on."""
    peer.stream.raises = exceptions  # type: ignore[attr-defined]


async def test_an_exception_that_no_stream_should_raise(peer: Peer, caplog: pytest.LogCaptureFixture) -> None:
    async with opened_on(peer) as websocket:
        let_raise(peer, receive=RuntimeError("a fault of the stream"))
        peer.send(TEXT, b"never seen")
        closed = await ended(websocket)
        assert isinstance(closed, anyws.ConnectionClosedError)
        await websocket.wait_closed()
        assert peer.stream.is_closed
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert record.exc_info is not None


async def test_a_stream_that_cannot_be_closed(peer: Peer, caplog: pytest.LogCaptureFixture) -> None:
    async with opened_on(peer) as websocket:
        let_raise(peer, aclose=RuntimeError("a fault of the stream"))
        peer.send_close()
        peer.send_eof()
        assert isinstance(await ended(websocket), anyws.ConnectionClosedOK)
        await websocket.wait_closed()
    assert {record.levelno for record in caplog.records} == {logging.ERROR}


@pytest.mark.parametrize("error", [OSError("lost"), ssl.SSLError("lost"), anyio.BrokenResourceError()])
async def test_a_loss_while_writing(peer: Peer, error: Exception) -> None:
    async with opened_on(peer) as websocket:
        let_raise(peer, send=error)
        await websocket.send("x")
        await anyio.wait_all_tasks_blocked()
        with pytest.raises(anyws.ConnectionClosedError) as raised:
            await websocket.send("y")
        assert raised.value.__cause__ is error
        # What the peer has sent before is not lost.
        peer.send(TEXT, b"last words")
        peer.send_close(1011)
        peer.send_eof()
        assert await websocket.receive() == "last words"
        assert (await ended(websocket)).code == 1011


async def test_a_stream_without_half_close(peer: Peer) -> None:
    async with opened_on(peer) as websocket:
        let_raise(peer, send_eof=NotImplementedError())
        peer.send_close()
        peer.send_eof()
        assert isinstance(await ended(websocket), anyws.ConnectionClosedOK)
        await websocket.wait_closed()
        assert peer.stream.is_closed


async def test_a_cancelled_block_on_a_stream_that_is_lost(peer: Peer) -> None:
    with anyio.CancelScope() as scope:
        async with opened_on(peer):
            let_raise(peer, send=anyio.BrokenResourceError())
            scope.cancel()
            await anyio.lowlevel.checkpoint()
    assert scope.cancelled_caught
    assert peer.stream.is_closed


async def test_the_handshake_cannot_be_written(peer: Peer) -> None:
    let_raise(peer, send=anyio.BrokenResourceError())
    with pytest.raises(anyws.HandshakeError) as raised:
        async with opened_on(peer):
            pass
    assert isinstance(raised.value.__cause__, anyio.BrokenResourceError)
    assert raised.value.request is not None
    assert peer.stream.is_closed


async def test_a_reason_is_text(ours: Side) -> None:
    async with meeting(ours) as (websocket, peer):
        with pytest.raises(TypeError, match="reason"):
            await websocket.aclose(1000, b"bye")  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="close code"):
            await websocket.aclose("1000")  # type: ignore[arg-type]
        await websocket.send("still open")
        assert (await peer.frame()).payload == b"still open"


async def test_a_tls_context_where_there_is_no_tls(client_ssl_context: ssl.SSLContext) -> None:
    with pytest.raises(ValueError, match="ssl_context"):
        await connected("ws://127.0.0.1:1/", ssl_context=client_ssl_context)


async def test_a_socket_file_that_somebody_removed(tmp_path: Path) -> None:
    listener = await listen_unix(str(tmp_path / "socket"))
    await anyio.Path(tmp_path / "socket").unlink()
    await listener.aclose()
    with pytest.raises(anyio.ClosedResourceError):
        await listener.accept()


async def test_a_machine_without_ipv6(monkeypatch: pytest.MonkeyPatch) -> None:
    class Socket(socket.socket):
        def __init__(self, family: int = -1, *arguments: Any, **keywords: Any) -> None:
            if family == socket.AF_INET6:
                raise OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")
            super().__init__(family, *arguments, **keywords)

    monkeypatch.setattr(socket, "socket", Socket)
    sockets_before = open_sockets()
    resolve_to(monkeypatch, ("::1", 0), ("127.0.0.1", 0))
    (listener,) = await listen_tcp("a.example", 0)
    await listener.aclose()
    resolve_to(monkeypatch, ("::1", 0))
    with pytest.raises(OSError, match=r"no address of a\.example") as raised:
        await listen_tcp("a.example", 0)
    assert raised.value.errno == errno.EAFNOSUPPORT
    assert open_sockets() == sockets_before
