"""The receiving side of a connection with a rate limit.

How this works: what has arrived is decoded message by message, for as long as the limit allows. Then reading pauses,
TCP slows the peer down, and the alarm of the connection resumes reading. A connection without a limit has a plain
`Intake`, so that the limit costs it nothing.
"""

from __future__ import annotations

import anyio

from anyws._logs import ConnectionLogger
from anyws.protocol.connection import Connection, State
from anyws.protocol.errors import RateExceeded

from .intake import Intake
from .pings import PendingPings
from .rate_limit import RateLimiter

__all__ = ["LimitedIntake"]


class LimitedIntake(Intake):
    """Applies a rate limit. It keeps the compiled plain path out of reading, which would not look at the limit.

    Args:
        core: the protocol.
        limit: the memory that received messages may use before reading pauses, in bytes.
        pings: the Pings that are waiting for their Pongs.
        logger: the connection's logger.
        limiter: the rate limit.
    """

    __slots__ = ("_limiter",)

    def __init__(
        self, core: Connection, limit: int, pings: PendingPings, logger: ConnectionLogger, limiter: RateLimiter
    ) -> None:
        super().__init__(core, limit, pings, logger)
        self._limiter = limiter
        self.inbox.is_on_fast_path = False

    @property
    def has_space(self) -> bool:
        """Whether there is room for another message, and the limit allows one."""
        if self._core.state is State.CLOSED or self.is_discarding:
            return True
        return super().has_space and not self._limiter.must_wait(anyio.current_time())

    def feed(self, data: bytes) -> bool:
        """Process bytes, message by message; return False, because the caller must react to the limit."""
        core = self._core
        self._receive_next(data)
        while core.has_more and self.has_space:
            self._receive_next(b"")
        if core.has_more or core.is_failing:
            self.inbox.is_paused = True
        self.inbox.is_on_fast_path = False
        return False

    def feed_buffer(self, count: int) -> None:
        """Process the first ``count`` bytes of the buffer that `Connection.get_buffer` returned."""
        before = self.inbox.messages_added
        super().feed_buffer(count)
        self.inbox.is_on_fast_path = False
        self._add(self.inbox.messages_added - before, count)

    def _receive_next(self, data: bytes) -> None:
        """Decode up to one message, and what comes before it."""
        before = self.inbox.messages_added
        self.inbox.bytes_read += len(data)
        self._handle(self._core.receive_data(data, room=1 if self.has_space else 0))
        self._add(self.inbox.messages_added - before, len(data))

    def _add(self, messages: int, size: int) -> None:
        limiter, core, now = self._limiter, self._core, anyio.current_time()
        is_exceeded = limiter.add(messages, size, now)
        limiter.is_waiting = limiter.must_wait(now)
        if is_exceeded and limiter.limit.exceeded == "close" and core.failure is None and core.state is State.OPEN:
            core.note_violation(RateExceeded(f"rate_limit is {limiter}"))
