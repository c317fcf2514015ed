"""Memory streams: order of bytes, backpressure, half-close, close and cancellation."""

from __future__ import annotations

import anyio
import pytest

from anyws.testing import MemoryStream, memory_stream_pair

Streams = tuple[MemoryStream, MemoryStream]


@pytest.fixture
def streams() -> Streams:
    return memory_stream_pair(10)


async def test_bytes_in_order_in_any_pieces(streams: Streams) -> None:
    one, other = streams
    await one.send(b"abc")
    await one.send(b"def")
    assert await other.receive(4) == b"abcd"
    assert await other.receive() == b"ef"
    await other.send(b"back")
    assert await one.receive() == b"back"
    await one.send(b"")  # does nothing


async def test_sending_waits_for_the_reader(streams: Streams) -> None:
    async def send() -> None:
        await one.send(b"0123456789abcdefghijKLM")
        is_sent.set()

    one, other = streams
    is_sent = anyio.Event()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(send)
        await anyio.wait_all_tasks_blocked()
        received = await other.receive()
        assert received == b"0123456789"
        await anyio.wait_all_tasks_blocked()
        assert not is_sent.is_set()
        while len(received) < 23:
            received += await other.receive(7)
        assert received == b"0123456789abcdefghijKLM"
        await is_sent.wait()


async def test_half_close(streams: Streams) -> None:
    one, other = streams
    await one.send(b"last")
    await one.send_eof()
    assert await other.receive() == b"last"
    for _ in range(2):
        with pytest.raises(anyio.EndOfStream):
            await other.receive()
    with pytest.raises(anyio.ClosedResourceError):
        await one.send(b"more")
    await other.send(b"other way")
    assert await one.receive() == b"other way"


async def test_close(streams: Streams) -> None:
    one, other = streams
    await one.send(b"last")
    await one.aclose()
    await one.aclose()
    assert await other.receive() == b"last"
    with pytest.raises(anyio.EndOfStream):
        await other.receive()
    with pytest.raises(anyio.BrokenResourceError):
        await other.send(b"nobody reads")
    for use in (one.receive(), one.send(b"x")):
        with pytest.raises(anyio.ClosedResourceError):
            await use


@pytest.mark.parametrize(
    ("who", "error"), [("receiver", anyio.ClosedResourceError), ("receiver's peer", anyio.EndOfStream)]
)
async def test_a_close_wakes_a_receiver(streams: Streams, who: str, error: type[Exception]) -> None:
    async def receive() -> None:
        with pytest.raises(error):
            await streams[0].receive()
        raised.set()

    raised = anyio.Event()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(receive)
        await anyio.wait_all_tasks_blocked()
        await streams[0 if who == "receiver" else 1].aclose()
        await raised.wait()


@pytest.mark.parametrize(
    ("who", "error"), [("sender", anyio.ClosedResourceError), ("sender's peer", anyio.BrokenResourceError)]
)
async def test_a_close_wakes_a_sender(streams: Streams, who: str, error: type[Exception]) -> None:
    async def send() -> None:
        with pytest.raises(error):
            await streams[0].send(bytes(100))
        raised.set()

    raised = anyio.Event()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(send)
        await anyio.wait_all_tasks_blocked()
        await streams[0 if who == "sender" else 1].aclose()
        await raised.wait()


async def test_a_cancelled_receive_loses_nothing(streams: Streams) -> None:
    one, other = streams
    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(other.receive)
            await anyio.wait_all_tasks_blocked()
            scope.cancel()
    await one.send(b"later")
    with anyio.CancelScope() as scope:
        scope.cancel()
        await other.receive()
    assert scope.cancelled_caught
    assert await other.receive() == b"later"


async def test_a_cancelled_send_sends_only_what_was_buffered(streams: Streams) -> None:
    one, other = streams
    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(one.send, bytes(range(30)))
            await anyio.wait_all_tasks_blocked()
            scope.cancel()
    await one.send_eof()
    assert await other.receive() == bytes(range(10))
    with pytest.raises(anyio.EndOfStream):
        await other.receive()


async def test_one_task_at_a_time(streams: Streams) -> None:
    one, _other = streams
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(one.receive)
        tasks.start_soon(one.send, bytes(100))
        await anyio.wait_all_tasks_blocked()
        with pytest.raises(anyio.BusyResourceError):
            await one.receive()
        with pytest.raises(anyio.BusyResourceError):
            await one.send(b"x")
        tasks.cancel_scope.cancel()


@pytest.mark.parametrize("capacity", [0, -1])
def test_the_capacity_must_be_positive(capacity: int) -> None:
    with pytest.raises(ValueError, match="capacity"):
        memory_stream_pair(capacity)
