"""Connection limits: who is accepted, and the responses to those who are not; also while the server stops."""

from __future__ import annotations

import contextlib
import ssl
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
from anyio import TypedAttributeProvider
from anyio.abc import SocketAttribute, SocketStream

import anyws
from anyws._server.connection_limits import _MAX_REFUSED, ConnectionLimits
from anyws._server.options import ServerOptions
from tests.peers import StreamPeer, echo, on_mock_clock, uri_of


async def answer(stream: SocketStream) -> bytes:
    """Return all that the server says, without having asked."""
    return await StreamPeer(stream, "server").rest()


async def hello(uri: str, **options: Any) -> None:
    """See that the server serves."""
    async with anyws.connect(uri, **options) as websocket:
        await websocket.send("hello")
        assert await websocket.receive() == "hello"


async def refused(uri: str) -> anyws.Response:
    """Connect in vain; return the answer."""
    with pytest.raises(anyws.HandshakeRefused) as raised:
        async with anyws.connect(uri):
            pass
    return raised.value.response


@asynccontextmanager
async def silent(server: anyws.Server) -> AsyncIterator[SocketStream]:
    """Connect, without a request."""
    async with await anyio.connect_tcp(*server.addresses[0][:2]) as stream:
        yield stream


# -- limits ------------------------------------------------------------------------------------------------------------


async def test_max_connections() -> None:
    async with anyws.open_server(echo, "127.0.0.1", 0, max_connections=2) as server:
        uri = uri_of(server)
        async with anyws.connect(uri) as first, silent(server) as second:
            # One that has not finished its handshake counts as well.
            await first.ping()
            await anyio.wait_all_tasks_blocked()
            response = await refused(uri)
            assert response.status == 503
            assert response.headers["retry-after"] == "1"
            assert b"too many connections" in response.body
            await second.send_eof()
            assert await answer(second) == b""
            await hello(uri)


async def test_max_connections_per_address() -> None:
    async with anyws.open_server(echo, "127.0.0.1", 0, max_connections_per_address=1) as server:
        uri = uri_of(server)
        for _ in range(2):
            async with anyws.connect(uri):
                response = await refused(uri)
                assert response.status == 429
                assert response.headers["retry-after"] == "1"
                async with anyws.connect(uri, local_host="127.0.0.2") as another:
                    await another.ping()


class From(TypedAttributeProvider):
    """A stream of which only the address of its other end matters."""

    def __init__(self, address: object) -> None:
        self._address = address

    @property
    def extra_attributes(self) -> Mapping[Any, Callable[[], Any]]:
        return {SocketAttribute.remote_address: lambda: self._address}


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (("192.0.2.1", 1), ("192.0.2.1", 2), True),
        (("192.0.2.1", 1), ("192.0.2.2", 1), False),
        (("192.0.2.1", 1), ("::ffff:192.0.2.1", 1, 0, 0), True),
        (("2001:db8:1:2::1", 1, 0, 0), ("2001:db8:1:2:ffff::", 1, 0, 0), True),
        (("2001:db8:1:2::1", 1, 0, 0), ("2001:db8:1:3::1", 1, 0, 0), False),
        (("fe80::1%eth0", 1, 0, 2), ("fe80::2%eth0", 1, 0, 2), True),
        ("/the/socket", "/the/socket", False),
        ("", "", False),
    ],
)
def test_what_counts_as_one_address(one: object, other: object, same: bool) -> None:
    limits = ConnectionLimits(ServerOptions(max_connections_per_address=1))
    first = limits.add(From(one))
    assert first.refusal is None
    assert (limits.add(From(other)).refusal is not None) is same
    limits.remove(first)
    assert limits.add(From(one)).refusal is None or same


async def test_max_handshakes_refuses_without_waiting_for_a_request() -> None:
    async with anyws.open_server(echo, "127.0.0.1", 0, max_handshakes=2) as server:
        uri = uri_of(server)
        async with contextlib.AsyncExitStack() as stack:
            for _ in range(5):  # those that are open do not count
                await stack.enter_async_context(anyws.connect(uri))
            waiting = [await stack.enter_async_context(silent(server)) for _ in range(2)]
            async with silent(server) as one_too_many:
                said = await answer(one_too_many)
            assert said.startswith(b"HTTP/1.1 503 ")
            assert said.endswith(b"too many opening handshakes\n")
            await waiting[0].send_eof()
            assert await answer(waiting[0]) == b""
            await hello(uri)


async def test_max_handshakes_with_tls(server_ssl_context: ssl.SSLContext, client_ssl_context: ssl.SSLContext) -> None:
    async with anyws.open_server(echo, "127.0.0.1", 0, ssl_context=server_ssl_context, max_handshakes=1) as server:
        async with silent(server) as waiting:
            async with silent(server) as one_too_many:
                assert await answer(one_too_many) == b""
            await waiting.send_eof()
            with contextlib.suppress(anyio.BrokenResourceError):
                await answer(waiting)
        await hello(uri_of(server, scheme="wss"), ssl_context=client_ssl_context)


# -- what is refused takes no place of others --------------------------------------------------------------------------


FLOOD = 100  # more than are waited for


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="where all of 127.0.0.0/8 is there")
async def test_silent_streams_beyond_the_limit_of_an_address_do_not_count_as_handshakes() -> None:
    async with (
        anyws.open_server(echo, "127.0.0.1", 0, max_connections_per_address=1, max_handshakes=5) as server,
        contextlib.AsyncExitStack() as stack,
    ):
        uri = uri_of(server)
        await stack.enter_async_context(anyws.connect(uri))
        flood = [await stack.enter_async_context(silent(server)) for _ in range(FLOOD)]
        assert (await answer(flood[-1])).startswith(b"HTTP/1.1 429 ")  # and it was not waited for
        await hello(uri, local_host="127.0.0.2")
        assert (await refused(uri)).status == 429


async def test_silent_refused_streams_do_not_occupy_a_free_slot() -> None:
    async with (
        anyws.open_server(echo, "127.0.0.1", 0, max_connections=1, max_handshakes=5) as server,
        contextlib.AsyncExitStack() as stack,
    ):
        uri = uri_of(server)
        async with anyws.connect(uri):
            flood = [await stack.enter_async_context(silent(server)) for _ in range(FLOOD)]
            assert (await answer(flood[-1])).startswith(b"HTTP/1.1 503 ")
        await hello(uri)


async def test_the_server_waits_for_a_limited_number_of_refused_clients() -> None:
    limits = ConnectionLimits(ServerOptions(max_connections=1))
    limits.add(From(None))
    refused = [limits.add(From(None)) for _ in range(_MAX_REFUSED + 1)]
    scopes = [pending.interruptible() for pending in refused]
    assert [scope.cancel_called for scope in scopes] == [False] * _MAX_REFUSED + [True]
    refused[0].mark_decided()
    assert not limits.add(From(None)).interruptible().cancel_called


async def test_a_slow_reader_of_plain_http_does_not_count_as_a_handshake() -> None:
    def page(request: anyws.Request) -> anyws.Response | None:
        return None if request.is_websocket else anyws.Response(200, body=bytes(20_000_000))

    async with (
        anyws.open_server(echo, "127.0.0.1", 0, max_handshakes=1, on_request=page, open_timeout=None) as server,
        silent(server) as slow,
    ):
        await slow.send(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert (await slow.receive()).startswith(b"HTTP/1.1 200 ")
        await hello(uri_of(server))


def test_ended_connections_are_forgotten() -> None:
    limits = ConnectionLimits(ServerOptions(max_connections=2, max_handshakes=2, max_connections_per_address=2))
    for _ in range(3):
        handshakes = [limits.add(From(("192.0.2.1", 1))) for _ in range(3)]
        assert [pending.refusal is None for pending in handshakes] == [True, True, False]
        handshakes[0].mark_decided()
        for pending in handshakes:
            limits.remove(pending)
    assert not limits._by_address


# -- a server that stops -----------------------------------------------------------------------------------------------


@on_mock_clock
async def test_a_stopping_server_responds_with_503_without_waiting_for_a_request() -> None:
    async with anyws.open_server(echo, "127.0.0.1", 0) as server, silent(server) as without, silent(server) as half:
        await half.send(b"GET / HTTP/1.1\r\n")
        async with anyws.connect(uri_of(server), local_host="127.0.0.2") as websocket:
            begun = anyio.current_time()
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(server.aclose)
                for stream in (without, half):
                    said = await answer(stream)
                    assert said.startswith(b"HTTP/1.1 503 ")
                    assert b"\r\nRetry-After: 1\r\n" in said
                    assert said.endswith(b"the server is shutting down\n")
                    await stream.aclose()
                assert anyio.current_time() == begun
            assert websocket.close_code == 1001


async def test_a_stopping_server_cancels_hooks_and_responds_with_503() -> None:
    asked = anyio.Event()
    statuses: list[int] = []
    cancelled: list[bool] = []

    async def on_request(request: anyws.Request) -> None:
        asked.set()
        try:
            await anyio.sleep_forever()
        finally:
            cancelled.append(True)

    async def come() -> None:
        statuses.append((await refused(uri)).status)

    async with (
        anyio.create_task_group() as tasks,
        anyws.open_server(echo, "127.0.0.1", 0, on_request=on_request) as server,
    ):
        uri = uri_of(server)
        tasks.start_soon(come)
        await asked.wait()
        await server.aclose(grace=3600)
    assert statuses == [503]
    assert cancelled == [True]


async def test_a_stopping_server_aborts_tls_handshakes(server_ssl_context: ssl.SSLContext) -> None:
    async with (
        anyws.open_server(echo, "127.0.0.1", 0, ssl_context=server_ssl_context, open_timeout=None) as server,
        silent(server) as stream,
    ):
        await stream.send(b"\x16\x03\x01")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(server.aclose, 3600)
            with contextlib.suppress(anyio.BrokenResourceError):
                assert await answer(stream) == b""


async def test_a_client_that_connects_while_the_server_stops_gets_503() -> None:
    """It was accepted, but its turn comes only after the server has begun to stop."""
    limits = ConnectionLimits(ServerOptions())
    limits.refuse_all()
    pending = limits.add(From(("192.0.2.1", 1)))
    assert pending.refusal is not None
    assert pending.refusal.status == 503
    with pending.interruptible() as waiting:
        await anyio.sleep_forever()
    assert waiting.cancelled_caught
