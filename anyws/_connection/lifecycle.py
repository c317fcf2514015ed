"""The base class of `Link`, which performs the actions that `Life` returns and watches the deadlines.

The methods that the pump, the senders and the receivers call are in `link.py`.
"""

from __future__ import annotations

import functools
import os
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

from anyio.abc import ByteStream, SocketAttribute

from anyws._logs import ConnectionLogger
from anyws._transport.stream import SocketStream
from anyws._transport.tls import TLSStream
from anyws.protocol.connection import Connection, State
from anyws.protocol.outbox import Outbox
from anyws.protocol.speedups import MessageQueue

from .ending import Ending
from .expiry import Expiry, activity_of
from .intake import Intake
from .keepalive import CONTROL_FRAMES_SIZE, Keepalive, Verdict
from .life import CLOSE_IN_PROGRESS, READING, Action, Event, Life, Phase
from .limited_intake import LimitedIntake
from .options import ConnectionOptions
from .pings import PendingPings
from .plain_path import PlainPath
from .pumps import Alarm, Background, Pump, TransportStream
from .rate_limit import RateLimiter
from .wakeup import Progress, Wakeup

__all__ = ["MESSAGE_BUDGET", "Lifecycle"]

MESSAGE_BUDGET = 64
"""How many messages a task may send or receive before it must let other tasks run and notice a cancellation."""

# How many times other tasks run after a poll before the deadline is checked again. Data that has arrived may need
# several of them to get through the stream of the user.
_POLL_TURNS = 8

# The phases that may change although no event is reported; see `Lifecycle._advance`.
_WATCHED = frozenset({Phase.FAILING, Phase.ENDING})
_WITHOUT_DEADLINE = frozenset({Phase.ABORTING, Phase.OVER})

_NONE: Mapping[Any, Callable[[], Any]] = {}
_ADDRESSES = (
    SocketAttribute.local_address,
    SocketAttribute.local_port,
    SocketAttribute.remote_address,
    SocketAttribute.remote_port,
)


class Lifecycle:
    """The parts of a running connection and its phase.

    Args:
        stream: the byte stream; the connection owns it.
        core: the protocol, OPEN.
        options: limits and timeouts.
        logger: the connection's logger. It never logs the contents of messages.
    """

    __slots__ = (
        "_alarm",
        "_background",
        "_is_polling",
        "_life",
        "_pump",
        "_waiting_for_end",
        "addresses",
        "core",
        "drained",
        "ending",
        "expiry",
        "inbox",
        "intake",
        "keepalive",
        "limiter",
        "logger",
        "now",
        "options",
        "outbox",
        "path",
        "pings",
        "stream",
    )

    _pump: Pump
    path: PlainPath
    now: Callable[[], float]
    keepalive: Keepalive
    expiry: Expiry | None

    def __init__(
        self,
        stream: ByteStream | TransportStream,
        core: Connection,
        options: ConnectionOptions,
        logger: ConnectionLogger,
    ) -> None:
        self.stream: ByteStream | TransportStream = stream
        self.core: Connection = core
        self.options: ConnectionOptions = options
        self.logger: ConnectionLogger = logger
        self.addresses: Mapping[Any, Callable[[], Any]] = _addresses(stream)
        """The typed attributes that the stream may forget when the connection ends."""
        self.pings: PendingPings = PendingPings()
        self.limiter: RateLimiter | None = None
        self.intake: Intake = self._new_intake()
        self.inbox: MessageQueue = core.inbox
        self.outbox: Outbox = core.outbox
        self.outbox.limit = options.send_buffer
        self.ending: Ending = Ending(core)
        self.drained: Progress | None = None
        """Tells those who wait for room in the send buffer; None if nobody does."""
        self._life = Life(options.close_timeout)
        self._waiting_for_end: tuple[Wakeup, ...] = ()  # for the tasks in `wait_closed`
        self._background: Background | None = None  # until the connection starts
        self._alarm = Alarm()
        self._is_polling = False  # a deadline has passed; before acting on it, read what has arrived
        self.inbox.budget = self.outbox.budget = MESSAGE_BUDGET

    def _new_intake(self) -> Intake:
        core, options, pings, logger = self.core, self.options, self.pings, self.logger
        if options.rate_limit is None:
            return Intake(core, options.receive_buffer, pings, logger)
        self.limiter = RateLimiter(options.rate_limit)
        return LimitedIntake(core, options.receive_buffer, pings, logger, self.limiter)

    @property
    def input_ended(self) -> bool:
        """Whether nothing more will be read: the peer has ended its side, or the closing handshake is complete."""
        return self._life.phase not in READING

    def may_read(self) -> bool:
        """Return whether to continue reading; if not, `Pump.resume` is called when that may have changed."""
        return self.intake.may_read(input_ended=self.input_ended)

    @property
    def is_over(self) -> bool:
        """Whether the stream is closed."""
        return self._life.phase is Phase.OVER

    @abstractmethod
    def begin_close(self, code: int | None, reason: str, *, discard: bool) -> None:
        """Begin the closing handshake; see `Link.begin_close`."""

    @abstractmethod
    def resume_reading(self) -> None:
        """Read again; see `Link.resume_reading`."""

    def flush(self) -> None:
        """Write what the core has queued; if more messages wait to be received, together with the replies to them."""
        if self.inbox.size:
            self._pump.flush_soon()
        else:
            self._pump.flush()

    def abort(self) -> None:
        """Close the stream immediately."""
        self._note_undelivered()
        self._handle(Event.ABORT)

    def fail_internally(self, exc: BaseException) -> None:
        """Abort the connection because of an error that should be impossible, so that no message is lost unnoticed."""
        self.ending.note_reason("internal error")
        self.ending.note_error(exc)
        self.abort()
        self.logger.error("internal error; the connection is aborted", exc_info=exc)

    def drop(self, why: str) -> None:
        """Abort the connection for the given reason."""
        self.ending.note_reason(why)
        self._note_undelivered(with_kernel=True)
        self.abort()
        self.logger.info("%s; the connection is aborted", why)

    def _handle(self, event: Event) -> None:
        """Report an event to `Life` and perform the actions."""
        life = self._life
        before = life.phase
        actions = life.handle(event, self.now())
        if actions or life.phase is not before or before in _WATCHED:  # for speed: most closes report a late event
            self._perform(actions)

    def _perform(self, actions: Sequence[Action]) -> None:
        for action in actions:
            self._ACTIONS[action](self)
        self._advance()

    def _advance(self) -> None:
        """Report the events that nothing else reports, and set the alarm."""
        if self._background is None:
            return
        phase = self._life.phase
        if phase is Phase.FAILING:
            self._fail_once_answered()
        elif phase is Phase.ENDING and self._pump.has_written:
            self._handle(Event.WRITTEN if self.core.close_received is None else Event.FINISHED)
            return  # this has set the alarm
        self._set_alarm()

    def _fail_once_answered(self) -> None:
        """Fail the connection once the application has responded to the messages before the violation."""
        if self.core.has_data_to_send:
            self._pump.flush()
        if self._life.phase is not Phase.FAILING:  # because writing has failed
            return
        if self.inbox or not self.inbox.receiver_waits or not self._pump.has_written:
            self.inbox.is_paused = True
        else:
            self._handle(Event.ANSWERED)

    def _fail(self) -> None:
        self.logger.info("the peer broke a rule: %s", self.core.failure)
        self._note_undelivered()
        self.core.fail()
        if self.core.is_server_done:
            self._life.handle(Event.HANDSHAKE_DONE, self.now())  # the actions of `Action.FAIL` follow anyway

    def _end_input(self) -> None:
        self._note_undelivered()
        self.core.receive_eof()

    def _notify(self) -> None:
        if self._life.phase in CLOSE_IN_PROGRESS:
            self._pump.flush()
            self._pump.resume()
        if self.drained is not None:
            self.drained.set()
        self._pump.wake_receiver()

    def _observe(self) -> None:
        self._life.observe(self.now(), self._pump.output())

    def _end_output(self) -> None:
        self._pump.end()

    def _close_stream(self) -> None:
        if self._background is not None:
            self._pump.close()

    def _report_timeout(self) -> None:
        why = f"the close took more than {self.options.close_timeout:g} s"
        self.ending.note_reason(why)
        self._note_undelivered(with_kernel=True)
        self.logger.info("%s; the connection is aborted", why)

    def _note_undelivered(self, *, with_kernel: bool = False) -> None:
        """Remember how many bytes of messages were accepted but not delivered.

        Args:
            with_kernel: whether to count bytes in the kernel, unless they are so few that they may be control frames.
        """
        if self.core.close_received is not None:  # the peer does not want any more data
            return
        ours = self.outbox.data_size + max(0, self._pump.unsent - self.outbox.control_taken) - self.core.close_size
        kernels = self._pump.output().waiting - self.outbox.size - self._pump.unsent if with_kernel else 0
        self.ending.note_undelivered(ours + (kernels if kernels > CONTROL_FRAMES_SIZE else 0))

    # -- deadlines -----------------------------------------------------------------------------------------------------

    @property
    def _deadline(self) -> float:
        """When to check the phase, the keepalive or the expiry next."""
        if self._life.phase is not Phase.OPEN:
            return self._life.deadline
        deadline = self.keepalive.deadline
        if self.expiry is not None:
            deadline = min(deadline, self.expiry.deadline)
        return deadline if self.limiter is None else min(deadline, self.limiter.deadline)

    def _set_alarm(self) -> None:
        if self._background is not None and not self._is_polling and self._life.phase not in _WITHOUT_DEADLINE:
            self._alarm.set(self._background, self._deadline, self._on_alarm)

    def _on_alarm(self) -> None:
        self._alarm.fired()
        if self._is_polling or self.is_over:
            return
        try:
            now = self.now()
            if now >= self._deadline:
                if self._life.phase is Phase.OPEN:
                    self._check_open(now)
                else:
                    self._perform(self._life.check(now, self._pump.output()))
        except Exception as exc:
            self.fail_internally(exc)
        self._set_alarm()

    def _poll(self) -> None:
        """Read what has arrived, and then check the deadline again."""
        assert self._background is not None
        self._is_polling = True
        self._pump.poll()
        self._background.call_after_others(_POLL_TURNS, self._check_after_poll)

    def _check_after_poll(self) -> None:
        self._is_polling = False
        self._on_alarm()

    def _check_open(self, now: float) -> None:
        if self.expiry is not None and now >= self.expiry.deadline:
            expired = self.expiry.check(now, activity_of(self.core, self._pump.output()))
            if expired is not None:
                self.logger.info("%s; closing it", expired.reason)
                self.begin_close(expired.code, expired.reason, discard=False)
                return
        if self.limiter is not None and now >= self.limiter.deadline:
            self.limiter.is_waiting = False
            self.resume_reading()
        if now >= self.keepalive.deadline:
            self._check_keepalive(now)

    def _check_keepalive(self, now: float) -> None:
        verdict = self.keepalive.check(now, is_paused=not self.may_read(), output=self._pump.output())
        if verdict is Verdict.PING and self.core.state is State.OPEN:
            self.core.send_ping(os.urandom(4))
            self.flush()
        elif verdict is Verdict.PONG and self.core.state is State.OPEN and not self.core.has_data_to_send:
            self.core.send_pong()
            self.flush()
        elif verdict is Verdict.POLL:
            self._poll()
        elif verdict is Verdict.DROP:
            interval, timeout = self.options.ping_interval or 0, self.options.ping_timeout or 0
            self.drop(f"the peer was silent for {interval + timeout:g} s")

    _ACTIONS: ClassVar[dict[Action, Callable[[Lifecycle], None]]] = {
        Action.FAIL: _fail,
        Action.END_INPUT: _end_input,
        Action.NOTIFY: _notify,
        Action.OBSERVE: _observe,
        Action.END_OUTPUT: _end_output,
        Action.POLL: _poll,
        Action.REPORT_TIMEOUT: _report_timeout,
        Action.CLOSE_STREAM: _close_stream,
    }


def _addresses(stream: ByteStream | TransportStream) -> Mapping[Any, Callable[[], Any]]:
    """Return the addresses of a stream, which may forget them later; our own streams remember theirs."""
    if type(stream) is SocketStream:  # for speed: isinstance() is slow for abstract classes
        return _NONE
    below = stream.transport_stream if isinstance(stream, TLSStream) else stream
    if isinstance(below, SocketStream):
        return _NONE
    found = {name: stream.extra(name, None) for name in _ADDRESSES}
    return {name: functools.partial(found.__getitem__, name) for name in found if found[name] is not None}
