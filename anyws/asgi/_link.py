"""The link of a connection that another server has accepted."""

from __future__ import annotations

from anyws._connection.life import Event, Phase
from anyws._connection.link import Link
from anyws._connection.pumps.transports import TransportPump
from anyws.protocol.closing import CloseCode
from anyws.protocol.connection import State

__all__ = ["ServedLink"]


class ServedLink(Link):
    """A link that behaves as applications of ASGI servers expect, where `Link` leaves that open."""

    __slots__ = ()

    def flush(self) -> None:
        """Write what the core has queued, together with what else is queued until the task waits."""
        self._pump.flush_soon()

    def drop(self, why: str) -> None:
        """Tell the peer that it was silent, in case it can read after all, and end the connection."""
        self.ending.note_reason(why)
        self.logger.info("%s; the connection is closed", why)
        if self.core.state is State.OPEN:
            self.core.send_close(CloseCode.INTERNAL_ERROR, "keepalive ping timeout")
        self.hang_up()

    def close(self, code: int | None, reason: str) -> None:
        """Begin the closing handshake. Messages that have arrived can still be received. Raises as `begin_close`."""
        self.begin_close(code, reason, discard=False)
        self.intake.stop()
        self.resume_reading()

    def hang_up(self) -> None:
        """End the connection without a closing handshake, once what is queued has been written."""
        if self.core.is_failing:
            self._handle(Event.ANSWERED)
            return
        self._pump.flush()
        self._handle(Event.INPUT_ENDED)

    @property
    def awaits_close(self) -> bool:
        """Whether the closing handshake has begun, and the peer has not sent its Close yet."""
        return self._life.phase is Phase.CLOSING

    @property
    def pump(self) -> TransportPump:
        """What processes the calls of the transport."""
        assert isinstance(self._pump, TransportPump)
        return self._pump
