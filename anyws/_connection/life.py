"""The life of a connection, from open to closed, as a table. This module does no I/O and reads no clock.

The rule of this file: what state a connection is in, what ends it, and what each deadline bounds stands here and
nowhere else. `Link` reports events, carries out what is due, and calls `Life.check` at the deadline. An event that has
no row in the table changes nothing in that state.
"""

from __future__ import annotations

import enum
import math

from anyws._transport.ending import LINGER

from .keepalive import CONTROL_FRAMES_SIZE, Output

__all__ = [
    "CLOSE_IN_PROGRESS",
    "DEADLINES",
    "FAILURE_GRACE",
    "READING",
    "TRANSITIONS",
    "Due",
    "Event",
    "Life",
    "Phase",
]

FAILURE_GRACE = 0.5
"""How long the messages that came before a violation may wait to be answered, in seconds."""

# While bytes wait for the peer, a close looks for progress this many times within `close_timeout`.
_LOOKS = 8


class Phase(enum.Enum):
    """Where a connection stands."""

    OPEN = "open"
    """Messages go both ways."""
    FAILING = "failing"
    """The peer broke a rule; the messages before it are still to be received and answered."""
    CLOSING = "closing"
    """A Close was queued or received. What was accepted is written, and the peer's Close, or its end, is awaited."""
    ENDING = "ending"
    """Nothing more is read. What is queued is written."""
    DRAINING = "draining"
    """Our side of the stream has ended, without a Close from the peer; the end of its side is awaited."""
    LINGERING = "lingering"
    """Both Closes are done and our side of the stream has ended; the end of the peer's side is awaited."""
    ABORTING = "aborting"
    """The stream is being closed."""
    OVER = "over"
    """The stream is closed."""


class Event(enum.Enum):
    """What happens to a connection."""

    VIOLATION = enum.auto()
    """The peer broke a rule of the protocol, or exceeded a limit."""
    ANSWERED = enum.auto()
    """The messages before the violation have been received and answered."""
    CLOSE = enum.auto()
    """Our Close was queued, or the peer's Close has come; what ends the stream is still the peer's part."""
    HANDSHAKE_DONE = enum.auto()
    """The closing handshake is complete, and we are the server, which ends the stream (RFC 6455, section 7.1.1)."""
    INPUT_ENDED = enum.auto()
    """The peer has ended its side of the stream, or reading failed."""
    OUTPUT_LOST = enum.auto()
    """Writing failed; what the peer has sent before can still be read."""
    WRITTEN = enum.auto()
    """All that was queued is written, or cannot be; the peer has sent no Close."""
    FINISHED = enum.auto()
    """All that was queued is written, or cannot be; the peer's Close has come."""
    TIMEOUT = enum.auto()
    """The deadline of the state has passed."""
    ABORT = enum.auto()
    """A cancelled block, an error, a silent peer, or the end of the peer's side while draining."""
    STREAM_CLOSED = enum.auto()
    """The stream is closed."""


class Due(enum.Enum):
    """What is to be done about an event."""

    FAIL = enum.auto()
    """Answer the violation: drop what is queued, and queue a Close with its code."""
    END_INPUT = enum.auto()
    """Tell the core that no more bytes come; without a Close that is 1006."""
    NOTIFY = enum.auto()
    """Write what is queued, read on, and wake the tasks that wait to send or to receive."""
    OBSERVE = enum.auto()
    """Call `Life.observe`."""
    END_OUTPUT = enum.auto()
    """End our side of the stream."""
    LOOK = enum.auto()
    """Read what waits in the socket, which may be what the deadline is about; then call `Life.check` again."""
    REPORT_TIMEOUT = enum.auto()
    """Say that the close took too long."""
    CLOSE_STREAM = enum.auto()
    """Close the stream."""


_BEGIN_CLOSE = (Phase.CLOSING, (Due.NOTIFY, Due.OBSERVE))
_GO_ON_CLOSING = (Phase.CLOSING, (Due.NOTIFY,))
_FAIL = (Phase.CLOSING, (Due.FAIL, Due.NOTIFY, Due.OBSERVE))
_END = (Phase.ENDING, (Due.NOTIFY, Due.OBSERVE))
_GO_ON_ENDING = (Phase.ENDING, (Due.NOTIFY,))
_LOSE = (Phase.ENDING, (Due.END_INPUT, Due.NOTIFY, Due.OBSERVE))
_TIME_OUT = (Phase.ABORTING, (Due.REPORT_TIMEOUT, Due.CLOSE_STREAM))
_ABORT = (Phase.ABORTING, (Due.CLOSE_STREAM,))
_OVER = (Phase.OVER, (Due.NOTIFY,))

TRANSITIONS: dict[tuple[Phase, Event], tuple[Phase, tuple[Due, ...]]] = {
    (Phase.OPEN, Event.VIOLATION): (Phase.FAILING, ()),
    (Phase.OPEN, Event.CLOSE): _BEGIN_CLOSE,
    (Phase.OPEN, Event.HANDSHAKE_DONE): _END,
    (Phase.OPEN, Event.INPUT_ENDED): _LOSE,
    (Phase.OPEN, Event.OUTPUT_LOST): _BEGIN_CLOSE,
    (Phase.OPEN, Event.ABORT): _ABORT,
    (Phase.OPEN, Event.STREAM_CLOSED): _OVER,
    (Phase.FAILING, Event.ANSWERED): _FAIL,
    (Phase.FAILING, Event.TIMEOUT): _FAIL,
    (Phase.FAILING, Event.CLOSE): _FAIL,
    (Phase.FAILING, Event.OUTPUT_LOST): _FAIL,
    (Phase.FAILING, Event.INPUT_ENDED): _LOSE,
    (Phase.FAILING, Event.ABORT): _ABORT,
    (Phase.FAILING, Event.STREAM_CLOSED): _OVER,
    (Phase.CLOSING, Event.VIOLATION): (Phase.CLOSING, (Due.FAIL, Due.NOTIFY)),
    (Phase.CLOSING, Event.CLOSE): _GO_ON_CLOSING,
    (Phase.CLOSING, Event.HANDSHAKE_DONE): _GO_ON_ENDING,
    (Phase.CLOSING, Event.INPUT_ENDED): (Phase.ENDING, (Due.END_INPUT, Due.NOTIFY)),
    (Phase.CLOSING, Event.OUTPUT_LOST): _GO_ON_CLOSING,
    (Phase.CLOSING, Event.TIMEOUT): _TIME_OUT,
    (Phase.CLOSING, Event.ABORT): _ABORT,
    (Phase.CLOSING, Event.STREAM_CLOSED): _OVER,
    (Phase.ENDING, Event.WRITTEN): (Phase.DRAINING, (Due.END_OUTPUT,)),
    (Phase.ENDING, Event.FINISHED): (Phase.LINGERING, (Due.END_OUTPUT,)),
    (Phase.ENDING, Event.TIMEOUT): _TIME_OUT,
    (Phase.ENDING, Event.ABORT): _ABORT,
    (Phase.ENDING, Event.STREAM_CLOSED): _OVER,
    (Phase.DRAINING, Event.TIMEOUT): _TIME_OUT,
    (Phase.DRAINING, Event.ABORT): _ABORT,
    (Phase.DRAINING, Event.STREAM_CLOSED): _OVER,
    (Phase.LINGERING, Event.TIMEOUT): _ABORT,
    (Phase.LINGERING, Event.ABORT): _ABORT,
    (Phase.LINGERING, Event.STREAM_CLOSED): _OVER,
    (Phase.ABORTING, Event.STREAM_CLOSED): _OVER,
}

_CLOSE_TIMEOUT = (
    "``close_timeout`` from the last progress, which is that the peer has taken bytes that waited for it, or that the "
    "last byte was written"
)
DEADLINES: dict[Phase, str] = {
    Phase.OPEN: "``ping_interval`` until a Ping, ``ping_timeout`` for a sign of life after it",
    Phase.FAILING: f"{FAILURE_GRACE:g} s for the messages before the violation to be received and answered",
    Phase.CLOSING: _CLOSE_TIMEOUT,
    Phase.ENDING: _CLOSE_TIMEOUT,
    Phase.DRAINING: _CLOSE_TIMEOUT,
    Phase.LINGERING: (
        f"{LINGER} s, or ``close_timeout`` if that is less, for the peer to read our last bytes and end its side"
    ),
    Phase.ABORTING: "none; nothing is waited for",
    Phase.OVER: "none",
}
"""What bounds each state."""


class Life:
    """The state of one connection, and its deadline. Times are in seconds of the event loop's clock.

    Args:
        close_timeout: how long a close may go on without progress; None: forever.
    """

    __slots__ = ("_close_timeout", "_has_looked", "_looks_at", "_output", "_since", "phase")

    def __init__(self, close_timeout: float | None) -> None:
        self.phase: Phase = Phase.OPEN
        self._close_timeout = math.inf if close_timeout is None else close_timeout
        self._since = math.inf  # when the state began, or the close last made progress
        self._looks_at = math.inf  # when to look for progress again
        self._output = Output(0, 0)  # at the last look
        self._has_looked = False

    @property
    def deadline(self) -> float:
        """When to call `check`; infinity for an open connection, whose deadline is its keepalive's."""
        if self.phase is Phase.FAILING:
            return self._since + FAILURE_GRACE
        if self.phase is Phase.LINGERING:
            return self._since + min(LINGER, self._close_timeout)
        if self.phase in CLOSE_IN_PROGRESS:
            return min(self._since + self._close_timeout, self._looks_at)
        return math.inf

    def happened(self, event: Event, now: float) -> tuple[Due, ...]:
        """Change the state as the table says, and return what is due."""
        before = self.phase
        self.phase, due = TRANSITIONS.get((before, event), (before, ()))
        if self.phase is not before and not (before in CLOSE_IN_PROGRESS and self.phase in CLOSE_IN_PROGRESS):
            self._restart(now)
        return due

    def observe(self, now: float, output: Output) -> None:
        """Note how far our bytes have got when a close begins, or all is written: its time counts from now."""
        if self.phase in CLOSE_IN_PROGRESS:
            self._restart(now)
            self._look_later(now, output)

    def check(self, now: float, output: Output) -> tuple[Due, ...]:
        """Look for progress, and return what is due.

        Args:
            now: the current time.
            output: how far our bytes have got.
        """
        if now < self.deadline:
            return ()
        if self.phase in CLOSE_IN_PROGRESS:
            if self._output.waiting > CONTROL_FRAMES_SIZE and output.taken > self._output.taken:
                self.observe(now, output)
                return ()
            if now < self._since + self._close_timeout:
                self._look_later(now, output)
                return ()
            if not self._has_looked:
                self._has_looked = True
                return (Due.LOOK,)
        return self.happened(Event.TIMEOUT, now)

    def _restart(self, now: float) -> None:
        self._since = now
        self._looks_at = math.inf
        self._has_looked = False

    def _look_later(self, now: float, output: Output) -> None:
        self._output = output
        self._looks_at = now + self._close_timeout / _LOOKS if output.waiting > CONTROL_FRAMES_SIZE else math.inf


READING = frozenset({Phase.OPEN, Phase.FAILING, Phase.CLOSING})
"""The states in which bytes of the peer are still of interest."""

CLOSE_IN_PROGRESS = frozenset({Phase.CLOSING, Phase.ENDING, Phase.DRAINING})
"""The phases that ``close_timeout`` bounds."""
