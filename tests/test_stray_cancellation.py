"""Cancellations of scopes and of asyncio tasks are told apart from a stray `CancelledError`."""

from __future__ import annotations

import asyncio

import anyio
import pytest
from anyio.lowlevel import checkpoint

from anyws._cancellation import is_cancelled_from_outside, refusing_stray_cancellation
from tests.harness import await_a_cancelled_task

on_asyncio = pytest.mark.parametrize(
    "anyio_backend",
    [
        pytest.param(("asyncio", {"debug": False}), id="asyncio"),
        pytest.param(("asyncio", {"debug": False, "use_uvloop": True}), id="uvloop"),
    ],
)


async def test_nobody_cancels_a_running_task() -> None:
    assert not is_cancelled_from_outside()


async def test_a_cancelled_scope_around_the_task_cancels_it() -> None:
    with anyio.CancelScope() as scope:
        scope.cancel()
        assert is_cancelled_from_outside()
        with anyio.CancelScope(shield=True):
            await checkpoint()
            shielded = is_cancelled_from_outside()
        with pytest.raises(anyio.get_cancelled_exc_class()), refusing_stray_cancellation("the test"):
            await anyio.sleep_forever()
    assert not shielded
    assert not is_cancelled_from_outside()


async def test_a_deadline_that_has_passed_cancels_the_task_until_its_scope_ends() -> None:
    with anyio.move_on_after(0), refusing_stray_cancellation("the test"):
        await anyio.sleep_forever()
    assert not is_cancelled_from_outside()


async def test_a_task_of_a_cancelled_group_is_cancelled() -> None:
    seen: list[bool] = []

    async def child() -> None:
        try:
            with refusing_stray_cancellation("the test"):
                await anyio.sleep_forever()
        finally:
            seen.append(is_cancelled_from_outside())

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(child)
        await anyio.wait_all_tasks_blocked()
        tasks.cancel_scope.cancel()
    assert seen == [True]
    assert not is_cancelled_from_outside()


@on_asyncio
async def test_a_stray_cancellederror_is_an_error_like_any_other() -> None:
    message = "the hook awaited a task that was cancelled"
    with pytest.raises(RuntimeError, match=message) as raised, refusing_stray_cancellation("the hook"):
        await await_a_cancelled_task()
    assert isinstance(raised.value.__cause__, asyncio.CancelledError)
    assert not is_cancelled_from_outside()


@on_asyncio
async def test_task_cancel_is_honoured() -> None:
    async def run() -> None:
        with refusing_stray_cancellation("the test"):
            await asyncio.sleep(60)

    task = asyncio.create_task(run())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@on_asyncio
async def test_asyncio_timeout_is_honoured() -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            with refusing_stray_cancellation("the test"):
                await asyncio.sleep(60)
    assert not is_cancelled_from_outside()


@on_asyncio
async def test_an_inner_timeout_leaves_nothing_behind() -> None:
    with pytest.raises(RuntimeError), refusing_stray_cancellation("the test"):
        with anyio.move_on_after(0):
            await anyio.sleep(60)
        try:
            async with asyncio.timeout(0):
                await asyncio.sleep(60)
        except TimeoutError:
            pass
        await await_a_cancelled_task()
