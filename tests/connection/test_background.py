"""Timers and tasks of connections: on trio, where a task makes the timers; asyncio has its own."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable

import anyio
import pytest
from anyio.lowlevel import checkpoint

from anyws._connection.pumps import Background, open_background
from tests.peers import on_mock_clock


@on_mock_clock
async def test_timers_are_called_in_their_order() -> None:
    called: list[tuple[str, float]] = []
    begun = anyio.current_time()

    def note(name: str) -> Callable[[], None]:
        return lambda: called.append((name, round(anyio.current_time() - begun)))

    async with open_background() as background:
        background.call_at(begun + 30, note("third"))
        background.call_at(begun + 10, note("first"))
        await anyio.sleep(5)
        background.call_at(begun + 20, note("second"))
        background.call_at(begun + 6, note("before all that were known"))
        background.call_soon(note("now"))
        await anyio.sleep(50)
        background.call_at(begun + 1, note("late"))
        await anyio.sleep(0.1)
    expected = [("now", 5), ("before all that were known", 6), ("first", 10), ("second", 20), ("third", 30)]
    assert called == [*expected, ("late", 55)]


@on_mock_clock
async def test_a_timer_that_is_cancelled_is_not_called() -> None:
    called: list[int] = []

    async with open_background() as background:
        begun = anyio.current_time()
        timers = [background.call_at(begun + number, functools.partial(called.append, number)) for number in range(500)]
        for number, timer in enumerate(timers):
            if number != 400:
                timer.cancel()
                timer.cancel()
        await anyio.sleep(1000)
        timers[400].cancel()
    assert called == [400]


@on_mock_clock
async def test_a_timer_may_set_timers() -> None:
    called: list[float] = []
    begun = anyio.current_time()

    def again(background: Background) -> None:
        called.append(anyio.current_time() - begun)
        if len(called) < 4:
            background.call_at(anyio.current_time() + 7, lambda: again(background))

    async with open_background() as background:
        background.call_at(begun + 7, lambda: again(background))
        await anyio.sleep(100)
    assert called == pytest.approx([7, 14, 21, 28])


@on_mock_clock
async def test_a_timer_that_fails_is_logged_and_harms_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    called = anyio.Event()

    def fail() -> None:
        raise ZeroDivisionError

    records: list[logging.LogRecord] = []
    handler = logging.Handler()
    monkeypatch.setattr(handler, "emit", records.append)
    logging.getLogger("anyws").addHandler(handler)
    try:
        async with open_background() as background:
            background.call_at(anyio.current_time() + 1, fail)
            background.call_at(anyio.current_time() + 2, called.set)
            await called.wait()
    finally:
        logging.getLogger("anyws").removeHandler(handler)
    assert [record.exc_info and record.exc_info[0] for record in records] == [ZeroDivisionError]


async def test_what_a_block_raises_comes_out_bare() -> None:
    with pytest.raises(ZeroDivisionError):
        async with open_background():
            raise ZeroDivisionError


async def test_it_ends_though_timers_are_left() -> None:
    called: list[None] = []
    tasks_before = len(anyio.get_running_tasks())
    async with open_background() as background:
        background.call_at(anyio.current_time() + 3600, lambda: called.append(None)).cancel()
    assert not called
    assert len(anyio.get_running_tasks()) == tasks_before


async def test_its_tasks_are_not_cancelled_with_the_block() -> None:
    ended: list[str] = []
    go_on = anyio.Event()

    async def task() -> None:
        await go_on.wait()
        ended.append("as it should")

    with anyio.CancelScope() as scope:
        async with open_background() as background:
            background.start_soon(task)
            scope.cancel()
            try:
                await anyio.sleep_forever()
            finally:
                go_on.set()
    assert scope.cancelled_caught
    assert ended == ["as it should"]


async def test_timers_that_are_due_together_are_called_in_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("anyws._connection.pumps.background.SLICE", 0)
    turn = 0
    called: list[tuple[int, int]] = []
    everybody = anyio.Event()

    def call(number: int) -> None:
        called.append((number, turn))
        if number == 0:
            timers[5].cancel()
        if number == 9:
            everybody.set()

    async with open_background() as background:
        begun = anyio.current_time()
        timers = [background.call_at(begun - 20 + number, functools.partial(call, number)) for number in range(10)]
        while not everybody.is_set():
            turn += 1
            await checkpoint()
    assert [number for number, _ in called] == [0, 1, 2, 3, 4, 6, 7, 8, 9]
    assert called[-1][1] - called[0][1] >= 7  # on trio, the order of the tasks within one turn varies
