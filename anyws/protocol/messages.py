"""Assembles messages from frames: fragmentation, UTF-8 and message limits (RFC 6455, sections 5.4 and 8.1).

How this works: a message in a single complete frame is returned directly. Any other message is collected in one growing
buffer, so that many small parts use no more memory than a few large ones; text is validated as it arrives. A caller
that wants the parts early takes the contents of the buffer; the message returned at the end is then the rest.
"""

from __future__ import annotations

import codecs
from collections.abc import Sequence

from .errors import InvalidText, LimitExceeded, ProtocolError
from .extensions import Codec
from .frames import FrameHeader, FramePart, Opcode
from .speedups import Payload

__all__ = ["MessageDecoder"]

# By how many bytes, in addition to one eighth, a compressed message may exceed the size limit: incompressible data
# grows, and each flushed fragment contains an empty block.
_SLACK = 1024
_SLACK_OF_FRAGMENT = 16

_BINARY = int(Opcode.BINARY)  # on Python 3.11, looking up an enum member takes long


def _invalid_text(exc: UnicodeDecodeError) -> InvalidText:
    return InvalidText(f"text is not valid UTF-8: {exc.reason} (RFC 6455, section 8.1)")


def _too_large(limit: int | None) -> LimitExceeded:
    assert limit is not None  # without a limit, a codec has no reason to raise OverflowError
    return LimitExceeded("max_message_size", limit, limit + 1)


class _Text:
    """An incomplete text message, validated up to its last byte."""

    def __init__(self) -> None:
        self._payload = Payload()
        self._unfinished = b""  # the start of a code point, at the end of the payload
        self._taken = 0  # how many of these bytes arrived before the last `take`

    def __len__(self) -> int:
        """The number of bytes received since the last `take`."""
        return len(self._payload) - self._taken

    def add(self, payload: bytes, final: bool) -> None:
        data = self._unfinished + payload
        try:
            _, used = codecs.utf_8_decode(data, "strict", final)
        except UnicodeDecodeError as exc:
            raise _invalid_text(exc) from exc
        self._unfinished = data[used:]
        # CPython treats "ED A0" to "ED BF" as incomplete, although only an invalid surrogate can follow.
        if self._unfinished[:1] == b"\xed" and self._unfinished[1:] >= b"\xa0":
            raise InvalidText("text is not valid UTF-8: surrogate (RFC 6455, section 8.1)")
        self._payload.extend(payload, 0, len(payload), b"", 0)

    def take(self) -> str:
        payload = self._payload.take()
        self._taken = len(self._unfinished)
        if self._unfinished:
            self._payload.extend(self._unfinished, 0, self._taken, b"", 0)
            payload = payload[: -self._taken]
        return payload.decode()


class MessageDecoder:
    """Assembles messages from data frames: `str` for text, `bytes` for binary.

    Args:
        max_message_size: the maximum size of a message, in bytes over all its fragments; None for no limit.
        max_fragments: the maximum number of frames in a message, including empty ones; None for no limit.
        codecs: the negotiated extensions, in the order of the header.
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
        self._active: Sequence[Codec] = ()  # codecs that transformed the current message, in reverse order
        self._message: _Text | Payload | None = None  # the current, incomplete message
        self._size = 0  # its size in bytes, as announced by the headers received so far
        self._decoded = 0  # if codecs transformed it, its decoded size in bytes
        self._fragments = 0

    @property
    def partial_size(self) -> int:
        """The number of bytes of the current message that `take_partial` would return."""
        return 0 if self._message is None else len(self._message)

    @property
    def in_message(self) -> bool:
        """Whether a message has been received only in part."""
        return self._message is not None

    @property
    def payload(self) -> Payload | None:
        """The buffer of the current message if it is binary and no codec has transformed it; otherwise None."""
        return self._message if isinstance(self._message, Payload) and not self._active else None

    def receive(self, part: FramePart) -> str | bytes | None:
        """Process a data frame or a part of one; return the message if it is now complete, otherwise None.

        If `FrameDecoder.next_part` has added the bytes to `payload` already, the part has no payload.

        Raises:
            ProtocolError: a continuation frame outside a message, or a new message inside another one.
            InvalidText: the text is not valid UTF-8; raised at the first invalid byte.
            LimitExceeded: the message exceeds a limit; raised as soon as a header announces it.
        """
        header, payload = part.header, part.payload
        if part.first:
            self._begin_frame(header, whole=part.last and header.fin)
        final = part.last and header.fin
        if self._active:
            payload = self._decode(payload, final)
        message = self._message
        if message is None:
            return self._new_message(header.opcode, payload)
        if isinstance(message, _Text):
            message.add(payload, final)
        elif payload:
            message.extend(payload, 0, len(payload), b"", 0)
        if not final:
            return None
        self._message = None
        return message.take()

    def begin_large(self, header: FrameHeader, payload: Payload) -> None:
        """Begin a binary message, of whose first frame this payload has arrived. Raises as `receive`."""
        self._begin_frame(header, whole=False)
        self._message = payload

    def receive_whole(self, opcode: int, payload: bytes) -> str | bytes:
        """Process a frame that is a complete message within the limits and was transformed by the only codec.

        Raises:
            RemoteProtocolError: see `receive`.
        """
        limit = self._max_message_size
        try:
            payload = self._codecs[0].decode(payload, fin=True, limit=limit)
        except OverflowError as exc:
            raise _too_large(limit) from exc
        if limit is not None and len(payload) > limit:  # in case the codec ignores its limit
            raise LimitExceeded("max_message_size", limit, len(payload))
        return self._new_message(opcode, payload)

    def take_partial(self) -> str | bytes:
        """Return the received part of the current message. When it is complete, only the rest is returned."""
        return b"" if self._message is None else self._message.take()

    def _begin_frame(self, header: FrameHeader, *, whole: bool) -> None:
        if header.opcode is Opcode.CONTINUATION:
            if self._message is None:
                raise ProtocolError("continuation frame outside a message (RFC 6455, section 5.4)")
        elif self._message is not None:
            raise ProtocolError(
                f"{header.opcode.name} frame inside a fragmented message, expected a continuation frame "
                "(RFC 6455, section 5.4)"
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
        """Let the codecs restore a part of the message, up to the size that the limit still allows."""
        limit = self._max_message_size
        room = None if limit is None else limit - self._decoded
        try:
            for codec in self._active[:-1]:
                between = None if limit is None or room is None else room + self._slack(limit)
                payload = codec.decode(payload, fin=final, limit=between)
            payload = self._active[-1].decode(payload, fin=final, limit=room)
        except OverflowError as exc:
            raise _too_large(limit) from exc
        self._decoded += len(payload)
        if limit is not None and self._decoded > limit:  # in case a codec ignores its limit
            raise LimitExceeded("max_message_size", limit, self._decoded)
        return payload

    def _new_message(self, opcode: int, payload: bytes) -> str | bytes:
        if opcode == _BINARY:
            return payload
        try:
            return payload.decode()
        except UnicodeDecodeError as exc:
            raise _invalid_text(exc) from exc
