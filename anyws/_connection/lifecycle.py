"""The life of a connection carried out: what `Life` says is due is done to the core, the pump and the tasks that wait.

The part of `Link` that runs by itself; what others call is in `link.py`.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import anyio
from anyio.abc import ByteStream, SocketAttribute
from anyio.lowlevel import checkpoint

from anyws._logs import ConnectionLogger
from anyws._transport.stream import SocketStream
from anyws._transport.tls import TLSStream
from anyws.protocol.connection import Connection, State
from anyws.protocol.outbox import Outbox
from anyws.protocol.speedups import MessageQueue

from .ending import Ending
from .intake import Intake
from .keepalive import CONTROL_FRAMES_SIZE, Keepalive, Verdict
from .life import READING, Due, Event, Life, Phase
from .options import ConnectionOptions
from .pings import PendingPings
from .pumps import Alarm, Background, Pump
from .wakeup import Wakeup

__all__ = ["MESSAGE_BUDGET", "Lifecycle"]

MESSAGE_BUDGET = 64
"""How many messages a task may receive or send before it must let other tasks run, and a cancellation take effect."""

# How often all tasks run before a silent peer is dropped: what waits in a stream needs a few turns to arrive.
_LOOK_TURNS = 8

_NONE: Mapping[Any, Callable[[], Any]] = {}
_ADDRESSES = (
    SocketAttribute.local_address,
    SocketAttribute.local_port,
    SocketAttribute.remote_address,
    SocketAttribute.remote_port,
)


class Lifecycle:
    """The parts of a running connection, and its life.

    Args:
        stream: the byte stream; the connection owns it.
        core: the protocol, OPEN.
        options: limits and times.
        logger: the connection's logger; it is never given the contents of messages.
    """

    __slots__ = (
        "_alarm",
        "_background",
        "_is_looking",
        "_life",
        "_over",
        "_pump",
        "addresses",
        "core",
        "drained",
        "ending",
        "inbox",
        "intake",
        "keepalive",
        "logger",
        "now",
        "options",
        "outbox",
        "pings",
        "stream",
    )

    _pump: Pump
    now: Callable[[], float]
    keepalive: Keepalive

    def __init__(
        self, stream: ByteStream, core: Connection, options: ConnectionOptions, logger: ConnectionLogger
    ) -> None:
        self.stream: ByteStream = stream
        self.core: Connection = core
        self.options: ConnectionOptions = options
        self.logger: ConnectionLogger = logger
        self.addresses: Mapping[Any, Callable[[], Any]] = _addresses(stream)
        """Typed attributes that the stream may no longer know when the connection has ended."""
        self.pings: PendingPings = PendingPings()
        self.intake: Intake = Intake(core, options.receive_buffer, self.pings, logger)
        self.inbox: MessageQueue = core.inbox
        self.outbox: Outbox = core.outbox
        self.outbox.limit = options.send_buffer
        self.ending: Ending = Ending(core)
        self.drained: Wakeup | None = None
        """Wakes the one task that waits for room in the send buffer, if one does."""
        self._life = Life(options.close_timeout)
        self._over: anyio.Event | None = None
        self._background: Background | None = None  # until the connection starts
        self._alarm = Alarm()
        self._is_looking = False  # whether a deadline has passed, and what may wait unread is read first
        self.inbox.budget = self.outbox.budget = MESSAGE_BUDGET

    @property
    def input_ended(self) -> bool:
        """Whether nothing more is to be read: the peer has ended its side, or it is up to us to end."""
        return self._life.phase not in READING

    def may_read(self) -> bool:
        """Return whether to read on; if not, the pump is told when that may have changed."""
        return self.intake.may_read(input_ended=self.input_ended)

    @property
    def is_over(self) -> bool:
        """Whether the stream is closed."""
        return self._life.phase is Phase.OVER

    def flush(self) -> None:
        """Let the pump write what the core has queued, together with the answers to messages that wait to be taken."""
        if self.inbox.size:
            self._pump.flush_soon()
        else:
            self._pump.flush()

    def abort(self) -> None:
        """Close the stream at once."""
        self._note_undelivered()
        self._happened(Event.ABORT)

    def fail_internally(self, exc: BaseException) -> None:
        """Abort the connection because of an error that should be impossible; no message is skipped or cut short."""
        self.ending.because("internal error")
        self.ending.lost_by(exc)
        self.abort()
        self.logger.error("internal error; the connection is aborted", exc_info=exc)

    def drop(self, why: str) -> None:
        """Abort the connection, and say why."""
        self.ending.because(why)
        self._note_undelivered(with_kernel=True)
        self.abort()
        self.logger.info("%s; the connection is aborted", why)

    def _happened(self, event: Event) -> None:
        """Tell the life of the connection, and do what is due."""
        self._carry_out(self._life.happened(event, self.now()))

    def _carry_out(self, dues: Sequence[Due]) -> None:
        for due in dues:
            self._carry_out_one[due](self)
        self._advance()

    def _advance(self) -> None:
        """Report what has become true, and watch the clock."""
        if self._background is None:
            return
        phase = self._life.phase
        if phase is Phase.FAILING:
            self._answer_when_due()
        elif phase is Phase.ENDING and self._pump.has_written:
            self._happened(Event.WRITTEN if self.core.close_received is None else Event.FINISHED)
        self._watch_clock()

    def _answer_when_due(self) -> None:
        """Answer a violation once the messages before it were received and answered, and the next is asked for."""
        if self.core.has_data_to_send:
            self._pump.flush()
        if self._life.phase is not Phase.FAILING:  # writing failed
            return
        if self.inbox or not self.intake.receiver_waits or not self._pump.has_written:
            self.intake.is_paused = True
        else:
            self._happened(Event.ANSWERED)

    def _fail(self) -> None:
        self.logger.info("the peer broke a rule: %s", self.core.failure)
        self._note_undelivered()
        self.core.fail()
        if self.core.is_server_done:
            self._life.happened(Event.HANDSHAKE_DONE, self.now())  # what is due then follows anyway

    def _end_input(self) -> None:
        self._note_undelivered()
        self.core.receive_eof()

    def _notify(self) -> None:
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
        self.ending.because(why)
        self._note_undelivered(with_kernel=True)
        self.logger.info("%s; the connection is aborted", why)

    def _note_undelivered(self, *, with_kernel: bool = False) -> None:
        """Remember how much of what was accepted the peer has not taken.

        Args:
            with_kernel: whether what the kernel still holds counts; a little of it need not be a message.
        """
        ours = self.outbox.data_size + max(0, self._pump.unsent - self.outbox.control_taken) - self.core.close_size
        kernels = self._pump.output().waiting - self.outbox.size - self._pump.unsent if with_kernel else 0
        self.ending.note_undelivered(ours + (kernels if kernels > CONTROL_FRAMES_SIZE else 0))

    # -- the clock -----------------------------------------------------------------------------------------------------

    @property
    def _deadline(self) -> float:
        """When to look at the clock."""
        return self.keepalive.deadline if self._life.phase is Phase.OPEN else self._life.deadline

    def _watch_clock(self) -> None:
        if self._background is not None and not self._is_looking:
            self._alarm.set(self._background, self._deadline, self._check_clock)

    def _check_clock(self) -> None:
        self._alarm.fired()
        if self._is_looking or self.is_over:
            return
        try:
            now = self.now()
            if now >= self._deadline:
                if self._life.phase is Phase.OPEN:
                    self._check_silence(now)
                else:
                    self._carry_out(self._life.check(now, self._pump.output()))
        except Exception as exc:
            self.fail_internally(exc)
        self._watch_clock()

    def _look(self) -> None:
        """Read what waits, and then look at the clock again."""
        assert self._background is not None
        self._is_looking = True
        self._pump.poll()
        self._background.start_soon(self._look_again)

    async def _look_again(self) -> None:
        for _ in range(_LOOK_TURNS):
            await checkpoint()
        self._is_looking = False
        self._check_clock()

    def _check_silence(self, now: float) -> None:
        verdict = self.keepalive.check(now, deaf=not self.may_read(), output=self._pump.output())
        if verdict is Verdict.PING and self.core.state is State.OPEN:
            self.core.send_ping(os.urandom(4))
            self.flush()
        elif verdict is Verdict.PONG and self.core.state is State.OPEN and not self.core.has_data_to_send:
            self.core.send_pong()
            self.flush()
        elif verdict is Verdict.LOOK:
            self._look()
        elif verdict is Verdict.DROP:
            interval, timeout = self.options.ping_interval or 0, self.options.ping_timeout or 0
            self.drop(f"the peer was silent for {interval + timeout:g} s")

    _carry_out_one: ClassVar[dict[Due, Callable[[Lifecycle], None]]] = {
        Due.FAIL: _fail,
        Due.END_INPUT: _end_input,
        Due.NOTIFY: _notify,
        Due.OBSERVE: _observe,
        Due.END_OUTPUT: _end_output,
        Due.LOOK: _look,
        Due.REPORT_TIMEOUT: _report_timeout,
        Due.CLOSE_STREAM: _close_stream,
    }


def _addresses(stream: ByteStream) -> Mapping[Any, Callable[[], Any]]:
    """Return the addresses that a stream has now; our own streams remember theirs."""
    below = stream.transport_stream if isinstance(stream, TLSStream) else stream
    if isinstance(below, SocketStream):
        return _NONE
    found = {name: stream.extra(name, None) for name in _ADDRESSES}
    return {name: functools.partial(found.__getitem__, name) for name in found if found[name] is not None}
