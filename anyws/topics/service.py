"""What runs behind `Topics`: `Service`.

How this works: an engine puts what arrives into a queue. One task takes it out in order and passes it on, see
`delivery.py`, so that whoever publishes does not do this work and cannot be cancelled in the middle of it. A second
task tells the engine what to follow and checks that nothing is missing, see `following.py`. A third closes the
connections that have missed messages. Repairs and reads from the history have tasks of their own while they last. The
number of tasks does not depend on the number of connections and topics.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

import anyio
from anyio.abc import TaskGroup, TaskStatus

from anyws._slices import Slices
from anyws.exceptions import EngineUnavailable

from .arrivals import Arrivals
from .closes import SpreadCloses
from .delivery import deliver
from .engine import Engine
from .feed import Feed
from .followers import FrameFollower, Reader
from .following import Following
from .published import Message
from .reads import Reads
from .repairs import Repairs

__all__ = ["Service"]

_logger = logging.getLogger("anyws.topics")


class Service:
    """Runs an engine, and passes on what it brings.

    Args:
        engine: the engine.
        timeout: how long a call of the engine may take, in seconds.
        reconnect_spread: within how many seconds to close connections that have missed messages.

    Attributes:
        feeds: the topics that are followed, by name.
        arrivals: what has arrived.
        closes: the connections to close.
        followers: all that follow topics.
        following: what is followed.
        reads: reads the history.
    """

    reads: Reads
    _repairs: Repairs

    def __init__(self, engine: Engine, timeout: float, reconnect_spread: float) -> None:
        self._engine = engine
        self._timeout = timeout
        self._is_engine_interrupted = False
        self._has_check_failed = False
        self._is_open = False
        self._failure: Exception | None = None
        self.feeds: dict[str, Feed] = {}
        self.arrivals: Arrivals = Arrivals(self.feeds, self._on_engine_status)
        self.closes: SpreadCloses = SpreadCloses(reconnect_spread)
        self.followers: set[FrameFollower | Reader] = set()
        self.following: Following = Following(engine, self.feeds, self.arrivals.stand, self._on_check, timeout)

    @property
    def is_interrupted(self) -> bool:
        """Whether messages may be lost at the moment."""
        return self._is_engine_interrupted or self._has_check_failed

    def check_open(self) -> None:
        """Check that this runs.

        Raises:
            anyio.ClosedResourceError: it does not run any more.
        """
        if not self._is_open:
            raise anyio.ClosedResourceError("the topics are closed: the block of open_topics() has ended")

    async def run(self, started: anyio.Event) -> None:
        """Run until cancelled.

        Args:
            started: set once the engine is connected.

        Raises:
            EngineUnavailable: the engine could not connect.
            Exception: a failure of the engine that it should not have.
        """
        try:
            async with anyio.create_task_group() as tasks:
                await self._start(tasks)
                if self._failure is None:
                    started.set()
        finally:
            self._close()
        if self._failure is not None:
            raise self._failure

    async def _start(self, tasks: TaskGroup) -> None:
        async def run_engine(*, task_status: TaskStatus[None]) -> None:
            await self._run(tasks, lambda: self._engine.run(self.arrivals, task_status=task_status))

        try:
            await tasks.start(run_engine)
        except RuntimeError:  # it has ended instead
            return
        self.reads = Reads(self._engine, self._timeout, tasks)
        self._repairs = Repairs(self.reads, tasks)
        self._is_open = True
        for task in (self._deliver, self.following.run, self.closes.run):
            tasks.start_soon(self._run, tasks, task, name="anyws.topics")

    async def _run(self, tasks: TaskGroup, task: Callable[[], Awaitable[None]]) -> None:
        """Run a task that ends only by cancellation, and keep its exception, so that it is not wrapped in a group."""
        try:
            await task()
            self._failure = self._failure or RuntimeError("the run() of the engine has returned: expected to run on")
        except Exception as exc:
            self._failure = self._failure or exc
        tasks.cancel_scope.cancel()

    def _close(self) -> None:
        """Let nobody believe that messages still come."""
        self._is_open = False
        self.following.close()
        for follower in tuple(self.followers):
            follower.end("the topics are closed")
        self.closes.close_all()

    # -- tasks ---------------------------------------------------------------------------------------------------------

    async def _deliver(self) -> None:
        """Pass on what arrives, in order."""
        arrivals, slices = self.arrivals, Slices()
        while True:
            arrivals.call_due()
            arrival = arrivals.take()
            if arrival is None:
                await arrivals.wait()
                slices.renew()
                continue
            feed, item = arrival
            if not isinstance(item, Message):
                feed.stand(item)
            elif feed.accept(item):
                await deliver(feed, item, slices)
            if not feed.is_live and feed.last is not None:
                self._repairs.begin(feed)
            await slices.pause_if_due()

    # -- status --------------------------------------------------------------------------------------------------------

    def _on_engine_status(self, reason: BaseException | None) -> None:
        if reason is None and self._is_engine_interrupted:
            _logger.info("the engine of topics is connected again")
        elif reason is not None and not self._is_engine_interrupted:
            _logger.warning("the engine of topics is not connected: %s", reason)
        self._is_engine_interrupted = reason is not None
        if reason is None:
            self.following.check_soon()

    def _on_check(self, failure: EngineUnavailable | None) -> None:
        if failure is not None and not self.is_interrupted:
            _logger.warning("the engine of topics does not respond: %s", failure)
        self._has_check_failed = failure is not None
