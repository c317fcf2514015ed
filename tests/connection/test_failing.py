"""Peers that break a rule, exceed a limit or do not come to an end: the connection fails, in bounded time."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

import anyws
from tests.peers import (
    BINARY,
    CLOSE,
    CONTINUATION,
    TEXT,
    Frame,
    Meeting,
    Side,
    close_payload,
    ended,
    memory_only,
    on_mock_clock,
)

# -- violations --------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("short_failure_grace")
@pytest.mark.parametrize(
    ("data", "code", "problem", "message"),
    [
        pytest.param(b"\x83\x00", 1002, anyws.ProtocolError, "reserved opcode 0x3", id="opcode"),
        pytest.param(b"\xc1\x00", 1002, anyws.ProtocolError, "RSV1", id="RSV1"),
        pytest.param(b"\x80\x00", 1002, anyws.ProtocolError, "outside a message", id="continuation"),
        pytest.param(b"\x81\x01\xff", 1007, anyws.InvalidText, "not valid UTF-8", id="text"),
        pytest.param(b"\x88\x01\x03", 1002, anyws.ProtocolError, "1 byte", id="short Close"),
        pytest.param(b"\x88\x02\x03\xed", 1002, anyws.ProtocolError, "close code 1005", id="code 1005"),
        pytest.param(b"\x81\x80mask", 1002, anyws.ProtocolError, "masked", id="masked"),
    ],
)
async def test_a_violation_closes_and_both_see_it(
    data: bytes, code: int, problem: type[Exception], message: str, meeting: Meeting
) -> None:
    async with meeting("client") as (websocket, peer):
        peer.send(TEXT, b"before")
        peer.send_bytes(data)
        frame = await peer.frame()
        assert frame.close_code == code
        assert message in frame.payload[2:].decode()
        peer.send_eof()
        assert await websocket.receive() == "before"
        closed = await ended(websocket)
        assert isinstance(closed, anyws.ConnectionClosedError)
        assert isinstance(closed.__cause__, problem)
        assert message in str(closed.__cause__)
        assert closed.sent is not None
        assert (closed.sent.code, closed.received, closed.code) == (code, None, 1006)


@pytest.mark.parametrize("count", [1, 5])
async def test_what_came_before_a_violation_is_answered_before_the_close(
    ours: Side, count: int, meeting: Meeting
) -> None:
    async with meeting(ours) as (websocket, peer):
        message = peer.frame_bytes(TEXT, b"Hello")
        peer.send_bytes(message * count + peer.frame_bytes(0x3, b"") + message)
        for _ in range(count):
            await websocket.send(await websocket.receive())
        closed = await ended(websocket)
        assert closed.sent is not None
        assert closed.sent.code == 1002
        assert [await peer.frame() for _ in range(count)] == [Frame(TEXT, b"Hello")] * count
        assert (await peer.frame()).close_code == 1002


@on_mock_clock
async def test_a_violation_does_not_wait_long_for_an_answer(ours: Side, meeting: Meeting) -> None:
    async with meeting(ours) as (websocket, peer):
        peer.send_bytes(peer.frame_bytes(TEXT, b"Hello") + peer.frame_bytes(0x3, b""))
        begun = anyio.current_time()
        assert (await peer.frame()).close_code == 1002
        # On trio it is looked at times whether nobody reads.
        assert 0.5 <= anyio.current_time() - begun < 0.56
        assert await websocket.receive() == "Hello"


async def test_our_close_after_a_violation_says_what_was_wrong(ours: Side, meeting: Meeting) -> None:
    async with meeting(ours) as (websocket, peer):
        peer.send_bytes(peer.frame_bytes(TEXT, b"Hello") + peer.frame_bytes(0x3, b""))
        assert await websocket.receive() == "Hello"
        await websocket.send_eof()
        assert (await peer.frame()).close_code == 1002


@pytest.mark.usefixtures("short_failure_grace")
async def test_a_frame_without_a_mask_fails_the_connection_on_a_server_only(meeting: Meeting) -> None:
    async with meeting("server") as (websocket, peer):
        peer.send_bytes(b"\x81\x02hi")
        assert (await peer.frame()).close_code == 1002
        assert isinstance((await ended(websocket)).__cause__, anyws.ProtocolError)
    async with meeting("server", accept_unmasked=True) as (websocket, peer):
        peer.send_bytes(b"\x81\x02hi")
        assert await websocket.receive() == "hi"


@pytest.mark.usefixtures("short_failure_grace")
@pytest.mark.parametrize(
    ("options", "frames", "limit", "actual"),
    [
        ({"max_message_size": 10}, [(BINARY, b"x" * 11, True)], 10, 11),
        ({"max_message_size": 10}, [(TEXT, b"x" * 6, False), (CONTINUATION, b"x" * 6, True)], 10, 12),
        ({"max_frame_size": 5}, [(TEXT, b"x" * 6, True)], 5, 6),
        ({"max_fragments": 3}, [(TEXT, b"", False)] + [(CONTINUATION, b"", False)] * 3, 3, 4),
    ],
)
async def test_a_limit_is_named_on_both_sides(
    ours: Side,
    options: dict[str, Any],
    frames: list[tuple[int, bytes, bool]],
    limit: int,
    actual: int,
    meeting: Meeting,
) -> None:
    (option,) = options
    async with meeting(ours, **options) as (websocket, peer):
        for opcode, payload, fin in frames:
            peer.send(opcode, payload, fin=fin)
        frame = await peer.frame()
        assert frame == Frame(CLOSE, close_payload(1009, f"{option} is {limit}, received {actual}"))
        closed = await ended(websocket)
        cause = closed.__cause__
        assert isinstance(cause, anyws.LimitExceeded)
        assert (cause.option, cause.limit, cause.actual) == (option, limit, actual)
        with pytest.raises(anyws.ConnectionClosedError) as raised:
            await websocket.send("too late")
        assert raised.value.__cause__ is cause


async def test_no_limit_where_the_option_is_none(meeting: Meeting) -> None:
    async with meeting("client", max_message_size=None, max_fragments=None) as (websocket, peer):
        peer.send(BINARY, bytes(2_000_000))
        assert len(await websocket.receive()) == 2_000_000


# -- bounds ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [1, 7.5])
@on_mock_clock
async def test_a_close_without_an_answer_is_cut(ours: Side, limit: float, meeting: Meeting) -> None:
    async with meeting(ours, close_timeout=limit) as (websocket, peer):
        begun = anyio.current_time()
        await websocket.aclose()
        assert anyio.current_time() - begun == pytest.approx(limit)
        await peer.end()
        assert websocket.close_code == 1006
        assert f"took more than {limit:g} s" in str(await ended(websocket))


@on_mock_clock
async def test_the_close_timeout_is_10_seconds(meeting: Meeting) -> None:
    async with meeting("client", close_timeout=anyws.ClientOptions().close_timeout) as (websocket, _):
        begun = anyio.current_time()
        await websocket.aclose()
        assert anyio.current_time() - begun == pytest.approx(10)


@memory_only
@on_mock_clock
async def test_a_close_to_a_peer_that_does_not_read_is_cut(ours: Side, meeting: Meeting) -> None:
    async with meeting(ours, close_timeout=3) as (websocket, peer):
        peer.stop_reading()
        await websocket.send("x" * 100_000)
        begun = anyio.current_time()
        with pytest.raises(anyws.ConnectionClosedError) as raised:
            await websocket.aclose()
        assert anyio.current_time() - begun == pytest.approx(3)
        assert peer.stream.is_closed
        assert raised.value.undelivered >= 100_000
        await websocket.aclose()  # raised once


@on_mock_clock
async def test_an_answered_close_whose_tcp_end_never_comes_is_cut(ours: Side, meeting: Meeting) -> None:
    async with meeting(ours, close_timeout=3) as (websocket, peer):
        peer.send_close(1000)
        begun = anyio.current_time()
        await websocket.wait_closed()
        # A client leaves the end to the server (7.1.1); a server ends its own side, and waits no more than a second.
        assert anyio.current_time() - begun == pytest.approx(3 if ours == "client" else 1)
        assert websocket.close_code == 1000
        await peer.end()


@on_mock_clock
async def test_a_violation_whose_end_never_comes_is_cut(ours: Side, meeting: Meeting) -> None:
    async with meeting(ours, close_timeout=3) as (websocket, peer):
        peer.send(3)
        begun = anyio.current_time()
        await websocket.wait_closed()
        assert anyio.current_time() - begun == pytest.approx(0.5 + 3)
        assert (await peer.frame()).close_code == 1002
