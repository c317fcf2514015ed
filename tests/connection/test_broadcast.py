"""One message to many: framed once, and nobody waits for the slow ones."""

from __future__ import annotations

import contextlib
from typing import Any

import anyio
import pytest

import anyws
from anyws.testing import websocket_pair
from tests.peers import BINARY, TEXT, Frame, ended, meeting, on_mock_clock


@pytest.mark.parametrize("message", ["news", b"\x00\xff", bytearray(b"x" * 70_000), ""])
async def test_everybody_gets_the_message_at_once(message: Any) -> None:
    async with contextlib.AsyncExitStack() as stack:
        pairs = [await stack.enter_async_context(websocket_pair()) for _ in range(3)]
        assert await anyws.broadcast([server for _, server in pairs], message) == []
        for client, _ in pairs:
            assert await client.receive() == message


async def test_it_is_framed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    framed: list[object] = []

    def frame(*given: object) -> bytes:
        framed.append(given)
        return b"\x81\x02hi"

    monkeypatch.setattr("anyws._connection.sending.serialize_frame", frame)
    async with websocket_pair() as (one, one_server), websocket_pair() as (other, other_server):
        await anyws.broadcast([one_server, other_server], "hi")
        assert [await one.receive(), await other.receive()] == ["hi", "hi"]
    assert len(framed) == 1


async def test_clients_mask_it_each_time() -> None:
    async with meeting("client") as (websocket, peer):
        for _ in range(2):
            assert await anyws.broadcast([websocket, websocket], b"data") == []  # each connection gets it once
        assert [await peer.frame(), await peer.frame()] == [Frame(BINARY, b"data")] * 2  # the peer insists on a mask


@pytest.mark.parametrize("compress", [False, True])
async def test_with_compression_agreed(compress: bool) -> None:
    options: Any = {"compression": anyws.PerMessageDeflate(threshold=0)}
    async with websocket_pair(client_options=options, server_options=options) as (client, server):
        await server.send("before " * 100)
        await anyws.broadcast([server], "news " * 100, compress=compress)
        await server.send("after " * 100)
        assert [await client.receive() for _ in range(3)] == ["before " * 100, "news " * 100, "after " * 100]


async def test_the_slow_ones_are_waited_for_after_the_others() -> None:
    async with (
        meeting("server", send_buffer=10) as (slow, slow_peer),
        websocket_pair() as (client, server),
        anyio.create_task_group() as tasks,
    ):
        slow_peer.stop_reading()
        for _ in range(2):
            await slow.send("x" * 20)
            await anyio.wait_all_tasks_blocked()
        done: list[list[anyws.WebSocket]] = []

        async def broadcast() -> None:
            done.append(await anyws.broadcast([slow, server], "news"))

        tasks.start_soon(broadcast)
        assert await client.receive() == "news"
        await anyio.wait_all_tasks_blocked()
        assert not done
        slow_peer.go_on_reading()
        assert [(await slow_peer.frame()).payload for _ in range(3)] == [b"x" * 20, b"x" * 20, b"news"]
    assert done == [[]]


@pytest.mark.parametrize("slow", ["drop", "disconnect"])
async def test_the_slow_ones_are_not_waited_for(slow: Any) -> None:
    async with meeting("server", send_buffer=10) as (websocket, peer), websocket_pair() as (client, server):
        peer.stop_reading()
        for _ in range(2):
            await websocket.send("x" * 20)
            await anyio.wait_all_tasks_blocked()
        assert await anyws.broadcast([websocket, server], "news", slow=slow) == [websocket]
        assert await client.receive() == "news"
        peer.go_on_reading()
        assert [await peer.frame(), await peer.frame()] == [Frame(TEXT, b"x" * 20)] * 2
        if slow == "disconnect":
            assert (await peer.frame()).close_code == 1013
        else:
            await websocket.send("later")
            assert await peer.frame() == Frame(TEXT, b"later")


async def test_closed_ones_are_passed_over() -> None:
    async with websocket_pair() as (one, one_server), websocket_pair() as (other, other_server):
        await one.aclose()
        await ended(one_server)
        assert await anyws.broadcast([one_server, other_server], "news") == [one_server]
        assert await other.receive() == "news"


@on_mock_clock
async def test_one_that_closes_while_it_is_waited_for_is_passed_over() -> None:
    async with meeting("server", send_buffer=10) as (websocket, peer):
        peer.stop_reading()
        for _ in range(2):
            await websocket.send("x" * 20)
            await anyio.wait_all_tasks_blocked()
        async with anyio.create_task_group() as tasks:
            missed: list[list[anyws.WebSocket]] = []

            async def broadcast() -> None:
                missed.append(await anyws.broadcast([websocket], "news"))

            tasks.start_soon(broadcast)
            await anyio.wait_all_tasks_blocked()
            peer.cut()
        assert missed == [[websocket]]


async def test_wrong_use() -> None:
    with pytest.raises(TypeError, match="expected str, bytes"):
        await anyws.broadcast([], 5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="slow is 'later': expected 'wait', 'drop', 'disconnect'"):
        await anyws.broadcast([], "x", slow="later")  # type: ignore[arg-type]


async def test_a_prepared_message_is_a_message() -> None:
    prepared = anyws.PreparedMessage("news")
    assert prepared.message == "news"
    assert prepared.frame == b"\x81\x04news"
    async with websocket_pair() as (client, server):
        await server.send(prepared)
        server.send_nowait(prepared)
        server.send_nowait(prepared, fragment_size=2)
        await client.send(prepared)
        assert [await client.receive() for _ in range(3)] == ["news"] * 3
        assert await server.receive() == "news"
