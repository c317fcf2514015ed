"""Frames to messages: fragmentation, UTF-8 and the limits on a whole message (RFC 6455, 5.4 and 8.1).

How this works: a message in one whole frame goes straight through. Any other is gathered in one growing buffer, as text
that has been decoded and checked so far, or as bytes. Whoever wants the pieces takes what is in the buffer; the message
that comes out at its end is then the rest.
"""

from __future__ import annotations

import codecs
import io
from collections.abc import Sequence

from .errors import InvalidText, LimitExceeded, ProtocolError
from .extensions import Codec
from .frames import FrameHeader, FramePart, Opcode

__all__ = ["MessageDecoder"]

# How much larger a message that codecs have changed may be than what comes of it, besides an eighth: what compresses
# badly grows, and each fragment that is flushed has an empty block. Bytes.
_SLACK = 1024
_SLACK_OF_FRAGMENT = 16

_new_utf8_decoder = codecs.getincrementaldecoder("utf-8")


def _invalid_text(exc: UnicodeDecodeError) -> InvalidText:
    return InvalidText(f"text is not UTF-8: {exc.reason} (8.1)")


class _Text:
    """A text message that is coming in: decoded, and checked up to its newest byte."""

    def __init__(self) -> None:
        self._decoder = _new_utf8_decoder()
        self._buffer = io.StringIO()

    def add(self, payload: bytes, final: bool) -> None:
        try:
            self._buffer.write(self._decoder.decode(payload, final))
        except UnicodeDecodeError as exc:
            raise _invalid_text(exc) from exc
        # CPython's incremental decoder holds "ED A0" to "ED BF" back as if they could go on; they begin a surrogate.
        held_back = self._decoder.getstate()[0]
        if held_back[:1] == b"\xed" and held_back[1:] >= b"\xa0":
            raise InvalidText("text is not UTF-8: surrogate (8.1)")

    def take(self) -> str:
        text = self._buffer.getvalue()
        self._buffer = io.StringIO()
        return text


class _Binary:
    """A binary message that is coming in."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def add(self, payload: bytes, final: bool) -> None:
        self._buffer += payload

    def take(self) -> bytes:
        data = bytes(self._buffer)
        self._buffer.clear()
        return data


class MessageDecoder:
    """Turns data frames into messages: `str` for text, `bytes` for binary.

    Args:
        max_message_size: the largest message, in bytes of payload over all its fragments; None for no limit.
        max_fragments: the largest number of frames that make up a message, empty ones included; None for no limit.
        codecs: the agreed extensions, in the order of the header.
    """

    def __init__(
        self, *, max_message_size: int | None, max_fragments: int | None, codecs: Sequence[Codec] = ()
    ) -> None:
        self._max_message_size = max_message_size
        self._max_fragments = max_fragments
        self._codecs = codecs
        self._active: Sequence[Codec] = ()  # those that have changed the message that is coming in, the last one first
        self._message: _Text | _Binary | None = None  # the message that is coming in
        self._size = 0  # its payload, in bytes, by the headers so far
        self._decoded = 0  # what has come of it, in bytes, where codecs have changed it
        self._fragments = 0
        self.held: int = 0
        """Bytes of the message that is coming in which nobody has taken yet."""

    @property
    def in_message(self) -> bool:
        """Whether a message has begun and not ended."""
        return self._message is not None

    def receive(self, part: FramePart) -> str | bytes | None:
        """Take a data frame, or a part of one; return the message that it completes, if it does.

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
        message.add(payload, final)
        self.held += len(payload)
        if not final:
            return None
        self._message = None
        self.held = 0
        return message.take()

    def take_partial(self) -> str | bytes:
        """Take what has come of the message that is coming in; what completes it will be the rest only."""
        self.held = 0
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
            self._message = _Text() if header.opcode is Opcode.TEXT else _Binary()

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
