"""Signals: who waits is asked, who does not is cancelled."""

from __future__ import annotations

import signal
from typing import Any

import anyio
import pytest

from anyws.cli.stopping import stop_signals


async def test_the_first_signal_ends_wait_and_the_second_cancels() -> None:
    steps = []
    async with stop_signals() as stop:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(stop.wait)
            await anyio.wait_all_tasks_blocked()
            signal.raise_signal(signal.SIGTERM)
        steps.append("asked")
        signal.raise_signal(signal.SIGINT)
        await anyio.sleep(30)
        steps.append("not reached")
    assert steps == ["asked"]


async def test_without_support_there_are_no_signals(monkeypatch: pytest.MonkeyPatch) -> None:
    def open_signal_receiver(*signals: Any) -> None:
        raise NotImplementedError

    monkeypatch.setattr(anyio, "open_signal_receiver", open_signal_receiver)
    async with stop_signals() as stop:
        with anyio.move_on_after(0):
            await stop.wait()
        stop.ask()
        await anyio.sleep(30)
