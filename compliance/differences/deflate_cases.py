"""Compressed messages (RFC 7692), as cases for both roles."""

from __future__ import annotations

import hashlib
import zlib

from .case import OFFER, Case
from .frames import BINARY, CONTINUATION, RSV1, TEXT, Frame

__all__ = ["DEFLATE_CASES"]

_TAIL = b"\x00\x00\xff\xff"
_NOISE = hashlib.shake_128(b"").digest(600)


def _compressed(data: str, opcode: int = TEXT) -> Frame:
    return Frame(opcode=opcode, payload=bytes.fromhex(data), rsv=RSV1)


def _deflated(*messages: bytes) -> tuple[Frame, ...]:
    """Compress with a window of 32 KiB."""
    deflate = zlib.compressobj(9, wbits=-15)
    return tuple(
        Frame(
            opcode=BINARY,
            payload=(deflate.compress(message) + deflate.flush(zlib.Z_SYNC_FLUSH)).removesuffix(_TAIL),
            rsv=RSV1,
        )
        for message in messages
    )


# RFC 7692, sections 7.2.3.1, 7.2.3.2 and 7.2.3.4
_HELLO, _AGAIN, _FINAL = "f248cdc9c90700", "f200110000", "f348cdc9c9070000"

DEFLATE_CASES = [
    Case(
        name="two messages, each one block with BFINAL=1",
        section="RFC 7692, section 7.2.3.4",
        rule="may be sent",
        right="accepts",
        offer=OFFER,
        frames=(_compressed(_FINAL), _compressed(_FINAL)),
        messages=(b"Hello", b"Hello"),
    ),
    Case(
        name="a back-reference across BFINAL=1",
        section="RFC 7692, section 7.2.3.2",
        rule="the window is kept from message to message",
        right="accepts",
        offer=OFFER,
        frames=(_compressed(_FINAL), _compressed(_AGAIN)),
        messages=(b"Hello", b"Hello"),
    ),
    Case(
        name="an uncompressed message between two that share the window",
        section="RFC 7692, section 6.1",
        rule="compression is chosen for each message",
        right="accepts",
        offer=OFFER,
        frames=(_compressed(_HELLO), Frame(opcode=TEXT, payload=b"plain"), _compressed(_AGAIN)),
        messages=(b"Hello", b"plain", b"Hello"),
    ),
    Case(
        name="an empty payload with RSV1",
        section="RFC 7692, section 7.2.2",
        rule="with 00 00 ff ff appended, it decompresses to nothing",
        right="accepts",
        offer=OFFER,
        frames=(_compressed(""),),
        messages=(b"",),
    ),
    Case(
        name="a compressed message with an empty last fragment",
        section="RFC 7692, section 7.2.3.1",
        rule="may be fragmented anywhere",
        right="accepts",
        offer=OFFER,
        frames=(
            Frame(opcode=TEXT, payload=bytes.fromhex(_HELLO), fin=False, rsv=RSV1),
            Frame(opcode=CONTINUATION),
        ),
        messages=(b"Hello",),
    ),
    Case(
        name="a compressed message in two blocks with 00 00 ff ff between them",
        section="RFC 7692, section 7.2.3.5",
        rule="any number of blocks",
        right="accepts",
        offer=OFFER,
        frames=(_compressed("f248050000 00ffffcac9c90700"),),
        messages=(b"Hello",),
    ),
    Case(
        name="invalid DEFLATE data",
        section="RFC 7692, section 7.2.2",
        rule="cannot be decompressed: MUST fail; the code is up to the implementation",
        right="1007",
        allowed=("1002",),
        offer=OFFER,
        frames=(_compressed("ffff", BINARY),),
        messages=(b"",),
    ),
    Case(
        name="a truncated stored block",
        section="RFC 7692, section 7.2.2",
        rule="cannot be decompressed",
        right="1007",
        offer=OFFER,
        frames=(_compressed("000a00f5ff4865", BINARY),),
        messages=(b"He",),
    ),
    Case(
        name="bytes after BFINAL=1",
        section="RFC 7692, section 7.2.2",
        rule="cannot be decompressed",
        right="1007",
        offer=OFFER,
        frames=(_compressed("f348cdc9c90700" + "ffff", BINARY),),
        messages=(b"Hello",),
    ),
    Case(
        name="invalid UTF-8, compressed",
        section="RFC 6455, section 8.1",
        rule="MUST fail",
        right="1007",
        offer=OFFER,
        frames=tuple(Frame(opcode=TEXT, payload=frame.payload, rsv=RSV1) for frame in _deflated(b"hi \xff")),
        messages=(b"hi \xff",),
    ),
    Case(
        name="invalid UTF-8 in the first fragment, compressed",
        section="RFC 6455, section 8.1",
        rule="MUST fail; the Autobahn testsuite requires it immediately",
        right="1007 at once",
        allowed=("waits",),
        offer=OFFER,
        frames=tuple(
            Frame(opcode=TEXT, payload=frame.payload + _TAIL, rsv=RSV1, fin=False) for frame in _deflated(b"hi \xff")
        ),
        is_unfinished=True,
    ),
    Case(
        name="a back-reference beyond the agreed window",
        section="RFC 7692, section 7.1.2.1",
        rule="MUST NOT use a larger window than agreed",
        right="1007",
        allowed=("1002",),
        roles=("client",),
        offer=OFFER,
        answer="permessage-deflate; server_max_window_bits=9",
        frames=_deflated(_NOISE, _NOISE),
        messages=(_NOISE, _NOISE),
    ),
    Case(
        name="a back-reference to the previous message despite server_no_context_takeover",
        section="RFC 7692, section 7.1.1.1",
        rule="MUST NOT reuse the window",
        right="1007",
        allowed=("1002",),
        roles=("client",),
        offer=OFFER,
        answer="permessage-deflate; server_no_context_takeover",
        frames=(_compressed(_HELLO), _compressed(_AGAIN)),
        messages=(b"Hello", b"Hello"),
    ),
]
