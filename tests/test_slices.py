"""Work in slices, so that it does not hold up the event loop."""

from __future__ import annotations

import anyio
import pytest
from anyio.lowlevel import checkpoint

from anyws._slices import SLICE, in_slices


async def test_a_slice_is_limited_by_time(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    slices: list[list[float]] = [[]]

    def take(share: float) -> None:
        nonlocal now
        now += share * SLICE
        slices[-1].append(share)

    async def next_slice() -> None:
        slices.append([])
        await checkpoint()

    monkeypatch.setattr("anyws._slices.perf_counter", lambda: now)
    monkeypatch.setattr("anyws._slices.checkpoint", next_slice)
    await in_slices([0.5, 0.25, 0.5, 3.0, 0.5], take)
    assert slices == [[0.5, 0.25, 0.5], [3.0], [0.5], []]


async def test_if_cancelled_the_rest_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("anyws._slices.SLICE", 0)
    called: list[int] = []
    with anyio.CancelScope() as scope:

        def call(number: int) -> None:
            called.append(number)
            if number == 2:
                scope.cancel()

        await in_slices(range(5), call)
    assert called == [0, 1, 2]


async def test_other_tasks_run_even_if_there_is_nothing_to_do() -> None:
    with anyio.CancelScope() as scope:
        scope.cancel()
        await in_slices([], print)
    assert scope.cancelled_caught
