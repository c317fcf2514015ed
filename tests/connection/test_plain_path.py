"""What the methods of a plain path return is a coroutine; receiving loses nothing. Both twins."""

from __future__ import annotations

import collections.abc
import contextlib
import gc
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import anyio
import pytest

from .plain_paths import BUDGET, Driver, Rig, both_paths, frame, open_rig

pytestmark = both_paths
METHODS = {
    "receive": lambda rig: rig.path.receive(),
    "__anext__": lambda rig: rig.path.next(),
    "deliver": lambda rig: rig.path.deliver(print),
    "send": lambda rig: rig.path.send("x"),
}
every_method = pytest.mark.parametrize("name", METHODS)
receiving = pytest.mark.parametrize("name", ["receive", "__anext__"])


@pytest.fixture
def rig(kind: str) -> Iterator[Rig]:
    with open_rig(kind) as rig:
        yield rig


# -- coroutines --------------------------------------------------------------------------------------------------------


@every_method
def test_it_is_a_coroutine_with_the_name_that_users_know(rig: Rig, name: str) -> None:
    coroutine: Any = METHODS[name](rig)
    assert isinstance(coroutine, collections.abc.Coroutine)
    assert [getattr(coroutine, each) for each in ("__name__", "__qualname__")] == [name, f"WebSocket.{name}"]
    coroutine.close()


@every_method
def test_a_call_that_is_never_awaited_does_nothing_and_warns(rig: Rig, name: str) -> None:
    rig.inbox.put("kept")
    with pytest.warns(RuntimeWarning, match=rf"coroutine 'WebSocket\.{name}' was never awaited"):
        METHODS[name](rig)
    assert (rig.calls, rig.written(), len(rig.inbox)) == ([], b"", 1)


@every_method
def test_a_call_that_is_closed_does_nothing_and_does_not_warn(rig: Rig, name: str) -> None:
    coroutine = METHODS[name](rig)
    coroutine.close()
    coroutine.close()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(RuntimeError, match="already awaited"):
            coroutine.send(None)
        del coroutine
    assert (rig.calls, rig.written()) == ([], b"")


@every_method
def test_an_exception_thrown_before_the_start_is_raised(rig: Rig, name: str) -> None:
    coroutine = METHODS[name](rig)
    with pytest.raises(LookupError):
        coroutine.throw(LookupError())
    with pytest.raises(RuntimeError, match="already awaited"):
        coroutine.send(None)
    assert (rig.calls, rig.written()) == ([], b"")


def test_a_call_can_be_awaited_only_once(rig: Rig) -> None:
    rig.inbox.put("one")
    rig.inbox.put("two")
    receive, send = rig.path.receive(), rig.path.send("x")
    for coroutine, result in ((receive, "one"), (send, None)):
        assert Driver(coroutine).outcome == [result]
        for again in (lambda c=coroutine: c.send(None), lambda c=coroutine: c.throw(LookupError())):
            with pytest.raises(RuntimeError, match="cannot reuse already awaited coroutine"):
                again()
    assert len(rig.inbox) == 1


async def _await(awaitable: Any) -> Any:
    return await awaitable


@pytest.mark.parametrize("name", ["receive", "__anext__", "deliver"])
def test_two_tasks_cannot_await_the_same_call(rig: Rig, name: str) -> None:
    coroutine = METHODS[name](rig)
    first = Driver(_await(coroutine))
    (error,) = Driver(_await(coroutine)).outcome
    assert isinstance(error, RuntimeError)
    assert "being awaited already" in str(error)
    assert first.outcome == []
    first.cancel()
    rig.loop.run()


@pytest.mark.parametrize("step", [lambda c: c.send(None), lambda c: c.throw(LookupError()), lambda c: c.close()])
def test_a_call_that_runs_cannot_be_resumed(rig: Rig, step: Callable[[Any], object]) -> None:
    raised: list[BaseException] = []

    def hook(_: object) -> str:
        try:
            step(coroutine)
        except ValueError as exc:
            raised.append(exc)
        return "outcome"

    coroutine = rig.path.deliver(hook)
    rig.inbox.put("x")
    assert Driver(coroutine).outcome == ["outcome"]
    assert [str(exc) for exc in raised] == ["coroutine already executing"]


def test_what_is_not_plain_is_a_coroutine_too(rig: Rig) -> None:
    rig.outbox.budget = 0
    coroutine = rig.path.send("x")
    coroutine.send(None)
    assert rig.calls == [("send", "x")]
    with pytest.raises(LookupError):
        coroutine.throw(LookupError())
    rig.inbox.budget = 0
    coroutine = rig.path.receive()
    coroutine.send(None)
    assert rig.inbox.is_receiving
    coroutine.close()
    assert not rig.inbox.is_receiving


# -- receiving ---------------------------------------------------------------------------------------------------------


@receiving
def test_a_queued_message_is_received_at_once(rig: Rig, name: str) -> None:
    rig.inbox.put("one")
    rig.inbox.put(b"two")
    for number, message in enumerate(["one", b"two"]):
        assert Driver(METHODS[name](rig)).outcome == [message]
        assert rig.inbox.budget == BUDGET - number - 1
    assert rig.calls == []


@receiving
def test_reading_goes_on_when_there_is_room(rig: Rig, name: str) -> None:
    rig.inbox.put("one")
    rig.inbox.is_paused = True
    assert Driver(METHODS[name](rig)).outcome == ["one"]
    assert rig.calls == ["resume_reading"]


@receiving
def test_after_a_few_messages_other_tasks_run(rig: Rig, name: str) -> None:
    for number in range(BUDGET + 1):
        rig.inbox.put(f"{number}")
    for number in range(BUDGET):
        assert Driver(METHODS[name](rig)).outcome == [f"{number}"]
    driver = Driver(METHODS[name](rig))
    assert driver.outcome == []
    rig.loop.run()
    assert driver.outcome == [f"{BUDGET}"]


@receiving
def test_a_message_that_arrives_is_received_in_the_same_step(rig: Rig, name: str) -> None:
    driver = Driver(METHODS[name](rig))
    assert driver.outcome == []
    assert (rig.inbox.is_receiving, rig.inbox.receiver_waits) == (True, True)
    rig.arrive(frame("hello"))
    assert driver.outcome == ["hello"]
    assert not (rig.inbox.is_receiving)
    assert not (rig.inbox.receiver_waits)
    assert rig.last_heard == 5.0


@receiving
def test_a_wake_up_without_a_message_changes_nothing(rig: Rig, name: str) -> None:
    driver = Driver(METHODS[name](rig))
    for _ in range(3):
        rig.signal.set()
        rig.loop.run()
        rig.signal.set_now()
    assert driver.outcome == []
    assert rig.inbox.is_receiving
    rig.arrive(frame("hello"))
    assert driver.outcome == ["hello"]


def test_a_signal_set_before_the_wait_does_not_end_it(rig: Rig) -> None:
    rig.signal.set()
    driver = Driver(rig.path.receive())
    rig.loop.run()
    assert driver.outcome == []
    rig.arrive(frame("hello"))
    assert driver.outcome == ["hello"]


@receiving
def test_a_cancelled_receive_gives_back_the_right_to_receive(rig: Rig, name: str) -> None:
    driver = Driver(METHODS[name](rig))
    driver.cancel()
    rig.loop.run()
    assert [type(exc).__name__ for exc in driver.outcome] == ["CancelledError"]
    assert not (rig.inbox.is_receiving)
    assert not (rig.inbox.receiver_waits)
    rig.arrive(frame("hello"))
    assert Driver(METHODS[name](rig)).outcome == ["hello"]


@receiving
@pytest.mark.parametrize("arrives_first", [True, False])
def test_a_message_that_arrives_with_the_cancellation_is_not_lost(rig: Rig, name: str, arrives_first: bool) -> None:
    driver = Driver(METHODS[name](rig))
    if arrives_first:
        rig.inbox.put("hello")
        rig.signal.set()
    driver.cancel()
    if not arrives_first:
        rig.arrive(frame("hello"))
    rig.loop.run()
    assert isinstance(driver.outcome[0], BaseException)
    assert not rig.inbox.is_receiving
    assert Driver(METHODS[name](rig)).outcome == ["hello"]


@receiving
def test_a_call_that_is_dropped_while_it_waits_gives_back_the_right_to_receive(rig: Rig, name: str) -> None:
    coroutine = METHODS[name](rig)
    coroutine.send(None)
    assert rig.inbox.is_receiving
    del coroutine
    gc.collect()
    assert not (rig.inbox.is_receiving)
    assert not (rig.inbox.receiver_waits)


def test_only_one_task_receives(rig: Rig) -> None:
    driver = Driver(rig.path.receive())
    (error,) = Driver(rig.path.receive()).outcome
    assert isinstance(error, anyio.BusyResourceError)
    rig.arrive(frame("hello"))
    assert driver.outcome == ["hello"]


@pytest.mark.parametrize("flag", ["is_receiving", "is_reserved"])
def test_a_message_that_another_task_receives_is_left_to_it(rig: Rig, flag: str) -> None:
    rig.inbox.put("x")
    setattr(rig.inbox, flag, True)
    Driver(rig.path.receive())
    assert rig.calls == ["receive"]


def test_what_is_due_is_written_before_the_task_waits(rig: Rig) -> None:
    rig.inbox.put("question")
    assert Driver(rig.path.receive()).outcome == ["question"]
    rig.outbox.is_flush_due = True
    assert Driver(rig.path.send("answer")).outcome == [None]
    assert rig.written() == b""
    Driver(rig.path.receive())
    assert rig.written() == b"\x81\x06answer"


@receiving
@pytest.mark.parametrize("while_waiting", [True, False])
def test_the_end_of_the_connection_is_raised(rig: Rig, name: str, while_waiting: bool) -> None:
    expected = anyio.EndOfStream if name == "receive" else StopAsyncIteration
    if not while_waiting:
        rig.end()
    driver = Driver(METHODS[name](rig))
    rig.end()
    rig.loop.run()
    assert [type(exc) for exc in driver.outcome] == [expected]
    assert not rig.inbox.is_receiving


def test_what_arrived_before_the_end_is_received_first(rig: Rig) -> None:
    driver = Driver(rig.path.receive())
    rig.inbox.put("last")
    rig.end()
    rig.loop.run()
    assert driver.outcome == ["last"]


def test_a_paused_connection_reads_on_for_a_task_that_waits(rig: Rig) -> None:
    rig.inbox.is_paused = True
    driver = Driver(rig.path.receive())
    assert rig.calls == ["receive", "resume_reading"]
    rig.arrive(frame("hello"))
    assert driver.outcome == ["hello"]


def test_a_path_without_a_socket_receives_and_sends(rig: Rig) -> None:
    rig.path.detach()
    rig.path.on_readable()
    driver = Driver(rig.path.receive())
    rig.inbox.put("hello")
    rig.signal.set_now()
    assert driver.outcome == ["hello"]
    assert Driver(rig.path.send("x")).outcome == [None]
    assert rig.calls[-1] == "flush"
    with contextlib.suppress(BlockingIOError):
        rig.write()
