"""Who closes, in every order: both sides have the right codes, and no Close is lost."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import anyio
import pytest
from anyio.abc import ByteStream
from anyio.streams.tls import TLSStream

import anyws
from anyws.testing import memory_stream_pair
from tests.peers import BINARY, TEXT, Frame, Side, StreamPeer, ended

from .pairs import Below, TLSContexts, pair, streams

Act = Callable[[anyws.WebSocket], Awaitable[None]]


class Crash(Exception):
    """What a block raises."""


# -- what a side does --------------------------------------------------------------------------------------------------


async def leaves(websocket: anyws.WebSocket) -> None:
    """Let the block end."""


async def stays(websocket: anyws.WebSocket) -> None:
    """Receive until the end."""
    await ended(websocket)


async def only_waits(websocket: anyws.WebSocket) -> None:
    """Receive nothing."""
    await websocket.wait_closed()


async def ends(websocket: anyws.WebSocket) -> None:
    """Say that nothing more is sent."""
    await websocket.send_eof()
    await ended(websocket)


async def crashes(websocket: anyws.WebSocket) -> None:
    """Raise."""
    raise Crash


async def sends_too_much(websocket: anyws.WebSocket) -> None:
    """Send more than the other side takes."""
    await websocket.send(b"x" * 2000)
    await ended(websocket)


async def sends_much(websocket: anyws.WebSocket) -> None:
    """Send until the end."""
    try:
        while True:
            await websocket.send(b"x" * 900)
    except anyws.ConnectionClosed:
        await websocket.wait_closed()


async def fills_its_buffer(websocket: anyws.WebSocket) -> None:
    """Close while more waits to be written than the other side takes."""
    try:
        while True:
            websocket.send_nowait(b"x" * 900)
    except anyio.WouldBlock:
        await websocket.aclose(3002)


def closes(code: int | None) -> Act:
    """Return what closes with a code."""

    async def close(websocket: anyws.WebSocket) -> None:
        await websocket.aclose(code)

    return close


def code_of(close: anyws.Close | None) -> int | None:
    """Return its code, None if there is no Close."""
    return None if close is None else close.code


@dataclass(frozen=True)
class Order:
    """What one side and the other do, and what they then know: the code that was sent, and the one received.

    Where several outcomes are right, there are several.
    """

    acts: tuple[Act, Act]
    ours: set[tuple[int | None, int | None]]
    theirs: set[tuple[int | None, int | None]]


def agreed(acts: tuple[Act, Act], code: int) -> Order:
    """Return an order after which both sides have sent and received the same code."""
    return Order(acts, {(code, code)}, {(code, code)})


ORDERS = {
    "we close": agreed((closes(3000), stays), 3000),
    "we close without a code": agreed((closes(None), stays), 1005),
    "we close, they do not receive": agreed((closes(1000), only_waits), 1000),
    "we leave": agreed((leaves, stays), 1000),
    "we end": agreed((ends, stays), 1000),
    "we end, they do not receive": agreed((ends, only_waits), 1000),
    "both end": agreed((ends, ends), 1000),
    "both leave": agreed((leaves, leaves), 1000),
    "we crash": agreed((crashes, stays), 1011),
    "we crash, they send": agreed((crashes, sends_much), 1011),
    "both crash": agreed((crashes, crashes), 1011),
    "we close while they send": agreed((closes(3001), sends_much), 3001),
    "we close while both send": agreed((fills_its_buffer, stays), 3002),
    "we close behind a full buffer": agreed((fills_its_buffer, stays), 3002),
    "both close at once": Order(
        (closes(3003), closes(3004)),
        {(3003, 3004), (3003, 3003), (3004, 3004)},
        {(3004, 3003), (3003, 3003), (3004, 3004)},
    ),
    "we close, they leave": Order(
        (closes(3003), leaves), {(3003, 1000), (3003, 3003), (1000, 1000)}, {(1000, 3003), (3003, 3003), (1000, 1000)}
    ),
    "we end, they crash": Order(
        (ends, crashes), {(1000, 1011), (1000, 1000), (1011, 1011)}, {(1011, 1000), (1000, 1000), (1011, 1011)}
    ),
    "we break their rule": Order((sends_too_much, stays), {(1009, 1009)}, {(1009, None)}),
}


@pytest.fixture(params=["memory", "tls", "tcp", "tls over tcp"])
def below(request: pytest.FixtureRequest) -> Below:
    """What is below a connection."""
    kind: Below = request.param
    return kind


@pytest.mark.parametrize("order", ORDERS.values(), ids=ORDERS.keys())
async def test_both_sides_have_the_right_codes(
    ours: Side, order: Order, below: Below, tls_contexts: TLSContexts
) -> None:
    near, far = await streams(below)
    secure: list[dict[str, Any]] = [{"ssl_context": context} if "tls" in below else {} for context in tls_contexts]
    # Nothing may take the time that is there for those who do not answer.
    options: dict[str, Any] = {"max_message_size": 1000, "close_timeout": None, "receive_buffer": 1_000_000}
    uri = "wss://localhost/" if "tls" in below else "ws://localhost/"
    client = functools.partial(anyws.connect, uri, stream=near, **secure[0], **options)
    server = functools.partial(anyws.accept, far, **secure[1], **options)
    codes: dict[str, tuple[int | None, int | None]] = {}

    async def live(side: str, opened: Any, act: Act) -> None:
        try:
            async with opened() as websocket:
                await act(websocket)
        except Crash:
            pass
        closed = await ended(websocket)
        codes[side] = (code_of(closed.sent), code_of(closed.received))
        assert websocket.close_code == (codes[side][1] or 1006)

    ours_first = order.acts if ours == "client" else order.acts[::-1]
    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(live, "client", client, ours_first[0])
            tasks.start_soon(live, "server", server, ours_first[1])
    theirs = "server" if ours == "client" else "client"
    assert codes[ours] in order.ours
    assert codes[theirs] in order.theirs
    sent, received = codes[ours]
    assert received in (None, codes[theirs][0])
    assert codes[theirs][1] in (None, sent)


# -- who ends TCP ------------------------------------------------------------------------------------------------------


class Noting(ByteStream):
    """A stream that notes in which order its side and others end."""

    def __init__(self, stream: ByteStream, name: str, notes: list[str]) -> None:
        self._stream = stream
        self._name = name
        self._notes = notes

    async def receive(self, max_bytes: int = 65536) -> bytes:
        """Receive."""
        return await self._stream.receive(max_bytes)

    async def send(self, item: bytes) -> None:
        """Send."""
        await self._stream.send(item)

    async def send_eof(self) -> None:
        """End this side."""
        self._notes.append(f"{self._name} ends")
        await self._stream.send_eof()

    async def aclose(self) -> None:
        """Close."""
        self._notes.append(f"{self._name} closes")
        await self._stream.aclose()

    @property
    def extra_attributes(self) -> Mapping[Any, Callable[[], Any]]:
        """Attributes of the stream below."""
        return self._stream.extra_attributes


@pytest.mark.parametrize("below", ["memory", "tls"])
async def test_the_server_ends_tcp_first_whoever_closed(ours: Side, below: Below, tls_contexts: TLSContexts) -> None:
    """So that the client's port is free again at once (RFC 6455, 7.1.1)."""
    notes: list[str] = []
    near, far = memory_stream_pair()
    ends = Noting(near, "client", notes), Noting(far, "server", notes)
    async with pair(below, tls_contexts, ours, ends=ends) as (websocket, other):
        await websocket.aclose()
        await other.wait_closed()
    assert notes[0] == "server ends"
    assert notes.index("client ends") < notes.index("client closes")
    assert notes.index("server ends") < notes.index("server closes")


@asynccontextmanager
async def raw_peer(
    ours: Side, below: Below, contexts: TLSContexts
) -> AsyncIterator[tuple[anyws.WebSocket, StreamPeer]]:
    """Connect ours with a peer that does what the test says."""
    near, far = await streams(below)
    mine, its = (near, far) if ours == "client" else (far, near)
    is_secure = "tls" in below
    peers: list[StreamPeer] = []

    async def open_peer() -> None:
        stream: ByteStream = its
        if is_secure:
            is_server = ours == "client"
            name = None if is_server else "localhost"
            context = contexts[1 if is_server else 0]
            stream = await TLSStream.wrap(its, server_side=is_server, hostname=name, ssl_context=context)
        peer = StreamPeer(stream, ours)
        await peer.open()
        peers.append(peer)

    secure: dict[str, Any] = {"ssl_context": contexts[0 if ours == "client" else 1]} if is_secure else {}
    uri = "wss://localhost/" if is_secure else "ws://localhost/"
    opened = (
        anyws.connect(uri, stream=mine, close_timeout=None, **secure)
        if ours == "client"
        else anyws.accept(mine, close_timeout=None, **secure)
    )
    async with its, anyio.create_task_group() as tasks:
        tasks.start_soon(open_peer)
        async with opened as websocket:
            while not peers:
                await anyio.lowlevel.checkpoint()
            try:
                yield websocket, peers[0]
            finally:
                await anyio.aclose_forcefully(its)


# -- no Close is lost --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["before it reads", "after it has read our Close"])
@pytest.mark.parametrize("below", ["tcp", "tls over tcp"])
async def test_our_close_is_not_lost_to_a_reset_however_much_they_send(
    ours: Side, how: str, below: Below, tls_contexts: TLSContexts
) -> None:
    async with raw_peer(ours, below, tls_contexts) as (websocket, peer), anyio.create_task_group() as tasks:
        for _ in range(20):
            await peer.send(BINARY, b"x" * 10_000)
        tasks.start_soon(websocket.aclose, 3000, "enough")
        await anyio.wait_all_tasks_blocked()
        if how == "before it reads":
            for _ in range(20):
                await peer.send(BINARY, b"x" * 10_000)
        frame = await peer.frame()
        assert (frame.close_code, frame.payload[2:]) == (3000, b"enough")
        for _ in range(20):
            await peer.send(BINARY, b"x" * 10_000)
        await peer.send(8, frame.payload)
        if ours == "server":
            await peer.rest()  # the end, not a reset
        await peer.stream.aclose()
        await websocket.wait_closed()
        assert websocket.close_code == 3000


@pytest.mark.parametrize("below", ["tcp", "tls over tcp"])
async def test_our_answer_is_not_lost_when_they_send_after_their_close(
    ours: Side, below: Below, tls_contexts: TLSContexts
) -> None:
    async with raw_peer(ours, below, tls_contexts) as (websocket, peer):
        await websocket.send("last words")
        await peer.send(8, b"\x0b\xb8")
        try:
            for _ in range(20):
                await peer.send(BINARY, b"x" * 10_000)
        except anyio.BrokenResourceError:
            pass
        assert await peer.frame() == Frame(TEXT, b"last words")
        assert (await peer.frame()).close_code == 3000
        await anyio.aclose_forcefully(peer.stream)
        await websocket.wait_closed()
        assert websocket.close_code == 3000


# -- the end of TLS ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("says_goodbye", [True, False], ids=["close_notify", "no close_notify"])
@pytest.mark.parametrize("closes_first", [True, False], ids=["after a Close", "without a Close"])
async def test_the_end_of_tls(
    ours: Side, says_goodbye: bool, closes_first: bool, tls_contexts: TLSContexts, caplog: pytest.LogCaptureFixture
) -> None:
    async with raw_peer(ours, "tls", tls_contexts) as (websocket, peer):
        await peer.send(TEXT, b"last words")
        if closes_first:
            await peer.send(8, b"\x03\xe8")
            assert (await peer.frame()).close_code == 1000
        stream = peer.stream
        assert isinstance(stream, TLSStream)
        if not says_goodbye:
            stream = stream.transport_stream  # type: ignore[assignment]
        with anyio.move_on_after(5):
            await stream.aclose()
        assert await websocket.receive() == "last words"
        closed = await ended(websocket)
        await websocket.wait_closed()
        assert isinstance(closed, anyws.ConnectionClosedOK if closes_first else anyws.ConnectionClosedError)
        assert websocket.close_code == (1000 if closes_first else 1006)
    assert not [record for record in caplog.records if record.levelname == "ERROR"]
