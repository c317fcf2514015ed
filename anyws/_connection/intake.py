"""What the peer has sent and nobody has received yet, and whether more of it may be read."""

from __future__ import annotations

import time
from collections.abc import Sequence

from anyws._logs import ConnectionLogger
from anyws.protocol.closing import Close
from anyws.protocol.connection import Connection, Event, Pong, State
from anyws.protocol.speedups import MessageQueue

from .pings import PendingPings

__all__ = ["Intake"]

_MESSAGE = (str, bytes)


class Intake:
    """The receiving side of a connection, without I/O: bytes in, messages into the inbox.

    Args:
        core: the protocol.
        limit: the memory that received messages may fill before reading stops, in bytes.
        pings: the Pings that wait for their Pongs.
        logger: the connection's logger.
    """

    __slots__ = (
        "_core",
        "_logger",
        "_pings",
        "inbox",
        "is_discarding",
        "is_on_fast_path",
        "is_paused",
        "receiver_waits",
        "wants_pieces",
    )

    def __init__(self, core: Connection, limit: int, pings: PendingPings, logger: ConnectionLogger) -> None:
        self._core = core
        self._pings = pings
        self._logger = logger
        self.inbox: MessageQueue = core.inbox
        """Received messages that nobody has taken yet."""
        self.inbox.limit = limit
        self.receiver_waits: bool = False
        """Whether a task waits for a message: it has taken all before, so one larger than the inbox may come.

        The task that receives resets it.
        """
        self.wants_pieces: bool = False
        """Whether that task receives a message piece by piece, while it is still arriving."""
        self.is_paused: bool = False
        """Whether reading is to be resumed once a message has been taken."""
        self.is_on_fast_path: bool = True
        """Whether there is no need to ask whether more may be read."""
        self.is_discarding: bool = False
        """Whether arriving messages are dropped, because nobody wants them any more."""

    @property
    def has_space(self) -> bool:
        """Whether another message may be taken in."""
        core = self._core
        return (
            self.inbox.size + core.partial_size < self.inbox.limit
            or (self.receiver_waits and not self.inbox)
            or core.state is State.CLOSED
            or self.is_discarding
        )

    @property
    def has_piece(self) -> bool:
        """Whether there is a part of a message for the task that receives."""
        return self.wants_pieces and self._core.partial_size > 0

    def may_read(self, *, input_ended: bool) -> bool:
        """Return whether to read on; if not, reading is to be resumed later.

        Args:
            input_ended: whether nothing more is to be read.
        """
        core = self._core
        self.is_paused = core.has_more or core.is_failing or input_ended or not self.has_space
        return not self.is_paused

    def feed(self, data: bytes) -> bool:
        """Take in bytes; return whether all of them were whole, plain messages, after which nothing else is due."""
        core, inbox = self._core, self.inbox
        taken = inbox.put_frames(data) if core.expects_frame and not self.is_discarding else 0
        is_plain = taken == len(data) and bool(data)
        if not is_plain:
            self._receive(data, taken)
            while core.has_more and self.has_space:
                self._receive(b"", 0)
            if core.has_more or core.is_failing:
                self.is_paused = True
        self.is_on_fast_path = core.expects_frame and inbox.size < inbox.limit
        return is_plain

    def feed_buffer(self, count: int) -> None:
        """Take in this many bytes, which were read into the buffer that `Connection.get_buffer` returned."""
        self._take(self._core.buffer_updated(count))
        self.is_on_fast_path = self._core.expects_frame and self.inbox.size < self.inbox.limit

    def discard(self) -> None:
        """Drop the messages that have arrived or still arrive."""
        self.is_discarding = True
        self.is_on_fast_path = False
        self.inbox.clear()

    def _receive(self, data: bytes, start: int) -> None:
        room = self.inbox.limit - self.inbox.size
        self._take(self._core.receive_data(data, start=start, room=room))

    def _take(self, events: Sequence[Event]) -> None:
        for event in events:
            if isinstance(event, _MESSAGE):
                if not self.is_discarding:
                    self.inbox.put(event)
            elif isinstance(event, Pong):
                self._pings.answered(event.payload, time.perf_counter())
            elif isinstance(event, Close):
                self._logger.debug("received Close %s", event)
