"""What a server does when accept(2) fails, again and again as well: it goes on, and lets others have their turn."""

from __future__ import annotations

import errno
import math

import anyio
from anyio.lowlevel import checkpoint

from anyws._logs import ConnectionLogger

__all__ = ["AcceptFailures"]

# Seconds to wait when the machine has no file descriptor or memory for one more connection; as in trio.
_PAUSE = 0.1
# What accept(2) says of a connection that went away before it was accepted: the next one may be fine.
_GONE = {errno.ECONNABORTED, errno.EPROTO, errno.ENETDOWN, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EPERM}
# So many in a row, and it is the machine that fails: a network that is down, or a filter that forbids it.
_MAX_GONE = 16
# Seconds from one line in the log to the next.
_LOG_INTERVAL = 1


class AcceptFailures:
    """The failures of one listener.

    Args:
        logger: where to say what fails, once a second at most.
    """

    def __init__(self, logger: ConnectionLogger) -> None:
        self._logger = logger
        self._in_a_row = 0
        self._logged_at = -math.inf

    def forget(self) -> None:
        """A connection was accepted."""
        self._in_a_row = 0

    async def wait_after(self, exc: OSError) -> None:
        """Wait until it makes sense to accept again."""
        self._in_a_row += 1
        if exc.errno in _GONE and self._in_a_row <= _MAX_GONE:
            await checkpoint()
            return
        now = anyio.current_time()
        if now - self._logged_at >= _LOG_INTERVAL:
            self._logged_at = now
            self._logger.error("cannot accept connections: %s", exc)
        await anyio.sleep(_PAUSE)
