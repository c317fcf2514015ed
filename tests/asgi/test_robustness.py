"""What applications gain without changing: clients that are alive stay, and no client can fill the memory."""

from __future__ import annotations

import zlib
from typing import Any

import anyio
from anyio.lowlevel import checkpoint

import anyws
from anyws.asgi import websocket_of
from tests.frames import REQUEST, frame_bytes
from tests.peers import CLOSE, PING, PONG, TEXT, close_payload

from .serving import Receive, Scope, Send, serving

_PAUSED = 65536  # bytes that wait in a buffer before a side is paused


class Busy:
    """An application that accepts, and does not receive until it may go on; then it echoes."""

    def __init__(self) -> None:
        self.going = anyio.Event()
        self.received: list[dict[str, Any]] = []
        self.ended = anyio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        await self.going.wait()
        while (message := await receive())["type"] == "websocket.receive":
            await send({**message, "type": "websocket.send"})
        self.received.append(message)
        self.ended.set()


async def test_a_client_that_answers_pings_stays_however_long_the_application_is_busy() -> None:
    app = Busy()
    async with serving(app, ws_ping_interval=0.05, ws_ping_timeout=0.05) as served, served.peer() as peer:
        await peer.send(TEXT, b"unread, while the application is busy")
        for _ in range(6):  # three times as long as a client may be silent
            ping = await peer.frame()
            assert ping.opcode == PING
            await peer.send(PONG, ping.payload)
        app.going.set()
        while (frame := await peer.frame()).opcode == PING:
            await peer.send(PONG, frame.payload)
        assert frame.payload == b"unread, while the application is busy"


async def test_a_client_that_is_silent_is_told_so_and_dropped() -> None:
    app = Busy()
    app.going.set()
    async with serving(app, ws_ping_interval=0.05, ws_ping_timeout=0.05) as served, served.peer() as peer:
        assert (await peer.frame()).opcode == PING
        close = await peer.frame()
        assert (close.opcode, close.close_code, close.payload[2:]) == (CLOSE, 1011, b"keepalive ping timeout")
        assert await peer.rest() == b""
        await app.ended.wait()
    assert app.received == [{"type": "websocket.disconnect", "code": 1011, "reason": "keepalive ping timeout"}]


async def test_no_pings_without_an_interval() -> None:
    app = Busy()
    app.going.set()
    async with serving(app, ws_ping_interval=0.0, ws_ping_timeout=0.0) as served, served.peer():
        assert served.pump._link.options.ping_interval is None
        assert served.pump._link.keepalive.deadline == float("inf")


async def test_a_flood_of_pings_is_not_buffered() -> None:
    app = Busy()
    async with serving(app) as served, served.peer() as peer:
        pump = served.pump
        pump.pause_writing()  # the client does not read
        await peer.stream.send(frame_bytes(PING, b"x" * 125, masked=True) * 10_000)
        await peer.send(TEXT, b"the end")
        while not pump._link.inbox.size:
            await checkpoint()
        assert len(pump._link.outbox.pongs) == 16  # RFC 6455, section 5.5.3: only the latest must be answered
        pump.resume_writing()
        app.going.set()
        for _ in range(16):
            assert (await peer.frame()).opcode == PONG
        assert (await peer.frame()).payload == b"the end"


async def test_messages_that_nobody_receives_pause_reading() -> None:
    app = Busy()
    messages = frame_bytes(TEXT, b"x" * 100, masked=True) * 2000
    async with serving(app) as served, served.peer() as peer:
        pump = served.pump
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(peer.stream.send, messages * 5)
            while served.protocols[0].transport.is_reading():
                await checkpoint()
            assert pump._link.inbox.size <= 2 * _PAUSED
            app.going.set()
            for _ in range(10_000):
                assert (await peer.frame()).payload == b"x" * 100


async def test_the_clients_close_is_read_although_unreceived_messages_have_paused_reading() -> None:
    received: list[dict[str, Any]] = []
    full, ended = anyio.Event(), anyio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        await full.wait()
        await send({"type": "websocket.close", "code": 4000})
        while not received or received[-1]["type"] == "websocket.receive":
            received.append(await receive())
        ended.set()

    async with serving(app) as served, served.peer() as peer:
        await peer.stream.send(frame_bytes(TEXT, b"x" * 10_000, masked=True) * 20)
        while served.protocols[0].transport.is_reading():
            await checkpoint()
        full.set()
        assert (await peer.frame()).close_code == 4000
        await peer.send(CLOSE, close_payload(4000, ""))
        assert await peer.rest() == b""
        await ended.wait()
    assert len(received) < 20  # those that had arrived, and no more
    assert received[-1] == {"type": "websocket.disconnect", "code": 4000, "reason": ""}


async def test_a_deflate_bomb_is_not_inflated() -> None:
    app = Busy()
    app.going.set()
    compressor = zlib.compressobj(wbits=-12)
    bomb = compressor.compress(bytes(20_000_000)) + compressor.flush(zlib.Z_SYNC_FLUSH)
    request = REQUEST[:-2] + b"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n"
    async with serving(app) as served, served.peer(request=request) as peer:
        assert b"client_max_window_bits=12" in peer.head
        data = frame_bytes(TEXT, bomb[:-4], masked=True)
        await peer.stream.send(bytes([data[0] | 0x40]) + data[1:])
        close = await peer.frame()
        assert close.close_code == 1009
        await app.ended.wait()
    assert app.received[0]["code"] == 1009


async def test_the_close_of_a_violation_arrives_although_the_client_goes_on_sending() -> None:
    app = Busy()
    app.going.set()
    async with serving(app, ws_max_size=1000) as served, served.peer() as peer:
        await peer.stream.send(frame_bytes(TEXT, bytes(1_000_000), masked=True))
        assert (await peer.frame()).close_code == 1009
        assert await peer.rest() == b""  # the end, not a reset


class Counting:
    """A transport that keeps what is written through it."""

    def __init__(self, transport: Any) -> None:
        self._transport = transport
        self.written: list[bytes] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        self.written.append(data)
        self._transport.write(data)


async def test_what_a_task_sends_in_one_turn_is_written_together() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        while (await receive())["type"] == "websocket.receive":
            for number in range(50):
                await send({"type": "websocket.send", "text": str(number)})

    async with serving(app) as served, served.peer() as peer:
        stream: Any = served.pump._stream
        stream.transport = transport = Counting(stream.transport)
        await peer.send(TEXT, b"go")
        assert [(await peer.frame()).payload for _ in range(50)] == [b"%d" % number for number in range(50)]
        assert len(transport.written) == 1


async def test_messages_of_one_read_are_answered_with_one_write() -> None:
    app = Busy()
    app.going.set()
    texts = [b"%d" % number for number in range(60)]
    async with serving(app) as served, served.peer() as peer:
        stream: Any = served.pump._stream
        stream.transport = transport = Counting(stream.transport)
        await peer.stream.send(b"".join(frame_bytes(TEXT, text, masked=True) for text in texts))
        assert [(await peer.frame()).payload for _ in texts] == texts
        assert len(transport.written) == 1


async def test_a_broadcast_reaches_the_clients_of_an_application() -> None:
    everybody: set[anyws.WebSocket] = set()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        websocket = websocket_of(scope)
        everybody.add(websocket)
        while (message := await receive())["type"] == "websocket.receive":
            await anyws.broadcast(everybody, message["text"])
        everybody.discard(websocket)

    async with serving(app) as served, anyws.connect(served.uri) as one, anyws.connect(served.uri) as two:
        while len(everybody) < 2:
            await checkpoint()
        await one.send("to all")
        assert [await one.receive(), await two.receive()] == ["to all"] * 2
