"""The state machine of an open connection: who may send what, and when (RFC 6455, sections 5.5 and 7).

The rule of this file: every state change happens here, and so does every reaction that the RFC requires. A Ping queues
a Pong, a Close queues its echo, and a protocol violation queues a Close with its code and stops all processing. This
is why the file is longer than others.

    OPEN     -- we queue a Close -----------------------> CLOSING
    OPEN     -- we receive a Close (and queue its echo) -> CLOSED
    CLOSING  -- we receive a Close ---------------------> CLOSED
    any      -- a violation, or the end of the stream --> CLOSED (with `hold_failure`, a violation at `Connection.fail`)
    any      -- an exception, including MemoryError ----> CLOSED (unless it was raised before anything changed)

Pings and Pongs overtake queued data. A Close is sent after the data that was queued before it, except that a failing
connection drops this data.
"""

from __future__ import annotations

import enum
import functools
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from .closing import Close, CloseCode, check_close_code, parse_close, serialize_close
from .errors import LocalProtocolError, RemoteProtocolError
from .extensions import Codec, reserved_bits
from .frames import FrameDecoder, FramePart, Opcode
from .masking import new_masking_key as new_random_key
from .messages import MessageDecoder
from .outbox import Outbox
from .speedups import MessageQueue, Payload, build_frame

__all__ = ["Connection", "Event", "Ping", "Pong", "Role", "State"]

_FIN = 0x80  # RFC 6455, section 5.2


class Role(enum.Enum):
    """Which end of the connection this is."""

    CLIENT = "client"
    SERVER = "server"


class State(enum.Enum):
    """The state of a connection (RFC 6455, sections 7.1.3 and 7.1.4); the handshake objects cover CONNECTING."""

    OPEN = "open"
    CLOSING = "closing"
    CLOSED = "closed"


# On Python 3.11, looking up an enum member takes longer than framing a message, and allocates memory.
_OPEN, _CLOSING, _CLOSED = State.OPEN, State.CLOSING, State.CLOSED


@functools.lru_cache(maxsize=16)
def _max_whole(max_message_size: int | None, max_frame_size: int | None, max_fragments: int | None) -> int:
    """Return the size of the largest message that may arrive in a single frame; -1 if not even one frame may."""
    return min(
        sys.maxsize if max_message_size is None else max_message_size,
        sys.maxsize if max_frame_size is None else max_frame_size,
        sys.maxsize if max_fragments is None or max_fragments >= 1 else -1,
    )


@dataclass(frozen=True, slots=True)
class Ping:
    """A received Ping, whose Pong is queued automatically. ``payload`` has at most 125 bytes."""

    payload: bytes


@dataclass(frozen=True, slots=True)
class Pong:
    """A received Pong, whether solicited or not. ``payload`` has at most 125 bytes."""

    payload: bytes


Event = str | bytes | Ping | Pong | Close
"""What a connection receives: a text message (`str`), a binary message (`bytes`), or a control frame."""


class Connection:
    """One end of an open connection, without I/O: bytes in, events and bytes out.

    Args:
        role: which end of the connection this is.
        max_message_size: the maximum size of a received message, in bytes over all its fragments; None for no limit.
        max_frame_size: the maximum payload of a received data frame, in bytes; None for no limit.
        max_fragments: the maximum number of frames in a received message; None for no limit.
        masking: whether a client masks its frames, as RFC 6455, section 5.3 requires.
        accept_unmasked: whether a server accepts unmasked frames, contrary to RFC 6455, section 5.1.
        codecs: the negotiated extensions, in the order of the header.
        hold_failure: whether a protocol violation has no effect until you call `fail`, so that you can respond to the
            messages received before it.
        new_masking_key: a function that returns a fresh, unpredictable masking key of 4 bytes (RFC 6455, sections 5.3
            and 10.3).
    """

    __slots__ = (
        "_codecs",
        "_frames",
        "_hold_failure",
        "_max_whole",
        "_messages",
        "_sending_opcode",
        "close_received",
        "close_sent",
        "close_size",
        "decoded_rsv",
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
        self.state: State = _OPEN
        self.close_sent: Close | None = None
        self.close_received: Close | None = None
        self.close_size: int = 0
        """The size of our Close frame in bytes; 0 before it is queued."""
        self.failure: RemoteProtocolError | None = None
        """The violation for which this side failed the connection (RFC 6455, section 7.1.7); None if there was none."""
        their_frames_masked = None if accept_unmasked and role is Role.SERVER else role is Role.SERVER
        self._frames = FrameDecoder(
            masked=their_frames_masked, rsv=reserved_bits(codecs) if codecs else 0, max_frame_size=max_frame_size
        )
        self._messages = MessageDecoder(max_message_size=max_message_size, max_fragments=max_fragments, codecs=codecs)
        self._max_whole = _max_whole(max_message_size, max_frame_size, max_fragments)
        self._codecs = codecs
        # The reserved bits of whole messages that `decode_message` restores. Several codecs need the general path.
        self.decoded_rsv: int = codecs[0].rsv if len(codecs) == 1 else 0
        self._hold_failure = hold_failure
        self.has_more: bool = False
        """Whether `receive_data` stopped before processing all data. If so, call it again with ``b""``."""
        self._sending_opcode: Opcode | None = None  # of the fragmented message that is being sent
        # Frames to send. The I/O layer shares this queue and adds plain messages to it directly while it is open.
        self.outbox: Outbox = Outbox(new_masking_key if masking and role is Role.CLIENT else None)
        self.outbox.is_plain = not codecs
        # Whether the next bytes start a new frame. If so, the I/O layer may put plain frames into the inbox directly.
        # `receive_data` returns its messages as events instead.
        self.expects_frame: bool = True
        self.inbox: MessageQueue = MessageQueue(their_frames_masked, self._max_whole)

    # -- state ---------------------------------------------------------------------------------------------------------

    @property
    def close_code(self) -> int | None:
        """The received close code; 1005 if the Close had none, 1006 if there was no Close, None while open."""
        if self.close_received is not None:
            return self.close_received.code
        return CloseCode.ABNORMAL_CLOSURE if self.state is State.CLOSED else None

    @property
    def is_server_done(self) -> bool:
        """Whether this side, as the server, must close the TCP connection after sending (RFC 6455, section 7.1.1)."""
        return self.state is State.CLOSED and self.role is Role.SERVER

    @property
    def transforms_messages(self) -> bool:
        """Whether extensions were negotiated."""
        return bool(self._codecs)

    @property
    def partial_size(self) -> int:
        """The number of bytes of the incomplete incoming message that `take_partial` would return."""
        return self._messages.partial_size

    @property
    def in_message(self) -> bool:
        """Whether a message has been received only in part."""
        return self._messages.in_message

    @property
    def sending_fragments(self) -> bool:
        """Whether `send_fragment` has started a message and not finished it."""
        return self._sending_opcode is not None

    @property
    def queued(self) -> int:
        """The number of bytes in queued frames, not counting automatic Pongs."""
        return self.outbox.size

    # -- receiving -----------------------------------------------------------------------------------------------------

    def receive_data(self, data: bytes, *, start: int = 0, room: int | None = None) -> list[Event]:
        """Process bytes from the peer and return the events; no events once the connection is CLOSED.

        Responses to the peer are queued for `data_to_send`. A protocol violation by the peer does not raise: it sets
        `failure`, stops the processing and, without ``hold_failure``, queues a Close.

        Args:
            data: the received bytes.
            start: the position in the data at which to start.
            room: stop once the messages use this much memory, in bytes, because a small amount of compressed data
                can contain large messages. The rest of the data is kept, see `has_more`. None processes all data.

        Raises:
            Exception: a codec raised an exception, or memory ran out. The connection is then CLOSED.
        """
        events: list[Event] = []
        self.has_more = False
        if not self._is_processing:  # discard data received after the end
            return events
        try:
            self._frames.feed(data, start)
            self._process(sys.maxsize if room is None else room, events)
            self._update_expects_frame()
        except BaseException:
            self._set_state(_CLOSED)
            raise
        return events

    def _process(self, room: int, events: list[Event]) -> None:
        """Process buffered data until the messages use ``room`` bytes of memory or the peer violates the protocol."""
        frames, messages = self._frames, self._messages
        try:
            # For speed: what is neither plain nor compressed is usually a Close, with which every connection ends.
            if not self.decoded_rsv and (close := frames.take_close()) is not None:
                self._receive_close(close, events)
            while self.state is not _CLOSED:
                if room > 0 and not messages.in_message:  # fast path: most messages are a single complete frame
                    room = frames.take_messages(self._max_whole, room, events, self.decoded_rsv, self.decode_message)
                    if self.failure is not None:
                        break
                if room <= 0 or not frames.has_data:
                    self.has_more = frames.has_data
                    break
                part = frames.next_part(messages.payload)
                if part is None:
                    break
                message = self._receive_part(part, events)
                if message is not None:
                    room -= sys.getsizeof(message)
        except RemoteProtocolError as exc:
            self.note_violation(exc)

    def decode_message(self, opcode: int, payload: bytes) -> str | bytes | None:
        """Restore a whole message that the only extension has transformed. For ``MessageQueue.put_frames``.

        Args:
            opcode: ``TEXT`` or ``BINARY``.
            payload: the unmasked payload of its only frame, which is within the limits and has ``decoded_rsv`` set.

        Returns:
            The message; None after a violation, as by `receive_data`.

        Raises:
            Exception: a codec raised an exception, or memory ran out. The connection is then CLOSED.
        """
        try:
            return self._messages.receive_whole(opcode, payload)
        except RemoteProtocolError as exc:
            self.note_violation(exc)
            return None
        except BaseException:
            self._set_state(_CLOSED)
            raise

    def note_violation(self, violation: RemoteProtocolError) -> None:
        """Set `failure` and stop the processing; without ``hold_failure``, queue a Close.

        Call it for a violation of a rule of your own, such as a limit of the rate.
        """
        self.failure = violation
        self.expects_frame = False
        if not self._hold_failure:
            self.fail()

    def get_buffer(self) -> memoryview | None:
        """Return a buffer to read into, or None unless the rest of a large binary message comes next.

        Reading into it saves the copy that `receive_data` makes. Fill the beginning of the buffer, release it, and call
        `buffer_updated`.
        """
        payload = self._messages.payload
        if payload is None or not self._is_processing:
            return None
        try:
            return self._frames.get_buffer(payload)
        except BaseException:
            self._set_state(_CLOSED)
            raise

    def buffer_updated(self, count: int) -> list[Event]:
        """Process the first ``count`` bytes of the buffer that `get_buffer` returned; return the events."""
        events: list[Event] = []
        payload = self._messages.payload
        assert payload is not None
        try:
            self._receive_part(self._frames.buffer_updated(payload, count), events)
            self._update_expects_frame()
        except BaseException:
            self._set_state(_CLOSED)
            raise
        return events

    def receive_large(self, header: bytes, payload: Payload) -> None:
        """Process the beginning of a large binary message, of which the I/O layer has collected and unmasked a part.

        Args:
            header: the header of the frame, which is valid, within the limits and without reserved bits.
            payload: the first bytes of the payload, but not all of them.
        """
        try:
            part = self._frames.begin_large(header, len(payload))
            self._messages.begin_large(part.header, payload)
            self._update_expects_frame()
        except BaseException:
            self._set_state(_CLOSED)
            raise

    def _update_expects_frame(self) -> None:
        self.expects_frame = self._frames.is_between_frames and not self._messages.in_message and self._is_processing

    @property
    def _is_processing(self) -> bool:
        return self.state is not _CLOSED and self.failure is None

    @property
    def is_failing(self) -> bool:
        """Whether the peer has violated the protocol and `fail` has not been called yet."""
        return self.failure is not None and self.state is not State.CLOSED

    def fail(self) -> None:
        """Fail the connection after a violation: drop all queued frames, queue a Close, and change to CLOSED.

        If this side has already queued a Close, nothing is dropped and no other Close is queued.
        """
        if self.failure is None or self.state is State.CLOSED:
            return
        if self.state is State.OPEN:
            self.outbox.clear()
            self._queue_close(Close(self.failure.close_code, self.failure.reason))
        self._set_state(State.CLOSED)

    def receive_eof(self) -> None:
        """Handle the end of the stream. A connection that was not CLOSED drops its queued frames and is CLOSED."""
        if self.state is not State.CLOSED:
            self._set_state(State.CLOSED)
            self.outbox.clear()

    def take_partial(self) -> str | bytes:
        """Return the received part of an incomplete message. The event for this message then contains only the rest."""
        return self._messages.take_partial()

    def _receive_part(self, part: FramePart, events: list[Event]) -> str | bytes | None:
        """Process a frame or a part of one; return the message that it completes, which is also added to the events."""
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
            self._receive_close(part.payload, events)
        return None

    def _receive_close(self, payload: bytes, events: list[Event]) -> None:
        self.close_received = close = parse_close(payload)
        if self.state is _OPEN:
            self._queue_close_frame(close, payload)
        self._set_state(_CLOSED)
        events.append(close)

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
            message: the message.
            opcode: ``TEXT`` or ``BINARY``; by default determined by the type of the message.
            fragment_size: the maximum payload of a frame, in bytes; None sends a single frame of any size.
            compress: whether to compress the message, if compression was negotiated; None leaves it to the extension.

        Raises:
            LocalProtocolError: a Close was queued or received, or a fragmented message is being sent.
            ValueError: the text cannot be encoded as UTF-8, the opcode is neither ``TEXT`` nor ``BINARY``, or the
                fragment size is not positive.
            Exception: a codec raised an exception, or memory ran out. The connection is CLOSED if a part of the message
                was already queued or compressed, because the peer could not decode the following data.
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
            raise ValueError(f"opcode is {opcode!r}, expected TEXT or BINARY (RFC 6455, section 5.6)")
        if fragment_size is not None and fragment_size < 1:
            raise ValueError(f"fragment_size is {fragment_size}, expected at least 1")
        if isinstance(message, str):
            payload = message.encode()
        else:
            payload = message
            if opcode == Opcode.TEXT:
                str(payload, "utf-8")
        self._put_encoded(opcode, payload, first=True, fin=True, compress=compress, fragment_size=fragment_size)

    def send_prepared(self, frame: bytes) -> None:
        """Queue a whole message that `serialize_frame` has framed without a mask. For servers only.

        Args:
            frame: one frame without reserved bits; the extensions do not see it.

        Raises:
            LocalProtocolError: a Close was queued or received, or a fragmented message is being sent.
        """
        self._check_between_messages()
        self.outbox.put(frame)

    def send_fragment(self, data: str | bytes, *, fin: bool, compress: bool | None = None) -> None:
        """Queue the next fragment of a message. The first fragment determines the type of the message.

        Args:
            data: the fragment.
            fin: whether the fragment ends the message.
            compress: see `send_message`; pass the same value for each fragment.

        Raises:
            LocalProtocolError: a Close was queued or received.
            TypeError: the data does not have the type of the message.
            Exception: see `send_message`.
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
        """Queue a Ping with at most 125 bytes of payload; it overtakes queued data."""
        self._queue_control(Opcode.PING, payload)

    def send_pong(self, payload: bytes = b"") -> None:
        """Queue an unsolicited Pong (RFC 6455, section 5.5.3) with at most 125 bytes; it overtakes queued data."""
        self._queue_control(Opcode.PONG, payload)

    def send_close(self, code: int | None = CloseCode.NORMAL_CLOSURE, reason: str = "") -> None:
        """Queue a Close after all frames queued so far. Nothing can be sent after it.

        Args:
            code: the close code; None for a Close without one.
            reason: the reason, truncated to 123 bytes of UTF-8.

        Raises:
            ValueError: the code must not be sent, or there is a reason without a code.
            LocalProtocolError: a Close was queued or received.
        """
        if code is not None:
            check_close_code(code)
        elif reason:
            raise ValueError("a Close without a code cannot have a reason (RFC 6455, section 5.5.1)")
        self._check_open()
        self._queue_close(Close(CloseCode.NO_STATUS_RECEIVED if code is None else code, reason))
        self._set_state(_CLOSING)

    def data_to_send(self) -> bytes:
        """Return the next bytes to write: up to 64 KiB of whole frames or one larger frame; empty if none is queued."""
        return b"".join(self.buffers_to_send())

    def buffers_to_send(self) -> list[bytes]:
        """Return the bytes of `data_to_send` as a few buffers for one gathered write (``sendmsg``).

        A large payload that is neither masked nor compressed is a separate buffer: the bytes object that you passed.
        """
        return self.outbox.take()

    @property
    def has_data_to_send(self) -> bool:
        """Whether `data_to_send` would return any bytes."""
        return bool(self.outbox)

    def _set_state(self, state: State) -> None:
        self.state = state
        self.outbox.is_open = False
        self.inbox.is_open = state is not _CLOSED
        self.expects_frame = self.expects_frame and state is not _CLOSED

    def _check_open(self) -> None:
        if self.state is not State.OPEN:
            raise LocalProtocolError(
                f"cannot send after a Close; the connection is {self.state.value} (RFC 6455, section 5.5.1)"
            )

    def _check_between_messages(self) -> None:
        self._check_open()
        if self._sending_opcode is not None:
            raise LocalProtocolError("a fragmented message is being sent (RFC 6455, section 5.4)")

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
        """Let the extensions transform a message or a fragment, and queue it with the reserved bits that they set.

        If an exception is raised after an extension has seen the payload or a part of it was queued, the connection is
        CLOSED, because neither can be undone.
        """
        rsv, cannot_be_undone = 0, bool(self._codecs)
        try:
            for codec in self._codecs:
                payload, changed = codec.encode(payload, first=first, fin=fin, compress=compress)
                rsv |= codec.rsv if changed and first else 0
            if fragment_size is None:
                self.outbox.put_frame((_FIN if fin else 0) | rsv | opcode, payload)
                return
            for start in range(0, len(payload) or 1, fragment_size):
                last = _FIN if fin and start + fragment_size >= len(payload) else 0
                part = payload if fragment_size >= len(payload) else payload[start : start + fragment_size]
                self.outbox.put_frame(last | rsv | opcode, part)
                cannot_be_undone = True
                opcode, rsv = Opcode.CONTINUATION, 0
        except BaseException:
            if cannot_be_undone:
                self._set_state(_CLOSED)
            raise

    def _frame(self, first: int, payload: str | bytes) -> bytes:
        """Return a frame with this first byte."""
        new_masking_key = self.outbox.new_masking_key
        return build_frame(first, payload, b"" if new_masking_key is None else new_masking_key())

    def _queue_control(self, opcode: Opcode, payload: bytes) -> None:
        if len(payload) > 125:
            raise ValueError(
                f"{opcode.name} payload of {len(payload)} bytes, expected at most 125 (RFC 6455, section 5.5)"
            )
        self._check_open()
        self.outbox.put_control(self._frame(_FIN | opcode, payload))

    def _queue_close(self, close: Close) -> None:
        payload = serialize_close(close)
        self._queue_close_frame(parse_close(payload), payload)

    def _queue_close_frame(self, close: Close, payload: bytes) -> None:
        before = self.outbox.size
        self.outbox.put_frame(_FIN | Opcode.CLOSE, payload)
        self.close_sent = close
        self.close_size = self.outbox.size - before
