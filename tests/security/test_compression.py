"""Messages that are small on the wire and large in memory (RFC 7692)."""

from __future__ import annotations

import sys
import zlib

import anyio
import pytest

import anyws
from anyws.protocol import Connection, DeflateParameters, PerMessageDeflate, Role
from anyws.protocol.deflate import DeflateCodec
from tests.conformance.wire import both_roles, frame
from tests.peers import StreamPeer, ended

from .attacker import asking, attacker, push

OFFER = "Sec-WebSocket-Extensions: permessage-deflate; client_no_context_takeover"
MEBIBYTE = 1024 * 1024


def deflated(data: bytes) -> bytes:
    """Return a compressed message."""
    compressor = zlib.compressobj(9, zlib.DEFLATED, -15)
    return (compressor.compress(data) + compressor.flush(zlib.Z_SYNC_FLUSH))[:-4]


def bomb(size: int, pieces: int = 1) -> list[tuple[int, bytes]]:
    """Return the first bytes and payloads of a binary message of zeros in this many fragments."""
    payload = deflated(bytes(size))
    step = -(-len(payload) // pieces)
    parts = [payload[start : start + step] for start in range(0, len(payload), step)]
    firsts = [0x42, *[0] * (len(parts) - 1)]
    firsts[-1] |= 0x80
    return list(zip(firsts, parts, strict=True))


def compressing(role: Role) -> Connection:
    """Return a connection with compression and no context takeover."""
    parameters = DeflateParameters(client_no_context_takeover=True, server_no_context_takeover=True)
    codec = DeflateCodec(parameters, PerMessageDeflate(), is_server=role is Role.SERVER)
    return Connection(role, codecs=[codec])


async def test_compression_is_off_by_default() -> None:
    """Programs with secrets must not be exposed to BREACH by default (RFC 7692, section 8)."""
    async with anyws.open_server(ended, "127.0.0.1", 0) as server, attacker(server) as peer:
        assert b"extensions" not in (await peer.open(asking(OFFER))).lower()
    assert anyws.ClientOptions().compression is None


@pytest.mark.parametrize("pieces", [1, 100, 4000])
async def test_a_decompression_bomb(pieces: int) -> None:
    """Undici CVE-2026-1526: 6 MB became 1 GB. Here 65 kB would become 64 MiB, in one fragment or in many."""
    async with anyws.open_server(ended, "127.0.0.1", 0, compression=True) as server, attacker(server) as peer:
        assert b"permessage-deflate" in await peer.open(asking(OFFER))
        data = b"".join(frame(Role.SERVER, *each) for each in bomb(64 * MEBIBYTE, pieces))
        await push(peer.stream, [data])
        closed = await peer.frame()
        assert closed.close_code == 1009
        assert closed.payload[2:] == b"max_message_size is 1048576, received 1048577"


@both_roles
def test_many_small_decompression_bombs_in_one_read(role: Role) -> None:
    """Each message is within the limit, but one read of 62 kB contains 60 MiB of them."""
    connection = compressing(role)
    data = b"".join(frame(role, *each) for each in bomb(MEBIBYTE)) * 60
    events = connection.receive_data(data, room=65536)
    assert sum(map(sys.getsizeof, events)) < 2 * MEBIBYTE
    count = len(events)
    while connection.has_more:
        assert count < 60
        count += len(connection.receive_data(b"", room=65536))
    assert count == 60
    assert connection.failure is None


def test_many_small_messages_respect_the_limit() -> None:
    """A message of 4 bytes on the wire takes 50 bytes in memory. No message is lost or repeated."""
    connection = Connection(Role.CLIENT)
    data = b"".join(frame(Role.CLIENT, 0x81, b"%03d" % number) for number in range(1000))
    events = connection.receive_data(data[:-1], room=1000)
    assert 1000 <= sum(map(sys.getsizeof, events)) < 1200
    while connection.has_more:
        events += connection.receive_data(b"", room=1000)
    assert events == [f"{number:03d}" for number in range(999)]
    assert connection.receive_data(data[-1:], room=1000) == ["999"]
    assert not connection.has_more


def test_kept_data_is_dropped_when_the_connection_ends() -> None:
    """A violation or a Close ends the processing of kept data."""
    connection = Connection(Role.CLIENT)
    connection.receive_data(frame(Role.CLIENT, 0x82, bytes(100)) + b"\x88\x00" + b"\x82\x00", room=1)
    assert connection.has_more
    connection.receive_eof()
    assert connection.receive_data(b"", room=1) == []
    assert not connection.has_more


async def test_a_slow_receiver_and_many_small_decompression_bombs() -> None:
    """A server keeps little more than ``receive_buffer`` and one message for a connection."""
    counts: list[int] = []
    done = anyio.Event()

    async def slow(websocket: anyws.WebSocket) -> None:
        if websocket.request.path != "/chat":
            return
        await done.wait()
        inbox = websocket._link.inbox
        counts.append(inbox.size)
        for _ in range(60):
            assert len(await websocket.receive()) == MEBIBYTE
            counts.append(inbox.size)

    async with anyws.open_server(slow, "127.0.0.1", 0, compression=True) as server, attacker(server) as peer:
        await peer.open(asking(OFFER))
        await peer.stream.send(b"".join(frame(Role.SERVER, *each) for each in bomb(MEBIBYTE)) * 60)
        await until_read(server, peer)
        done.set()
        assert (await peer.frame()).close_code == 1000
    assert max(counts) < 2.2 * MEBIBYTE
    assert len(counts) == 61


async def until_read(server: anyws.Server, peer: StreamPeer) -> None:
    """Wait until a server has had time to read the data: until it has served later clients."""
    for _ in range(3):
        async with anyws.connect(f"ws://127.0.0.1:{server.addresses[0][1]}/"):
            pass
