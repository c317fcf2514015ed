"""``rate_limit``: a peer that is too fast is slowed down, or closed with 1008. On a clock that jumps."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

import anyws
from anyws._connection.intake import Intake
from anyws._connection.limited_intake import LimitedIntake
from tests.peers import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, Meeting, Side, ended, on_mock_clock


@on_mock_clock
async def test_messages_arrive_at_the_rate_after_the_burst(ours: Side, meeting: Meeting) -> None:
    limit = anyws.RateLimit(messages=2, burst=3)
    async with meeting(ours, rate_limit=limit, ping_interval=None) as (websocket, peer):
        begun = anyio.current_time()
        peer.send_bytes(b"".join(peer.frame_bytes(TEXT, b"%d" % number) for number in range(10)))
        times = []
        for number in range(10):
            assert await websocket.receive() == str(number)
            times.append(anyio.current_time() - begun)
        assert times == pytest.approx([0] * 6 + [0.5, 1, 1.5, 2], abs=0.01)


@on_mock_clock
async def test_a_pause_earns_a_burst_and_not_more(ours: Side, meeting: Meeting) -> None:
    limit = anyws.RateLimit(messages=10, burst=0.2)
    async with meeting(ours, rate_limit=limit, ping_interval=None) as (websocket, peer):
        for _ in range(2):
            await anyio.sleep(60)
            begun = anyio.current_time()
            for _ in range(4):
                peer.send(TEXT)
            for _ in range(4):
                await websocket.receive()
            assert anyio.current_time() - begun == pytest.approx(0.2, abs=0.01)


@on_mock_clock
async def test_large_and_fragmented_messages_count_by_their_bytes(ours: Side, meeting: Meeting) -> None:
    limit = anyws.RateLimit(bytes=100_000)
    async with meeting(ours, rate_limit=limit, ping_interval=None) as (websocket, peer):
        begun = anyio.current_time()
        peer.send(BINARY, bytes(150_000), fin=False)
        peer.send(CONTINUATION, bytes(150_000))
        assert await websocket.receive() == bytes(300_000)
        peer.send(TEXT, b"next")
        assert await websocket.receive() == "next"
        assert anyio.current_time() - begun == pytest.approx(2, abs=0.1)


@on_mock_clock
async def test_a_slow_peer_is_not_limited(ours: Side, meeting: Meeting) -> None:
    async with meeting(ours, rate_limit=anyws.RateLimit(messages=1, exceeded="close")) as (websocket, peer):
        for _ in range(10):
            begun = anyio.current_time()
            peer.send(TEXT)
            await websocket.receive()
            assert anyio.current_time() == begun
            await anyio.sleep(1)


@on_mock_clock
async def test_a_peer_that_waits_is_not_dropped_by_the_keepalive(ours: Side, meeting: Meeting) -> None:
    limit = anyws.RateLimit(messages=0.01)
    async with meeting(ours, rate_limit=limit, ping_interval=5, ping_timeout=5) as (websocket, peer):
        for number in range(3):
            peer.send(TEXT, b"%d" % number)
        begun = anyio.current_time()
        assert [await websocket.receive() for _ in range(3)] == ["0", "1", "2"]
        assert anyio.current_time() - begun == pytest.approx(200, abs=0.1)


@pytest.mark.parametrize(
    ("limit", "reason"),
    [
        (anyws.RateLimit(messages=5, exceeded="close"), "rate_limit is 5 messages per second"),
        (anyws.RateLimit(bytes=30, exceeded="close"), "rate_limit is 30 bytes per second"),
        (
            anyws.RateLimit(messages=5, bytes=1e6, exceeded="close"),
            "rate_limit is 5 messages and 1,000,000 bytes per second",
        ),
    ],
)
@on_mock_clock
async def test_a_peer_that_is_too_fast_is_closed_with_1008(
    ours: Side, limit: anyws.RateLimit, reason: str, meeting: Meeting, short_failure_grace: None
) -> None:
    async with meeting(ours, rate_limit=limit) as (websocket, peer):
        for _ in range(10):
            peer.send(TEXT, b"fast")
        while (frame := await peer.frame()).opcode != CLOSE:
            pass
        assert frame.payload == (1008).to_bytes(2, "big") + reason.encode()
        peer.send_close(1008)
        closed = await ended(websocket)
        assert isinstance(closed.__cause__, anyws.RateExceeded)
        assert closed.sent == anyws.Close(1008, reason)


@on_mock_clock
async def test_closing_lifts_the_limit(meeting: Meeting) -> None:
    limit = anyws.RateLimit(messages=0.001)
    async with meeting("server", rate_limit=limit, close_timeout=5) as (websocket, peer):
        for _ in range(50):
            peer.send(TEXT)
        await websocket.receive()
        begun = anyio.current_time()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(websocket.aclose)
            while (await peer.frame()).opcode != CLOSE:
                pass
            peer.send_close(1000)
        assert websocket.close_code == 1000
        assert anyio.current_time() - begun <= 1  # for the end of TCP


@on_mock_clock
async def test_a_cancelled_receive_loses_nothing(ours: Side, meeting: Meeting) -> None:
    limit = anyws.RateLimit(messages=1)
    async with meeting(ours, rate_limit=limit) as (websocket, peer):
        for number in range(3):
            peer.send(TEXT, b"%d" % number)
        assert await websocket.receive() == "0"
        with anyio.move_on_after(0.5) as scope:
            await websocket.receive()
        assert scope.cancelled_caught
        assert [await websocket.receive() for _ in range(2)] == ["1", "2"]


@on_mock_clock
async def test_pings_are_answered_and_not_counted_as_messages(meeting: Meeting) -> None:
    limit = anyws.RateLimit(messages=1, exceeded="close")
    async with meeting("server", rate_limit=limit) as (websocket, peer):
        peer.send(TEXT)
        for _ in range(10):
            peer.send(PING, b"!")
            assert (await peer.frame()).opcode == PONG
        assert await websocket.receive() == ""


@pytest.mark.parametrize("secure", [False, True])
@pytest.mark.parametrize("compression", [None, True])
async def test_over_sockets(
    secure: bool, compression: bool | None, server_ssl_context: Any, client_ssl_context: Any
) -> None:
    received: list[str | bytes] = []
    done = anyio.Event()

    async def handler(websocket: anyws.WebSocket) -> None:
        async for message in websocket:
            received.append(message)
            if len(received) == 30:
                done.set()

    options: dict[str, Any] = {"compression": compression}
    if secure:
        options["ssl_context"] = client_ssl_context
    limit = anyws.RateLimit(messages=100, bytes=1e6, burst=0.1)
    async with anyws.open_server(
        handler,
        "127.0.0.1",
        0,
        rate_limit=limit,
        compression=compression,
        ssl_context=server_ssl_context if secure else None,
    ) as server:
        begun = anyio.current_time()
        async with anyws.connect(server.uri, **options) as websocket:
            for number in range(29):
                await websocket.send(str(number))
            await websocket.send(bytes(200_000))
            await done.wait()
            assert anyio.current_time() - begun >= 0.19
    assert received == [*map(str, range(29)), bytes(200_000)]


async def test_a_connection_without_a_limit_has_nothing_of_it(meeting: Meeting) -> None:
    async with meeting("server") as (websocket, _):
        assert type(websocket._link.intake) is Intake
        assert websocket._link.limiter is None
    async with meeting("server", rate_limit=anyws.RateLimit(messages=1)) as (websocket, _):
        assert type(websocket._link.intake) is LimitedIntake
        assert not websocket._link.inbox.is_on_fast_path


@pytest.mark.parametrize(
    ("arguments", "error", "problem"),
    [
        ({}, ValueError, "needs messages or bytes"),
        ({"messages": 0}, ValueError, "option messages is 0: expected a number above 0, or None"),
        ({"messages": "1"}, TypeError, "messages of RateLimit must be a number, not str"),
        ({"bytes": -1}, ValueError, "option bytes is -1"),
        ({"messages": 1, "burst": None}, TypeError, "burst of RateLimit must be a number, not NoneType"),
        ({"messages": 1, "exceeded": "drop"}, ValueError, "exceeded is 'drop': expected 'slow down' or 'close'"),
    ],
)
def test_invalid_limits(arguments: dict[str, Any], error: type[Exception], problem: str) -> None:
    with pytest.raises(error, match=problem):
        anyws.RateLimit(**arguments)
