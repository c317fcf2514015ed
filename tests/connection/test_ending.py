"""How connections end: close codes in every order, lost connections, and what is raised then."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager

import anyio
import pytest

import anyws
from anyws._transport.stream import SocketStream
from tests.frames import frame_bytes
from tests.peers import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    REQUEST,
    TEXT,
    Frame,
    Meeting,
    Peer,
    Side,
    close_payload,
    ended,
    memory_only,
)

CLEAN = [1000, 1001, None]
OTHER = [1002, 1003, 1007, 1008, 1011, 1012, 1014, 3000, 4999]


# -- theirs first ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [*CLEAN, *OTHER])
async def test_the_peer_closes(ours: Side, code: int | None, meeting: Meeting) -> None:
    async with meeting(ours) as (websocket, peer):
        peer.send(TEXT, b"last words")
        peer.send_close(code, "" if code is None else "bye")
        peer.send_eof()
        assert await peer.frame() == Frame(CLOSE, close_payload(code, "" if code is None else "bye"))
        assert await websocket.receive() == "last words"
        closed = await ended(websocket)
        assert isinstance(closed, anyio.EndOfStream) is (code in CLEAN)
        assert isinstance(closed, anyio.BrokenResourceError) is (code not in CLEAN)
        received = anyws.Close(1005) if code is None else anyws.Close(code, "bye")
        assert closed.received == received
        assert closed.sent == received
        assert (closed.code, closed.reason) == (received.code, received.reason)
        await websocket.wait_closed()
        assert (websocket.close_code, websocket.close_reason) == (received.code, received.reason)
        with pytest.raises(anyws.ConnectionClosedError) as raised:
            await websocket.send("too late")
        assert isinstance(raised.value, anyio.BrokenResourceError)
        with pytest.raises(anyws.ConnectionClosedError):
            websocket.send_nowait("too late")
        assert (await ended(websocket)).code == received.code
    assert not peer.frames  # one Close, once


async def test_a_server_ends_tcp_after_its_close_and_a_client_waits_for_that(ours: Side, meeting: Meeting) -> None:
    async with meeting(ours) as (_, peer):
        peer.send_close(1000)
        assert (await peer.frame()).close_code == 1000
        await anyio.wait_all_tasks_blocked()
        assert peer.stream.is_ended is (ours == "server")
        assert not peer.stream.is_closed  # not before the peer has ended, so that no reset destroys the Close


@pytest.mark.parametrize("code", CLEAN)
async def test_iteration_ends_with_a_clean_close(ours: Side, code: int | None, meeting: Meeting) -> None:
    async with meeting(ours) as (websocket, peer):
        peer.send(TEXT, b"1")
        peer.send(BINARY, b"2")
        peer.send_close(code)
        assert [message async for message in websocket] == ["1", b"2"]
        assert [message async for message in websocket] == []


@pytest.mark.parametrize("code", [1011, 3000])
async def test_iteration_raises_with_any_other(ours: Side, code: int, meeting: Meeting) -> None:
    received = []
    async with meeting(ours) as (websocket, peer):
        peer.send(TEXT, b"1")
        peer.send_close(code)
        with pytest.raises(anyws.ConnectionClosedError, match=rf"closed by the peer: {code}"):
            async for message in websocket:
                received.append(message)
    assert received == ["1"]


async def test_what_comes_after_their_close_is_nothing(ours: Side, meeting: Meeting) -> None:
    async with meeting(ours) as (websocket, peer):
        peer.send_close(1000)
        peer.send(TEXT, b"after")
        peer.send(PING)
        assert [message async for message in websocket] == []
        assert (await peer.frame()).opcode == CLOSE
    assert not peer.frames


# -- ours first --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("code", "reason"), [(1000, ""), (1001, "going"), (3999, "ü" * 61), (None, "")])
async def test_we_close(ours: Side, code: int | None, reason: str, meeting: Meeting) -> None:
    async with meeting(ours) as (websocket, peer), anyio.create_task_group() as tasks:
        await websocket.send("last words")
        tasks.start_soon(websocket.aclose, code, reason)
        assert await peer.frame() == Frame(TEXT, b"last words")
        assert await peer.frame() == Frame(CLOSE, close_payload(code, reason))
        with pytest.raises(anyws.ConnectionClosedLocally) as raised:
            await websocket.send("too late")
        assert isinstance(raised.value, anyio.ClosedResourceError)
        assert raised.value.sent == anyws.Close(1005 if code is None else code, reason)
        assert raised.value.received is None
        with pytest.raises(anyws.ConnectionClosedLocally):
            await websocket.ping()
        peer.send(TEXT, b"is dropped")
        peer.send_close(code)
        peer.send_eof()
        await websocket.wait_closed()
        assert websocket.close_code == (1005 if code is None else code)
        with pytest.raises(anyws.ConnectionClosedLocally):
            await websocket.send("too late")
        with pytest.raises(anyws.ConnectionClosedOK if code != 3999 else anyws.ConnectionClosedError):
            await websocket.receive()


async def test_close_wakes_whoever_receives(ours: Side, meeting: Meeting) -> None:
    async with meeting(ours) as (websocket, peer), anyio.create_task_group() as tasks:

        async def receive() -> None:
            assert isinstance(await ended(websocket), anyws.ConnectionClosedOK)
            peer.send_close(1000)
            peer.send_eof()

        tasks.start_soon(receive)
        await anyio.wait_all_tasks_blocked()
        await websocket.aclose()
        assert websocket.close_code == 1000


async def test_a_reason_is_cut_at_123_bytes(meeting: Meeting) -> None:
    async with meeting("client") as (websocket, peer), anyio.create_task_group() as tasks:
        tasks.start_soon(websocket.aclose, 1000, "€" * 100)
        assert (await peer.frame()).payload == b"\x03\xe8" + "€".encode() * 41
        peer.send_close()
        peer.send_eof()


@pytest.mark.parametrize("code", [0, 999, 1004, 1005, 1006, 1015, 2999, 5000])
async def test_a_code_that_cannot_be_sent(code: int, meeting: Meeting) -> None:
    async with meeting("client") as (websocket, peer):
        with pytest.raises(ValueError, match=f"close code {code} cannot be sent"):
            await websocket.aclose(code)
        await websocket.send("still open")
        assert await peer.frame() == Frame(TEXT, b"still open")


async def test_closing_again_only_waits(ours: Side, meeting: Meeting) -> None:
    async with meeting(ours) as (websocket, peer), anyio.create_task_group() as tasks:
        tasks.start_soon(websocket.aclose, 1001)
        await anyio.wait_all_tasks_blocked()
        tasks.start_soon(websocket.aclose, 1011)
        tasks.start_soon(websocket.aclose)
        assert (await peer.frame()).close_code == 1001
        peer.send_close(1001)
        peer.send_eof()
    assert not peer.frames
    await websocket.aclose()  # also after the end


async def test_send_eof_goes_on_receiving(ours: Side, meeting: Meeting) -> None:
    async with meeting(ours) as (websocket, peer):
        await websocket.send_eof()
        assert (await peer.frame()).close_code == 1000
        with pytest.raises(anyws.ConnectionClosedLocally):
            await websocket.send("too late")
        peer.send(TEXT, b"on its way ", fin=False)
        peer.send(PING, b"not answered any more")
        peer.send(CONTINUATION, b"to us")
        peer.send_close(1000)
        assert [message async for message in websocket] == ["on its way to us"]
    assert not peer.frames


async def test_both_close_at_once(ours: Side, meeting: Meeting) -> None:
    async with meeting(ours) as (websocket, peer), anyio.create_task_group() as tasks:
        peer.stop_reading()
        tasks.start_soon(websocket.aclose, 3001, "ours")
        await anyio.wait_all_tasks_blocked()
        peer.send_close(3002, "theirs")
        peer.go_on_reading()
        assert await peer.frame() == Frame(CLOSE, close_payload(3001, "ours"))
        peer.send_eof()
        await websocket.wait_closed()
        closed = await ended(websocket)
        assert (closed.sent, closed.received) == (anyws.Close(3001, "ours"), anyws.Close(3002, "theirs"))
    assert not peer.frames


async def test_a_block_that_ends_closes_with_1000(ours: Side) -> None:
    peer = Peer(ours)
    async with anyio.create_task_group() as tasks:

        async def answer() -> None:
            assert (await peer.frame()).close_code == 1000
            peer.send_close(1000)
            peer.send_eof()

        tasks.start_soon(answer)
        if ours == "client":
            async with anyws.connect("ws://localhost/", stream=peer.stream) as websocket:
                pass
        else:
            async with anyws.accept(peer.stream) as websocket:
                pass
    assert websocket.close_code == 1000
    assert peer.stream.is_closed


async def test_a_block_that_raises_closes_with_1011_and_the_exception_comes_out_bare(ours: Side) -> None:
    error = KeyError("mine")
    peer = Peer(ours)

    async def fail(opened: AbstractAsyncContextManager[anyws.WebSocket]) -> None:
        with pytest.raises(KeyError) as raised:
            async with opened:
                raise error
        assert raised.value is error

    async with anyio.create_task_group() as tasks:
        client = anyws.connect("ws://localhost/", stream=peer.stream)
        tasks.start_soon(fail, client if ours == "client" else anyws.accept(peer.stream))
        assert (await peer.frame()).close_code == 1011
        peer.send_close(1011)
        peer.send_eof()
    assert peer.stream.is_closed


# -- without a Close ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["end", "loss"])
async def test_an_end_without_close_is_1006(ours: Side, how: str, meeting: Meeting) -> None:
    async with meeting(ours) as (websocket, peer):
        peer.send(TEXT, b"last words")
        if how == "end":
            peer.send_eof()
        else:
            peer.cut()
        await websocket.wait_closed()
        assert await websocket.receive() == "last words"
        closed = await ended(websocket)
        assert isinstance(closed, anyws.ConnectionClosedError)
        assert (closed.code, closed.reason, closed.received, closed.sent) == (1006, "", None, None)
        assert isinstance(closed.__cause__, anyio.BrokenResourceError) is (how == "loss")
        assert (websocket.close_code, websocket.close_reason) == (1006, "")
        with pytest.raises(anyws.ConnectionClosedError):
            await websocket.send("too late")


async def test_an_end_after_our_close_is_1006_too(ours: Side, meeting: Meeting) -> None:
    async with meeting(ours) as (websocket, peer), anyio.create_task_group() as tasks:
        tasks.start_soon(websocket.aclose)
        await peer.frame()
        peer.send_eof()
        await websocket.wait_closed()
        assert websocket.close_code == 1006
        closed = await ended(websocket)
        assert (closed.sent, closed.received) == (anyws.Close(1000), None)


@memory_only
async def test_the_loss_wakes_everybody(ours: Side, meeting: Meeting) -> None:
    outcomes: list[type[BaseException]] = []

    async def noted(what: object) -> None:
        try:
            await what  # type: ignore[misc]
        except anyws.ConnectionClosed as exc:
            outcomes.append(type(exc))

    async with meeting(ours, send_buffer=10) as (websocket, peer), anyio.create_task_group() as tasks:
        peer.stop_reading()
        for _ in range(2):
            await websocket.send("x" * 20)
            await anyio.wait_all_tasks_blocked()
        for waiting in (websocket.send("x"), websocket.send("y"), websocket.ping(), websocket.receive()):
            tasks.start_soon(noted, waiting)
        await anyio.wait_all_tasks_blocked()
        assert not outcomes
        peer.cut()
    assert outcomes == [anyws.ConnectionClosedError] * 4


async def test_a_close_that_is_answered_takes_no_time_while_a_message_is_unread(ours: Side, meeting: Meeting) -> None:
    """A full receive buffer does not keep the Close from being seen, once we close."""
    async with meeting(ours, receive_buffer=10) as (websocket, peer), anyio.create_task_group() as tasks:
        for _ in range(5):
            peer.send(BINARY, b"x" * 1000)
        await anyio.wait_all_tasks_blocked()
        peer.send_close(1000)
        peer.send_eof()
        tasks.start_soon(websocket.aclose)
        await websocket.wait_closed()
        assert websocket.close_code == 1000


async def test_a_server_writes_its_close_together_with_the_end_of_tcp(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both leave in one segment on Linux, where the end of the stream follows a write that says so."""
    calls: list[str] = []
    send, end = SocketStream.send_nowait, SocketStream.send_eof_nowait

    def recording_send(stream: SocketStream, items: Sequence[bytes], *, more_follows: bool = False) -> int:
        calls.append(f"{'more follows' if more_follows else 'nothing follows'}: {b''.join(items)[:2]!r}")
        return send(stream, items, more_follows=more_follows)

    def recording_end(stream: SocketStream) -> None:
        calls.append("end")
        end(stream)

    async with (
        anyws.open_server(ended, "127.0.0.1", 0) as server,
        await anyio.connect_tcp(*server.addresses[0]) as raw,
    ):
        await raw.send(REQUEST)
        await raw.receive()
        monkeypatch.setattr(SocketStream, "send_nowait", recording_send)
        monkeypatch.setattr(SocketStream, "send_eof_nowait", recording_end)
        await raw.send(frame_bytes(CLOSE, close_payload(1000, ""), masked=True))
        assert await raw.receive() == frame_bytes(CLOSE, close_payload(1000, ""), masked=False)
        with pytest.raises(anyio.EndOfStream):
            await raw.receive()
    assert calls == ["more follows: b'\\x88\\x02'", "end"]
