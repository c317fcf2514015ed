"""The responses of a library, and the term for them."""

from __future__ import annotations

import re
import zlib

from .case import Case
from .frames import BINARY, CLOSE, CONTINUATION, RSV1, TEXT, Frame, read_frame

__all__ = ["PROBE", "Transcript"]

_EXTENSIONS = re.compile(rb"^sec-websocket-extensions:.*$", re.IGNORECASE | re.MULTILINE)
_WINDOW_BITS = re.compile(rb"server_max_window_bits=(\d+)")

PROBE = b"probe"
"""The last message of the script. Its echo shows that everything before it was processed."""


class Transcript:
    """The responses of a library.

    Args:
        case: the case that was played.
    """

    def __init__(self, case: Case) -> None:
        self._case = case
        self._buffer = bytearray()
        self._inflate = zlib.decompressobj(wbits=-15)
        self._pieces: list[bytes] = []
        self._is_compressed = False
        self.head = b""
        """The request or the response, once it is complete."""
        self.messages: list[bytes] = []
        """The echoed messages, without the probe."""
        self.is_probed = False
        """Whether the probe was echoed."""
        self.close_payload: bytes | None = None
        """The payload of the Close, if one was received."""
        self.after_close = 0
        """The number of frames received after the Close."""
        self.is_ended = False
        """Whether the library has closed TCP."""

    def receive_data(self, data: bytes) -> None:
        """Add received bytes."""
        self._buffer += data
        if not self.head:
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            self.head = bytes(self._buffer[: end + 4])
            del self._buffer[: end + 4]
        if self.status not in (None, 101):
            return
        while (frame := read_frame(self._buffer)) is not None:
            self._add(frame)

    @property
    def status(self) -> int | None:
        """The status of the response; None for a request."""
        words = self.head.split(b" ", 2)
        return int(words[1]) if words[0].startswith(b"HTTP/") else None

    @property
    def is_refused(self) -> bool:
        """Whether a server responded with a status other than 101, or not at all."""
        return self.status != 101

    @property
    def outcome(self) -> str:
        """The term for the outcome: a status, a close code, "accepts" ..."""
        if self.status not in (None, 101):
            has_header = f"\r\n{self._case.header}:".lower().encode() in self.head.lower()
            return str(self.status) if has_header or not self._case.header else f"{self.status} without the header"
        if self.status == 101 and self._case.shows_agreement:
            return self._agreement
        if self.close_payload is not None:
            return self._closing
        if self.is_probed or len(self.messages) > len(self._case.messages):
            return self._echo
        return "closes TCP" if self.is_ended else "waits"

    @property
    def _agreement(self) -> str:
        answer = _EXTENSIONS.search(self.head)
        if answer is None:
            return "declines"
        bits = _WINDOW_BITS.search(answer[0])
        # A library may limit its window unasked; the case does not test that.
        return f"agrees: {bits[1].decode()}" if bits and "server_max_window_bits" in self._case.offer else "agrees"

    @property
    def _closing(self) -> str:
        payload = self.close_payload
        assert payload is not None
        if self.after_close:
            return "writes after Close"
        code = int.from_bytes(payload[:2], "big") if payload else None
        if code is not None and code == self._case.close:
            return "accepts"
        return ("no code" if code is None else str(code)) + (" at once" if self._case.is_unfinished else "")

    @property
    def _echo(self) -> str:
        expected = self._case.messages
        if self.messages == list(expected):
            return "accepts"
        if len(self.messages) < len(expected):
            return "silently dropped"
        wrong = [ours for ours, right in zip(self.messages, [*expected, PROBE], strict=False) if ours != right]
        return "silently wrong" if any(wrong) else "silently empty"

    def _add(self, frame: Frame) -> None:
        if self.close_payload is not None:
            self.after_close += 1
        elif frame.opcode == CLOSE:
            self.close_payload = frame.payload
        elif frame.opcode in (TEXT, BINARY, CONTINUATION):
            self._add_fragment(frame)

    def _add_fragment(self, frame: Frame) -> None:
        if frame.opcode != CONTINUATION:
            self._is_compressed = bool(frame.rsv & RSV1)
        self._pieces.append(frame.payload)
        if not frame.fin:
            return
        message = b"".join(self._pieces)
        self._pieces.clear()
        if self._is_compressed:
            message = self._inflate.decompress(message + b"\x00\x00\xff\xff")
        if message == PROBE:
            self.is_probed = True
        else:
            self.messages.append(message)
