"""Splitting the bytes of stdin into messages, and separating messages on stdout."""

from __future__ import annotations

from typing import Protocol

from anyws.protocol.errors import WebSocketError

__all__ = ["INPUTS", "OUTPUTS", "Delimited", "IncompleteInput", "LengthPrefixed", "Splitter", "framed", "splitter"]

INPUTS = ("line", "nul", "whole", "length")
OUTPUTS = ("line", "nul", "raw", "length")

_PREFIX = 4  # bytes of the length before a message, in network byte order


class IncompleteInput(WebSocketError):
    """The input ended in the middle of a message."""


class Splitter(Protocol):
    """Splits bytes into messages."""

    def feed(self, data: bytes) -> list[bytes]:
        """Add input, and return the messages that are now complete. Empty data marks the end.

        Raises:
            IncompleteInput: the input ended in the middle of a message.
        """
        ...


class Delimited:
    """Messages with a separator after each; the last one needs none."""

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
    """Messages with a 4-byte length before each, most significant byte first."""

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
            raise IncompleteInput("the input ended in the middle of a message")
        return messages


def splitter(framing: str) -> Splitter:
    """Return the splitter for one of `INPUTS`, except ``whole``, which is not split."""
    if framing == "length":
        return LengthPrefixed()
    return Delimited(b"\n" if framing == "line" else b"\0")


def framed(payload: bytes, framing: str) -> bytes:
    """Return the bytes of one message for one of `OUTPUTS`, except ``line``, which is printed as text."""
    if framing == "length":
        return len(payload).to_bytes(_PREFIX, "big") + payload
    return payload + b"\0" if framing == "nul" else payload
