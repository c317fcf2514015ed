"""What is given up in time: each phase of the opening handshake, on both sides. On a clock that jumps, without waiting.

The deadline of the server is the document's: a socket that is not open 5 seconds after its TCP connection is destroyed.
"""

from __future__ import annotations

import logging
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
from anyio.abc import SocketStream

import anyws
from tests.peers import REQUEST, Peer, StreamPeer, Wire, on_mock_clock, open_sockets, uri_of


async def never(*_: object) -> None:
    """Wait for something that does not happen."""
    await anyio.sleep_forever()


@asynccontextmanager
async def destroyed_after(seconds: float) -> AsyncIterator[None]:
    """Check how long a block takes on the clock of the event loop; on the mock clock that is exact."""
    begun = anyio.current_time()
    yield
    assert anyio.current_time() - begun == pytest.approx(seconds, abs=0.01)


async def say_nothing(stream: SocketStream) -> None:
    """Be a silent TCP client."""


async def say_half_a_head(stream: SocketStream) -> None:
    """Begin a request."""
    await stream.send(REQUEST[:-30])


async def trickle(stream: SocketStream) -> None:
    """Send a byte each second: none of them moves the deadline."""
    for byte in REQUEST[:5]:
        with anyio.move_on_after(0.99):
            await anyio.sleep_forever()
        try:
            await stream.send(bytes([byte]))
        except anyio.BrokenResourceError:
            return


async def say_half_a_client_hello(stream: SocketStream) -> None:
    """Begin TLS, and say no more."""
    await stream.send(b"\x16\x03\x01\x02\x00\x01")


async def ask(stream: SocketStream) -> None:
    """Send a whole request."""
    await stream.send(REQUEST)


PHASES = [
    pytest.param(say_nothing, False, False, id="silence"),
    pytest.param(trickle, False, False, id="a byte each second"),
    pytest.param(say_half_a_head, False, False, id="half a head"),
    pytest.param(ask, False, True, id="a hook that hangs"),
    pytest.param(say_nothing, True, False, id="no TLS"),
    pytest.param(say_half_a_client_hello, True, False, id="half a ClientHello"),
]


@pytest.mark.parametrize(("behave", "tls", "hangs"), PHASES)
@on_mock_clock
async def test_the_server_destroys_after_5_seconds(
    behave: Callable[[SocketStream], Awaitable[None]],
    tls: bool,
    hangs: bool,
    server_ssl_context: ssl.SSLContext,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "anyws")
    async with anyws.open_server(
        never,
        "127.0.0.1",
        0,
        ssl_context=server_ssl_context if tls else None,
        on_request=never if hangs else None,
    ) as server:
        async with await anyio.connect_tcp(*server.addresses[0][:2]) as stream, destroyed_after(5):
            await behave(stream)
            with pytest.raises((anyio.EndOfStream, anyio.BrokenResourceError)):
                await stream.receive()
        assert not server.connections
    (record,) = caplog.records
    assert record.levelno == logging.INFO
    assert "5 s" in record.message
    assert record.exc_info is None


@on_mock_clock
async def test_a_request_in_the_fifth_second_is_in_time() -> None:
    async with (
        anyws.open_server(never, "127.0.0.1", 0) as server,
        await anyio.connect_tcp(*server.addresses[0][:2]) as stream,
    ):
        await anyio.sleep(4.9)
        assert b"101" in await StreamPeer(stream, "server").open()
        await anyio.sleep(15)
        assert len(server.connections) == 1
        await stream.send(b"\x88\x80mask")


async def test_the_deadline_of_the_server_is_5_seconds_on_every_event_loop() -> None:
    assert anyws.ServerOptions().open_timeout == anyws.AcceptOptions().open_timeout == 5
    async with anyws.open_server(never, "127.0.0.1", 0, open_timeout=0.05) as server:
        begun = time.monotonic()
        async with await anyio.connect_tcp(*server.addresses[0][:2]) as stream:
            with pytest.raises((anyio.EndOfStream, anyio.BrokenResourceError)):
                await stream.receive()
        assert 0.04 < time.monotonic() - begun < 4


@pytest.mark.parametrize("given", [None, 30])
@on_mock_clock
async def test_open_timeout_of_accept(given: float | None) -> None:
    peer = Peer("client")  # which says nothing at all
    with anyio.move_on_after(1000) as scope:
        begun = anyio.current_time()
        with pytest.raises(TimeoutError, match="took more than 30 s"):
            async with anyws.accept(peer.stream, open_timeout=given):
                pass
        assert anyio.current_time() - begun == pytest.approx(30)
    assert scope.cancelled_caught is (given is None)
    assert peer.stream.is_closed


# -- the callback API --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("hangs", [False, True])
@on_mock_clock
async def test_ready_is_never_called(hangs: bool) -> None:
    errors: list[Exception | None] = []
    connecting = anyio.Event()

    async def on_connect(headers: anyws.Headers, socket: anyws.callbacks.Socket, ready: anyws.callbacks.Ready) -> None:
        connecting.set()
        if hangs:
            await anyio.sleep_forever()

    async with (
        anyws.server(
            callback_connect=on_connect,
            callback_open=lambda err, socket: errors.append(err),
            listener_options={"host": "127.0.0.1", "port": 0},
            secure=False,
        ) as server,
        await anyio.connect_tcp(*server.addresses[0][:2]) as stream,
    ):
        async with destroyed_after(5):
            await stream.send(REQUEST)
            with pytest.raises((anyio.EndOfStream, anyio.BrokenResourceError)):
                await stream.receive()
        assert connecting.is_set()
    assert [type(error) for error in errors] == [TimeoutError]


@on_mock_clock
async def test_ready_that_is_called_in_time() -> None:
    async def on_connect(headers: anyws.Headers, socket: anyws.callbacks.Socket, ready: anyws.callbacks.Ready) -> None:
        await anyio.sleep(4.9)
        ready()

    async with (
        anyws.server(
            callback_connect=on_connect, listener_options={"host": "127.0.0.1", "port": 0}, secure=False
        ) as server,
        anyws.connect(uri_of(server)) as websocket,
        destroyed_after(0),
    ):
        assert websocket.response.status == 101


# -- the client --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["ws", "wss"])
@pytest.mark.parametrize("given", [{}, {"open_timeout": 3}])
@on_mock_clock
async def test_a_server_that_does_not_answer(
    scheme: str, given: dict[str, Any], client_ssl_context: ssl.SSLContext
) -> None:
    limit = given.get("open_timeout", 10)
    sockets_before = open_sockets()
    async with await anyio.create_tcp_listener(local_host="127.0.0.1", local_port=0) as listener:
        port = listener.listeners[0].extra(anyio.abc.SocketAttribute.local_port)
        async with destroyed_after(limit):
            with pytest.raises(TimeoutError, match=f"took more than {limit} s"):
                context = client_ssl_context if scheme == "wss" else None
                async with anyws.connect(f"{scheme}://127.0.0.1:{port}/", ssl_context=context, **given):
                    pass
    assert open_sockets() <= sockets_before


@on_mock_clock
async def test_a_server_that_answers_half_a_head() -> None:
    wire = Wire(lambda _: wire.give(b"HTTP/1.1 101 Switching Protocols\r\nUpgr"))
    async with destroyed_after(10):
        with pytest.raises(TimeoutError):
            async with anyws.connect("ws://localhost/", stream=wire):
                pass
    assert wire.is_closed


@on_mock_clock
async def test_a_server_that_reads_nothing() -> None:
    wire = Wire(lambda _: None)
    wire.is_reading = False
    with pytest.raises(TimeoutError):
        async with anyws.connect("ws://localhost/", stream=wire, open_timeout=1):
            pass
    assert wire.is_closed


@on_mock_clock
async def test_a_tcp_connection_that_never_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    async def wait(_: object) -> None:
        await anyio.sleep_forever()

    sockets_before = open_sockets()
    async with await anyio.create_tcp_listener(local_host="127.0.0.1", local_port=0, backlog=1) as listener:
        port = listener.listeners[0].extra(anyio.abc.SocketAttribute.local_port)
        monkeypatch.setattr(anyio, "wait_writable", wait)  # as if no answer to the SYN came
        async with destroyed_after(10):
            with pytest.raises(TimeoutError, match=f"127.0.0.1:{port}"):
                async with anyws.connect(f"ws://127.0.0.1:{port}"):
                    pass
    assert open_sockets() <= sockets_before


async def test_a_short_open_timeout_of_a_client_on_every_event_loop() -> None:
    assert anyws.ClientOptions().open_timeout == 10
    wire = Wire(lambda _: None)
    with pytest.raises(TimeoutError):
        async with anyws.connect("ws://localhost/", stream=wire, open_timeout=0.05):
            pass
    assert wire.is_closed
