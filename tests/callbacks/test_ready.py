"""``callback_connect``: its arguments, its decision, and its deadline."""

from __future__ import annotations

import logging
import math
from typing import Any

import anyio
import pytest
from anyio.abc import SocketAttribute
from anyio.streams.tls import TLSAttribute

import anyws
from tests.callbacks.peers import Calls, answer, plain_client, plain_server, tls_client, tls_server
from tests.peers import on_mock_clock
from tests.pems import Pems, in_file

# -- callback_connect and ready ----------------------------------------------------------------------------------------


async def test_ready_completes_the_opening_handshake() -> None:
    def on_connect(header_values: anyws.Headers, socket: anyws.callbacks.Socket, ready: anyws.callbacks.Ready) -> None:
        calls.append("callback_connect")
        ready()

    calls: list[str] = []
    opened = Calls()
    async with plain_server(callback_connect=on_connect, callback_open=opened) as server, plain_client(server):
        err, socket = await opened.first()
        assert err is None
        assert isinstance(socket, anyws.callbacks.Socket)
        assert socket in server.connections
        assert calls == ["callback_connect"]


async def test_without_callback_connect_the_handshake_completes() -> None:
    async with plain_server() as server, plain_client(server) as socket:
        assert socket.response.status == 101


async def test_header_values_are_headers() -> None:
    def on_connect(header_values: anyws.Headers, socket: anyws.callbacks.Socket, ready: anyws.callbacks.Ready) -> None:
        seen.append((header_values, socket.request))
        ready()

    seen: list[Any] = []
    async with (
        plain_server(callback_connect=on_connect) as server,
        plain_client(server, id="id-string", headers=[("X-Twice", "a"), ("x-twice", "b")], resource="/chat?room=1"),
    ):
        headers, request = seen[0]
        assert isinstance(headers, anyws.Headers)
        assert headers["ID"] == headers["id"] == "id-string"
        assert headers["X-TWICE"] == "a, b"
        assert headers.get_all("x-twice") == ["a", "b"]
        assert request.headers is headers
        assert request.target == "/chat?room=1"


async def test_ready_may_be_called_later_from_another_task() -> None:
    def on_connect(header_values: anyws.Headers, socket: anyws.callbacks.Socket, ready: anyws.callbacks.Ready) -> None:
        waiting.append(ready)
        has_come.set()

    async def client(server: anyws.Server) -> None:
        async with plain_client(server):
            is_open.set()

    waiting: list[anyws.callbacks.Ready] = []
    has_come, is_open = anyio.Event(), anyio.Event()
    async with plain_server(callback_connect=on_connect) as server, anyio.create_task_group() as tasks:
        tasks.start_soon(client, server)
        await has_come.wait()
        await anyio.wait_all_tasks_blocked()
        assert not is_open.is_set()
        assert not server.connections
        waiting[0]()
        await is_open.wait()


async def test_an_async_callback_connect_may_continue_after_ready() -> None:
    async def on_connect(
        header_values: anyws.Headers, socket: anyws.callbacks.Socket, ready: anyws.callbacks.Ready
    ) -> None:
        ready()
        await socket_is_open.wait()
        await socket.message_send("from callback_connect")

    socket_is_open = anyio.Event()
    messages = Calls(1)
    async with (
        plain_server(callback_connect=on_connect, callback_open=socket_is_open.set) as server,
        plain_client(server, message_handler=messages),
    ):
        assert await messages.first() == "from callback_connect"


async def test_a_connection_ends_what_callback_connect_left_running() -> None:
    async def on_connect(
        header_values: anyws.Headers, socket: anyws.callbacks.Socket, ready: anyws.callbacks.Ready
    ) -> None:
        ready()
        try:
            await anyio.sleep(math.inf)
        finally:
            ended.set()

    ended = anyio.Event()
    async with plain_server(callback_connect=on_connect) as server:
        async with plain_client(server):
            pass
        await ended.wait()


@on_mock_clock
async def test_a_socket_that_is_not_ready_after_5_seconds_is_destroyed() -> None:
    opened = Calls()
    async with plain_server(callback_connect=lambda: None, callback_open=opened) as server:
        begun = anyio.current_time()
        assert await answer(server) == b""
        assert anyio.current_time() - begun == pytest.approx(5, abs=0.5)
        err, socket = await opened.first()
        assert isinstance(err, TimeoutError)
        assert socket is None


async def test_open_timeout_is_the_deadline_of_callback_connect() -> None:
    async def on_connect() -> None:
        try:
            await anyio.sleep(math.inf)
        finally:
            ended.set()

    ended = anyio.Event()
    async with plain_server(callback_connect=on_connect, open_timeout=0.5) as server:
        assert await answer(server) == b""
        await ended.wait()


async def test_ready_after_the_deadline_does_nothing() -> None:
    def on_connect(header_values: anyws.Headers, socket: anyws.callbacks.Socket, ready: anyws.callbacks.Ready) -> None:
        late.append(ready)

    late: list[anyws.callbacks.Ready] = []
    opened = Calls()
    async with plain_server(callback_connect=on_connect, callback_open=opened, open_timeout=0.05) as server:
        assert await answer(server) == b""
        await opened.first()
        late[0]()
        late[0].refuse()
        await anyio.wait_all_tasks_blocked()
        assert len(opened.seen) == 1
        assert not server.connections


async def test_refuse() -> None:
    def on_connect(header_values: anyws.Headers, socket: anyws.callbacks.Socket, ready: anyws.callbacks.Ready) -> None:
        ready.refuse(401, {"WWW-Authenticate": "Basic"}, body="who are you?")

    opened = Calls()
    async with plain_server(callback_connect=on_connect, callback_open=opened) as server:
        with pytest.raises(anyws.HandshakeRefused) as caught:
            async with plain_client(server):
                pytest.fail("the handshake was refused")
        assert caught.value.status == 401
        assert caught.value.response.body == b"who are you?"
        assert caught.value.response.headers["www-authenticate"] == "Basic"
        err, socket = await opened.first()
        assert isinstance(err, anyws.HandshakeRefused)
        assert err.status == 401
        assert socket is None


async def test_refuse_responds_with_403_by_default() -> None:
    async with plain_server(callback_connect=lambda _headers, _socket, ready: ready.refuse()) as server:
        assert (await answer(server)).startswith(b"HTTP/1.1 403 ")


@pytest.mark.parametrize("status", [99, 100, 101, 1000])
async def test_refuse_accepts_only_statuses_of_a_final_response(status: int) -> None:
    """A 101 would be no refusal, and what is below 200 is no final answer (RFC 9110, 15.2)."""

    def on_connect(header_values: anyws.Headers, socket: anyws.callbacks.Socket, ready: anyws.callbacks.Ready) -> None:
        try:
            ready.refuse(status)
        except ValueError as exc:
            seen.append(str(exc))
        ready.refuse(418)

    seen: list[str] = []
    async with plain_server(callback_connect=on_connect) as server:
        assert (await answer(server)).startswith(b"HTTP/1.1 418 ")
    assert len(seen) == 1
    assert str(status) in seen[0]


async def test_the_first_decision_counts() -> None:
    def ready_twice(header_values: anyws.Headers, socket: anyws.callbacks.Socket, ready: anyws.callbacks.Ready) -> None:
        ready()
        ready()
        ready.refuse(403)

    def refuse_first(
        header_values: anyws.Headers, socket: anyws.callbacks.Socket, ready: anyws.callbacks.Ready
    ) -> None:
        ready.refuse(404)
        ready.refuse(403)
        ready()

    opened = Calls()
    async with plain_server(callback_connect=ready_twice, callback_open=opened) as server, plain_client(server):
        assert (await opened.first())[0] is None
    async with plain_server(callback_connect=refuse_first) as server:
        assert (await answer(server)).startswith(b"HTTP/1.1 404 ")


async def test_callback_connect_that_raises_before_ready(caplog: pytest.LogCaptureFixture) -> None:
    def on_connect() -> None:
        raise LookupError("no such user")

    opened = Calls()
    async with plain_server(callback_connect=on_connect, callback_open=opened) as server:
        response = await answer(server)
        assert response.startswith(b"HTTP/1.1 500 ")
        assert b"no such user" not in response
        err, socket = await opened.first()
        assert isinstance(err, anyws.HandshakeRefused)
        assert isinstance(err.__cause__, LookupError)
        assert socket is None
    (record,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], LookupError)


async def test_callback_connect_that_raises_after_ready(caplog: pytest.LogCaptureFixture) -> None:
    def on_connect(header_values: anyws.Headers, socket: anyws.callbacks.Socket, ready: anyws.callbacks.Ready) -> None:
        ready()
        raise LookupError("no such user")

    async with plain_server(callback_connect=on_connect) as server, plain_client(server) as socket:
        await socket.wait_closed()
        assert socket.close_code == 1011
    (record,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], LookupError)


async def test_callback_connect_that_raises_while_the_connection_is_open(caplog: pytest.LogCaptureFixture) -> None:
    async def on_connect(
        header_values: anyws.Headers, socket: anyws.callbacks.Socket, ready: anyws.callbacks.Ready
    ) -> None:
        ready()
        await go_on.wait()
        raise LookupError("no such user")

    go_on = anyio.Event()
    async with plain_server(callback_connect=on_connect) as server, plain_client(server) as socket:
        assert await socket.ping() >= 0
        go_on.set()
        await socket.wait_closed()
        assert socket.close_code == 1011
    assert [record.levelno for record in caplog.records if record.levelno >= logging.WARNING] == [logging.ERROR]


async def test_callback_connect_that_raises_after_the_deadline(caplog: pytest.LogCaptureFixture) -> None:
    """Nobody waits for its decision any more; its exception is not lost all the same."""

    async def on_connect() -> None:
        try:
            await anyio.sleep(math.inf)
        finally:
            raise LookupError("no such user")

    async with plain_server(callback_connect=on_connect, open_timeout=0.5) as server:
        assert await answer(server) == b""
    (record,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], LookupError)


async def test_extra_of_the_socket_before_it_is_open(pems: Pems, tmp_path: Any) -> None:
    """The peer's certificate is known to callback_connect: what it is for."""

    def on_connect(header_values: anyws.Headers, socket: anyws.callbacks.Socket, ready: anyws.callbacks.Ready) -> None:
        seen.append((socket.extra(SocketAttribute.remote_port), socket.extra(TLSAttribute.peer_certificate, "none")))
        ready()

    seen: list[Any] = []
    mine = {
        "cert": in_file(tmp_path, "cert.pem", pems.cert),
        "key": in_file(tmp_path, "key.pem", pems.key),
    }
    async with (
        tls_server(pems, server_options={"ca": pems.ca, "request_cert": True}, callback_connect=on_connect) as server,
        tls_client(server, pems, socket_options=mine) as socket,
    ):
        port, certificate = seen[0]
        assert port == socket.extra(SocketAttribute.local_port)
        assert isinstance(certificate, dict)
        assert ("DNS", "localhost") in certificate["subjectAltName"]
