"""How the bytes of stdin are cut into messages, and how messages are set apart on stdout."""

from __future__ import annotations

from typing import Protocol

from anyws.protocol.errors import WebSocketError

__all__ = ["INPUTS", "OUTPUTS", "Delimited", "IncompleteInput", "LengthPrefixed", "Splitter", "framed", "splitter"]

INPUTS = ("line", "nul", "whole", "length")
OUTPUTS = ("line", "nul", "raw", "length")

_PREFIX = 4  # bytes of the length before a message, in network byte order


class IncompleteInput(WebSocketError):
    """The input ended within a message."""


class Splitter(Protocol):
    """Cuts bytes into messages."""

    def feed(self, data: bytes) -> list[bytes]:
        """Take more of the input, and return the messages that are complete now; no data is the end.

        Raises:
            IncompleteInput: that end stands within a message.
        """
        ...


class Delimited:
    """Messages with a separator behind each; a last one needs none."""

    def __init__(self, separator: bytes) -> None:
        self._separator = separator
        self._rest: list[bytes] = []  # the beginning of the next message

    def feed(self, data: bytes) -> list[bytes]:
        """See `Splitter`."""
        first, *others = data.split(self._separator)
        self._rest.append(first)
        messages = []
        if others:
            messages = [b"".join(self._rest), *others[:-1]]
            self._rest = [others[-1]]
        if not data and (last := b"".join(self._rest)):
            messages.append(last)
            self._rest = []
        if self._separator == b"\n":
            messages = [message.removesuffix(b"\r") for message in messages]
        return messages


class LengthPrefixed:
    """Messages with their length before each: 4 bytes, the most significant first."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """See `Splitter`."""
        self._buffer += data
        messages = []
        while len(self._buffer) >= _PREFIX:
            end = _PREFIX + int.from_bytes(self._buffer[:_PREFIX], "big")
            if len(self._buffer) < end:
                break
            messages.append(bytes(self._buffer[_PREFIX:end]))
            del self._buffer[:end]
        if not data and self._buffer:
            raise IncompleteInput("the input ends within a message")
        return messages


def splitter(framing: str) -> Splitter:
    """Return what cuts the input by one of `INPUTS` (but ``whole``, which is not cut)."""
    if framing == "length":
        return LengthPrefixed()
    return Delimited(b"\n" if framing == "line" else b"\0")


def framed(payload: bytes, framing: str) -> bytes:
    """Return the bytes of one message by one of `OUTPUTS` (but ``line``, which is for people)."""
    if framing == "length":
        return len(payload).to_bytes(_PREFIX, "big") + payload
    return payload + b"\0" if framing == "nul" else payload
