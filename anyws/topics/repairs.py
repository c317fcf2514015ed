"""Fills holes in topics from their history, or tells the followers of them: `Repairs`."""

from __future__ import annotations

from collections import deque

from anyio.abc import TaskGroup

from anyws._slices import Slices
from anyws.exceptions import EngineUnavailable

from .delivery import deliver
from .feed import Feed
from .reads import Reads

__all__ = ["Repairs"]

_AT_A_TIME = 8  # topics


class Repairs:
    """Repairs topics, a few at a time. While a topic is repaired, only that task passes its messages on.

    Args:
        reads: reads the history.
        tasks: runs the repairs.
    """

    def __init__(self, reads: Reads, tasks: TaskGroup) -> None:
        self._reads = reads
        self._tasks = tasks
        self._due: deque[Feed] = deque()
        self._workers = 0

    def begin(self, feed: Feed) -> None:
        """Repair a topic soon, unless that is being done."""
        if not feed.is_being_repaired:
            feed.is_being_repaired = True
            self._due.append(feed)
            if self._workers < _AT_A_TIME:
                self._workers += 1
                self._tasks.start_soon(self._work, name="anyws.topics.repairs")

    async def _work(self) -> None:
        slices = Slices()
        try:
            while self._due:
                feed = self._due.popleft()
                try:
                    await self._repair(feed, slices)
                except EngineUnavailable:
                    pass  # the next check begins again
                finally:
                    feed.is_being_repaired = False
        finally:
            self._workers -= 1

    async def _repair(self, feed: Feed, slices: Slices) -> None:
        while feed.users:
            message = feed.next_held()
            if message is not None:
                await deliver(feed, message, slices)
            elif feed.is_whole:
                feed.go_live()
                return
            else:
                await self._read(feed, slices)

    async def _read(self, feed: Feed, slices: Slices) -> None:
        assert feed.last is not None
        feed.begin_read()
        messages = await self._reads.read(feed.topic, feed.last)
        slices.renew()
        if messages is None:
            feed.skip_hole()
            return
        feed.end_read(messages[-1].position.epoch if messages else feed.last.epoch)
        if not messages:
            feed.stay()
        for message in messages:
            await deliver(feed, message, slices)
            await slices.pause_if_due()
