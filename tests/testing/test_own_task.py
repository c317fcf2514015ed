"""Blocks that any task may leave."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager

import anyio
import pytest

from anyws.testing import local_server
from anyws.testing._own_task import in_own_task
from tests.peers import open_sockets


class Log:
    """A block that logs what it sees."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def block(self, *, entering: float = 0, leaving: float = 0) -> AbstractAsyncContextManager[str]:
        """Return the block; with `entering` or `leaving` as infinity, it stays there until it is cancelled."""
        return in_own_task(self._run)(entering, leaving)

    async def _run(self, entering: float, leaving: float) -> AsyncGenerator[str, None]:
        try:
            async with anyio.create_task_group() as tasks:
                await anyio.sleep(entering)
                tasks.start_soon(anyio.sleep_forever)
                try:
                    yield "value"
                except LookupError as exc:
                    self.seen.append(repr(exc))
                    tasks.cancel_scope.cancel()
                    raise
                await anyio.sleep(leaving)
                self.seen.append("left")
                tasks.cancel_scope.cancel()
        except anyio.get_cancelled_exc_class():
            self.seen.append("cancelled")
            raise
        finally:
            self.seen.append("ended")


@pytest.fixture
def log() -> Log:
    return Log()


async def test_the_block_has_a_value_and_an_end(log: Log) -> None:
    async with log.block() as value:
        assert value == "value"
        assert log.seen == []
    assert log.seen == ["left", "ended"]


async def test_an_exception_goes_through_the_block_and_propagates_unchanged() -> None:
    error = LookupError("from the body")
    seen = []

    @in_own_task
    async def block() -> AsyncGenerator[None, None]:
        try:
            yield
        except LookupError as exc:
            seen.append(exc)
            raise

    with pytest.raises(LookupError) as raised:
        async with block():
            raise error
    assert raised.value is error
    assert seen == [error]


async def test_the_block_may_raise_something_else() -> None:
    @in_own_task
    async def block() -> AsyncGenerator[None, None]:
        try:
            yield
        except LookupError as exc:
            raise ValueError("from the block") from exc

    with pytest.raises(ValueError, match="from the block") as raised:
        async with block():
            raise LookupError("from the body")
    assert isinstance(raised.value.__cause__, LookupError)


async def test_an_exception_on_entry_propagates() -> None:
    @in_own_task
    async def block() -> AsyncGenerator[None, None]:
        raise LookupError("on entry")
        yield

    with pytest.raises(LookupError, match="on entry"):
        async with block():
            pytest.fail("entered")


async def test_cancellation_on_entry_ends_the_block(log: Log) -> None:
    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as tasks:

            async def enter() -> None:
                async with log.block(entering=float("inf")):
                    pytest.fail("entered")

            tasks.start_soon(enter)
            await anyio.wait_all_tasks_blocked()
            scope.cancel()
    assert log.seen == ["cancelled", "ended"]


async def test_cancellation_in_the_body_ends_the_block(log: Log) -> None:
    with anyio.CancelScope() as scope:
        async with log.block():
            scope.cancel()
            await anyio.sleep_forever()
    assert scope.cancelled_caught
    assert log.seen == ["cancelled", "ended"]


async def test_cancellation_on_exit_ends_the_block(log: Log) -> None:
    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as tasks:

            async def leave() -> None:
                async with log.block(leaving=float("inf")):
                    pass

            tasks.start_soon(leave)
            await anyio.wait_all_tasks_blocked()
            scope.cancel()
    assert log.seen == ["cancelled", "ended"]


def test_another_task_may_leave_the_block(log: Log) -> None:
    async def main() -> None:
        block = log.block()
        assert await asyncio.create_task(block.__aenter__()) == "value"
        await asyncio.create_task(block.__aexit__(None, None, None))
        assert log.seen == ["left", "ended"]

    asyncio.run(main())


def test_the_end_of_the_program_ends_a_block_that_nobody_leaves(log: Log) -> None:
    async def main() -> None:
        await blocks[0].__aenter__()

    blocks = [log.block()]
    asyncio.run(main())
    assert log.seen == ["cancelled", "ended"]


def test_a_server_that_nobody_stops_is_closed_at_the_end_of_the_program() -> None:
    async def main() -> None:
        await server.__aenter__()
        await anyio.wait_all_tasks_blocked()

    async def handler(websocket: object) -> None: ...

    before = open_sockets()
    server = local_server(handler)
    asyncio.run(main())
    assert open_sockets() == before
