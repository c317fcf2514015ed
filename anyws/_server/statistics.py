"""What a server has done so far: `ServerStatistics`, and the totals that it is computed from.

Messages cost no work here: the queues of each connection count them. Reading the statistics adds up the counts of the
open connections; a connection that ends adds its own to the totals.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from anyws._connection.link import Link
from anyws.protocol.errors import HandshakeRefused

__all__ = ["ServerStatistics", "Totals"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerStatistics:
    """What a server has done since it started, from `Server.statistics`. All values except ``open`` only grow.

    Attributes:
        open: the number of connections that are open now.
        opened: the number of connections whose opening handshake succeeded.
        refused: the number of responses other than 101, by HTTP status: refusals, and responses of hooks over plain
            HTTP, such as health checks.
        failed: the number of opening handshakes that ended without a response: the client disconnected or took too
            long, or TLS failed.
        closed: the number of connections that have ended, by `WebSocket.close_code`: 1005 if the client's Close had no
            code, 1006 if the client sent no Close.
        messages_received: the number of messages that have arrived. Messages dropped because the handler had ended are
            not counted.
        messages_sent: the number of messages that were accepted for sending, whether or not they were delivered.
        bytes_received: the number of bytes of WebSocket frames that have arrived, with their headers and control
            frames, compressed if compression is used, and without TLS.
        bytes_sent: the same for frames that were accepted for sending.
    """

    open: int
    opened: int
    refused: Mapping[int, int]
    failed: int
    closed: Mapping[int, int]
    messages_received: int
    messages_sent: int
    bytes_received: int
    bytes_sent: int


class Totals:
    """Counts opening handshakes that failed and connections that have ended."""

    __slots__ = ("_closed", "_failed", "_refused", "_traffic")

    def __init__(self) -> None:
        self._refused: Counter[int] = Counter()
        self._failed = 0
        self._closed: Counter[int] = Counter()
        self._traffic = (0, 0, 0, 0)

    def add_failed(self, exc: Exception) -> None:
        """Count an opening handshake that has failed with this exception."""
        if isinstance(exc, HandshakeRefused):
            self._refused[exc.status] += 1
        else:
            self._failed += 1

    def add_ended(self, link: Link) -> None:
        """Count a connection that has ended."""
        self._closed[link.core.close_code or 1006] += 1
        self._traffic = _sum([self._traffic, _traffic(link)])

    def with_open(self, links: Iterable[Link]) -> ServerStatistics:
        """Return the statistics, including those of the open connections."""
        traffic = [_traffic(link) for link in links]
        messages_received, messages_sent, bytes_received, bytes_sent = _sum([self._traffic, *traffic])
        return ServerStatistics(
            open=len(traffic),
            opened=len(traffic) + self._closed.total(),
            refused=dict(self._refused),
            failed=self._failed,
            closed=dict(self._closed),
            messages_received=messages_received,
            messages_sent=messages_sent,
            bytes_received=bytes_received,
            bytes_sent=bytes_sent,
        )


_Traffic = tuple[int, int, int, int]


def _traffic(link: Link) -> _Traffic:
    inbox, outbox = link.inbox, link.outbox
    return inbox.messages_added, outbox.messages_added, inbox.bytes_read, outbox.bytes_added


def _sum(traffic: Iterable[_Traffic]) -> _Traffic:
    first, second, third, fourth = map(sum, zip(*traffic, strict=True))
    return first, second, third, fourth
