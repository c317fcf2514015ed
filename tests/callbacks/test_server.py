"""The server of the callback API: its other hooks, its start and its end."""

from __future__ import annotations

import logging

import anyio
import pytest

import anyws
from tests.callbacks.peers import Calls, answer, client_until_closed, plain_client, plain_server, raw_client
from tests.peers import REQUEST

# -- callback_open -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("request_head", "status"),
    [
        (REQUEST.replace(b"Version: 13", b"Version: 12"), 426),
        (REQUEST.replace(b"GET", b"POST"), 405),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", 426),
    ],
)
async def test_callback_open_is_called_if_the_handshake_fails_after_the_request(
    request_head: bytes, status: int
) -> None:
    opened = Calls()
    connects = Calls()
    async with plain_server(callback_connect=connects, callback_open=opened) as server:
        assert (await answer(server, request_head)).startswith(f"HTTP/1.1 {status} ".encode())
        err, socket = await opened.first()
        assert isinstance(err, anyws.HandshakeRefused)
        assert err.status == status
        assert socket is None
        assert connects.seen == []


async def test_callback_open_is_not_called_for_a_port_scan(caplog: pytest.LogCaptureFixture) -> None:
    opened = Calls()
    async with plain_server(callback_open=opened) as server:
        async with await raw_client(server, b""):
            pass
        async with await raw_client(server, b"GET / HT"):
            pass
        assert (await answer(server, b"\x16\x03\x01\x00\xc8")).startswith(b"HTTP/1.1 400 ")
        async with plain_client(server):
            assert (await opened.first())[0] is None
    assert len(opened.seen) == 1
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


async def test_a_full_server_says_so_to_callback_open() -> None:
    opened = Calls()
    async with plain_server(callback_open=opened, max_connections=1) as server, plain_client(server):
        assert (await answer(server)).startswith(b"HTTP/1.1 503 ")
        (err, _socket) = (await opened.wait(2))[1]
        assert isinstance(err, anyws.HandshakeRefused)


async def test_on_request_still_responds_to_plain_http() -> None:
    """All native options are available, in addition to those of the proposal."""
    connects = Calls()

    async def on_request(request: anyws.Request) -> anyws.Response | None:
        return None if request.is_websocket else anyws.Response(200, body="healthy")

    def on_connect(header_values: anyws.Headers, socket: anyws.callbacks.Socket, ready: anyws.callbacks.Ready) -> None:
        connects()
        ready()

    async with plain_server(callback_connect=on_connect, on_request=on_request) as server:
        assert (await answer(server, b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")).endswith(b"healthy")
        assert connects.seen == []
        async with plain_client(server):
            assert len(connects.seen) == 1


# -- callback_listener -------------------------------------------------------------------------------------------------


async def test_callback_listener_gets_the_server_with_its_address() -> None:
    listening = Calls()
    async with plain_server(callback_listener=listening) as server:
        assert listening.seen == [server]
        local = anyws.get_address(listening.seen[0]).local
        assert local is not None
        assert (local.address, local.port) == server.addresses[0][:2]


async def test_an_async_callback_listener_is_awaited_and_may_connect() -> None:
    async def on_listener(server: anyws.Server) -> None:
        async with plain_client(server):
            connected.append(server)

    connected: list[anyws.Server] = []
    async with plain_server(callback_listener=on_listener) as server:
        assert connected == [server]


async def test_an_exception_in_callback_listener_propagates() -> None:
    def on_listener(server: anyws.Server) -> None:
        ports.append(server.addresses[0][1])
        raise LookupError("callback_listener")

    ports: list[int] = []
    with pytest.raises(LookupError, match="callback_listener"):
        async with plain_server(callback_listener=on_listener):
            pytest.fail("the body does not begin")
    with pytest.raises(OSError, match="attempts failed"):
        await anyio.connect_tcp("127.0.0.1", ports[0])


# -- the end -----------------------------------------------------------------------------------------------------------


async def test_the_end_of_the_block_closes_gracefully() -> None:
    async with anyio.create_task_group() as tasks:
        closed = Calls()

        async with plain_server() as server:
            await tasks.start(client_until_closed, server, closed)
        assert await closed.first() == 1001
    assert server.addresses == []
