"""Helpers: frames of a peer, and the reactions of a connection."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from anyws.protocol import Connection, Event, FrameDecoder, Opcode, Role, State

__all__ = ["CLOSE", "FIN", "Frames", "both_roles", "check_failed", "close_code", "frame", "receive", "sent", "wire_of"]

FIN = 0x80
CLOSE = FIN | Opcode.CLOSE
Frames = list[tuple[int, bytes]]
"""First bytes and payloads."""

both_roles = pytest.mark.parametrize("role", Role)


def frame(
    role: Role, first: int, payload: bytes = b"", *, length: bytes | None = None, masked: bool | None = None
) -> bytes:
    """Return a frame that the peer of the role sends; its masking key is zero.

    Args:
        role: which end receives it.
        first: the first byte: FIN, the reserved bits and the opcode.
        payload: the payload.
        length: the length as it is to be encoded, without the mask bit; by default as the RFC demands.
        masked: whether it is masked; by default as the RFC demands.
    """
    size = len(payload)
    if length is None and size < 126:
        length = bytes([size])
    elif length is None:
        length = b"\x7e" + size.to_bytes(2, "big") if size < 65536 else b"\x7f" + size.to_bytes(8, "big")
    assert length is not None
    if masked is None:
        masked = role is Role.SERVER
    return bytes([first, length[0] | (0x80 if masked else 0)]) + length[1:] + (bytes(4) if masked else b"") + payload


def wire_of(role: Role, frames: Frames) -> bytes:
    """Return the bytes of several frames."""
    return b"".join(frame(role, *each) for each in frames)


def receive(connection: Connection, chunks: Iterable[bytes]) -> list[Event]:
    """Return the events for these pieces."""
    return [event for chunk in chunks for event in connection.receive_data(chunk)]


def sent(connection: Connection) -> Frames:
    """Return the frames to send, as the peer decodes them."""
    decoder = FrameDecoder(masked=connection.role is Role.CLIENT, rsv=0x70)
    frames = []
    while connection.has_data_to_send:
        decoder.feed(connection.data_to_send())
        for part in iter(decoder.next_part, None):
            assert part.first
            assert part.last
            header = part.header
            frames.append((header.opcode | header.rsv | (FIN if header.fin else 0), part.payload))
    assert connection.queued == 0
    return frames


def close_code(frames: Frames) -> int:
    """Return the code of the only queued frame, a Close."""
    [(first, payload)] = frames
    assert first == CLOSE
    return int.from_bytes(payload[:2], "big")


def check_failed(connection: Connection, code: int) -> None:
    """Check that the connection failed (RFC 6455, section 7.1.7) with one Close and nothing else."""
    assert connection.failure is not None
    assert connection.failure.close_code == code
    assert connection.state is State.CLOSED
    assert connection.close_code == 1006  # no Close was received
    assert close_code(sent(connection)) == code
