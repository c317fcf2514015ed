"""`anyws.testing`: connections without a network."""

from __future__ import annotations

import math
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
import websockets.exceptions
import websockets.sync.client

import anyws
from anyws import Opcode
from anyws.protocol import Role, parse_uri
from anyws.routing import Router
from anyws.testing import (
    Frame,
    ScriptedPeer,
    connect_to_handler,
    local_server,
    scripted_peer,
    scripted_server,
    websocket_pair,
)
from tests.peers import connected, open_sockets

# -- websocket_pair ----------------------------------------------------------------------------------------------------


async def test_a_pair_talks_both_ways() -> None:
    async with websocket_pair() as (client, server):
        await client.send("to the server")
        await server.send(b"to the client")
        assert await server.receive() == "to the server"
        assert await client.receive() == b"to the client"
        assert await client.ping() >= 0
        assert await server.ping() >= 0


async def test_a_pair_has_completed_the_opening_handshake() -> None:
    async with websocket_pair(
        "ws://example.com:8080/chat?room=1",
        client_options={"subprotocols": ["chat"], "headers": {"X-Token": "1"}},
        server_options={"subprotocols": ["other", "chat"], "headers": {"X-Answer": "2"}},
    ) as (client, server):
        assert server.request.target == "/chat?room=1"
        assert server.request.headers["host"] == "example.com:8080"
        assert server.request.headers["x-token"] == "1"
        assert client.response.headers["x-answer"] == "2"
        assert client.subprotocol == server.subprotocol == "chat"


async def test_a_pair_is_closed_with_its_block() -> None:
    async with websocket_pair() as (client, server):
        pass
    assert client.close_code == server.close_code == 1000


async def test_one_end_closes() -> None:
    async with websocket_pair() as (client, server):
        await server.aclose(4000, "enough")
        with pytest.raises(anyws.ConnectionClosedError):
            await client.receive()
        assert (client.close_code, client.close_reason) == (4000, "enough")


async def test_the_options_of_a_pair_set_its_limits() -> None:
    async with websocket_pair(server_options={"max_message_size": 10}) as (client, server):
        await client.send("x" * 11)
        with pytest.raises(anyws.ConnectionClosedError):
            await server.receive()
        await client.wait_closed()
        assert client.close_code == 1009


async def test_the_capacity_of_a_pair_blocks_the_sender() -> None:
    options = {"send_buffer": 1000, "receive_buffer": 1000}
    async with websocket_pair(client_options=options, server_options=options, capacity=1000) as (client, server):
        sent = 0
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as tasks:

                async def send() -> None:
                    nonlocal sent
                    while sent < 100:
                        await client.send(bytes(500))
                        sent += 1

                tasks.start_soon(send)
                await anyio.wait_all_tasks_blocked()
                scope.cancel()
        assert 2 <= sent < 20
        for _ in range(sent):
            assert await server.receive() == bytes(500)


@pytest.mark.parametrize(
    ("options", "status"),
    [
        ({"server_options": {"on_request": lambda request: anyws.Response(401, body="who?")}}, 401),
        ({"client_options": {"origin": "https://evil.example"}}, 403),
    ],
)
async def test_a_refusal_propagates_as_the_client_s_exception(options: dict[str, Any], status: int) -> None:
    with pytest.raises(anyws.HandshakeRefused) as caught:
        async with websocket_pair(**options):
            pytest.fail("refused")
    assert caught.value.status == status


def failing_hook(request: anyws.Request) -> None:
    raise LookupError("from the hook")


FAILING = [{"on_request": failing_hook}, {"subprotocols": failing_hook}]


@pytest.mark.parametrize("options", FAILING, ids=["on_request", "subprotocols"])
async def test_an_exception_in_a_hook_propagates(options: dict[str, Any]) -> None:
    both: dict[str, Any] = {"client_options": {"subprotocols": ["chat"]}, "server_options": options}
    for connecting in (websocket_pair(**both), connect_to_handler(shout, **both)):
        with pytest.raises(LookupError, match="from the hook"):
            async with connecting:
                pytest.fail("refused")


async def test_an_exception_in_a_hook_propagates_from_scripted_peer() -> None:
    with pytest.raises(LookupError, match="from the hook"):
        async with scripted_peer(server=True, options={"on_request": failing_hook}):
            pytest.fail("refused")


@pytest.mark.parametrize("options", FAILING, ids=["on_request", "subprotocols"])
async def test_an_exception_in_a_hook_of_a_local_server_propagates(
    options: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(LookupError, match="from the hook") as caught:
        async with local_server(shout, **options) as uri, anyws.connect(uri, subprotocols=["chat"]):
            pytest.fail("refused")
    assert isinstance(caught.value.__cause__, anyws.HandshakeRefused)
    assert "a hook raised an exception" in caplog.text


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"client_options": {"subprotocol": "x"}}, TypeError, "client_options has no option subprotocol; did you mean"),
        ({"server_options": {"backlog": 1}}, TypeError, "server_options has no option backlog"),
        ({"client_options": {"headers": {"Upgrade": "x"}}}, ValueError, "Upgrade"),
        ({"uri": "example.com"}, anyws.InvalidURI, "scheme"),
        ({"capacity": 0}, ValueError, "capacity"),
    ],
)
async def test_a_pair_with_wrong_options(options: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        async with websocket_pair(**options):
            pytest.fail("wrong options")


async def test_an_exception_in_the_block_of_a_pair_propagates_unchanged() -> None:
    with pytest.raises(LookupError):
        async with websocket_pair() as (client, server):
            raise LookupError
    assert {client.close_code, server.close_code} == {1011}


async def test_a_cancelled_pair() -> None:
    with anyio.CancelScope() as scope:
        async with websocket_pair() as (client, server):
            scope.cancel()
            await anyio.sleep(math.inf)
    assert scope.cancelled_caught
    assert client.close_code is not None
    assert server.close_code is not None


# -- scripted_peer -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("server", [False, True])
async def test_a_scripted_peer_sends_and_sees_frames(server: bool) -> None:
    async with scripted_peer(server=server) as (websocket, peer):
        await peer.send_frame(Opcode.TEXT, "hel", fin=False)
        await peer.send_frame(Opcode.CONTINUATION, b"lo")
        assert await websocket.receive() == "hello"
        await websocket.send("world")
        frame = await peer.receive_frame()
        assert (frame.opcode, frame.payload, frame.fin) == (Opcode.TEXT, b"world", True)
        assert frame.masked is not server  # a client masks, a server does not
        assert repr(frame) == f"Frame(TEXT, b'world', fin=True, masked={not server})"
        await peer.end()


@pytest.mark.parametrize("server", [False, True])
async def test_a_scripted_peer_closes(server: bool) -> None:
    async with scripted_peer(server=server) as (websocket, peer):
        await peer.send_close(1001, "bye")
        echo = await peer.receive_frame()
        assert echo.opcode is Opcode.CLOSE
        assert echo.close.code == 1001
        await peer.end()
        with pytest.raises(anyws.ConnectionClosedOK):
            await websocket.receive()
        assert (websocket.close_code, websocket.close_reason) == (1001, "bye")


async def test_a_close_without_a_code() -> None:
    async with scripted_peer() as (websocket, peer):
        await peer.send_close(1005)
        assert (await peer.receive_frame()).close == anyws.Close(1005)
        await peer.end()
        await websocket.wait_closed()
        assert websocket.close_code == 1005


@pytest.mark.usefixtures("short_failure_grace")
@pytest.mark.parametrize(
    ("server", "frame", "code"),
    [
        (True, {"opcode": Opcode.TEXT, "payload": "x", "masked": False}, 1002),
        (False, {"opcode": Opcode.TEXT, "payload": "x", "masked": True}, 1002),
        (False, {"opcode": Opcode.TEXT, "payload": "x", "rsv": 0x40}, 1002),
        (False, {"opcode": 3}, 1002),
        (False, {"opcode": Opcode.PING, "payload": b"x" * 126}, 1002),
        (False, {"opcode": Opcode.TEXT, "payload": b"\xff"}, 1007),
    ],
)
async def test_a_scripted_peer_can_violate_the_protocol(server: bool, frame: dict[str, Any], code: int) -> None:
    async with scripted_peer(server=server) as (websocket, peer):
        await peer.send_frame(**frame)
        assert (await peer.receive_frame()).close.code == code
        await peer.end()
        with pytest.raises(anyws.ConnectionClosedError):
            await websocket.receive()


async def test_a_scripted_peer_sends_nothing_on_its_own() -> None:
    async with scripted_peer(options={"close_timeout": 0.05}) as (websocket, peer):
        await websocket.send_eof()
        assert (await peer.receive_frame()).close == anyws.Close(1000)
        await websocket.wait_closed()
        assert websocket.close_code == 1006


async def test_a_scripted_peer_sends_bytes_and_sees_the_end() -> None:
    async with scripted_peer(server=True) as (websocket, peer):
        await peer.stream.send(b"\x81\xfe\x00")  # the half of a header
        await peer.end()
        await websocket.wait_closed()
        assert websocket.close_code == 1006
    async with scripted_peer(server=True, options={"close_timeout": 0.05}) as (websocket, peer):
        await websocket.aclose()
        assert (await peer.receive_frame()).close.code == 1000
        with pytest.raises(anyio.EndOfStream):
            await peer.receive_frame()


async def test_a_scripted_peer_s_stream_is_closed_with_the_block() -> None:
    with pytest.raises(LookupError):
        async with scripted_peer(options={"close_timeout": 0.01}) as (_websocket, peer):
            raise LookupError
    with pytest.raises(anyio.ClosedResourceError):
        await peer.stream.receive()


async def test_the_end_of_a_pair_does_not_wait_for_messages_that_nobody_receives() -> None:
    started = anyio.current_time()
    async with websocket_pair(server_options={"receive_buffer": 1}) as (client, server):
        for _ in range(3):
            await client.send("x" * 100_000)
        await anyio.wait_all_tasks_blocked()
    assert (client.close_code, server.close_code) == (1000, 1000)
    assert anyio.current_time() - started < 5  # close_timeout is 10


async def test_frames_are_values() -> None:
    async with scripted_peer() as (websocket, peer):
        await websocket.send("hello")
        assert await peer.receive_frame() == Frame(Opcode.TEXT, b"hello", masked=True)
        assert repr(Frame(Opcode.TEXT, b"x", rsv=0x40)) == "Frame(TEXT, b'x', fin=True, masked=False, rsv=0x40)"


@pytest.mark.parametrize("server", [False, True])
async def test_a_scripted_peer_expects_frames(server: bool) -> None:
    async with scripted_peer(server=server) as (websocket, peer):
        assert peer.request.target == "/"
        await websocket.send("hello")
        await peer.expect_frame(Opcode.TEXT, "hello")
        await websocket.send(b"\0\1\2", fragment_size=2)
        await peer.expect_frame(Opcode.BINARY, b"\0\1", fin=False)
        await peer.expect_frame(Opcode.CONTINUATION, b"\2")
        await peer.send_frame(Opcode.PING, b"are you there?")
        await peer.expect_frame(Opcode.PONG, b"are you there?")
        await peer.close(1001, "bye")
        with pytest.raises(anyws.ConnectionClosedOK):
            await websocket.receive()
        assert (websocket.close_code, websocket.close_reason) == (1001, "bye")


async def test_a_scripted_peer_sends_reserved_bits() -> None:
    async with scripted_peer(options={"extensions": "permessage-deflate"}) as (websocket, peer):
        await peer.send_frame(Opcode.TEXT, "x", rsv=0x40)  # it was declined
        await peer.expect_close(1002)
        await peer.end()
        await websocket.wait_closed()


@pytest.mark.parametrize("server", [False, True])
async def test_a_scripted_peer_responds_to_a_close(server: bool) -> None:
    async with scripted_peer(server=server) as (websocket, peer):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(websocket.aclose, 4000, "enough")
            await peer.respond_to_close(4000, "enough")
        assert websocket.close_code == 4000


async def say_hello(websocket: anyws.WebSocket) -> None:
    await websocket.send("hello")


async def close_early(websocket: anyws.WebSocket) -> None:
    await websocket.aclose(1001, "early")


@pytest.mark.parametrize(
    ("act", "expect", "message"),
    [
        (
            say_hello,
            lambda peer: peer.expect_frame(Opcode.TEXT, "hullo"),
            "expected Frame(TEXT, b'hullo', fin=True, masked=True), "
            "received Frame(TEXT, b'hello', fin=True, masked=True)",
        ),
        (
            say_hello,
            lambda peer: peer.expect_frame(Opcode.TEXT, "hello", fin=False),
            "expected Frame(TEXT, b'hello', fin",
        ),
        (say_hello, lambda peer: peer.expect_frame(Opcode.BINARY, b"hello"), "expected Frame(BINARY"),
        (say_hello, lambda peer: peer.expect_close(), "expected a Close 1000, received Frame(TEXT, b'hello'"),
        (say_hello, lambda peer: peer.expect_end(), "expected the end of the stream, received Frame(TEXT, b'hello'"),
        (close_early, lambda peer: peer.expect_close(1000), "expected a Close 1000, received a Close 1001"),
        (
            close_early,
            lambda peer: peer.expect_close(1001, "late"),
            "expected a Close 1001 'late', received a Close 1001",
        ),
        (close_early, lambda peer: peer.respond_to_close(1000), "expected a Close 1000, received a Close 1001"),
    ],
)
async def test_unexpected_frames(act: Any, expect: Any, message: str) -> None:
    async with (
        scripted_peer(options={"close_timeout": 0.01}) as (websocket, peer),
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(act, websocket)
        with pytest.raises(AssertionError) as raised:
            await expect(peer)
        assert str(raised.value).startswith(message)


@pytest.mark.parametrize(
    ("expect", "expected"),
    [
        (lambda peer: peer.expect_frame(Opcode.TEXT, "x"), "Frame(TEXT, b'x', fin=True, masked=False)"),
        (lambda peer: peer.expect_close(1001, "bye"), "a Close 1001 'bye'"),
        (lambda peer: peer.respond_to_close(), "a Close 1000"),
    ],
)
async def test_a_scripted_peer_fails_if_the_expected_frame_never_arrives(expect: Any, expected: str) -> None:
    async with scripted_peer(server=True) as (_, peer):  # a server ends the stream
        await peer.send_close()
        await peer.expect_close()
        with pytest.raises(AssertionError) as raised:
            await expect(peer)
        assert str(raised.value) == f"expected {expected}, but the other end has closed the stream"
        await peer.expect_end()


# -- connect_to_handler ------------------------------------------------------------------------------------------------


async def shout(websocket: anyws.WebSocket) -> None:
    async for message in websocket:
        assert isinstance(message, str), "text is expected"
        await websocket.send(message.upper())


async def test_a_handler_in_memory() -> None:
    async with connect_to_handler(shout) as websocket:
        await websocket.send("hello")
        assert await websocket.receive() == "HELLO"
    assert websocket.close_code == 1000


async def test_a_handler_that_returns_closes() -> None:
    async with connect_to_handler(say_hello) as websocket:
        assert [message async for message in websocket] == ["hello"]
        assert websocket.close_code == 1000


async def test_a_router_and_options_in_memory() -> None:
    router = Router()

    @router.route("/rooms/<int:room>")
    async def tell(websocket: anyws.WebSocket, room: int) -> None:
        await websocket.send(f"{websocket.subprotocol} {room} {websocket.request.state['user']}")

    options: dict[str, Any] = {
        "server_options": {
            "on_request": anyws.basic_auth("r", check=lambda user, password: user == "ann"),
            "subprotocols": ["v1"],
        },
        "client_options": {"subprotocols": ["v1"]},
    }
    async with connect_to_handler(router, "ws://ann@x/rooms/7", **options) as websocket:
        assert await websocket.receive() == "v1 7 ann"
    for uri, status in [("ws://ann@x/", 404), ("ws://bob@x/rooms/7", 401)]:
        with pytest.raises(anyws.HandshakeRefused) as raised:
            async with connect_to_handler(router, uri, **options):
                pytest.fail("refused")
        assert raised.value.status == status


@asynccontextmanager
async def over_loopback(handler: Any) -> AsyncIterator[anyws.WebSocket]:
    async with local_server(handler) as uri, anyws.connect(uri) as websocket:
        yield websocket


reaching = pytest.mark.parametrize("reach", [connect_to_handler, over_loopback])


@reaching
async def test_an_exception_in_a_handler_fails_the_test(reach: Any) -> None:
    with pytest.raises(AssertionError, match="text is expected") as raised:
        async with reach(shout) as websocket:
            await websocket.send(b"hello")
            await websocket.receive()
    assert isinstance(raised.value.__cause__, anyws.ConnectionClosedError)


@reaching
async def test_an_exception_at_the_end_of_a_handler_fails_the_test(reach: Any) -> None:
    async def handler(websocket: anyws.WebSocket) -> None:
        async for _ in websocket:
            pass
        raise LookupError("late")

    with pytest.raises(LookupError, match="late"):
        async with reach(handler):
            pass


@reaching
async def test_an_exception_in_the_block_propagates_unchanged(reach: Any) -> None:
    with pytest.raises(LookupError, match="mine"):
        async with reach(shout) as websocket:
            await websocket.send(b"hello")
            with pytest.raises(anyws.ConnectionClosedError):
                await websocket.receive()
            raise LookupError("mine")


@reaching
async def test_a_handler_that_ends_with_its_connection_has_not_failed(reach: Any) -> None:
    async def handler(websocket: anyws.WebSocket) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(websocket.receive)

    async with reach(handler):
        pass


async def test_a_handler_that_does_not_end_is_cancelled() -> None:
    async def handler(websocket: anyws.WebSocket) -> None:
        try:
            await anyio.sleep_forever()
        finally:
            cancelled.set()

    cancelled = anyio.Event()
    async with connect_to_handler(handler, grace=0.01):
        pass
    assert cancelled.is_set()


# -- local_server ------------------------------------------------------------------------------------------------------


async def test_a_local_server(server_ssl_context: ssl.SSLContext, client_ssl_context: ssl.SSLContext) -> None:
    async with (
        local_server(shout, subprotocols=["v1"]) as uri,
        anyws.connect(uri, subprotocols=["v1"]) as websocket,
    ):
        assert websocket.subprotocol == "v1"
        await websocket.send("hello")
        assert await websocket.receive() == "HELLO"
    async with (
        local_server(shout, ssl_context=server_ssl_context) as uri,
        anyws.connect(uri, ssl_context=client_ssl_context) as websocket,
    ):
        assert uri.startswith("wss://localhost:")
        await websocket.send("hello")
        assert await websocket.receive() == "HELLO"


async def test_two_failures_are_a_group() -> None:
    with pytest.raises(ExceptionGroup) as raised:
        async with local_server(shout) as uri:
            for _ in range(2):
                with pytest.raises(anyws.ConnectionClosedError):
                    async with anyws.connect(uri) as websocket:
                        await websocket.send(b"hello")
                        await websocket.receive()
    assert [type(exc) for exc in raised.value.exceptions] == [AssertionError, AssertionError]


async def test_a_local_server_with_a_wrong_option() -> None:
    with pytest.raises(TypeError, match=r"local_server\(\) has no option on_requests; did you mean on_request"):
        async with local_server(shout, on_requests=None):  # type: ignore[call-arg]
            pytest.fail("a wrong option")


# -- scripted_server ---------------------------------------------------------------------------------------------------


async def test_a_scripted_server() -> None:
    async def script(peer: ScriptedPeer) -> None:
        assert (peer.role, peer.request.path) == (Role.SERVER, "/chat")
        await peer.expect_frame(Opcode.TEXT, "hello")
        await peer.send_frame(Opcode.TEXT, "hi", fin=False)
        await peer.stream.send(b"\x80\x01!")
        await peer.respond_to_close()

    async with scripted_server(script) as uri, anyws.connect(f"{uri}chat") as websocket:
        await websocket.send("hello")
        assert await websocket.receive() == "hi!"
    assert websocket.close_code == 1000


async def test_a_client_of_another_library_connects_to_a_scripted_server() -> None:
    async def script(peer: ScriptedPeer) -> None:
        await peer.expect_frame(Opcode.TEXT, "hello")
        await peer.close(1013, "try again later")

    def talk(uri: str) -> tuple[int | None, str | None]:
        with websockets.sync.client.connect(uri, compression=None, proxy=None) as client:
            client.send("hello")
            with pytest.raises(websockets.exceptions.ConnectionClosedError):
                client.recv()
            return client.close_code, client.close_reason

    async with scripted_server(script) as uri:
        assert await anyio.to_thread.run_sync(talk, uri) == (1013, "try again later")


async def test_an_unexpected_frame_fails_the_test() -> None:
    async def script(peer: ScriptedPeer) -> None:
        await peer.expect_frame(Opcode.TEXT, "hello")

    with pytest.raises(AssertionError, match=r"expected Frame.*b'hello'.*received Frame.*b'hullo'"):
        async with scripted_server(script) as uri, anyws.connect(uri) as websocket:
            await websocket.send("hullo")
            await websocket.receive()
    with pytest.raises(AssertionError, match=r"received Frame.CLOSE"):
        async with scripted_server(script) as uri, anyws.connect(uri):
            pass  # the script is still waiting when the block ends


async def test_a_client_that_disconnects_is_not_a_failure() -> None:
    async def script(peer: ScriptedPeer) -> None:
        while True:
            await peer.receive_frame()

    async with scripted_server(script) as uri:
        await anyio.aclose_forcefully(await anyio.connect_tcp("127.0.0.1", parse_uri(uri).port))
        async with anyws.connect(uri, close_timeout=0.01):
            pass


async def test_a_script_that_does_not_end_is_cancelled() -> None:
    async def script(peer: ScriptedPeer) -> None:
        await anyio.sleep_forever()

    async with scripted_server(script, grace=0.01) as uri, anyws.connect(uri, close_timeout=0.01) as websocket:
        pass
    assert websocket.close_code == 1006


async def test_on_request_of_a_scripted_server() -> None:
    answers: list[anyws.Response | bytes | None] = [
        anyws.Response(503),
        b"HTTP/1.1 200 Fine\r\n\r\n",
        b"garbage\r\n\r\n",
        b"",
    ]

    async with scripted_server(on_request=lambda request: answers.pop(0) if answers else None) as uri:
        for status in (503, 200):
            with pytest.raises(anyws.HandshakeRefused) as refused:
                await connected(uri)
            assert refused.value.status == status
        for _ in range(2):
            with pytest.raises(anyws.HandshakeError):
                await connected(uri)
        async with anyws.connect(uri) as websocket:
            with pytest.raises(anyws.ConnectionClosedError):
                await websocket.receive()


async def test_an_exception_in_the_block_of_a_scripted_server_propagates_unchanged() -> None:
    with pytest.raises(LookupError):
        async with scripted_server():
            raise LookupError


@pytest.mark.parametrize("reach", [connect_to_handler, over_loopback, lambda _: scripted_server()])
async def test_a_cancelled_block(reach: Any) -> None:
    sockets_before = open_sockets()
    with anyio.CancelScope() as scope:
        async with reach(shout):
            scope.cancel()
            await anyio.sleep(math.inf)
    assert scope.cancelled_caught
    assert open_sockets() == sockets_before
