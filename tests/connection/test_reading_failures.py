"""An exception while bytes are read or written ends that connection: no message is skipped or comes cut short."""

from __future__ import annotations

import logging
import ssl
from typing import Any

import anyio
import pytest

import anyws
from anyws._connection.link import Link
from tests.peers import BINARY, TEXT, Meeting, Side, ended


class _Fails:
    """Wraps an object, one method of which raises `MemoryError` from now on, as an allocation may."""

    def __init__(self, wrapped: Any, method: str) -> None:
        self.__dict__.update(wrapped=wrapped, method=method)

    def __getattr__(self, name: str) -> Any:
        if name == self.method:
            raise MemoryError
        return getattr(self.wrapped, name)

    def __setattr__(self, name: str, value: object) -> None:
        setattr(self.wrapped, name, value)

    def __bool__(self) -> bool:
        return bool(self.wrapped)

    def __len__(self) -> int:
        return len(self.wrapped)


Fails: Any = _Fails  # it stands in the place of an object of another type


def break_inbox(link: Link) -> None:
    """The short way, of whole and plain messages."""
    link.intake.inbox = Fails(link.inbox, "put_frames")


def break_core(link: Link) -> None:
    """The way of everything else."""
    link.intake.inbox = Fails(link.inbox, "put")


async def check_end(websocket: anyws.WebSocket, caplog: pytest.LogCaptureFixture) -> None:
    closed = await ended(websocket)
    assert isinstance(closed, anyws.ConnectionClosedError)
    assert isinstance(closed.__cause__, MemoryError)
    assert closed.code == websocket.close_code == 1006
    await websocket.wait_closed()
    (record,) = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert record.name.startswith("anyws")


@pytest.mark.parametrize("fin", [True, False])
async def test_while_reading(ours: Side, fin: bool, meeting: Meeting, caplog: pytest.LogCaptureFixture) -> None:
    async with meeting(ours) as (websocket, peer):
        peer.send(TEXT, b"one")
        assert await websocket.receive() == "one"
        (break_inbox if fin else break_core)(websocket._link)
        peer.send(TEXT, b"two", fin=fin)
        if not fin:
            peer.send(0, b"")
        peer.send(TEXT, b"three")
        await check_end(websocket, caplog)


async def test_what_was_received_before_stays(ours: Side, meeting: Meeting) -> None:
    async with meeting(ours) as (websocket, peer):
        peer.send_bytes(peer.frame_bytes(TEXT, b"one") + peer.frame_bytes(TEXT, b"two"))
        assert await websocket.receive() == "one"
        break_inbox(websocket._link)
        peer.send(TEXT, b"three")
        await websocket.wait_closed()
        assert await websocket.receive() == "two"
        with pytest.raises(anyws.ConnectionClosedError):
            await websocket.receive()


async def test_in_the_middle_of_a_large_message(
    ours: Side, meeting: Meeting, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with meeting(ours) as (websocket, peer):
        whole = peer.frame_bytes(BINARY, bytes(500_000))
        peer.send_bytes(whole[:200_000])

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(check_end, websocket, caplog)
            while not websocket._link.core.partial_size:
                await anyio.lowlevel.checkpoint()

            def fail(*_: object) -> None:
                raise MemoryError

            monkeypatch.setattr("anyws.protocol.connection.FrameDecoder.buffer_updated", fail)
            monkeypatch.setattr("anyws.protocol.connection.FrameDecoder.feed", fail)
            peer.send_bytes(whole[200_000:])


async def test_over_tls(
    server_ssl_context: ssl.SSLContext, client_ssl_context: ssl.SSLContext, caplog: pytest.LogCaptureFixture
) -> None:
    checked = anyio.Event()

    async def handler(websocket: anyws.WebSocket) -> None:
        assert await websocket.receive() == "one"
        stream: Any = websocket._link.stream
        stream.records.ssl_object = Fails(stream.records.ssl_object, "read")
        await websocket.send("go on")
        await check_end(websocket, caplog)
        checked.set()

    async with anyws.open_server(handler, "127.0.0.1", 0, ssl_context=server_ssl_context) as server:
        uri = f"wss://localhost:{server.addresses[0][1]}/"
        async with anyws.connect(uri, ssl_context=client_ssl_context) as websocket:
            await websocket.send("one")
            assert await websocket.receive() == "go on"
            await websocket.send("two")
            await checked.wait()
            assert (await ended(websocket)).code == 1006


async def test_while_writing(ours: Side, meeting: Meeting, caplog: pytest.LogCaptureFixture) -> None:
    async with meeting(ours) as (websocket, _):
        link = websocket._link
        link.outbox = link.core.outbox = Fails(link.outbox, "take")
        websocket.send_nowait("one")
        await check_end(websocket, caplog)
