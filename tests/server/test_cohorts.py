"""Handlers that do not end within the grace are cancelled in groups, so that other tasks run in between."""

from __future__ import annotations

import contextlib

import anyio
import pytest
from anyio.lowlevel import checkpoint

import anyws
from anyws._server import cohorts as module
from anyws._server.cohorts import Cohort, Cohorts
from tests.peers import cancelling_at, uri_of

CROWD = 6


@pytest.fixture(autouse=True)
def two_to_a_cohort(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_SIZE", 2)


async def test_tasks_fill_the_cohorts_that_have_room_and_unused_ones_end() -> None:
    async with anyio.create_task_group() as tasks:
        before = len(anyio.get_running_tasks())
        cohorts = Cohorts(tasks)

        async def join() -> Cohort:
            await cohorts.make_room()
            cohort = cohorts.join()
            assert cohort is not None
            return cohort

        first, *others = [await join() for _ in range(5)]
        assert others[0] is first
        assert others[1] is others[2] is not first
        assert others[3] not in (first, others[1])
        assert len(anyio.get_running_tasks()) - before == 3
        others[1].leave()
        assert await join() is others[3]
        assert await join() is others[1]  # which has room again
        for cohort in (first, first):
            cohort.leave()
        await anyio.wait_all_tasks_blocked()
        assert len(anyio.get_running_tasks()) - before == 2
        for cohort in (*others[1:3], *others[3:], others[3]):
            cohort.leave()
        await anyio.wait_all_tasks_blocked()
        assert len(anyio.get_running_tasks()) - before == 1  # for the next tasks
        cohorts.close()
    with pytest.raises(RuntimeError):  # it has ended
        others[1].tasks.start_soon(checkpoint)


async def test_a_cohort_that_was_cancelled_gets_no_more_tasks() -> None:
    """A server may accept a connection while it is being cancelled; its own group still accepts the task then."""
    async with anyio.create_task_group() as tasks:
        cohorts = Cohorts(tasks)
        await cohorts.make_room()
        tasks.cancel_scope.cancel()
        with anyio.CancelScope(shield=True):
            await anyio.wait_all_tasks_blocked()
            assert cohorts.join() is None


async def test_cancelling_one_cohort_after_the_other() -> None:
    turn = 0
    cancelled: list[int] = []

    async def task(cohort: Cohort) -> None:
        try:
            await anyio.sleep_forever()
        finally:
            cancelled.append(turn)
            cohort.leave()

    async def count() -> None:
        nonlocal turn
        while len(cancelled) < CROWD:
            turn += 1
            await checkpoint()

    async with anyio.create_task_group() as tasks:
        cohorts = Cohorts(tasks)
        for _ in range(CROWD):
            await cohorts.make_room()
            cohort = cohorts.join()
            assert cohort is not None
            cohort.tasks.start_soon(task, cohort)
        await anyio.wait_all_tasks_blocked()
        cohorts.close()
        tasks.start_soon(count)
        await cohorts.cancel()
    assert len(cancelled) == CROWD
    assert max(cancelled.count(turn) for turn in cancelled) <= 4  # two cohorts: the order of tasks in a turn varies
    assert len(set(cancelled)) > 1


async def test_after_the_grace_the_handlers_are_cancelled_and_others_run_in_between() -> None:
    turn = 0
    cancelled: list[int] = []

    async def handler(websocket: anyws.WebSocket) -> None:
        try:
            await anyio.sleep_forever()
        finally:
            cancelled.append(turn)

    async def count() -> None:
        nonlocal turn
        while True:
            turn += 1
            await checkpoint()

    async with anyio.create_task_group() as tasks:
        server = await tasks.start(anyws.serve, handler, "127.0.0.1", 0)
        async with contextlib.AsyncExitStack() as stack:
            for _ in range(CROWD):
                await stack.enter_async_context(anyws.connect(uri_of(server)))
            tasks.start_soon(count)
            await server.aclose(grace=0)
            assert len(cancelled) == CROWD
            assert len(set(cancelled)) > 1
            assert not server.connections
        tasks.cancel_scope.cancel()


@pytest.mark.parametrize("step", range(6))
async def test_cancelling_the_shutdown_cancels_the_rest_at_once(step: int) -> None:
    cancelled: list[None] = []

    async def handler(websocket: anyws.WebSocket) -> None:
        try:
            await anyio.sleep_forever()
        finally:
            cancelled.append(None)

    async with anyio.create_task_group() as tasks:
        server = await tasks.start(anyws.serve, handler, "127.0.0.1", 0)
        async with contextlib.AsyncExitStack() as stack:
            for _ in range(CROWD):
                await stack.enter_async_context(anyws.connect(uri_of(server)))
            with anyio.CancelScope() as scope:
                await cancelling_at(step, scope, server.aclose(grace=0))
            while server.connections:
                await checkpoint()
            assert len(cancelled) == CROWD
