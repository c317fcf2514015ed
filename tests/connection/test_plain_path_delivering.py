"""A plain path delivers each message to a function: in order, one at a time, and nothing that it raises is lost."""

from __future__ import annotations

import contextvars
import gc
import weakref
from collections.abc import Awaitable, Iterator
from typing import Any

import anyio
import pytest

from .plain_paths import BUDGET, Driver, Rig, both_paths, frame, open_rig

pytestmark = both_paths


@pytest.fixture
def rig(kind: str) -> Iterator[Rig]:
    with open_rig(kind) as rig:
        yield rig


class Hook:
    """Records messages, and does once what a test wants."""

    def __init__(self) -> None:
        self.seen: list[Any] = []
        self.then: Any = None
        self.is_running = False

    def __call__(self, message: str | bytes) -> Any:
        assert not self.is_running
        self.is_running = True
        self.seen.append(message)
        then, self.then = self.then, None
        try:
            return None if then is None else then()
        finally:
            self.is_running = False


def arrive_and_run(rig: Rig, *messages: str | bytes) -> None:
    rig.arrive(b"".join(map(frame, messages)))
    rig.loop.run()


def test_messages_are_delivered_in_order_as_they_arrive(rig: Rig) -> None:
    hook = Hook()
    rig.inbox.put("0")
    driver = Driver(rig.path.deliver(hook))
    assert hook.seen == ["0"]
    rig.arrive(frame("1"))
    assert hook.seen == ["0", "1"]
    rig.arrive(frame(b"2") + frame("3"))
    assert hook.seen == ["0", "1", b"2", "3"]
    assert driver.outcome == []
    assert (rig.inbox.is_receiving, rig.inbox.receiver_waits) == (True, True)


@pytest.mark.parametrize("before", [True, False])
def test_other_tasks_have_their_turn_after_a_few_messages(rig: Rig, before: bool) -> None:
    hook = Hook()
    count = 3 * BUDGET + 1
    if before:
        for number in range(count):
            rig.inbox.put(f"{number}")
        Driver(rig.path.deliver(hook))
    else:
        Driver(rig.path.deliver(hook))
        rig.arrive(b"".join(frame(f"{number}") for number in range(count)))
    seen_at_once = len(hook.seen)
    assert 0 < seen_at_once <= BUDGET + 1
    rig.loop.run()
    assert hook.seen == [f"{number}" for number in range(count)]


@pytest.mark.parametrize("position", [0, 1, BUDGET - 1, BUDGET, BUDGET + 1])
def test_what_the_function_returns_is_for_the_task(rig: Rig, position: int) -> None:
    result = object()

    def hook(message: str) -> object:
        return result if message == f"{position}" else None

    driver = Driver(rig.path.deliver(hook))
    arrive_and_run(rig, *(f"{number}" for number in range(BUDGET + 3)))
    assert driver.outcome == [result]
    assert not (rig.inbox.is_receiving)
    assert not (rig.inbox.receiver_waits)
    assert rig.inbox.take() == f"{position + 1}"


@pytest.mark.parametrize("error", [LookupError("x"), anyio.EndOfStream(), SystemExit(3), StopAsyncIteration()])
@pytest.mark.parametrize("queued", [True, False])
def test_what_the_function_raises_is_raised_in_the_task(rig: Rig, error: BaseException, queued: bool) -> None:
    def hook(_: object) -> None:
        raise error

    if queued:
        rig.inbox.put("x")
    driver = Driver(rig.path.deliver(hook))
    if not queued:
        rig.arrive(frame("x"))
    assert driver.outcome == [error]
    assert driver.outcome[0] is error
    assert rig.errors == []
    assert not rig.inbox.is_receiving


def test_the_next_call_goes_on_with_the_next_message(rig: Rig) -> None:
    seen: list[Any] = []

    async def handle() -> None:
        while True:
            seen.append(await rig.path.deliver(lambda message: message))

    Driver(handle())
    arrive_and_run(rig, *(f"{number}" for number in range(2 * BUDGET)))
    assert seen == [f"{number}" for number in range(2 * BUDGET)]


def test_the_function_sends(rig: Rig) -> None:
    def echo(message: str) -> None:
        assert rig.path.send_now(message)

    Driver(rig.path.deliver(echo))
    arrive_and_run(rig, "a")
    assert rig.written() == b"\x81\x01a"
    rig.outbox.is_flush_due = True  # so that answers go out together
    arrive_and_run(rig, "b", "c")
    rig.write()
    assert rig.written() == b"\x81\x01b\x81\x01c"


@pytest.mark.parametrize("last", [1, BUDGET, BUDGET + 1])
@pytest.mark.parametrize("queued", [True, False])
def test_the_function_ends_the_connection(rig: Rig, last: int, queued: bool) -> None:
    seen: list[Any] = []

    def hook(message: str) -> None:
        seen.append(message)
        if len(seen) == last:
            rig.end()

    messages = [f"{number}" for number in range(3 * BUDGET)]
    if queued:
        for message in messages:
            rig.inbox.put(message)
    driver = Driver(rig.path.deliver(hook))
    if not queued:
        rig.arrive(b"".join(map(frame, messages)))
    rig.loop.run()
    assert seen == messages  # what has arrived before is delivered
    assert [type(exc) for exc in driver.outcome] == [anyio.EndOfStream]
    assert not rig.inbox.is_receiving


@pytest.mark.parametrize("queued", [True, False])
def test_the_function_ends_the_connection_and_raises(rig: Rig, queued: bool) -> None:
    error = LookupError()

    def hook(_: object) -> None:
        rig.end()
        raise error

    if queued:
        rig.inbox.put("x")
    driver = Driver(rig.path.deliver(hook))
    if not queued:
        rig.arrive(frame("x"))
    rig.loop.run()
    assert driver.outcome == [error]


def test_a_function_that_ends_the_connection_and_returns_something(rig: Rig) -> None:
    hook = Hook()
    hook.then = lambda: (rig.end(), "result")[1]  # type: ignore[func-returns-value]
    driver = Driver(rig.path.deliver(hook))
    arrive_and_run(rig, "x")
    assert driver.outcome == ["result"]


def test_the_function_runs_in_the_context_of_the_task(rig: Rig) -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="nobody")
    seen: list[str] = []

    async def handle() -> None:
        variable.set("task")
        await rig.path.deliver(lambda _: seen.append(variable.get()))

    Driver(handle())
    arrive_and_run(rig, "a")
    arrive_and_run(rig, "b", "c")
    assert (seen, variable.get()) == (["task"] * 3, "nobody")


@pytest.mark.parametrize("arrives_first", [True, False, None])
def test_a_cancelled_delivery_loses_nothing(rig: Rig, arrives_first: bool | None) -> None:
    hook = Hook()
    driver = Driver(rig.path.deliver(hook))
    if arrives_first:
        rig.inbox.put("x")
        rig.signal.set()
    driver.cancel()
    if arrives_first is False:
        rig.arrive(frame("x"))
    rig.loop.run()
    assert isinstance(driver.outcome[0], BaseException)
    assert not (rig.inbox.is_receiving)
    assert not (rig.inbox.receiver_waits)
    if arrives_first is None:
        rig.arrive(frame("x"))
    assert hook.seen == []
    Driver(rig.path.deliver(hook))
    assert hook.seen == ["x"]


def test_an_exception_of_a_function_that_has_cancelled_its_task_is_not_lost(rig: Rig) -> None:
    error = LookupError()

    def hook(_: object) -> None:
        driver.cancel()
        raise error

    driver = Driver(rig.path.deliver(hook))
    rig.arrive(frame("x"))
    rig.loop.run()
    assert driver.outcome == [error]


def test_a_delivery_that_is_dropped_is_over(rig: Rig) -> None:
    hook = Hook()
    coroutine = rig.path.deliver(hook)
    coroutine.send(None)
    dropped = weakref.ref(hook)
    del coroutine, hook
    gc.collect()
    assert dropped() is None
    assert not rig.inbox.is_receiving
    rig.arrive(frame("x"))
    assert len(rig.inbox) == 1


def test_a_task_that_waits_is_collected_with_the_connection(kind: str) -> None:
    def begin() -> tuple[Any, weakref.ref[Hook]]:
        rig, hook = Rig(kind), Hook()
        hook.then = Driver(rig.path.deliver(hook))  # a cycle
        return (rig.ours, rig.peer), weakref.ref(hook)

    sockets, dropped = begin()
    gc.collect()
    assert dropped() is None
    for each in sockets:
        each.close()


def test_another_delivery_is_refused(rig: Rig) -> None:
    first, second = Hook(), Hook()
    Driver(rig.path.deliver(first))
    assert [type(exc) for exc in Driver(rig.path.deliver(second)).outcome] == [anyio.BusyResourceError]
    rig.arrive(frame("x"))
    assert (first.seen, second.seen) == (["x"], [])


def test_an_error_of_the_link_while_a_message_is_delivered(rig: Rig) -> None:
    def fail() -> None:
        raise LookupError

    hook = Hook()
    driver = Driver(rig.path.deliver(hook))
    rig.resume_reading = fail  # type: ignore[method-assign]
    rig.inbox.put("x")
    rig.inbox.is_paused = True
    rig.arrive(frame("y"))
    rig.signal.set()
    rig.loop.run()
    assert hook.seen in ([], ["y"])
    assert driver.outcome or rig.errors


def test_a_message_that_an_exception_brings_is_delivered(rig: Rig) -> None:
    """On trio, a waiting task is woken by an exception, after which there may be a message."""

    class Receiver:
        async def receive(self) -> Any:
            try:
                await rig.signal.wait()
            except InterruptedError:
                return messages.pop(0)
            raise AssertionError

    messages = ["x", "y"]
    rig.path.receiver = Receiver()
    rig.path.detach()
    rig.inbox.is_open = False
    hook = Hook()
    coroutine = rig.path.deliver(hook)
    coroutine.send(None)
    coroutine.throw(InterruptedError())
    assert hook.seen == ["x"]
    hook.then = lambda: "result"
    with pytest.raises(StopIteration) as stopped:
        coroutine.throw(InterruptedError())
    assert (stopped.value.value, hook.seen) == ("result", ["x", "y"])


def test_a_function_may_return_an_awaitable(rig: Rig) -> None:
    seen: list[str] = []

    async def slow(message: str) -> None:
        seen.append(f"begin {message}")
        await rig.signal.wait()
        seen.append(f"end {message}")

    async def handle() -> None:
        while True:
            result: Awaitable[None] = await rig.path.deliver(slow)
            await result

    Driver(handle())
    rig.arrive(frame("a") + frame("b"))
    assert seen == ["begin a"]
    for _ in range(2):
        rig.signal.set()
        rig.loop.run()
    assert seen[:3] == ["begin a", "end a", "begin b"]
