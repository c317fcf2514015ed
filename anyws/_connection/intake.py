"""The receiving side of a connection: passes messages to the inbox, and decides whether to continue reading."""

from __future__ import annotations

import time
from collections.abc import Sequence

from anyws._logs import ConnectionLogger
from anyws.protocol.closing import Close
from anyws.protocol.connection import Connection, Event, Pong, State
from anyws.protocol.speedups import MessageQueue, Payload

from .pings import PendingPings

__all__ = ["Intake"]

_MESSAGE = (str, bytes)


class Intake:
    """Decodes received bytes and puts the messages into the inbox, without I/O.

    Args:
        core: the protocol.
        limit: the memory that received messages may use before reading pauses, in bytes.
        pings: the Pings that are waiting for their Pongs.
        logger: the connection's logger.
    """

    __slots__ = (
        "_core",
        "_logger",
        "_pings",
        "inbox",
        "is_discarding",
    )

    def __init__(self, core: Connection, limit: int, pings: PendingPings, logger: ConnectionLogger) -> None:
        self._core = core
        self._pings = pings
        self._logger = logger
        self.inbox: MessageQueue = core.inbox
        """The messages that have arrived and that no task has received yet."""
        self.inbox.limit = limit
        self.is_discarding: bool = False
        """Whether messages that arrive are dropped, because the application has closed the connection."""

    @property
    def has_space(self) -> bool:
        """Whether there is room for another message, or it will be dropped anyway."""
        core = self._core
        return (
            self.inbox.size + core.partial_size < self.inbox.limit
            or (self.inbox.receiver_waits and not self.inbox)
            or core.state is State.CLOSED
            or self.is_discarding
        )

    @property
    def has_piece(self) -> bool:
        """Whether there is a part of a message for the receiving task."""
        return self.inbox.wants_pieces and self._core.partial_size > 0

    def may_read(self, *, input_ended: bool) -> bool:
        """Return whether to continue reading; if not, reading is paused.

        Args:
            input_ended: whether nothing more will be read.
        """
        core = self._core
        is_paused = core.has_more or core.is_failing or input_ended or not self.has_space
        self.inbox.is_paused = is_paused
        return not is_paused

    def feed(self, data: bytes) -> bool:
        """Process bytes; return whether they were nothing but complete messages, which need no further reaction."""
        core, inbox = self._core, self.inbox
        position = 0
        if core.expects_frame and not self.is_discarding:
            position = inbox.put_frames(data, core.decoded_rsv, core.decode_message)
        is_plain = position == len(data) and bool(data)
        if not is_plain:
            self._receive(data, position)
            while core.has_more and self.has_space:
                self._receive(b"", 0)
            if core.has_more or core.is_failing:
                inbox.is_paused = True
        inbox.is_on_fast_path = core.expects_frame and inbox.size < inbox.limit
        return is_plain

    def feed_buffer(self, count: int) -> None:
        """Process the first ``count`` bytes of the buffer that `Connection.get_buffer` returned."""
        self.inbox.bytes_read += count
        self._handle(self._core.buffer_updated(count))
        self.inbox.is_on_fast_path = self._core.expects_frame and self.inbox.size < self.inbox.limit

    def feed_large(self, header: bytes, payload: Payload) -> None:
        """Process the beginning of a large message; see `Connection.receive_large`."""
        self.inbox.bytes_read += len(header) + len(payload)
        self._core.receive_large(header, payload)
        self.inbox.is_on_fast_path = False

    def stop(self) -> None:
        """Drop all messages that arrive from now on. Those in the inbox can still be received."""
        self.is_discarding = True
        self.inbox.is_open = self.inbox.is_on_fast_path = False

    def discard(self) -> None:
        """Drop all messages in the inbox, and all that arrive from now on."""
        self.stop()
        self.inbox.clear()

    def _receive(self, data: bytes, start: int) -> None:
        room = self.inbox.limit - self.inbox.size
        self.inbox.bytes_read += len(data) - start
        self._handle(self._core.receive_data(data, start=start, room=room))

    def _handle(self, events: Sequence[Event]) -> None:
        for event in events:
            if isinstance(event, _MESSAGE):
                if not self.is_discarding:
                    self.inbox.put(event)
            elif isinstance(event, Pong):
                self._pings.answered(event.payload, time.perf_counter())
            elif isinstance(event, Close):
                self._logger.debug("received Close %s", event)
