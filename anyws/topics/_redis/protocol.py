"""RESP3, the protocol of Redis and Valkey, without I/O (https://redis.io/docs/latest/develop/reference/protocol-spec/).

The reader reports replies and messages in the order in which the server sent them: a message that was published before
a command was carried out is reported before the command's reply. `RedisEngine.follow` depends on that.
"""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["Push", "Reader", "RedisProtocolError", "ServerError", "pack"]

_MAX_LENGTH = 1 << 30  # bytes of a string; Redis allows 512 MiB by default (proto-max-bulk-len)
_MAX_LINE = 65536
_MAX_DEPTH = 32
_AGGREGATES = {ord("*"): 1, ord("~"): 1, ord(">"): 1, ord("%"): 2, ord("|"): 2}  # values for each one that is counted
_STRINGS = frozenset(b"$!=")
_MESSAGES = (b"message", b"smessage")
_HEADS = tuple(b">3\r\n$%d\r\n%b\r\n$" % (len(kind), kind) for kind in _MESSAGES)


class RedisProtocolError(Exception):
    """The server sent bytes that are not RESP3: it is probably not Redis or Valkey."""


class ServerError(Exception):
    """An error reply.

    Attributes:
        code: its first word, such as ``NOSCRIPT``.
    """

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.code: str = text.partition(" ")[0]


class Push(list[object]):
    """What the server sent on its own account, such as the acknowledgement of a subscription."""


def pack(*arguments: bytes) -> bytes:
    """Serialize a command."""
    pieces = [b"*%d\r\n" % len(arguments)]
    pieces += [b"$%d\r\n%b\r\n" % (len(argument), argument) for argument in arguments]
    return b"".join(pieces)


class Reader:
    """Parses what a server sends.

    Args:
        on_message: called with the channel and the payload of each published message.
        on_value: called with each reply, and with each other `Push`. Strings are bytes; errors are `ServerError`
            objects.
    """

    def __init__(self, on_message: Callable[[bytes, bytes], None], on_value: Callable[[object], None]) -> None:
        self._on_message = on_message
        self._on_value = on_value
        self._kept: list[bytes] = []  # bytes of an incomplete element
        self._missing = 1  # how many more bytes it needs, at least
        self._open: list[_Aggregate] = []  # the aggregates whose elements are being read, from the outside in

    def feed(self, data: bytes) -> None:
        """Parse bytes, and call the callbacks for all that is complete.

        Raises:
            RedisProtocolError: the bytes are not RESP3. The reader cannot be used any more.
        """
        if self._kept:
            self._kept.append(data)
            self._missing -= len(data)
            if self._missing > 0:  # a large value arrives in many pieces: join them once
                return
            data = b"".join(self._kept)
            self._kept = []
        self._missing = 1
        try:
            position = self._parse(data)
        except ValueError:  # of int() and float()
            raise RedisProtocolError("the server sent a malformed number") from None
        if position < len(data):
            self._kept.append(data[position:])

    def _parse(self, data: bytes) -> int:
        """Parse the complete elements; return how many bytes they have. Sets `_missing` if an element is incomplete."""
        position, end = 0, len(data)
        find = data.find
        while position < end:
            # For speed: in a busy subscriber nearly all of the bytes are messages, and this is ten times as fast.
            if not self._open and data.startswith(_HEADS, position):
                channel = find(b"$", position + 5) + 1  # the length of the channel stands behind the second "$"
                line_end = find(b"\r\n", channel)
                channel_end = line_end + 2 + int(data[channel:line_end]) if line_end >= 0 else end
                payload = find(b"\r\n", channel_end + 3) + 2
                if payload < 2:
                    return position
                if channel_end < line_end or data[channel_end : channel_end + 3] != b"\r\n$":
                    raise RedisProtocolError("the server sent a malformed message")
                payload_end = payload + int(data[channel_end + 3 : payload - 2])
                if payload_end + 2 > end:
                    self._missing = payload_end + 2 - end
                    return position
                if payload_end < payload or data[payload_end : payload_end + 2] != b"\r\n":
                    raise RedisProtocolError("the server sent a malformed message")
                self._on_message(data[line_end + 2 : channel_end], data[payload:payload_end])
                position = payload_end + 2
                continue
            parsed = self._parse_element(data, position, end)
            if parsed < 0:
                break
            position = parsed
        return position

    def _parse_element(self, data: bytes, position: int, end: int) -> int:
        """Parse the head of an aggregate, or a whole value; return where it ends, or -1 if it is incomplete."""
        line_end = data.find(b"\r\n", position)
        if line_end < 0:
            if end - position > _MAX_LINE:
                raise RedisProtocolError(f"the server sent a line of more than {_MAX_LINE} bytes")
            return -1
        kind, line = data[position], data[position + 1 : line_end]
        after = line_end + 2
        if kind in _STRINGS:
            length = int(line)
            if length == -1:  # the null of RESP2
                self._add(None)
                return after
            if not 0 <= length <= _MAX_LENGTH:
                raise RedisProtocolError(f"the server announced a string of {length} bytes")
            if after + length + 2 > end:
                self._missing = after + length + 2 - end
                return -1
            if data[after + length : after + length + 2] != b"\r\n":
                raise RedisProtocolError("the server sent a string without its end")
            self._add(_string(kind, data[after : after + length]))
            return after + length + 2
        if kind in _AGGREGATES:
            self._begin(kind, int(line))
        else:
            self._add(_scalar(kind, line))
        return after

    def _begin(self, kind: int, count: int) -> None:
        if count == -1:  # the null of RESP2
            self._add(None)
            return
        if count < 0 or len(self._open) >= _MAX_DEPTH:
            raise RedisProtocolError("the server sent a malformed or too deeply nested aggregate")
        self._open.append(_Aggregate(kind, count * _AGGREGATES[kind]))
        self._end_complete()

    def _add(self, value: object) -> None:
        if self._open:
            self._open[-1].items.append(value)
            self._end_complete()
        else:
            self._on_value(value)

    def _end_complete(self) -> None:
        """End the aggregates that have all their elements."""
        while self._open and len(self._open[-1].items) >= self._open[-1].count:
            value = self._open.pop().built()
            if value is None:  # attributes belong to the value that follows
                continue
            if self._open:
                self._open[-1].items.append(value)
            else:
                self._report(value)

    def _report(self, value: object) -> None:
        if isinstance(value, Push) and len(value) == 3 and value[0] in _MESSAGES:
            _kind, channel, payload = value
            if not isinstance(channel, bytes) or not isinstance(payload, bytes):
                raise RedisProtocolError("the server sent a malformed message")
            self._on_message(channel, payload)
        else:
            self._on_value(value)


class _Aggregate:
    """An array, set, map, push or attribute whose elements are being read."""

    __slots__ = ("count", "items", "kind")

    def __init__(self, kind: int, count: int) -> None:
        self.kind = kind
        self.count = count
        self.items: list[object] = Push() if kind == ord(">") else []

    def built(self) -> list[object] | dict[object, object] | None:
        """Return the value; None for attributes."""
        if self.kind == ord("|"):
            return None
        if self.kind != ord("%"):
            return self.items
        try:
            return dict(zip(self.items[::2], self.items[1::2], strict=True))
        except TypeError:
            raise RedisProtocolError("the server sent a map whose keys are not scalars") from None


def _string(kind: int, content: bytes) -> object:
    if kind == ord("!"):
        return ServerError(content.decode(errors="replace"))
    return content[4:] if kind == ord("=") else content  # a verbatim string begins with its format, such as "txt:"


def _scalar(kind: int, line: bytes) -> object:
    match chr(kind):
        case "+":
            return line
        case "-":
            return ServerError(line.decode(errors="replace"))
        case ":" | "(":
            return int(line)
        case ",":
            return float(line)
        case "_":
            return None
        case "#" if line in (b"t", b"f"):
            return line == b"t"
        case _:
            raise RedisProtocolError(f"the server sent {bytes([kind])!r}, which does not begin a value of RESP3")
