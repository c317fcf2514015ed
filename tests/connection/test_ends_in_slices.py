"""Connections that end at the same moment are processed in slices, and end as they would alone."""

from __future__ import annotations

import contextlib
import functools
import socket
from collections.abc import AsyncGenerator, Callable

import anyio
import pytest
from anyio.lowlevel import checkpoint

import anyws
from anyws._connection.pumps import open_background
from anyws._transport.connecting import connect_tcp
from anyws._transport.listening import listen_tcp
from anyws._transport.stream import SocketStream
from tests.harness import reset_stream
from tests.peers import CLOSE, REQUEST, TEXT, StreamPeer, address_of, close_payload, ended, frame_bytes

CROWD = 12


@pytest.fixture
def one_end_per_slice(monkeypatch: pytest.MonkeyPatch) -> None:
    """Postpone every end, and let other tasks run after each."""
    monkeypatch.setattr("anyws._connection.pumps.background.SLICE", 0)


async def turns_of(calls: int, call: Callable[[Callable[[], None]], None]) -> list[int]:
    """Let something call a function this many times; return in which turn of the event loop each call was."""
    turn, turns, done = 0, list[int](), anyio.Event()

    def called() -> None:
        turns.append(turn)
        if len(turns) == calls:
            done.set()

    call(called)
    while not done.is_set():
        turn += 1
        await checkpoint()
    return turns


async def test_the_first_slice_is_called_at_once_and_the_rest_later_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr("anyws._connection.pumps.background.SLICE", 2)
    monkeypatch.setattr("anyws._connection.pumps.background._PERIOD", 20)
    monkeypatch.setattr("anyws._connection.pumps.background.perf_counter", lambda: now)
    called: list[int] = []

    def take_time(number: int) -> None:
        nonlocal now
        now += 1
        called.append(number)

    async with open_background() as background:

        def call_all(numbers: range) -> list[bool]:
            return [background.call_in_slices(functools.partial(take_time, number)) for number in numbers]

        assert call_all(range(5)) == [True, True, False, False, False]
        assert called == [0, 1]
        now += 100  # another period: still in order
        assert call_all(range(5, 6)) == [False]
        while len(called) < 6:
            await checkpoint()
        assert called == [0, 1, 2, 3, 4, 5]
        now += 100
        assert call_all(range(6, 7)) == [True]


async def test_other_tasks_run_between_two_slices(one_end_per_slice: None) -> None:
    async with open_background() as background:

        def call(called: Callable[[], None]) -> None:
            for _ in range(CROWD):
                assert not background.call_in_slices(called)

        turns = await turns_of(CROWD, call)
    assert turns[-1] - turns[0] >= CROWD // 2  # on trio, the order of the tasks within one turn varies


async def test_a_call_that_fails_is_logged_and_harms_no_other(
    one_end_per_slice: None, caplog: pytest.LogCaptureFixture
) -> None:
    done = anyio.Event()

    def fail() -> None:
        raise ZeroDivisionError

    async with open_background() as background:
        background.call_in_slices(fail)
        background.call_in_slices(done.set)
        await done.wait()
    assert [record.exc_info and record.exc_info[0] for record in caplog.records] == [ZeroDivisionError]


@contextlib.asynccontextmanager
async def pair() -> AsyncGenerator[tuple[anyws.WebSocket, StreamPeer], None]:
    """Connect a server to a peer, over TCP."""
    (listener,) = await listen_tcp("127.0.0.1", 0)
    async with listener:
        theirs = await connect_tcp(*address_of(listener))
        ours = await listener.accept()
    async with theirs:
        await theirs.send(REQUEST)
        async with anyws.accept(ours) as websocket:
            peer = StreamPeer(theirs, "server")
            await peer.read_head()
            yield websocket, peer


def leave(peer: StreamPeer, how: str, message: bytes | None = None) -> None:
    """Send perhaps a message, perhaps a Close, and the end of the stream, without waiting."""
    assert isinstance(peer.stream, SocketStream)
    raw = peer.stream.raw_socket
    last = b"" if message is None else frame_bytes(TEXT, message, masked=True)
    if how == "close":
        last += frame_bytes(CLOSE, close_payload(1000), masked=True)
    assert raw.send(last) == len(last)
    raw.shutdown(socket.SHUT_WR)


@pytest.mark.parametrize("how", ["end", "close"])
async def test_a_crowd_that_leaves_at_once_ends_one_after_the_other(one_end_per_slice: None, how: str) -> None:
    messages: list[str | bytes] = []
    closed: list[anyws.ConnectionClosed] = []
    turn, turns = 0, list[int]()
    gone = anyio.Event()

    async def handler(websocket: anyws.WebSocket) -> None:
        messages.append(await websocket.receive())
        closed.append(await ended(websocket))
        turns.append(turn)
        if len(closed) == CROWD:
            gone.set()

    async with anyws.open_server(handler, "127.0.0.1", 0) as server:
        peers = [StreamPeer(await connect_tcp(*server.addresses[0]), "server") for _ in range(CROWD)]
        for peer in peers:
            await peer.open()
            await peer.send(TEXT, b"last words")
        while len(messages) < CROWD:
            await checkpoint()
        for peer in peers:
            leave(peer, how)
        while not gone.is_set():
            turn += 1
            await checkpoint()
        for peer in peers:
            rest = await peer.rest()
            assert rest.startswith(b"\x88") == (how == "close")
            await peer.stream.aclose()
    assert messages == ["last words"] * CROWD
    assert {each.code for each in closed} == {1000 if how == "close" else 1006}
    assert turns[-1] - turns[0] >= CROWD // 2  # on trio, the order of the tasks within one turn varies


async def test_a_reset_that_is_postponed_is_a_lost_connection(one_end_per_slice: None) -> None:
    async with pair() as (websocket, peer):
        await anyio.wait_all_tasks_blocked()
        assert isinstance(peer.stream, SocketStream)
        reset_stream(peer.stream)
        closed = await ended(websocket)
        assert closed.code == 1006
        assert isinstance(closed.__cause__, anyio.BrokenResourceError)


@pytest.mark.parametrize("how", ["end", "close"])
@pytest.mark.parametrize("turns", range(4))
async def test_what_is_done_meanwhile_works(one_end_per_slice: None, how: str, turns: int) -> None:
    """Sending, pinging, receiving and closing, before the end is processed and after."""
    async with pair() as (websocket, peer):
        await anyio.wait_all_tasks_blocked()
        leave(peer, how, b"last words")
        for _ in range(turns):
            await checkpoint()
        with contextlib.suppress(anyws.ConnectionClosed):
            await websocket.send("more")
        with pytest.raises(anyws.ConnectionClosed):
            await websocket.ping()
        assert await websocket.receive() == "last words"
        await websocket.aclose()
        assert websocket.close_code == (1000 if how == "close" else 1006)


@pytest.mark.parametrize("how", ["end", "close"])
@pytest.mark.parametrize("turns", range(4))
async def test_a_block_may_be_cancelled_before_the_end_is_processed(
    one_end_per_slice: None, how: str, turns: int, caplog: pytest.LogCaptureFixture
) -> None:
    async with anyio.create_task_group() as tasks, pair() as (websocket, peer):
        await anyio.wait_all_tasks_blocked()
        leave(peer, how, b"last words")
        for _ in range(turns):
            await checkpoint()
        tasks.cancel_scope.cancel()
        await checkpoint()
    await anyio.wait_all_tasks_blocked()
    assert websocket.close_code is not None
    assert not [record for record in caplog.records if record.exc_info]
