"""A task beside a block, and the small parts that tasks wake each other with."""

from __future__ import annotations

import anyio
import pytest

from anyws._background_task import background_task
from anyws._connection.pings import PendingPings
from anyws._connection.wakeup import Wakeup


class Mine(Exception):
    """An exception of a test."""


async def forever() -> None:
    """Wait to be cancelled."""
    await anyio.sleep_forever()


async def fail() -> None:
    """Fail after a moment."""
    await anyio.lowlevel.checkpoint()
    raise Mine("task")


async def test_the_task_ends_with_the_block() -> None:
    ended = False

    async def task() -> None:
        nonlocal ended
        try:
            await anyio.sleep_forever()
        finally:
            ended = True

    async with background_task(task):
        await anyio.wait_all_tasks_blocked()
        assert not ended
    assert ended


async def test_a_task_that_returns_leaves_the_block_alone() -> None:
    done = anyio.Event()

    async def task() -> None:
        done.set()

    async with background_task(task):
        await done.wait()
        await anyio.wait_all_tasks_blocked()
        reached = True
    assert reached


@pytest.mark.parametrize("error", [Mine("block"), KeyboardInterrupt(), BaseExceptionGroup("g", [SystemExit()])])
async def test_what_the_block_raises_comes_out_as_it_is(error: BaseException) -> None:
    with pytest.raises(type(error)) as raised:
        async with background_task(forever):
            raise error
    assert raised.value is error


async def test_what_the_task_raises_cancels_the_block_and_comes_out_as_it_is() -> None:
    with pytest.raises(Mine, match="task"):
        async with background_task(fail):
            await anyio.sleep_forever()
            pytest.fail("the block went on")


async def test_both_fail() -> None:
    with pytest.raises(BaseExceptionGroup) as raised:
        async with background_task(fail):
            try:
                await anyio.sleep_forever()
            finally:
                raise Mine("block")
    assert sorted(map(str, raised.value.exceptions)) == ["block", "task"]


async def test_a_cancelled_block() -> None:
    with anyio.CancelScope() as scope:
        async with background_task(forever):
            scope.cancel()
            await anyio.sleep_forever()
    assert scope.cancelled_caught


async def test_wakeup_before_and_during_the_wait() -> None:
    wakeup = Wakeup()
    wakeup.set()
    wakeup.set()
    await wakeup.wait()
    woken = 0

    async def wait() -> None:
        nonlocal woken
        await wakeup.wait()
        woken += 1

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(wait)
        await anyio.wait_all_tasks_blocked()
        assert woken == 0  # two sets before are one
        wakeup.set()
    assert woken == 1


async def test_a_cancelled_wait_loses_no_wakeup() -> None:
    wakeup = Wakeup()

    async def wait() -> None:
        await wakeup.wait()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(wait)
        await anyio.wait_all_tasks_blocked()
        wakeup.set()
        tasks.cancel_scope.cancel()
    if not wakeup._is_set:  # the wait was over before it was cancelled
        wakeup.set()
    with anyio.fail_after(1):
        await wakeup.wait()


async def test_pings_of_the_same_payload_are_answered_in_turn() -> None:
    pings = PendingPings()
    first, second = pings.add(b"x", 1.0), pings.add(b"x", 2.0)
    pings.answered(b"y", 3.0)
    assert not first.done.is_set()
    pings.answered(b"x", 3.0)
    assert (first.latency, second.latency) == (2.0, None)
    pings.discard(first)
    pings.abandon()
    assert second.done.is_set()
    assert second.latency is None
    pings.answered(b"x", 4.0)
    assert second.latency is None
