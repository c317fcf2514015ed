"""Each call, cancelled wherever it suspends: nothing is lost or half-sent, or the connection says so."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint

import anyws
from tests.harness import cancelling_at
from tests.peers import Side, ended

from .pairs import Pair

_MOST_STEPS = 300


async def settle() -> None:
    """Let everybody go on, as far as it goes."""
    for _ in range(100):
        await checkpoint()


def has_begun_to_close(websocket: anyws.WebSocket) -> bool:
    """Return whether a message that was not completed has marked the connection as broken."""
    try:
        websocket.pong()
    except anyio.WouldBlock:
        return False
    except anyws.ConnectionClosedLocally as exc:
        return exc.sent is not None and exc.sent.code == 1011
    return False


async def receive_until_the_end(
    websocket: anyws.WebSocket, is_slow: bool, received: list[str | bytes], outcome: list[anyws.ConnectionClosed]
) -> None:
    """Collect the messages, and what is raised at the end."""
    try:
        while True:
            if is_slow:
                await settle()
            received.append(await websocket.receive())
    except anyws.ConnectionClosed as exc:
        outcome.append(exc)


async def cancelled(step: int, block: Coroutine[Any, Any, None]) -> bool:
    """Run a block, cancelled where it suspends for the n-th time; return whether it was."""
    with anyio.fail_after(10), anyio.CancelScope() as scope:
        await cancelling_at(step, scope, block)
    return scope.cancelled_caught


async def test_receive_loses_nothing(ours: Side, connected_over: Pair) -> None:
    received: list[str | bytes] = []
    sent: list[str | bytes] = [f"message {number} " * (number + 1) for number in range(40)]

    async def receive() -> None:
        received.append(await websocket.receive())

    async def send_all() -> None:
        for message in sent:
            await other.send(message)

    async with (
        connected_over(ours, options={"receive_buffer": 100}, capacity=50) as (websocket, other),
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(send_all)
        for step in itertools.cycle([0, 1, 2, 3, _MOST_STEPS]):
            if len(received) == len(sent):
                break
            await cancelled(step, receive())
    assert received == sent


async def test_receive_stream_loses_nothing(ours: Side, connected_over: Pair) -> None:
    pieces: list[Any] = []
    is_over = False
    whole = bytes(range(256)) * 40

    async def fragments() -> AsyncIterator[bytes]:
        for start in range(0, len(whole), 100):
            yield whole[start : start + 100]
            await checkpoint()

    async def take(stream: AsyncIterator[str | bytes]) -> None:
        nonlocal is_over
        try:
            pieces.append(await anext(stream))
        except StopAsyncIteration:
            is_over = True

    async def send() -> None:
        await other.send(fragments())
        await other.send("after")

    async with (
        connected_over(ours, options={"receive_buffer": 300}, capacity=500) as (websocket, other),
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(send)
        stream = websocket.receive_stream()
        cancellations = 0
        for step in itertools.cycle([0, 1, 2, 3, _MOST_STEPS]):
            if is_over:
                break
            cancellations += await cancelled(step, take(stream))
        assert await websocket.receive() == "after"
    assert b"".join(pieces) == whole
    assert len(pieces) > 3
    assert cancellations


async def test_a_message_is_sent_whole_or_not_at_all(ours: Side, connected_over: Pair) -> None:
    completed: list[str | bytes] = []
    received: list[str | bytes] = []

    async def send(number: int) -> None:
        message = f"message {number} " * 2000
        await websocket.send(message)
        completed.append(message)

    async def receive_all() -> None:
        while (message := await other.receive()) != "end":
            received.append(message)

    async with (
        connected_over(ours, options={"send_buffer": 100}, capacity=100) as (websocket, other),
        anyio.create_task_group() as tasks,
    ):
        for number, step in enumerate([0, 1, 2, 3] * 5):
            if number == 10:  # until here nobody receives, and the buffers are full
                tasks.start_soon(receive_all)
            async with anyio.create_task_group() as sending:
                sending.start_soon(cancelled, step, send(number))
                await settle()
                sending.cancel_scope.cancel()  # if it waits for room
        await websocket.send("end")
    assert received == completed
    assert 1 < len(completed) < 20


@pytest.mark.parametrize("is_slow", [False, True], ids=["to a reader", "to a slow reader"])
async def test_an_iterable_is_sent_whole_or_not_at_all_or_the_connection_ends(
    ours: Side, is_slow: bool, connected_over: Pair
) -> None:
    outcomes = set()
    for step in itertools.count():
        assert step < _MOST_STEPS
        begun = completed = False
        cleaned_up = False

        async def fragments() -> AsyncIterator[str]:
            nonlocal begun, cleaned_up
            try:
                for number in range(4):
                    await checkpoint()
                    begun = True
                    yield f"fragment {number} " * 2000
            finally:
                cleaned_up = True

        async def send() -> None:
            nonlocal completed
            await websocket.send(fragments())
            completed = True

        async with connected_over(ours, options={"send_buffer": 100}, capacity=100) as (websocket, other):
            received: list[str | bytes] = []
            outcome: list[anyws.ConnectionClosed] = []
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(receive_until_the_end, other, is_slow, received, outcome)
                was_cancelled = await cancelled(step, send())
                assert was_cancelled is not completed
                assert cleaned_up or not begun
                if has_begun_to_close(websocket):
                    assert was_cancelled
                    outcomes.add("ended")
                    with anyio.fail_after(5):
                        await websocket.wait_closed()
                else:
                    await websocket.send("next")
                    outcomes.add("sent" if completed else "not sent")
                    await websocket.aclose()
            whole = "".join(f"fragment {number} " * 2000 for number in range(4))
            if completed:
                assert received == [whole, "next"]
            elif outcome[0].code == 1011:
                assert received == []
            else:
                assert received == ["next"]
        if completed:
            break
    assert outcomes == {"sent", "not sent", "ended"}


async def test_a_ping_leaves_the_connection_as_it_was(ours: Side, connected_over: Pair) -> None:
    async def ping() -> None:
        assert await websocket.ping() >= 0

    async with connected_over(ours) as (websocket, other):
        was_cancelled = [await cancelled(step, ping()) for step in range(4)]
        assert was_cancelled[0]
        assert not was_cancelled[-1]
        assert await websocket.ping() >= 0
        await websocket.send("still here")
        assert await other.receive() == "still here"


@pytest.mark.parametrize("call", ["wait_closed", "drain"])
async def test_a_cancelled_wait_changes_nothing(ours: Side, call: str, connected_over: Pair) -> None:
    async def wait() -> None:
        waited: Callable[[], Awaitable[None]] = getattr(websocket, call)
        await waited()

    async with connected_over(ours, options={"send_buffer": 10}, capacity=100) as (websocket, other):
        assert await cancelled(0, wait())
        websocket.send_nowait("first")
        for step in range(2):
            assert await cancelled(step, wait()) is (call == "wait_closed" or step == 0)
        assert await other.receive() == "first"
        await websocket.send("still here")
        assert await other.receive() == "still here"


async def test_send_eof_has_begun_the_close_or_not(ours: Side, connected_over: Pair) -> None:
    outcomes = []
    for step in range(3):

        async def end() -> None:
            await websocket.send_eof()

        async with connected_over(ours) as (websocket, other):
            was_cancelled = await cancelled(step, end())
            outcomes.append(was_cancelled)
            if was_cancelled:
                await websocket.send("still open")
                assert await other.receive() == "still open"
            else:
                with pytest.raises(anyws.ConnectionClosedLocally):
                    await websocket.send("too late")
                assert (await ended(other)).code == 1000
    assert outcomes[0]
    assert not outcomes[-1]


@pytest.mark.parametrize("is_stuck", [False, True], ids=["to a reader", "to a peer that does not read"])
async def test_a_cancelled_close_cuts_at_once(ours: Side, is_stuck: bool, connected_over: Pair) -> None:
    for step in itertools.count():
        assert step < _MOST_STEPS
        options = {"close_timeout": None, "max_message_size": None, "send_buffer": 1_000_000}
        async with connected_over(ours, options=options, their_options=options, capacity=100) as (websocket, other):
            if is_stuck:
                while True:
                    try:
                        websocket.send_nowait(b"x" * 500_000)
                    except anyio.WouldBlock:
                        break
            was_cancelled = await cancelled(step, websocket.aclose())
            with anyio.fail_after(5):
                await websocket.wait_closed()
                if not is_stuck:
                    closed = await ended(other)
                    assert closed.code in (1000, 1006)
                    assert websocket.close_code in (1000, 1006)
            if is_stuck:
                assert was_cancelled
                assert websocket.close_code == 1006
            with pytest.raises(anyws.ConnectionClosedLocally):
                await websocket.send("too late")
        if not was_cancelled or is_stuck:  # it waits only once
            break
