"""The state machine of an open connection: who may send what, and when (RFC 6455, sections 5.5 and 7).

The rule of this file: whatever changes the state stands here. What the RFC says must happen by itself happens here too:
a Ping queues a Pong, a Close queues its echo, a violation queues a Close with its code and ends all processing.

    OPEN     -- our Close is queued -------------------> CLOSING
    OPEN     -- a Close comes (its echo is queued) ----> CLOSED
    CLOSING  -- a Close comes -------------------------> CLOSED
    any      -- a violation, or the end of the stream -> CLOSED (a violation that is held: at `Connection.fail`)
    any      -- an exception, also for want of memory -> CLOSED (unless nothing was changed before it)

Pings and Pongs overtake queued data; a Close goes behind the data that was accepted before it, except that a connection
which fails drops that data.
"""

from __future__ import annotations

import enum
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from .closing import Close, CloseCode, check_close_code, parse_close, serialize_close
from .errors import LocalProtocolError, RemoteProtocolError
from .extensions import Codec, reserved_bits
from .frames import FrameDecoder, FramePart, Opcode
from .masking import new_masking_key as new_random_key
from .messages import MessageDecoder
from .outbox import Outbox
from .speedups import MessageQueue, build_frame

__all__ = ["Connection", "Event", "Ping", "Pong", "Role", "State"]

_FIN = 0x80  # RFC 6455, section 5.2


class Role(enum.Enum):
    """Which end of the connection we are."""

    CLIENT = "client"
    SERVER = "server"


class State(enum.Enum):
    """Where the connection stands (RFC 6455, sections 4.1, 7.1.3, 7.1.4); CONNECTING belongs to the handshake objects."""

    OPEN = "open"
    CLOSING = "closing"
    CLOSED = "closed"


_NONE: Mapping[int, Opcode] = {}

# To look up a member takes longer than to frame a message, and takes memory (Python 3.11).
_OPEN, _CLOSING, _CLOSED = State.OPEN, State.CLOSING, State.CLOSED


@dataclass(frozen=True, slots=True)
class Ping:
    """A Ping came; its Pong is queued. ``payload`` has at most 125 bytes."""

    payload: bytes


@dataclass(frozen=True, slots=True)
class Pong:
    """A Pong came, asked for or not. ``payload`` has at most 125 bytes."""

    payload: bytes


Event = str | bytes | Ping | Pong | Close
"""What comes of received bytes: a text message, a binary message, or a control frame."""


class Connection:
    """One end of an open connection, without I/O: bytes in, events and bytes out.

    Args:
        role: which end we are.
        max_message_size: the largest message to receive, in bytes over all its fragments; None for no limit.
        max_frame_size: the largest data frame to receive, in bytes of payload; None for no limit.
        max_fragments: the largest number of frames in one received message; None for no limit.
        masking: whether a client masks what it sends, as RFC 6455, section 5.3 demands.
        accept_unmasked: whether a server takes frames that are not masked, against RFC 6455, section 5.1.
        codecs: the agreed extensions, in the order of the header.
        hold_failure: whether a violation waits for `fail`, so that messages before it can be answered first.
        new_masking_key: gives a fresh, unpredictable masking key of 4 bytes (RFC 6455, sections 5.3 and 10.3).
    """

    __slots__ = (
        "_changed",
        "_codecs",
        "_frames",
        "_hold_failure",
        "_max_whole",
        "_messages",
        "_sending_opcode",
        "close_received",
        "close_sent",
        "close_size",
        "expects_frame",
        "failure",
        "has_more",
        "inbox",
        "outbox",
        "role",
        "state",
    )

    def __init__(
        self,
        role: Role,
        *,
        max_message_size: int | None = 1024 * 1024,
        max_frame_size: int | None = None,
        max_fragments: int | None = 16384,
        masking: bool = True,
        accept_unmasked: bool = False,
        codecs: Sequence[Codec] = (),
        hold_failure: bool = False,
        new_masking_key: Callable[[], bytes] = new_random_key,
    ) -> None:
        self.role: Role = role
        self.state: State = State.OPEN
        self.close_sent: Close | None = None
        self.close_received: Close | None = None
        self.close_size: int = 0
        """The size of the frame of our Close, in bytes; 0 before it is queued."""
        self.failure: RemoteProtocolError | None = None
        """Why we failed the connection (RFC 6455, section 7.1.7), if we did."""
        their_frames_masked = None if accept_unmasked and role is Role.SERVER else role is Role.SERVER
        self._frames = FrameDecoder(
            masked=their_frames_masked, rsv=reserved_bits(codecs), max_frame_size=max_frame_size
        )
        self._messages = MessageDecoder(max_message_size=max_message_size, max_fragments=max_fragments, codecs=codecs)
        # The largest message that may be taken in one go; none at all if one frame is too many.
        self._max_whole = min(
            sys.maxsize if max_message_size is None else max_message_size,
            sys.maxsize if max_frame_size is None else max_frame_size,
            sys.maxsize if max_fragments is None or max_fragments >= 1 else -1,
        )
        self._codecs = codecs
        # The first bytes of such frames, if there is one codec; several need the general path.
        rsv = codecs[0].rsv if len(codecs) == 1 else 0
        self._changed = {_FIN | rsv | opcode: opcode for opcode in (Opcode.TEXT, Opcode.BINARY)} if rsv else _NONE
        self._hold_failure = hold_failure
        self.has_more: bool = False
        """Whether `receive_data` had enough before it had looked at all data: call it again, with ``b""``."""
        self._sending_opcode: Opcode | None = None  # of the fragmented message that is being sent
        # What waits to be sent. Whoever shares the queues puts plain messages into it directly, as long as it is open.
        self.outbox: Outbox = Outbox(new_masking_key if masking and role is Role.CLIENT else None)
        self.outbox.is_plain = not codecs
        # Whether a frame begins with what comes next: then plain ones may be put into the inbox directly. What
        # `receive_data` takes comes out as events, and does not go there.
        self.expects_frame: bool = True
        self.inbox: MessageQueue = MessageQueue(their_frames_masked, self._max_whole)

    # -- state ---------------------------------------------------------------------------------------------------------

    @property
    def close_code(self) -> int | None:
        """The code of the received Close; 1005 when it had none, 1006 when the end came without one, None before."""
        if self.close_received is not None:
            return self.close_received.code
        return CloseCode.ABNORMAL_CLOSURE if self.state is State.CLOSED else None

    @property
    def is_server_done(self) -> bool:
        """Whether it is on us, the server, to end the TCP connection once all is sent (RFC 6455, section 7.1.1)."""
        return self.state is State.CLOSED and self.role is Role.SERVER

    @property
    def held(self) -> int:
        """Bytes of the incoming, unfinished message that `take_partial` would give."""
        return self._messages.held

    @property
    def in_message(self) -> bool:
        """Whether a message is coming in that has not ended."""
        return self._messages.in_message

    @property
    def sending_fragments(self) -> bool:
        """Whether `send_fragment` has begun a message that it has not ended."""
        return self._sending_opcode is not None

    @property
    def queued(self) -> int:
        """Bytes of frames that wait to be sent; automatic Pongs are not counted."""
        return self.outbox.size

    # -- receiving -----------------------------------------------------------------------------------------------------

    def receive_data(self, data: bytes, *, start: int = 0, enough: int | None = None) -> list[Event]:
        """Take bytes from the peer and return what they bring; nothing once the connection is CLOSED.

        Answers to the peer are queued for `data_to_send`. A violation by the peer is not raised: it sets `failure` and
        ends the processing; and it queues a Close, unless ``hold_failure`` was given.

        Args:
            data: the bytes.
            start: how many of them have been taken before.
            enough: stop once the messages fill so much memory, in bytes: a little data may hold much that is
                compressed. The rest of the data is kept, see `has_more`. None for all at once.

        Raises:
            Exception: what a codec has raised, or `MemoryError`. The connection is then CLOSED.
        """
        events: list[Event] = []
        self.has_more = False
        if not self._is_processing:  # What comes after the end is not even kept.
            return events
        try:
            self._frames.feed(data, start)
            self._process(sys.maxsize if enough is None else enough, events)
            self._expect()
        except BaseException:
            self._end(_CLOSED)
            raise
        return events

    def _process(self, left: int, events: list[Event]) -> None:
        """Take what has been fed, until the messages fill so much memory; a violation ends it."""
        frames, messages = self._frames, self._messages
        try:
            while self.state is not _CLOSED:
                if left > 0 and not messages.in_message:  # Most messages are one whole, plain frame each.
                    if self._changed:
                        left = self._take_changed(left, events)
                    left = frames.take_messages(self._max_whole, left, events)
                if left <= 0 or not frames.has_data:
                    self.has_more = frames.has_data
                    break
                part = frames.next_part(messages.payload)
                if part is None:
                    break
                message = self._receive_part(part, events)
                if message is not None:
                    left -= sys.getsizeof(message)
        except RemoteProtocolError as exc:
            self.failure = exc
            if not self._hold_failure:
                self.fail()

    def get_buffer(self) -> memoryview | None:
        """Return room to read into, instead of `receive_data`: in the middle of a large binary message; else None.

        What is read then need not be copied. Fill a part of it at its beginning, release it, and call `buffer_updated`.
        """
        payload = self._messages.payload
        if payload is None or not self._is_processing:
            return None
        try:
            return self._frames.tail(payload)
        except BaseException:
            self._end(_CLOSED)
            raise

    def buffer_updated(self, count: int) -> list[Event]:
        """Take so many bytes, that were read into what `get_buffer` has given; return what they bring."""
        events: list[Event] = []
        payload = self._messages.payload
        assert payload is not None
        try:
            self._receive_part(self._frames.commit(payload, count), events)
            self._expect()
        except BaseException:
            self._end(_CLOSED)
            raise
        return events

    def _expect(self) -> None:
        self.expects_frame = self._frames.is_between and not self._messages.in_message and self._is_processing

    def _take_changed(self, left: int, events: list[Event]) -> int:
        """Take the messages that stand one after another, each in one whole frame that the codec has changed."""
        while left > 0:
            frame = self._frames.take_whole(self._changed, self._max_whole)
            if frame is None:
                break
            message = self._messages.receive_whole(*frame)
            events.append(message)
            left -= sys.getsizeof(message)
        return left

    @property
    def _is_processing(self) -> bool:
        return self.state is not _CLOSED and self.failure is None

    @property
    def is_failing(self) -> bool:
        """Whether a violation has been found and waits for `fail`."""
        return self.failure is not None and self.state is not State.CLOSED

    def fail(self) -> None:
        """Answer the violation that was found: drop what is queued and queue a Close; the connection is CLOSED.

        If our Close is queued, nothing is dropped: it says all that is to be said.
        """
        if self.failure is None or self.state is State.CLOSED:
            return
        if self.state is State.OPEN:
            self.outbox.clear()
            self._queue_close(Close(self.failure.close_code, self.failure.reason))
        self._end(State.CLOSED)

    def receive_eof(self) -> None:
        """Take notice that no more bytes will come: a connection that was not CLOSED can send no more either."""
        if self.state is not State.CLOSED:
            self._end(State.CLOSED)
            self.outbox.clear()

    def take_partial(self) -> str | bytes:
        """Take what has come of the unfinished message; the event that ends it will hold the rest only."""
        return self._messages.take_partial()

    def _receive_part(self, part: FramePart, events: list[Event]) -> str | bytes | None:
        """Take a frame, or a part of one; return the message that it completes, which is an event too."""
        opcode = part.header.opcode
        if opcode <= Opcode.BINARY:
            message = self._messages.receive(part)
            if message is not None:
                events.append(message)
            return message
        if opcode is Opcode.PING:
            events.append(Ping(part.payload))
            if self.state is State.OPEN:
                self.outbox.put_pong(self._frame(_FIN | Opcode.PONG, part.payload))
        elif opcode is Opcode.PONG:
            events.append(Pong(part.payload))
        else:
            close = parse_close(part.payload)
            self.close_received = close
            if self.state is State.OPEN:
                self._queue_close(close)
            self._end(State.CLOSED)
            events.append(close)
        return None

    # -- sending -------------------------------------------------------------------------------------------------------

    def send_message(
        self,
        message: str | bytes,
        *,
        opcode: Opcode | None = None,
        fragment_size: int | None = None,
        compress: bool | None = None,
    ) -> None:
        """Queue a whole message.

        Args:
            message: what to send.
            opcode: ``TEXT`` or ``BINARY``; by default what the type of the message says.
            fragment_size: the largest payload of one frame, in bytes; None for one frame, however large.
            compress: whether to compress the message, where that was agreed; None leaves it to the extension.

        Raises:
            LocalProtocolError: a Close was queued or received, or a fragmented message is being sent.
            ValueError: the text is not UTF-8, the opcode is of no message, or the fragment size is not positive.
            Exception: what a codec has raised, or `MemoryError`. If the peer could not read what follows, for a part of
                the message was queued or compressed, the connection is CLOSED.
        """
        if self.state is not _OPEN or self._sending_opcode is not None:
            self._check_between_messages()
        if opcode is None and fragment_size is None:
            opcode = Opcode.TEXT if isinstance(message, str) else Opcode.BINARY
            if self._codecs:
                payload = message.encode() if isinstance(message, str) else message
                self._put_encoded(opcode, payload, first=True, fin=True, compress=compress)
            else:
                self.outbox.put_frame(_FIN | opcode, message)
            return
        if opcode is None:
            opcode = Opcode.TEXT if isinstance(message, str) else Opcode.BINARY
        elif opcode not in (Opcode.TEXT, Opcode.BINARY):
            raise ValueError(f"opcode {opcode!r}: expected TEXT or BINARY (5.6)")
        if fragment_size is not None and fragment_size < 1:
            raise ValueError(f"fragment_size {fragment_size}: expected at least 1")
        if isinstance(message, str):
            payload = message.encode()
        else:
            payload = message
            if opcode == Opcode.TEXT:
                str(payload, "utf-8")
        self._put_encoded(opcode, payload, first=True, fin=True, compress=compress, fragment_size=fragment_size)

    def send_prepared(self, frame: bytes) -> None:
        """Queue a whole message that `serialize_frame` has framed, without a mask: for servers.

        Args:
            frame: one frame; it goes past the extensions, so its reserved bits are not set.

        Raises:
            LocalProtocolError: a Close was queued or received, or a fragmented message is being sent.
        """
        self._check_between_messages()
        self.outbox.put(frame)

    def send_fragment(self, data: str | bytes, *, fin: bool, compress: bool | None = None) -> None:
        """Queue the next fragment of a message; the first one begins it, and its type is the message's type.

        Args:
            data: the fragment.
            fin: whether it ends the message.
            compress: as of `send_message`; the same for each fragment.

        Raises:
            LocalProtocolError: a Close was queued or received.
            TypeError: the data is not of the message's type.
            Exception: as of `send_message`.
        """
        self._check_open()
        opcode = Opcode.TEXT if isinstance(data, str) else Opcode.BINARY
        if self._sending_opcode not in (None, opcode):
            raise TypeError(f"a fragment of a {self._sending_opcode.name} message cannot be {type(data).__name__}")
        first = self._sending_opcode is None
        payload = data.encode() if isinstance(data, str) else data
        begins = opcode if first else Opcode.CONTINUATION
        self._put_encoded(begins, payload, first=first, fin=fin, compress=compress)
        self._sending_opcode = None if fin else opcode
        self.outbox.is_open = fin

    def send_ping(self, payload: bytes = b"") -> None:
        """Queue a Ping of at most 125 bytes; it overtakes queued data."""
        self._queue_control(Opcode.PING, payload)

    def send_pong(self, payload: bytes = b"") -> None:
        """Queue an unsolicited Pong of at most 125 bytes (RFC 6455, section 5.5.3); it overtakes queued data."""
        self._queue_control(Opcode.PONG, payload)

    def send_close(self, code: int | None = CloseCode.NORMAL_CLOSURE, reason: str = "") -> None:
        """Queue a Close behind what was queued before; nothing can be sent after it.

        Args:
            code: the close code; None for a Close without one.
            reason: cut at 123 bytes of UTF-8.

        Raises:
            ValueError: the code cannot be sent, or there is a reason without a code.
            LocalProtocolError: a Close was queued or received.
        """
        if code is not None:
            check_close_code(code)
        elif reason:
            raise ValueError("a Close without a code cannot have a reason (5.5.1)")
        self._check_open()
        self._queue_close(Close(CloseCode.NO_STATUS_RECEIVED if code is None else code, reason))
        self._end(_CLOSING)

    def data_to_send(self) -> bytes:
        """Take the next bytes to write: 64 KiB of whole frames at most, or one larger frame; empty if none waits."""
        return b"".join(self.buffers_to_send())

    def buffers_to_send(self) -> list[bytes]:
        """Take the bytes that `data_to_send` would give, as a few buffers for one gathered write (``sendmsg``).

        A large payload that is neither masked nor compressed is a buffer of its own: the very bytes that were sent.
        """
        return self.outbox.take()

    @property
    def has_data_to_send(self) -> bool:
        """Whether `data_to_send` would give anything."""
        return bool(self.outbox)

    def _end(self, state: State) -> None:
        self.state = state
        self.outbox.is_open = False
        self.expects_frame = self.expects_frame and state is not _CLOSED

    def _check_open(self) -> None:
        if self.state is not State.OPEN:
            raise LocalProtocolError(f"nothing can be sent after a Close (5.5.1); the connection is {self.state.value}")

    def _check_between_messages(self) -> None:
        self._check_open()
        if self._sending_opcode is not None:
            raise LocalProtocolError("a fragmented message is being sent (5.4)")

    def _put_encoded(
        self,
        opcode: Opcode,
        payload: bytes,
        *,
        first: bool,
        fin: bool,
        compress: bool | None,
        fragment_size: int | None = None,
    ) -> None:
        """Let the extensions change a message or a fragment, and queue it with the reserved bits that say so.

        An exception is the end if an extension has seen the payload, or a part of it is queued: neither can be undone.
        """
        rsv, cannot_be_undone = 0, bool(self._codecs)
        try:
            for codec in self._codecs:
                payload, changed = codec.encode(payload, first=first, fin=fin, compress=compress)
                rsv |= codec.rsv if changed and first else 0
            size = fragment_size or len(payload) or 1
            for start in range(0, len(payload) or 1, size):
                last = _FIN if fin and start + size >= len(payload) else 0
                part = payload if size >= len(payload) else payload[start : start + size]
                self.outbox.put_frame(last | rsv | opcode, part)
                cannot_be_undone = True
                opcode, rsv = Opcode.CONTINUATION, 0
        except BaseException:
            if cannot_be_undone:
                self._end(_CLOSED)
            raise

    def _frame(self, first: int, payload: str | bytes) -> bytes:
        """Return a frame that begins with this byte."""
        new_masking_key = self.outbox.new_masking_key
        return build_frame(first, payload, b"" if new_masking_key is None else new_masking_key())

    def _queue_control(self, opcode: Opcode, payload: bytes) -> None:
        if len(payload) > 125:
            raise ValueError(f"{opcode.name} payload of {len(payload)} bytes, expected at most 125 (5.5)")
        self._check_open()
        self.outbox.put_control(self._frame(_FIN | opcode, payload))

    def _queue_close(self, close: Close) -> None:
        payload = serialize_close(close)
        sent = parse_close(payload)
        before = self.outbox.size
        self.outbox.put_frame(_FIN | Opcode.CLOSE, payload)
        self.close_sent = sent
        self.close_size = self.outbox.size - before
