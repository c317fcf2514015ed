"""Handling failures of accept(2): the server continues, with a pause if they repeat."""

from __future__ import annotations

import errno
import math

import anyio
from anyio.lowlevel import checkpoint

from anyws._logs import ConnectionLogger

__all__ = ["AcceptFailures"]

# Seconds to wait when the machine has no file descriptor or memory for one more connection; as in trio.
_PAUSE = 0.1
# Errors from accept(2) about a connection that was lost before it was accepted: the next one may be fine.
_TRANSIENT = {errno.ECONNABORTED, errno.EPROTO, errno.ENETDOWN, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EPERM}
# After this many in a row, the cause is the machine: the network is down, or a firewall blocks it.
_MAX_TRANSIENT = 16
# Minimum seconds between two log lines.
_LOG_INTERVAL = 1


class AcceptFailures:
    """The failures of one listener.

    Args:
        logger: logs failures, at most once a second.
    """

    def __init__(self, logger: ConnectionLogger) -> None:
        self._logger = logger
        self._in_a_row = 0
        self._logged_at = -math.inf

    def reset(self) -> None:
        """Reset the count, because a connection was accepted."""
        self._in_a_row = 0

    async def wait_after(self, exc: OSError) -> None:
        """Wait before accepting again."""
        self._in_a_row += 1
        if exc.errno in _TRANSIENT and self._in_a_row <= _MAX_TRANSIENT:
            await checkpoint()
            return
        now = anyio.current_time()
        if now - self._logged_at >= _LOG_INTERVAL:
            self._logged_at = now
            self._logger.error("cannot accept connections: %s", exc)
        await anyio.sleep(_PAUSE)
