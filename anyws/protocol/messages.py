"""Frames to messages: fragmentation, UTF-8 and the limits on a whole message (RFC 6455, sections 5.4 and 8.1).

How this works: a message in one whole frame goes straight through. Any other is gathered as bytes in one growing
buffer, so that many small parts take no more memory than few large ones; text is checked as it comes. Whoever wants the
pieces takes what is in the buffer; the message that comes out at its end is then the rest.
"""

from __future__ import annotations

import codecs
from collections.abc import Sequence

from .errors import InvalidText, LimitExceeded, ProtocolError
from .extensions import Codec
from .frames import FrameHeader, FramePart, Opcode
from .speedups import Payload

__all__ = ["MessageDecoder"]

# How much larger a message that codecs have changed may be than what comes of it, besides an eighth: what compresses
# badly grows, and each fragment that is flushed has an empty block. Bytes.
_SLACK = 1024
_SLACK_OF_FRAGMENT = 16


def _invalid_text(exc: UnicodeDecodeError) -> InvalidText:
    return InvalidText(f"text is not UTF-8: {exc.reason} (8.1)")


class _Text:
    """A text message that is coming in: checked up to its newest byte."""

    def __init__(self) -> None:
        self._payload = Payload()
        self._unfinished = b""  # the beginning of a code point, at the end of the payload
        self._taken = 0  # how much of that nobody waits for any more

    def __len__(self) -> int:
        """Bytes that have come since the last `take`."""
        return len(self._payload) - self._taken

    def add(self, payload: bytes, final: bool) -> None:
        data = self._unfinished + payload
        try:
            _, used = codecs.utf_8_decode(data, "strict", final)
        except UnicodeDecodeError as exc:
            raise _invalid_text(exc) from exc
        self._unfinished = data[used:]
        # CPython holds "ED A0" to "ED BF" back as if they could go on; they begin a surrogate.
        if self._unfinished[:1] == b"\xed" and self._unfinished[1:] >= b"\xa0":
            raise InvalidText("text is not UTF-8: surrogate (8.1)")
        self._payload.extend(payload, 0, len(payload), b"", 0)

    def take(self) -> str:
        payload = self._payload.take()
        self._taken = len(self._unfinished)
        if self._unfinished:
            self._payload.extend(self._unfinished, 0, self._taken, b"", 0)
            payload = payload[: -self._taken]
        return payload.decode()


class MessageDecoder:
    """Turns data frames into messages: `str` for text, `bytes` for binary.

    Args:
        max_message_size: the largest message, in bytes of payload over all its fragments; None for no limit.
        max_fragments: the largest number of frames that make up a message, empty ones included; None for no limit.
        codecs: the agreed extensions, in the order of the header.
    """

    __slots__ = (
        "_active",
        "_codecs",
        "_decoded",
        "_fragments",
        "_max_fragments",
        "_max_message_size",
        "_message",
        "_size",
    )

    def __init__(
        self, *, max_message_size: int | None, max_fragments: int | None, codecs: Sequence[Codec] = ()
    ) -> None:
        self._max_message_size = max_message_size
        self._max_fragments = max_fragments
        self._codecs = codecs
        self._active: Sequence[Codec] = ()  # those that have changed the message that is coming in, the last one first
        self._message: _Text | Payload | None = None  # the message that is coming in
        self._size = 0  # its payload, in bytes, by the headers so far
        self._decoded = 0  # what has come of it, in bytes, where codecs have changed it
        self._fragments = 0

    @property
    def held(self) -> int:
        """Bytes of the message that is coming in which nobody has taken yet."""
        return 0 if self._message is None else len(self._message)

    @property
    def in_message(self) -> bool:
        """Whether a message has begun and not ended."""
        return self._message is not None

    @property
    def payload(self) -> Payload | None:
        """What gathers a binary message that is coming in as it will come out, not changed by codecs; else None."""
        return self._message if isinstance(self._message, Payload) and not self._active else None

    def receive(self, part: FramePart) -> str | bytes | None:
        """Take a data frame, or a part of one; return the message that it completes, if it does.

        What `FrameDecoder.next_part` has added to `payload` is not in the part.

        Raises:
            ProtocolError: a continuation of nothing, or a new message inside another.
            InvalidText: at the first byte that cannot be UTF-8.
            LimitExceeded: the header announces more than the limits allow.
        """
        header, payload = part.header, part.payload
        if part.first:
            self._begin_frame(header, whole=part.last and header.fin)
        final = part.last and header.fin
        if self._active:
            payload = self._decode(payload, final)
        message = self._message
        if message is None:
            return self._whole(header.opcode, payload)
        if isinstance(message, _Text):
            message.add(payload, final)
        elif payload:
            message.extend(payload, 0, len(payload), b"", 0)
        if not final:
            return None
        self._message = None
        return message.take()

    def receive_whole(self, opcode: Opcode, payload: bytes) -> str | bytes:
        """Take a frame that is a message of its own, no longer than the limits, and changed by every codec.

        Raises:
            RemoteProtocolError: as `receive`, between messages.
        """
        self._active = self._codecs[::-1]
        self._decoded = 0
        return self._whole(opcode, self._decode(payload, True))

    def take_partial(self) -> str | bytes:
        """Take what has come of the message that is coming in; what completes it will be the rest only."""
        return b"" if self._message is None else self._message.take()

    def _begin_frame(self, header: FrameHeader, *, whole: bool) -> None:
        if header.opcode is Opcode.CONTINUATION:
            if self._message is None:
                raise ProtocolError("continuation frame, but no message has begun (5.4)")
        elif self._message is not None:
            raise ProtocolError(
                f"{header.opcode.name} frame inside a fragmented message, expected a continuation (5.4)"
            )
        else:
            self._size = self._fragments = self._decoded = 0
            self._active = [codec for codec in reversed(self._codecs) if header.rsv & codec.rsv]
        self._size += header.length
        self._fragments += 1
        limit = self._max_message_size
        if limit is not None and self._size > limit + (self._slack(limit) if self._active else 0):
            raise LimitExceeded("max_message_size", limit, self._size)
        if self._max_fragments is not None and self._fragments > self._max_fragments:
            raise LimitExceeded("max_fragments", self._max_fragments, self._fragments)
        if not whole and self._message is None:
            self._message = _Text() if header.opcode is Opcode.TEXT else Payload()

    def _slack(self, limit: int) -> int:
        return limit // 8 + _SLACK + _SLACK_OF_FRAGMENT * self._fragments

    def _decode(self, payload: bytes, final: bool) -> bytes:
        """Let the codecs change a part back, within what the limit leaves to the last of them."""
        limit = self._max_message_size
        room = None if limit is None else limit - self._decoded
        try:
            for codec in self._active[:-1]:
                between = None if limit is None or room is None else room + self._slack(limit)
                payload = codec.decode(payload, fin=final, limit=between)
            payload = self._active[-1].decode(payload, fin=final, limit=room)
        except OverflowError as exc:
            assert limit is not None
            raise LimitExceeded("max_message_size", limit, limit + 1) from exc
        self._decoded += len(payload)
        if limit is not None and self._decoded > limit:  # An extension may forget.
            raise LimitExceeded("max_message_size", limit, self._decoded)
        return payload

    def _whole(self, opcode: Opcode, payload: bytes) -> str | bytes:
        if opcode is Opcode.BINARY:
            return payload
        try:
            return payload.decode()
        except UnicodeDecodeError as exc:
            raise _invalid_text(exc) from exc
