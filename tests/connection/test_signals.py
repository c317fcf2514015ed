"""The signal that wakes an asyncio task, in both twins."""

from __future__ import annotations

import asyncio
import gc
import weakref
from contextvars import ContextVar
from typing import Any

import anyio
import pytest

from anyws._connection.pumps.signals import PureSignal
from tests.twins import compiled_twin

COMPILED = compiled_twin()
both_signals = pytest.mark.parametrize(
    "kind",
    [
        pytest.param(PureSignal, id="pure"),
        pytest.param(
            getattr(COMPILED, "Signal", None),
            id="compiled",
            marks=pytest.mark.skipif(COMPILED is None, reason="the extension is not built"),
        ),
    ],
)

name: ContextVar[str] = ContextVar("name", default="nobody")


@pytest.fixture(params=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    return "asyncio", {"use_uvloop": request.param == "uvloop"}


@pytest.fixture
async def signal(kind: Any) -> Any:
    return kind(asyncio.get_running_loop())


async def passes(count: int = 3) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


class Waiter:
    """A task that waits repeatedly and records each wake-up."""

    def __init__(self, signal: Any) -> None:
        self.seen: list[str] = []
        self._signal = signal

    async def run(self) -> None:
        name.set("waiter")
        while True:
            try:
                await self._signal.wait()
            except asyncio.CancelledError as exc:
                self.seen.append(f"cancelled {exc.args}")
                raise
            self.seen.append(name.get())


@both_signals
async def test_a_set_before_the_wait_is_seen_once(signal: Any) -> None:
    signal.set()
    signal.set()
    await signal.wait()
    waiter = Waiter(signal)
    task = asyncio.create_task(waiter.run())
    await passes()
    assert waiter.seen == []
    task.cancel()
    await passes()
    assert task.cancelled()


@both_signals
async def test_set_wakes_the_task_in_the_next_iteration_and_in_its_context(signal: Any) -> None:
    waiter = Waiter(signal)
    task = asyncio.create_task(waiter.run())
    await passes()
    for count in (1, 2):
        assert not signal.done()
        signal.set()
        assert signal.done()
        assert len(waiter.seen) == count - 1
        await passes()
        assert waiter.seen == ["waiter"] * count
    assert name.get() == "nobody"
    task.cancel()
    await passes()


@both_signals
async def test_an_event_loop_callback_can_run_the_task_immediately(signal: Any) -> None:
    waiter = Waiter(signal)
    task = asyncio.create_task(waiter.run())
    await passes()
    seen: list[tuple[list[str], str]] = []

    def callback() -> None:
        signal.set_now()
        seen.append((list(waiter.seen), name.get()))
        signal.set_now()
        seen.append((list(waiter.seen), name.get()))

    asyncio.get_running_loop().call_soon(callback)
    await passes()
    assert seen == [(["waiter"], "nobody"), (["waiter"] * 2, "nobody")]
    task.cancel()
    await passes()
    assert task.cancelled()
    signal.set_now()  # no task is waiting, so the next one sees it
    await signal.wait()


@both_signals
async def test_a_cancelled_task_gets_the_message_and_loses_nothing(signal: Any) -> None:
    waiter = Waiter(signal)
    task = asyncio.create_task(waiter.run())
    await passes()
    task.cancel("because")
    signal.set()
    await passes()
    assert waiter.seen == ["cancelled ('because',)"]
    assert task.cancelled()
    await signal.wait()


@both_signals
@pytest.mark.parametrize("times", [1, 2])
async def test_a_task_that_was_woken_and_then_cancelled_is_cancelled_once(signal: Any, times: int) -> None:
    waiter = Waiter(signal)
    task = asyncio.create_task(waiter.run())
    await passes()
    signal.set()
    for _ in range(times):
        task.cancel()
    await passes()
    assert waiter.seen == ["cancelled ()"]
    await signal.wait()


@both_signals
async def test_a_task_that_continues_after_a_cancellation_can_wait_again(signal: Any) -> None:
    seen = []

    async def stubborn() -> None:
        try:
            await signal.wait()
        except asyncio.CancelledError:
            seen.append("cancelled")
        await signal.wait()
        seen.append("woken")

    task = asyncio.create_task(stubborn())
    await passes()
    task.cancel()
    await passes()
    assert seen == ["cancelled"]
    signal.set()
    await task
    assert seen == ["cancelled", "woken"]


@both_signals
async def test_anyio_scopes_and_asyncio_timeouts_end_the_wait(signal: Any) -> None:
    with anyio.move_on_after(0) as scope:
        await signal.wait()
    assert scope.cancelled_caught
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await signal.wait()
    async with anyio.create_task_group() as tasks:

        async def wait() -> None:
            await signal.wait()

        tasks.start_soon(wait)
        await anyio.wait_all_tasks_blocked()
        assert not signal.done()
        tasks.cancel_scope.cancel()
    assert signal.done()
    signal.set()
    await signal.wait()


@both_signals
async def test_an_exception_that_ends_the_program_propagates_from_the_callback(signal: Any) -> None:
    async def interrupted() -> None:
        await signal.wait()
        raise KeyboardInterrupt

    task = asyncio.create_task(interrupted())
    await passes()
    outcome: list[BaseException] = []

    def callback() -> None:
        try:
            signal.set_now()
        except BaseException as exc:
            outcome.append(exc)

    asyncio.get_running_loop().call_soon(callback)
    await passes()
    assert [type(exc) for exc in outcome] == [KeyboardInterrupt]
    with pytest.raises(KeyboardInterrupt):
        task.result()


@both_signals
async def test_a_signal_is_collected_with_its_waiting_task(kind: Any) -> None:
    class Holder:
        pass

    holder = Holder()

    async def wait(signal: Any, holder: Holder) -> None:
        await signal.wait()

    loop = asyncio.get_running_loop()
    task = loop.create_task(wait(kind(loop), holder))
    seen = weakref.ref(holder)
    await passes()
    task.cancel()
    await passes()
    del task, holder
    gc.collect()
    assert seen() is None
