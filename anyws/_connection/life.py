"""The life of a connection, from open to closed, as a state machine. This module does no I/O and reads no clock.

The rule of this file: the phase of a connection changes only here, and every deadline is defined here. `Link` reports
events, performs the actions that `Life` returns, and calls `Life.check` at the deadline. An event without a row in the
table has no effect in that phase.
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
    "Action",
    "Event",
    "Life",
    "Phase",
]

FAILURE_GRACE = 0.5
"""How long the application has to respond to the messages that arrived before a violation, in seconds."""

# How many times within `close_timeout` to check for progress while bytes are waiting for the peer.
_PROGRESS_CHECKS = 8


class _Named(enum.Enum):
    """A closed set of names. The hash of `enum.Enum` is written in Python, and each event looks up two members."""

    __hash__ = object.__hash__


class Phase(_Named):
    """The phase of a connection."""

    OPEN = "open"
    """Messages can be sent and received."""
    FAILING = "failing"
    """The peer violated the protocol. The application may still respond to the messages that arrived before."""
    CLOSING = "closing"
    """A Close was queued or received. Write what is queued, and wait for the peer's Close or the end of its side."""
    ENDING = "ending"
    """Write what is queued; nothing more is read."""
    DRAINING = "draining"
    """The peer has not sent a Close. Our side of the stream has ended; wait for the peer to end its side."""
    LINGERING = "lingering"
    """The peer has sent a Close. Our side of the stream has ended; wait for the peer to end its side."""
    ABORTING = "aborting"
    """The stream is being closed."""
    OVER = "over"
    """The stream is closed."""


class Event(_Named):
    """Something that happens to a connection."""

    VIOLATION = enum.auto()
    """The peer violated the protocol or exceeded a limit."""
    ANSWERED = enum.auto()
    """The application has received the messages before the violation and responded to them."""
    CLOSE = enum.auto()
    """Our Close was queued, or the peer's was received; the peer is still expected to act."""
    HANDSHAKE_DONE = enum.auto()
    """The closing handshake is complete, and as the server we end the stream first (RFC 6455, section 7.1.1)."""
    HANDSHAKE_WRITTEN = enum.auto()
    """The same, and everything queued has been written: `HANDSHAKE_DONE` and `FINISHED` in one step, for speed."""
    INPUT_ENDED = enum.auto()
    """The peer has ended its side of the stream, or reading failed."""
    OUTPUT_LOST = enum.auto()
    """Writing failed; data that the peer has sent can still be read."""
    WRITTEN = enum.auto()
    """Everything queued has been written, or cannot be; the peer has not sent a Close."""
    FINISHED = enum.auto()
    """Everything queued has been written, or cannot be; the peer has sent a Close."""
    TIMEOUT = enum.auto()
    """The deadline of the phase has passed."""
    ABORT = enum.auto()
    """A block was cancelled, an error occurred, the peer was silent, or it ended its side after ours had ended."""
    STREAM_CLOSED = enum.auto()
    """The stream has been closed."""


class Action(_Named):
    """What to do about an event."""

    FAIL = enum.auto()
    """Fail the connection: drop what is queued, and queue a Close with the code of the violation."""
    END_INPUT = enum.auto()
    """Tell the core that no more bytes will arrive. Without a received Close, the close code is then 1006."""
    NOTIFY = enum.auto()
    """Write what is queued, continue reading, and wake the tasks that are waiting to send or to receive."""
    OBSERVE = enum.auto()
    """Call `Life.observe`."""
    END_OUTPUT = enum.auto()
    """End our side of the stream."""
    POLL = enum.auto()
    """Read what has arrived, because it may be what the deadline is about; then call `Life.check` again."""
    REPORT_TIMEOUT = enum.auto()
    """Report that the close took too long."""
    CLOSE_STREAM = enum.auto()
    """Close the stream."""


_BEGIN_CLOSE = (Phase.CLOSING, (Action.NOTIFY, Action.OBSERVE))
_CONTINUE_CLOSING = (Phase.CLOSING, (Action.NOTIFY,))
_FAIL = (Phase.CLOSING, (Action.FAIL, Action.NOTIFY, Action.OBSERVE))
_END = (Phase.ENDING, (Action.NOTIFY, Action.OBSERVE))
_CONTINUE_ENDING = (Phase.ENDING, (Action.NOTIFY,))
_LOSE_INPUT = (Phase.ENDING, (Action.END_INPUT, Action.NOTIFY, Action.OBSERVE))
_LINGER = (Phase.LINGERING, (Action.END_OUTPUT, Action.NOTIFY))
_TIME_OUT = (Phase.ABORTING, (Action.REPORT_TIMEOUT, Action.CLOSE_STREAM))
_ABORT = (Phase.ABORTING, (Action.CLOSE_STREAM,))
_OVER = (Phase.OVER, (Action.NOTIFY,))

TRANSITIONS: dict[tuple[Phase, Event], tuple[Phase, tuple[Action, ...]]] = {
    (Phase.OPEN, Event.VIOLATION): (Phase.FAILING, ()),
    (Phase.OPEN, Event.CLOSE): _BEGIN_CLOSE,
    (Phase.OPEN, Event.HANDSHAKE_DONE): _END,
    (Phase.OPEN, Event.HANDSHAKE_WRITTEN): _LINGER,
    (Phase.OPEN, Event.INPUT_ENDED): _LOSE_INPUT,
    (Phase.OPEN, Event.OUTPUT_LOST): _BEGIN_CLOSE,
    (Phase.OPEN, Event.ABORT): _ABORT,
    (Phase.OPEN, Event.STREAM_CLOSED): _OVER,
    (Phase.FAILING, Event.ANSWERED): _FAIL,
    (Phase.FAILING, Event.TIMEOUT): _FAIL,
    (Phase.FAILING, Event.CLOSE): _FAIL,
    (Phase.FAILING, Event.OUTPUT_LOST): _FAIL,
    (Phase.FAILING, Event.INPUT_ENDED): _LOSE_INPUT,
    (Phase.FAILING, Event.ABORT): _ABORT,
    (Phase.FAILING, Event.STREAM_CLOSED): _OVER,
    (Phase.CLOSING, Event.VIOLATION): (Phase.CLOSING, (Action.FAIL, Action.NOTIFY)),
    (Phase.CLOSING, Event.CLOSE): _CONTINUE_CLOSING,
    (Phase.CLOSING, Event.HANDSHAKE_DONE): _CONTINUE_ENDING,
    (Phase.CLOSING, Event.HANDSHAKE_WRITTEN): _LINGER,
    (Phase.CLOSING, Event.INPUT_ENDED): (Phase.ENDING, (Action.END_INPUT, Action.NOTIFY)),
    (Phase.CLOSING, Event.OUTPUT_LOST): _CONTINUE_CLOSING,
    (Phase.CLOSING, Event.TIMEOUT): _TIME_OUT,
    (Phase.CLOSING, Event.ABORT): _ABORT,
    (Phase.CLOSING, Event.STREAM_CLOSED): _OVER,
    (Phase.ENDING, Event.WRITTEN): (Phase.DRAINING, (Action.END_OUTPUT,)),
    (Phase.ENDING, Event.FINISHED): (Phase.LINGERING, (Action.END_OUTPUT,)),
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

# The same by phase, for speed.
_ROWS = {phase: {event: to for (before, event), to in TRANSITIONS.items() if before is phase} for phase in Phase}

_CLOSE_TIMEOUT = (
    "``close_timeout`` since the last progress: the peer accepted bytes that were waiting for it, or the last byte was "
    "written"
)
DEADLINES: dict[Phase, str] = {
    Phase.OPEN: (
        "``ping_interval`` until a Ping is sent, then ``ping_timeout`` for a sign of life; ``idle_timeout`` and "
        "``max_lifetime``"
    ),
    Phase.FAILING: f"{FAILURE_GRACE:g} s for the application to respond to the messages before the violation",
    Phase.CLOSING: _CLOSE_TIMEOUT,
    Phase.ENDING: _CLOSE_TIMEOUT,
    Phase.DRAINING: _CLOSE_TIMEOUT,
    Phase.LINGERING: (
        f"{LINGER} s, or ``close_timeout`` if that is less, for the peer to read our last bytes and end its side"
    ),
    Phase.ABORTING: "none: there is nothing to wait for",
    Phase.OVER: "none",
}
"""The deadline of each phase, as the documentation describes it."""


class Life:
    """The phase of one connection and its deadline. Times are in seconds of the event loop's clock.

    Args:
        close_timeout: how long a close may take without progress; None for no limit.
    """

    __slots__ = ("_close_timeout", "_has_polled", "_next_check", "_output", "_since", "phase")

    def __init__(self, close_timeout: float | None) -> None:
        self.phase: Phase = Phase.OPEN
        self._close_timeout = math.inf if close_timeout is None else close_timeout
        self._since = math.inf  # when the phase began, or the close last made progress
        self._next_check = math.inf  # when to check for progress again
        self._output = Output(0, 0)  # at the last check
        self._has_polled = False

    @property
    def deadline(self) -> float:
        """When to call `check` next; infinity for an open connection, which has the deadline of `Keepalive`."""
        if self.phase is Phase.FAILING:
            return self._since + FAILURE_GRACE
        if self.phase is Phase.LINGERING:
            return self._since + min(LINGER, self._close_timeout)
        if self.phase in CLOSE_IN_PROGRESS:
            return min(self._since + self._close_timeout, self._next_check)
        return math.inf

    def handle(self, event: Event, now: float) -> tuple[Action, ...]:
        """Change to the next phase according to the table, and return the actions to perform."""
        before = self.phase
        row = _ROWS[before].get(event)
        if row is None:
            return ()
        self.phase, actions = row
        if self.phase is not before and not (before in CLOSE_IN_PROGRESS and self.phase in CLOSE_IN_PROGRESS):
            self._restart(now)
        return actions

    def observe(self, now: float, output: Output) -> None:
        """Note how much has been written, when a close begins or makes progress. This restarts its timeout."""
        if self.phase in CLOSE_IN_PROGRESS:
            self._restart(now)
            self._schedule_check(now, output)

    def check(self, now: float, output: Output) -> tuple[Action, ...]:
        """Check the deadline and the progress, and return the actions to perform.

        Args:
            now: the current time.
            output: how much has been delivered and how much is waiting.
        """
        if now < self.deadline:
            return ()
        if self.phase in CLOSE_IN_PROGRESS:
            if self._output.waiting > CONTROL_FRAMES_SIZE and output.delivered > self._output.delivered:
                self.observe(now, output)
                return ()
            if now < self._since + self._close_timeout:
                self._schedule_check(now, output)
                return ()
            if not self._has_polled:
                self._has_polled = True
                return (Action.POLL,)
        return self.handle(Event.TIMEOUT, now)

    def _restart(self, now: float) -> None:
        self._since = now
        self._next_check = math.inf
        self._has_polled = False

    def _schedule_check(self, now: float, output: Output) -> None:
        self._output = output
        has_backlog = output.waiting > CONTROL_FRAMES_SIZE
        self._next_check = now + self._close_timeout / _PROGRESS_CHECKS if has_backlog else math.inf


READING = frozenset({Phase.OPEN, Phase.FAILING, Phase.CLOSING})
"""The phases in which bytes from the peer still matter."""

CLOSE_IN_PROGRESS = frozenset({Phase.CLOSING, Phase.ENDING, Phase.DRAINING})
"""The phases that ``close_timeout`` limits."""
