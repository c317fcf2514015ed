"""What opens and serves connections, cancelled wherever it suspends: no socket and no task stays behind."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import anyio
import pytest

import anyws
from tests.callbacks.peers import plain_client, plain_server, tls_client, tls_server
from tests.connection.test_cancellation import cancelled_everywhere
from tests.harness import cancelling_at, open_sockets
from tests.peers import echo, uri_of
from tests.pems import Pems

from .pairs import Below, TLSContexts, streams

GONE = (anyws.HandshakeError, anyws.ConnectionClosed, OSError)
"""What a client may raise whose server is cancelled."""


@pytest.fixture(params=[False, True], ids=["tcp", "tls"])
def is_secure(request: pytest.FixtureRequest) -> bool:
    """Whether there is TLS."""
    secure: bool = request.param
    return secure


def checking_sockets() -> Callable[[], None]:
    """Return a check that no socket has stayed open since now."""
    sockets_before = open_sockets()

    def check() -> None:
        assert open_sockets() <= sockets_before

    return check


async def converse(server: anyws.Server, context: Any) -> None:
    """Be a client that takes it as it comes."""
    try:
        uri = uri_of(server, scheme="wss" if context else "ws")
        async with anyws.connect(uri, ssl_context=context, close_timeout=1) as websocket:
            await websocket.send("hello")
            assert await websocket.receive() == "hello"
    except GONE:
        pass


async def test_accept(is_secure: bool, tls_contexts: TLSContexts) -> None:
    nothing_stays = checking_sockets()
    below: Below = "tls over tcp" if is_secure else "tcp"
    contexts = tls_contexts if is_secure else (None, None)
    runs = 0

    async def client(near: Any) -> None:
        try:
            uri = "wss://localhost/" if is_secure else "ws://localhost/"
            async with anyws.connect(uri, stream=near, ssl_context=contexts[0]) as websocket:
                await websocket.send("hello")
                await websocket.wait_closed()
        except GONE:
            pass

    async def accept(far: Any) -> None:
        async with anyws.accept(far, ssl_context=contexts[1]) as websocket:
            assert await websocket.receive() == "hello"

    async for _ in _everywhere_on(below, client, accept):
        runs += 1
        nothing_stays()
    assert runs > 4


async def _everywhere_on(below: Below, client: Any, block: Any) -> AsyncIterator[int]:
    """Cancel a block that gets the far end of a connection, everywhere; a client is on the near end."""
    for step in range(500):
        near, far = await streams(below)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(client, near)
            with anyio.fail_after(10), anyio.CancelScope() as scope:
                await cancelling_at(step, scope, block(far))
        yield step
        if not scope.cancel_called:
            return
    pytest.fail("the block does not come to an end")


class Status:
    """A task status that calls a function with the server."""

    def __init__(self, function: Callable[[anyws.Server], None]) -> None:
        self._function = function

    def started(self, value: anyws.Server) -> None:
        """Take the server."""
        self._function(value)


async def test_serve(is_secure: bool, tls_contexts: TLSContexts) -> None:
    nothing_stays = checking_sockets()
    client_context, server_context = tls_contexts if is_secure else (None, None)
    runs = 0
    for step in range(500):
        started: list[anyws.Server] = []

        def begin(server: anyws.Server, started: list[anyws.Server] = started) -> None:
            started.append(server)
            tasks.start_soon(converse, server, client_context)
            tasks.start_soon(finish, server)

        async def finish(server: anyws.Server) -> None:
            for _ in range(20):
                await anyio.lowlevel.checkpoint()
            await server.aclose()

        async def serve() -> None:
            await anyws.serve(echo, "127.0.0.1", 0, ssl_context=server_context, task_status=Status(begin))

        tasks_before = len(anyio.get_running_tasks())
        with anyio.fail_after(10):
            async with anyio.create_task_group() as tasks:
                with anyio.CancelScope() as scope:
                    await cancelling_at(step, scope, serve())
        nothing_stays()
        assert len(anyio.get_running_tasks()) == tasks_before
        runs += 1
        if not scope.cancel_called:
            assert started
            break
    assert 2 < runs < 500


async def test_the_close_of_a_server(is_secure: bool, tls_contexts: TLSContexts) -> None:
    """A close that is cancelled cancels the handlers at once, those that would never end too."""
    nothing_stays = checking_sockets()
    client_context, server_context = tls_contexts if is_secure else (None, None)
    for step in range(2):
        cancelled: list[bool] = []

        async def stubborn(websocket: anyws.WebSocket, cancelled: list[bool] = cancelled) -> None:
            try:
                await anyio.sleep_forever()
            finally:
                cancelled.append(True)

        async def close(server: anyws.Server) -> None:
            await server.aclose(grace=1000)

        with anyio.fail_after(10):
            async with (
                anyws.open_server(stubborn, "127.0.0.1", 0, ssl_context=server_context) as server,
            ):
                uri = uri_of(server, scheme="wss" if is_secure else "ws")
                async with anyws.connect(uri, ssl_context=client_context, close_timeout=1) as websocket:
                    while not server.connections:
                        await anyio.lowlevel.checkpoint()
                    with anyio.CancelScope() as scope:
                        async with anyio.create_task_group() as closing:
                            closing.start_soon(_cancelling, step, scope, close(server))
                            await anyio.wait_all_tasks_blocked()
                            scope.cancel()  # where it does not suspend so often
                    await websocket.wait_closed()
                    assert websocket.close_code in (1001, 1006)
                    assert cancelled == [True]
                    with pytest.raises(OSError):  # noqa: PT011 - nobody listens
                        await anyio.connect_tcp(*server_address(uri))
        nothing_stays()


def server_address(uri: str) -> tuple[str, int]:
    """Return host and port."""
    host, port = uri.split("/")[2].rsplit(":", 1)
    return host, int(port)


async def _cancelling(step: int, scope: anyio.CancelScope, block: Any) -> None:
    await cancelling_at(step, scope, block)


async def test_client_connect(is_secure: bool, pems: Pems, caplog: pytest.LogCaptureFixture) -> None:
    nothing_stays = checking_sockets()

    async def answer(message: str, socket: anyws.callbacks.Socket) -> None:
        await socket.message_send(message)

    async def on_open(err: Exception | None, socket: anyws.callbacks.Socket) -> None:
        if err is None:
            await socket.message_send("hello")

    async def client() -> None:
        received = anyio.Event()

        async def on_message(message: str) -> None:
            assert message == "hello"
            received.set()

        hooks: dict[str, Any] = {"callback_open": on_open, "message_handler": on_message}
        async with tls_client(server, pems, **hooks) if is_secure else plain_client(server, **hooks):
            await received.wait()

    tasks_before = len(anyio.get_running_tasks())
    async with (
        tls_server(pems, message_handler=answer) if is_secure else plain_server(message_handler=answer)
    ) as server:
        runs = [completed async for completed in cancelled_everywhere(client)]
    assert len(runs) > 5
    nothing_stays()
    assert len(anyio.get_running_tasks()) == tasks_before
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


async def test_server(is_secure: bool, pems: Pems) -> None:
    nothing_stays = checking_sockets()

    async def answer(message: str, socket: anyws.callbacks.Socket) -> None:
        await socket.message_send(message)

    async def on_connect(headers: anyws.Headers, socket: anyws.callbacks.Socket, ready: anyws.callbacks.Ready) -> None:
        await anyio.lowlevel.checkpoint()
        ready()

    async def server() -> None:
        hooks: dict[str, Any] = {"callback_connect": on_connect, "message_handler": answer}
        async with tls_server(pems, **hooks) if is_secure else plain_server(**hooks) as listening:
            received = anyio.Event()

            def on_message(message: str) -> None:
                received.set()

            hooks = {"message_handler": on_message}
            try:
                async with (
                    tls_client(listening, pems, **hooks) if is_secure else plain_client(listening, **hooks)
                ) as socket:
                    await socket.message_send("hello")
                    await received.wait()
            except GONE:
                pass

    tasks_before = len(anyio.get_running_tasks())
    async for _ in cancelled_everywhere(server):
        nothing_stays()
        assert len(anyio.get_running_tasks()) == tasks_before
