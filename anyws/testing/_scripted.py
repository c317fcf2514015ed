"""A peer that a test controls frame by frame: `ScriptedPeer`."""

from __future__ import annotations

from dataclasses import dataclass, field

import anyio
from anyio.abc import ByteStream

from anyws.protocol.closing import Close, parse_close, serialize_close
from anyws.protocol.connection import Role
from anyws.protocol.frames import FrameDecoder, Opcode, serialize_frame
from anyws.protocol.http11 import Request

__all__ = ["Frame", "ScriptedPeer"]

_MASKING_KEY = b"\x00\x00\x00\x00"  # leaves the payload readable in a dump of the bytes


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame that a `ScriptedPeer` received.

    Attributes:
        opcode: the opcode.
        payload: the payload, unmasked.
        fin: whether it is the last frame of its message.
        masked: whether it was masked.
        rsv: the reserved bits, at their positions in the first byte (RSV1, for a compressed message, is 0x40).
    """

    opcode: Opcode
    payload: bytes
    fin: bool = field(default=True, kw_only=True)
    masked: bool = field(default=False, kw_only=True)
    rsv: int = field(default=0, kw_only=True)

    def __repr__(self) -> str:
        rsv = f", rsv={self.rsv:#x}" if self.rsv else ""
        return f"Frame({self.opcode.name}, {self.payload!r}, fin={self.fin}, masked={self.masked}{rsv})"

    @property
    def close(self) -> Close:
        """The code and reason of a Close frame; 1005 if it is empty."""
        return parse_close(self.payload)


class ScriptedPeer:
    """The other end of a connection after the opening handshake. It sends nothing on its own, not even a Pong.

    Attributes:
        stream: the byte stream, for sending bytes that are not a frame, or for ending it.
        role: whether the peer is the client or the server; a client masks its frames.
        request: the request of the opening handshake.
    """

    def __init__(self, stream: ByteStream, role: Role, request: Request, received: bytes = b"") -> None:
        self.stream = stream
        self.role = role
        self.request = request
        self._decoder = FrameDecoder(masked=None, rsv=0x70)
        self._decoder.feed(received)

    async def send_frame(
        self, opcode: int, payload: str | bytes = b"", *, fin: bool = True, rsv: int = 0, masked: bool | None = None
    ) -> None:
        """Send one frame, without checking it.

        Args:
            opcode: 0 to 15.
            payload: the payload.
            fin: whether it is the last frame of its message.
            rsv: the reserved bits, at their positions in the first byte (RSV1 is 0x40).
            masked: whether to mask it; by default as the role requires.
        """
        data = payload.encode() if isinstance(payload, str) else payload
        key = _MASKING_KEY if masked or (masked is None and self.role is Role.CLIENT) else b""
        await self.stream.send(serialize_frame(opcode, data, fin=fin, rsv=rsv, masking_key=key))

    async def send_close(self, code: int = 1000, reason: str = "") -> None:
        """Send a Close; code 1005 sends an empty one."""
        await self.send_frame(Opcode.CLOSE, serialize_close(Close(code, reason)))

    async def receive_frame(self) -> Frame:
        """Wait for the next frame and return it.

        Raises:
            anyio.EndOfStream: the other end has closed the stream.
        """
        payload = bytearray()
        while True:
            while (part := self._decoder.next_part()) is not None:
                payload += part.payload
                if part.last:
                    header = part.header
                    masked = bool(header.masking_key)
                    return Frame(header.opcode, bytes(payload), fin=header.fin, masked=masked, rsv=header.rsv)
            self._decoder.feed(await self.stream.receive())

    async def expect_frame(self, opcode: int, payload: str | bytes = b"", *, fin: bool = True, rsv: int = 0) -> None:
        """Wait for the next frame, which must be exactly this one, and masked as the other end's role requires.

        Raises:
            AssertionError: a different frame arrived, or the other end has closed the stream.
        """
        data = payload.encode() if isinstance(payload, str) else payload
        expected = Frame(Opcode(opcode), data, fin=fin, rsv=rsv, masked=self.role is Role.SERVER)
        received = await self._next_frame(f"{expected}")
        if received != expected:
            raise AssertionError(f"expected {expected}, received {received}")

    async def expect_close(self, code: int = 1000, reason: str | None = None) -> None:
        """Wait for the next frame, which must be a Close with this code.

        Args:
            code: the code; 1005 for a Close without one.
            reason: the reason; None for any reason.

        Raises:
            AssertionError: a different frame arrived, or the other end has closed the stream.
        """
        expected = f"a Close {code}" if reason is None else f"a Close {code} {reason!r}"
        received = await self._next_frame(expected)
        if received.opcode is not Opcode.CLOSE:
            raise AssertionError(f"expected {expected}, received {received}")
        if received.close.code != code or reason not in (None, received.close.reason):
            raise AssertionError(f"expected {expected}, received a Close {received.close}")

    async def expect_end(self) -> None:
        """Wait for the end of the stream; no frame may arrive before it.

        Raises:
            AssertionError: a frame arrived.
        """
        try:
            received = await self.receive_frame()
        except (anyio.EndOfStream, anyio.BrokenResourceError):
            return
        raise AssertionError(f"expected the end of the stream, received {received}")

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Perform a closing handshake: send a Close, skip frames until the Close in response, and close the stream.

        Raises:
            AssertionError: no Close arrived.
        """
        await self.send_close(code, reason)
        while (await self._next_frame("a Close")).opcode is not Opcode.CLOSE:
            pass
        await self.end()

    async def respond_to_close(self, code: int = 1000, reason: str | None = None) -> None:
        """Wait for a Close, as in `expect_close`, respond with the same code, and close the stream.

        Raises:
            AssertionError: a different frame arrived, or the other end has closed the stream.
        """
        await self.expect_close(code, reason)
        await self.send_close(code)
        await self.end()

    async def end(self) -> None:
        """Close the stream without sending a Close."""
        await self.stream.aclose()

    async def _next_frame(self, expected: str) -> Frame:
        try:
            return await self.receive_frame()
        except (anyio.EndOfStream, anyio.BrokenResourceError) as exc:
            raise AssertionError(f"expected {expected}, but the other end has closed the stream") from exc
