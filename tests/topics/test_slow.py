"""A connection that does not read: it is disconnected, or loses messages, and never holds up others."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

import anyws
from tests.peers import TEXT, Frame, meeting

from .followed import pairs, until


async def fill(websocket: anyws.WebSocket, peer: Any) -> None:
    """Let the send buffer be full."""
    peer.stop_reading()
    for _ in range(2):
        await websocket.send("x" * 20)
        await anyio.wait_all_tasks_blocked()


@pytest.mark.parametrize("slow", ["disconnect", "latest"])
async def test_a_slow_one(slow: Any) -> None:
    async with (
        anyws.open_topics() as topics,
        meeting("server", send_buffer=10) as (websocket, peer),
        pairs(1) as ((other,), (other_server,)),
        topics.forward(other_server, "a", "b"),
        topics.forward(websocket, "a", "b", slow=slow) as forwarding,
    ):
        await fill(websocket, peer)
        for number in range(5):
            await topics.publish("a", f"a{number}")
            await topics.publish("b", f"b{number}")
            assert [await other.receive(), await other.receive()] == [f"a{number}", f"b{number}"]
        peer.go_on_reading()
        while (frame := await peer.frame()) == Frame(TEXT, b"x" * 20):
            pass
        if slow == "disconnect":
            assert frame.close_code == 1013
            assert not forwarding._forwarder.is_active
        else:
            assert [frame, await peer.frame()] == [Frame(TEXT, b"a4"), Frame(TEXT, b"b4")]
            assert forwarding.dropped == 8
            await topics.publish("a", "a5")
            assert await peer.frame() == Frame(TEXT, b"a5")
            assert forwarding._forwarder.send == websocket._link.path.send_prepared  # as fast as before


async def test_drop_counts_and_goes_on() -> None:
    async with (
        anyws.open_topics() as topics,
        meeting("server", send_buffer=10) as (websocket, peer),
        topics.forward(websocket, "a", slow="drop") as forwarding,
    ):
        await fill(websocket, peer)
        for number in range(3):
            await topics.publish("a", str(number))
        await until(lambda: forwarding.dropped == 3)
        peer.go_on_reading()
        await websocket.drain()
        await topics.publish("a", "later")
        while (frame := await peer.frame()) == Frame(TEXT, b"x" * 20):
            pass
        assert frame == Frame(TEXT, b"later")


async def test_the_latest_is_not_sent_after_the_block() -> None:
    async with anyws.open_topics() as topics, meeting("server", send_buffer=10) as (websocket, peer):
        async with topics.forward(websocket, "a", slow="latest") as forwarding:
            await fill(websocket, peer)
            await topics.publish("a", "waits")
            await until(lambda: forwarding._forwarder._waiting)
        peer.go_on_reading()
        await websocket.send("end")
        while (frame := await peer.frame()) == Frame(TEXT, b"x" * 20):
            pass
        assert frame == Frame(TEXT, b"end")
