"""Messages and frames that try to exhaust memory or time."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Iterator
from typing import Any

import anyio
import pytest

import anyws
from anyws.protocol import Connection, FrameDecoder, RemoteProtocolError, Role
from tests.callbacks.peers import plain_server
from tests.conformance.wire import both_roles, frame, wire_of
from tests.peers import BINARY, CLOSE, CONTINUATION, PING, TEXT, Meeting, Side, echo, ended, frame_bytes

from .attacker import attacker, check_serves, push

LIMIT = 1000


# -- lengths -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [2**63 - 1, 2**62, 2**32, 2**31 - 1, 2**20 + 1])
async def test_a_length_that_overflows(length: int) -> None:
    """Gorilla CVE-2020-27813, Tomcat CVE-2020-13935: rejected at the header, without waiting or allocating memory."""
    async with anyws.open_server(echo, "127.0.0.1", 0) as server, attacker(server) as peer:
        await peer.open()
        await peer.stream.send(b"\x82\xff" + length.to_bytes(8, "big") + b"mask")
        closed = await peer.frame()
        assert (closed.opcode, closed.close_code) == (CLOSE, 1009)
        assert closed.payload[2:] == f"max_message_size is 1048576, received {length}".encode()
        await check_serves(server)


async def test_without_a_limit_no_memory_is_allocated_in_advance() -> None:
    """Without a limit, a header alone allocates nothing."""
    connection = Connection(Role.SERVER, max_message_size=None)
    tracemalloc.start()
    try:
        connection.receive_data(b"\x82\xff" + (2**62).to_bytes(8, "big") + bytes(4) + b"some")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 100_000
    assert connection.partial_size == 4


@pytest.mark.parametrize("masked", [True, False, None])
def test_an_endless_loop_in_the_parser(masked: bool | None) -> None:
    """Curl CVE-2025-5399: for all possible first two bytes, each step consumes something or waits."""
    for first in range(65536):
        decoder = FrameDecoder(masked=masked, rsv=0x40)
        data = first.to_bytes(2, "big") + bytes(14)
        decoder.feed(data)
        try:
            for _ in range(len(data) + 1):
                if decoder.next_part() is None:
                    break
            else:
                pytest.fail(f"more steps than bytes after {first:04x}")
        except RemoteProtocolError:
            pass


# -- the limit of a message, on each path ------------------------------------------------------------------------------


def whole(opcode: int = BINARY) -> list[tuple[int, bytes, bool]]:
    """Return one frame."""
    return [(opcode, bytes(LIMIT + 1), True)]


def fragments() -> list[tuple[int, bytes, bool]]:
    """Return many small fragments."""
    return [(TEXT, bytes(LIMIT // 2), False), (CONTINUATION, b"", False), (CONTINUATION, bytes(LIMIT // 2 + 1), True)]


def with_pings_between() -> list[tuple[int, bytes, bool]]:
    """Return fragments with Pings between them, which must not reset the count."""
    first, *others = fragments()
    return [first, (PING, b"x", True), *others]


def after_another() -> list[tuple[int, bytes, bool]]:
    """Return a message after another one of exactly the maximum size."""
    return [(BINARY, bytes(LIMIT), True), *fragments()]


async def receive_all(websocket: anyws.WebSocket) -> anyws.ConnectionClosed:
    return await ended(websocket)


async def stream_all(websocket: anyws.WebSocket) -> anyws.ConnectionClosed:
    with pytest.raises(anyws.ConnectionClosed) as raised:
        while True:
            async for _ in websocket.receive_stream():
                pass
    return raised.value


async def receive_nothing(websocket: anyws.WebSocket) -> anyws.ConnectionClosed:
    await websocket.wait_closed()
    with pytest.raises(anyws.ConnectionClosed) as raised:
        await websocket.send("x")
    return raised.value


@pytest.mark.usefixtures("short_failure_grace")
@pytest.mark.parametrize("receive", [receive_all, stream_all, receive_nothing])
@pytest.mark.parametrize("trailing", [False, True], ids=["later", "behind-the-head"])
@pytest.mark.parametrize("attack", [whole, fragments, with_pings_between, after_another])
async def test_every_way_to_receive_applies_the_size_limit(
    ours: Side, attack: Callable[[], list[Any]], trailing: bool, receive: Callable[..., Any], meeting: Meeting
) -> None:
    """Netty CVE-2014-0193, UNDERTOW-2770: one way to receive did not apply the limit."""
    data = b"".join(frame_bytes(opcode, payload, fin=fin, masked=ours == "server") for opcode, payload, fin in attack())
    async with meeting(ours, trailing=data if trailing else b"", max_message_size=LIMIT) as (websocket, peer):
        if not trailing:
            peer.send_bytes(data)

        async def end_when_closed() -> None:
            while (each := await peer.frame()).opcode != CLOSE:
                pass
            assert each.close_code == 1009
            peer.send_eof()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(end_when_closed)
            closed = await receive(websocket)
        cause = closed.__cause__
        assert isinstance(cause, anyws.LimitExceeded)
        assert (cause.option, cause.limit, cause.actual) == ("max_message_size", LIMIT, LIMIT + 1)


async def test_the_callback_api_applies_the_size_limit() -> None:
    """The callback API also has the limit."""
    seen: list[Any] = []
    async with plain_server(max_message_size=LIMIT, message_handler=seen.append) as server, attacker(server) as peer:
        await peer.open(trailing=frame_bytes(BINARY, bytes(LIMIT + 1), masked=True))
        assert (await peer.frame()).close_code == 1009
    assert not seen


# -- fragments ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("payload", [b"x", b""], ids=["tiny", "empty"])
@pytest.mark.parametrize("opcode", [TEXT, BINARY])
async def test_100000_fragments(opcode: int, payload: bytes) -> None:
    """Ws CVE-2026-48779, whose first fix did not count empty fragments."""

    def flood() -> Iterator[bytes]:
        yield frame_bytes(opcode, payload, fin=False, masked=True)
        for _ in range(100):
            yield frame_bytes(CONTINUATION, payload, fin=False, masked=True) * 1000

    async with anyws.open_server(echo, "127.0.0.1", 0) as server, attacker(server) as peer:
        await peer.open()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(push, peer.stream, flood())
            closed = await peer.frame()
            tasks.cancel_scope.cancel()
        assert closed.close_code == 1009
        assert closed.payload[2:] == b"max_fragments is 16384, received 16385"
        await check_serves(server)


@both_roles
@pytest.mark.parametrize("first", [TEXT, BINARY])
def test_many_fragments_take_no_more_memory_than_few(role: Role, first: int) -> None:
    """A message in many fragments takes no more memory than one in a few."""
    wire = wire_of(role, [(first, b"xy")]) + frame(role, CONTINUATION, b"xy") * 16_000
    connection = Connection(role)
    tracemalloc.start()
    try:
        connection.receive_data(wire)
        kept = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert connection.partial_size == 32_002
    assert kept < 16_001 * 5  # an object for each would take 35 bytes or more
