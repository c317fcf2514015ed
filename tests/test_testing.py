"""`anyws.testing`: connections without a network."""

from __future__ import annotations

import math
from typing import Any

import anyio
import pytest

import anyws
from anyws import Opcode
from anyws.testing import connected_pair, scripted_peer

# -- connected_pair ----------------------------------------------------------------------------------------------------


async def test_a_pair_talks_both_ways() -> None:
    async with connected_pair() as (client, server):
        await client.send("to the server")
        await server.send(b"to the client")
        assert await server.receive() == "to the server"
        assert await client.receive() == b"to the client"
        assert await client.ping() >= 0
        assert await server.ping() >= 0


async def test_a_pair_has_made_the_opening_handshake() -> None:
    async with connected_pair(
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
    async with connected_pair() as (client, server):
        pass
    assert client.close_code == server.close_code == 1000


async def test_one_end_closes() -> None:
    async with connected_pair() as (client, server):
        await server.aclose(4000, "enough")
        with pytest.raises(anyws.ConnectionBroken):
            await client.receive()
        assert (client.close_code, client.close_reason) == (4000, "enough")


async def test_the_limits_of_a_pair_are_those_of_its_options() -> None:
    async with connected_pair(server_options={"max_message_size": 10}) as (client, server):
        await client.send("x" * 11)
        with pytest.raises(anyws.ConnectionBroken):
            await server.receive()
        await client.wait_closed()
        assert client.close_code == 1009


async def test_the_capacity_of_a_pair_holds_the_sender_back() -> None:
    options = {"send_buffer": 1000, "receive_buffer": 1000}
    async with connected_pair(client_options=options, server_options=options, capacity=1000) as (client, server):
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
async def test_a_refusal_comes_out_as_the_client_s_exception(options: dict[str, Any], status: int) -> None:
    with pytest.raises(anyws.HandshakeRefused) as caught:
        async with connected_pair(**options):
            pytest.fail("refused")
    assert caught.value.status == status


async def test_a_hook_that_fails_is_a_refusal_too() -> None:
    def on_request(request: anyws.Request) -> None:
        raise LookupError("from the hook")

    with pytest.raises(anyws.HandshakeRefused) as caught:
        async with connected_pair(server_options={"on_request": on_request}):
            pytest.fail("refused")
    assert caught.value.status == 500


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
        async with connected_pair(**options):
            pytest.fail("wrong options")


async def test_an_exception_in_the_block_of_a_pair_comes_out_bare() -> None:
    with pytest.raises(LookupError):
        async with connected_pair() as (client, server):
            raise LookupError
    assert {client.close_code, server.close_code} == {1011}


async def test_a_cancelled_pair() -> None:
    with anyio.CancelScope() as scope:
        async with connected_pair() as (client, server):
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
        with pytest.raises(anyws.ConnectionEnded):
            await websocket.receive()
        assert (websocket.close_code, websocket.close_reason) == (1001, "bye")


async def test_a_close_without_a_code() -> None:
    async with scripted_peer() as (websocket, peer):
        await peer.send_close(1005)
        assert (await peer.receive_frame()).close == anyws.Close(1005)
        await peer.end()
        await websocket.wait_closed()
        assert websocket.close_code == 1005


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
async def test_a_scripted_peer_breaks_rules(server: bool, frame: dict[str, Any], code: int) -> None:
    async with scripted_peer(server=server) as (websocket, peer):
        await peer.send_frame(**frame)
        assert (await peer.receive_frame()).close.code == code
        await peer.end()
        with pytest.raises(anyws.ConnectionBroken):
            await websocket.receive()


async def test_a_scripted_peer_answers_nothing_by_itself() -> None:
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
    async with connected_pair(server_options={"receive_buffer": 1}) as (client, server):
        for _ in range(3):
            await client.send("x" * 100_000)
        await anyio.wait_all_tasks_blocked()
    assert (client.close_code, server.close_code) == (1000, 1000)
    assert anyio.current_time() - started < 5  # close_timeout is 10
