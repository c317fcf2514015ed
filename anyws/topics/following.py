"""Tells the engine which topics to follow, and asks it where they stand: `Following`.

How this works: one task does that for all topics, one call after another. So whoever begins to follow a topic can be
cancelled without harm to others, many that begin at the same time share one call, and the engine never hears of a topic
out of order.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

import anyio

from anyws._connection.wakeup import Wakeup
from anyws.exceptions import EngineUnavailable

from .engine import Engine, Position
from .feed import Feed, Standing

__all__ = ["Following"]

CHECK_INTERVAL = 5
"""How often to ask the engine where the topics stand, in seconds. So a loss is noticed without a next message."""

_AT_ONCE = 500  # topics in one call
_logger = logging.getLogger("anyws.topics")


class Following:
    """Keeps the engine's subscriptions in line with the feeds, and compares both.

    Args:
        engine: the engine.
        feeds: the topics that are followed, by name; only this class changes them.
        stand: called with what the engine says of a topic.
        report: called with the failure of a check, and with None after a success.
        timeout: how long a call may take, in seconds.
    """

    def __init__(
        self,
        engine: Engine,
        feeds: dict[str, Feed],
        stand: Callable[[Feed, Standing], None],
        report: Callable[[EngineUnavailable | None], None],
        timeout: float,
    ) -> None:
        self._engine = engine
        self._feeds = feeds
        self._stand = stand
        self._report = report
        self._timeout = timeout
        self._new: dict[str, Feed] = {}
        self._unused: set[str] = set()
        self._is_check_due = False
        self._wakeup = Wakeup()

    def begin(self, topic: str) -> Feed:
        """Follow a topic for one more user. Wait for ``opened`` of the feed."""
        feed = self._feeds.get(topic)
        if feed is None:
            feed = self._feeds[topic] = self._new[topic] = Feed(topic)
            self._wakeup.set()
        feed.users += 1
        return feed

    def end(self, feed: Feed) -> None:
        """Follow a topic for one user less."""
        feed.users -= 1
        if not feed.users:
            self._unused.add(feed.topic)
            self._wakeup.set()

    def check_soon(self) -> None:
        """Ask where all topics stand, as soon as possible."""
        self._is_check_due = True
        self._wakeup.set()

    async def run(self) -> None:
        """Run until cancelled."""
        check_at = anyio.current_time() + CHECK_INTERVAL
        while True:
            with anyio.move_on_after(max(0, check_at - anyio.current_time())):
                await self._wakeup.wait()
            await self._unfollow()
            new, self._new = self._new, {}
            await self._follow([*new.values()])  # also those that nobody uses any more, until they are unfollowed
            if self._is_check_due or anyio.current_time() >= check_at:
                self._is_check_due = False
                await self._check()
                check_at = anyio.current_time() + CHECK_INTERVAL

    def close(self) -> None:
        """Let those fail who wait for a topic."""
        for feed in self._feeds.values():
            feed.open(EngineUnavailable("the topics are closed"))

    async def _follow(self, feeds: Sequence[Feed]) -> None:
        for begin in range(0, len(feeds), _AT_ONCE):
            some = feeds[begin : begin + _AT_ONCE]
            if (failure := await self._ask(some)) is not None:
                for feed in some:
                    if self._feeds.get(feed.topic) is feed:
                        del self._feeds[feed.topic]
                    feed.open(failure)

    async def _check(self) -> None:
        feeds = [feed for feed in self._feeds.values() if feed.last is not None and feed.users]
        failure: EngineUnavailable | None = None
        for begin in range(0, len(feeds), _AT_ONCE):
            failure = await self._ask(feeds[begin : begin + _AT_ONCE])
            if failure is not None:
                break
        if feeds:
            self._report(failure)

    async def _ask(self, feeds: Sequence[Feed]) -> EngineUnavailable | None:
        """Follow topics and report where they stand; return the failure."""
        before = [feed.last for feed in feeds]
        topics = [feed.topic for feed in feeds]
        positions: Sequence[Position] | None = None
        failure: Exception = TimeoutError(f"the engine did not respond within {self._timeout:g} s")
        try:
            with anyio.move_on_after(self._timeout):
                positions = await self._engine.follow(topics)
        except EngineUnavailable as exc:
            failure = exc
        except Exception as exc:
            _logger.exception("the engine failed to follow %d topics", len(topics))
            failure = exc
        if positions is None:
            unavailable = EngineUnavailable(f"topics cannot be followed: {failure}")
            unavailable.__cause__ = failure
            return unavailable
        for feed, position, last in zip(feeds, positions, before, strict=True):
            self._stand(feed, Standing(position, last))
        return None

    async def _unfollow(self) -> None:
        unused, self._unused = self._unused, set()
        # Topics that could not be followed are unfollowed as well: the call may have had an effect.
        gone = [topic for topic in unused if (feed := self._feeds.get(topic)) is None or not feed.users]
        for topic in gone:
            self._feeds.pop(topic, None)
            self._new.pop(topic, None)
        for begin in range(0, len(gone), _AT_ONCE):
            try:
                with anyio.move_on_after(self._timeout):
                    await self._engine.unfollow(gone[begin : begin + _AT_ONCE])
            except EngineUnavailable:
                pass  # it has no subscription now, and must not begin one again
            except Exception:
                _logger.exception("the engine failed to unfollow topics")
