"""Messages piece by piece: an async iterable that is sent, a message that is received as a stream."""

from __future__ import annotations

from collections.abc import AsyncIterator

import anyio
import pytest

import anyws
from tests.peers import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, Frame, Meeting, Side, memory_only, uri_of


async def pieces_of(*pieces: object) -> AsyncIterator[str]:
    """Give these pieces; what is an exception is raised, what is an event is waited for."""
    for piece in pieces:
        if isinstance(piece, Exception):
            raise piece
        if isinstance(piece, anyio.Event):
            await piece.wait()
        else:
            yield piece  # type: ignore[misc]


# -- sending -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pieces", "opcode"), [(["a", "ü", ""], TEXT), ([b"a", bytearray(b"\xc3\xbc"), memoryview(b"")], BINARY)]
)
async def test_an_iterable_is_one_fragmented_message(
    ours: Side, pieces: list[object], opcode: int, meeting: Meeting
) -> None:
    async with meeting(ours) as (websocket, peer):
        await websocket.send(pieces_of(*pieces))
        frames = [await peer.frame() for _ in range(4)]
        assert frames == [
            Frame(opcode, b"a", fin=False),
            Frame(CONTINUATION, "ü".encode(), fin=False),
            Frame(CONTINUATION, b"", fin=False),
            Frame(CONTINUATION, b"", fin=True),
        ]
        await websocket.send("after")
        assert await peer.frame() == Frame(TEXT, b"after")


async def test_an_empty_iterable_sends_nothing(meeting: Meeting) -> None:
    async with meeting("client") as (websocket, peer):
        await websocket.send(pieces_of())
        await websocket.send("after")
        assert await peer.frame() == Frame(TEXT, b"after")


async def test_pings_and_pongs_pass_between_fragments_and_other_messages_wait(ours: Side, meeting: Meeting) -> None:
    go_on = anyio.Event()
    async with meeting(ours) as (websocket, peer), anyio.create_task_group() as tasks:
        tasks.start_soon(websocket.send, pieces_of("one ", go_on, "message"))
        assert await peer.frame() == Frame(TEXT, b"one ", fin=False)
        tasks.start_soon(websocket.send, "another")
        tasks.start_soon(websocket.ping, b"ping")
        peer.send(PING, b"theirs")
        await anyio.wait_all_tasks_blocked()
        with pytest.raises(anyio.WouldBlock):
            websocket.send_nowait("now")
        assert {(await peer.frame()).opcode for _ in range(2)} == {PING, PONG}
        assert not peer.frames
        go_on.set()
        assert await peer.frame() == Frame(CONTINUATION, b"message", fin=False)
        assert await peer.frame() == Frame(CONTINUATION, b"")
        assert await peer.frame() == Frame(TEXT, b"another")
        peer.send(PONG, b"ping")


@memory_only
async def test_an_iterable_waits_while_the_peer_does_not_read(meeting: Meeting) -> None:
    taken = 0

    async def pieces() -> AsyncIterator[bytes]:
        nonlocal taken
        for taken in range(1, 31):
            yield bytes([taken]) * 1000

    async with meeting("server", send_buffer=3000) as (websocket, peer), anyio.create_task_group() as tasks:
        peer.stop_reading()
        tasks.start_soon(websocket.send, pieces())
        await anyio.wait_all_tasks_blocked()
        assert taken <= 7  # 3000 bytes are being written, 3000 wait, and one piece stands before the door
        peer.go_on_reading()
        assert [(await peer.frame()).payload[0] for _ in range(30)] == list(range(1, 31))
        assert await peer.frame() == Frame(CONTINUATION, b"")


async def test_an_iterable_that_raises_at_once_sends_nothing(meeting: Meeting) -> None:
    async with meeting("client") as (websocket, peer):
        with pytest.raises(KeyError):
            await websocket.send(pieces_of(KeyError("mine")))
        await websocket.send("still open")
        assert await peer.frame() == Frame(TEXT, b"still open")


@pytest.mark.parametrize(
    ("pieces", "exception"),
    [
        pytest.param(["one", KeyError("mine")], KeyError, id="raises"),
        pytest.param(["one", b"two"], TypeError, id="mixed types"),
        pytest.param(["one", 2], TypeError, id="no message"),
        pytest.param(["one", "\ud800"], UnicodeEncodeError, id="no UTF-8"),
    ],
)
async def test_a_message_that_cannot_be_completed_closes_the_connection(
    ours: Side, pieces: list[object], exception: type[Exception], meeting: Meeting
) -> None:
    outcomes: list[str] = []

    async def wait_for_message() -> None:
        with pytest.raises(anyws.ConnectionClosed) as raised:
            await websocket.receive()
        assert raised.value.sent is not None
        outcomes.append(f"receive: sent {raised.value.sent.code}")

    async with meeting(ours) as (websocket, peer), anyio.create_task_group() as tasks:
        tasks.start_soon(wait_for_message)
        with pytest.raises(exception):
            await websocket.send(pieces_of(*pieces))
        assert await peer.frame() == Frame(TEXT, b"one", fin=False)
        assert (await peer.frame()).close_code == 1011
        with pytest.raises(anyws.ConnectionClosedLocally) as raised:
            await websocket.send("more")
        assert raised.value.sent is not None
        assert raised.value.sent.code == 1011
        peer.send_close(1011)
        peer.send_eof()
    assert outcomes == ["receive: sent 1011"]


async def test_a_cancelled_iterable_closes_the_connection_and_wakes_the_senders(meeting: Meeting) -> None:
    outcomes: list[type[BaseException]] = []

    async def send_more() -> None:
        try:
            await websocket.send("more")
        except anyws.ConnectionClosed as exc:
            outcomes.append(type(exc))

    async with meeting("server") as (websocket, peer), anyio.create_task_group() as tasks:
        with anyio.CancelScope() as scope:
            tasks.start_soon(send_more)
            async with anyio.create_task_group() as sending:
                sending.start_soon(websocket.send, pieces_of("one", anyio.Event()))
                assert await peer.frame() in (Frame(TEXT, b"one", fin=False), Frame(TEXT, b"more"))
                await anyio.wait_all_tasks_blocked()
                scope.cancel()
        while (frame := await peer.frame()).opcode != CLOSE:
            pass
        assert frame.close_code == 1011
        peer.send_close(1011)
    assert outcomes in ([], [anyws.ConnectionClosedLocally])


async def test_other_senders_that_wait_for_a_cancelled_iterable_are_told(meeting: Meeting) -> None:
    async def send_more() -> None:
        with pytest.raises(anyws.ConnectionClosedLocally):
            await websocket.send("more")

    async with meeting("client") as (websocket, peer), anyio.create_task_group() as tasks:
        async with anyio.create_task_group() as sending:
            sending.start_soon(websocket.send, pieces_of("one", anyio.Event()))
            await peer.frame()
            tasks.start_soon(send_more)
            await anyio.wait_all_tasks_blocked()
            sending.cancel_scope.cancel()
        assert (await peer.frame()).close_code == 1011
        peer.send_close(1011)


async def test_an_iterable_whose_connection_ends(meeting: Meeting) -> None:
    go_on = anyio.Event()

    async def send() -> None:
        with pytest.raises(anyws.ConnectionClosedError):
            await websocket.send(pieces_of("one", go_on, "two"))

    async with meeting("client") as (websocket, peer), anyio.create_task_group() as tasks:
        tasks.start_soon(send)
        assert (await peer.frame()).payload == b"one"
        peer.send_close(1000)
        assert (await peer.frame()).close_code == 1000
        go_on.set()


# -- receiving ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("opcode", "empty"), [(TEXT, ""), (BINARY, b"")])
async def test_a_message_comes_in_pieces(ours: Side, opcode: int, empty: str | bytes, meeting: Meeting) -> None:
    async with meeting(ours) as (websocket, peer):
        stream = websocket.receive_stream()
        peer.send(opcode, b"one, ", fin=False)
        assert await anext(stream) == (b"one, " if opcode == BINARY else "one, ")
        peer.send_bytes(peer.frame_bytes(CONTINUATION, b"two, three")[:-5])
        assert len(await anext(stream)) == 5
        peer.send_bytes(peer.frame_bytes(CONTINUATION, b"two, three")[-5:])
        assert await anext(stream) == (b"three" if opcode == BINARY else "three")
        with pytest.raises(StopAsyncIteration):
            await anext(stream)
        with pytest.raises(StopAsyncIteration):
            await anext(stream)
        peer.send(TEXT, b"next")
        assert await websocket.receive() == "next"


async def test_a_whole_message_is_one_piece_and_an_empty_one_too(meeting: Meeting) -> None:
    async with meeting("client") as (websocket, peer):
        peer.send(TEXT, b"whole")
        peer.send(BINARY)
        peer.send(TEXT)
        assert [piece async for piece in websocket.receive_stream()] == ["whole"]
        assert [piece async for piece in websocket.receive_stream()] == [b""]
        assert [piece async for piece in websocket.receive_stream()] == [""]


async def test_a_message_that_ends_with_an_empty_fragment_has_no_empty_piece(meeting: Meeting) -> None:
    async with meeting("client") as (websocket, peer):
        stream = websocket.receive_stream()
        peer.send(TEXT, b"all", fin=False)
        assert await anext(stream) == "all"
        peer.send(CONTINUATION)
        with pytest.raises(StopAsyncIteration):
            await anext(stream)


async def test_text_is_never_split_inside_a_code_point(meeting: Meeting) -> None:
    data = "€".encode()
    async with meeting("server") as (websocket, peer):
        stream = websocket.receive_stream()
        peer.send(TEXT, b"5 " + data[:1], fin=False)
        assert await anext(stream) == "5 "
        peer.send(CONTINUATION, data[1:2], fin=False)
        peer.send(CONTINUATION, data[2:], fin=False)
        assert await anext(stream) == "€"
        peer.send(CONTINUATION, b"!")
        assert [piece async for piece in stream] == ["!"]


@memory_only
async def test_memory_stays_bounded_however_large_the_message(ours: Side, meeting: Meeting) -> None:
    size, buffer = 3_000_000, 20_000
    async with meeting(ours, receive_buffer=buffer, max_message_size=size) as (websocket, peer):
        message = peer.frame_bytes(BINARY, bytes(size))
        for start in range(0, len(message), 1000):
            peer.send_bytes(message[start : start + 1000])
        await anyio.wait_all_tasks_blocked()
        assert peer.stream.consumed <= buffer + 2000
        received = largest_ahead = 0
        async for piece in websocket.receive_stream():
            received += len(piece)
            largest_ahead = max(largest_ahead, peer.stream.consumed - received)
        assert received == size
        assert largest_ahead <= buffer + 2000


async def test_streams_both_ways_over_a_socket() -> None:
    async def echo(websocket: anyws.WebSocket) -> None:
        await websocket.send(websocket.receive_stream())  # type: ignore[arg-type]

    async def numbers() -> AsyncIterator[bytes]:
        for number in range(256):
            yield bytes([number]) * 10_000

    async with (
        anyws.open_server(echo, "127.0.0.1", 0, max_message_size=None) as server,
        anyws.connect(uri_of(server), max_message_size=None) as websocket,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(websocket.send, numbers())
        echoed = b"".join([piece async for piece in websocket.receive_stream() if isinstance(piece, bytes)])
        assert echoed == b"".join([piece async for piece in numbers()])


async def test_leaving_early_skips_the_rest(ours: Side, meeting: Meeting) -> None:
    async with meeting(ours, receive_buffer=100) as (websocket, peer):
        peer.send(TEXT, b"x" * 50, fin=False)
        stream = websocket.receive_stream()
        async for piece in stream:
            assert piece == "x" * 50
            break
        for _ in range(20):
            peer.send(CONTINUATION, b"y" * 500, fin=False)
        peer.send(CONTINUATION, b"z")
        peer.send(TEXT, b"next")
        peer.send(BINARY, b"last")
        assert await websocket.receive() == "next"
        with pytest.raises(anyio.ClosedResourceError):
            await anext(stream)
        assert [piece async for piece in websocket.receive_stream()] == [b"last"]


async def test_another_stream_skips_the_rest_of_the_one_before(meeting: Meeting) -> None:
    async with meeting("client") as (websocket, peer):
        peer.send(TEXT, b"one", fin=False)
        assert await anext(websocket.receive_stream()) == "one"
        peer.send(CONTINUATION, b"rest of one")
        peer.send(TEXT, b"two")
        assert [piece async for piece in websocket.receive_stream()] == ["two"]


async def test_a_stream_that_is_cancelled_loses_nothing(meeting: Meeting) -> None:
    async with meeting("client") as (websocket, peer):
        stream = websocket.receive_stream()
        peer.send(TEXT, b"one ", fin=False)
        assert await anext(stream) == "one "
        with anyio.move_on_after(0.001):
            await anext(stream)
        peer.send(CONTINUATION, b"message")
        assert [piece async for piece in stream] == ["message"]


@pytest.mark.parametrize("close", [None, 1000, 1011])
async def test_a_truncated_message_raises(ours: Side, close: int | None, meeting: Meeting) -> None:
    async with meeting(ours) as (websocket, peer):
        stream = websocket.receive_stream()
        peer.send(TEXT, b"half of", fin=False)
        assert await anext(stream) == "half of"
        if close is not None:
            peer.send_close(close)
        peer.send_eof()
        with pytest.raises(anyws.ConnectionClosedError) as raised:
            await anext(stream)
        assert raised.value.code == (1006 if close is None else close)
        with pytest.raises(anyws.ConnectionClosed):
            await websocket.receive()


@pytest.mark.parametrize(
    ("code", "exception"),
    [(1000, anyws.ConnectionClosedOK), (None, anyws.ConnectionClosedOK), (3000, anyws.ConnectionClosedError)],
)
async def test_a_connection_that_ends_before_the_message_begins(
    code: int | None, exception: type[anyws.ConnectionClosed], meeting: Meeting
) -> None:
    async with meeting("client") as (websocket, peer):
        peer.send_close(code)
        with pytest.raises(exception):
            await anext(websocket.receive_stream())


async def test_a_stream_of_too_large_a_message(meeting: Meeting) -> None:
    async with meeting("client", max_message_size=10) as (websocket, peer):
        stream = websocket.receive_stream()
        peer.send(BINARY, b"12345678", fin=False)
        assert await anext(stream) == b"12345678"
        peer.send(CONTINUATION, b"90A")
        with pytest.raises(anyws.ConnectionClosedError) as raised:
            await anext(stream)
        assert isinstance(raised.value.__cause__, anyws.LimitExceeded)
        assert (await peer.frame()).close_code == 1009
