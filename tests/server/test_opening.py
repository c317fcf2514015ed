"""What the server's opening handshake does without waiting, and how it continues when it has to wait."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Iterator

import pytest

from anyws import HandshakeError, HandshakeRefused, Request, Response
from anyws._server.connection_limits import PendingHandshake
from anyws._server.opening import Opening
from anyws._server.options import AcceptOptions
from anyws._transport.stream import SocketStream

REQUEST = (
    b"GET / HTTP/1.1\r\nHost: example.com\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
Opened = tuple[Opening, socket.socket]


@pytest.fixture
def opened() -> Iterator[Callable[..., Opened]]:
    """Return a function that returns an opening handshake and the socket of its client."""
    with contextlib.ExitStack() as stack:

        def open_one(*hooks: Callable[[Request], None]) -> Opened:
            ours, theirs = socket.socketpair()
            stack.enter_context(theirs)
            stream = SocketStream(ours)
            stack.callback(stream.close)
            return Opening(stream, AcceptOptions(), hooks, PendingHandshake()), theirs

        yield open_one


def status(of: Opening) -> int:
    assert of.outcome is not None
    return of.outcome.status


async def test_a_request_that_has_arrived_is_answered_at_once(opened: Callable[..., Opened]) -> None:
    opening, client = opened()
    client.send(REQUEST + b"\x81")
    assert opening.respond_at_once()
    assert status(opening) == 101
    assert client.recv(9999).startswith(b"HTTP/1.1 101 Switching Protocols\r\n")
    assert opening.handshake.trailing_data == b"\x81"


async def test_a_refusal_is_known_at_once_and_not_yet_written(opened: Callable[..., Opened]) -> None:
    opening, client = opened()
    client.send(REQUEST.replace(b"13", b"12"))
    assert opening.respond_at_once()
    assert isinstance(opening.outcome, HandshakeRefused)
    assert status(opening) == 426
    client.setblocking(False)
    with pytest.raises(BlockingIOError):
        client.recv(1)


async def test_a_request_in_parts_is_awaited(opened: Callable[..., Opened]) -> None:
    opening, client = opened()
    assert not opening.respond_at_once()
    client.send(REQUEST[:50])
    assert not opening.respond_at_once()
    assert opening.outcome is None
    client.send(REQUEST[50:])
    await opening.respond()
    assert status(opening) == 101


async def test_a_response_that_the_socket_does_not_accept_is_written_later(opened: Callable[..., Opened]) -> None:
    opening, client = opened()
    assert isinstance(opening.stream, SocketStream)
    filled = 0
    while written := opening.stream.send_nowait([bytes(65536)]):
        filled += written
    client.send(REQUEST)
    assert not opening.respond_at_once()
    assert status(opening) == 101
    while filled:
        filled -= len(client.recv(min(filled, 65536)))
    await opening.respond()
    response = client.recv(9999)
    assert response.startswith(b"HTTP/1.1 101 ")
    assert response.endswith(b"\r\n\r\n")


async def test_a_client_that_has_gone_is_an_error(opened: Callable[..., Opened]) -> None:
    opening, client = opened()
    client.send(REQUEST)
    client.close()
    with pytest.raises(HandshakeError, match="before the response was sent"):
        opening.respond_at_once()


async def test_hooks_are_called_within_the_timeout(opened: Callable[..., Opened]) -> None:
    called: list[Request] = []
    opening, client = opened(called.append)
    client.send(REQUEST)
    assert not opening.respond_at_once()
    assert not called
    await opening.respond()
    assert len(called) == 1
    assert isinstance(opening.outcome, Response)
