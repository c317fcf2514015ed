"""Two of ours act out a scenario; what each has seen is written down."""

from __future__ import annotations

import functools
import random
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

import anyio
from anyio.abc import ByteStream, SocketListener
from anyio.lowlevel import checkpoint

import anyws
from anyws.testing import memory_stream_pair
from tests.harness import address_of, cancelling_at

from .scenarios import End, Message, Mode, Scenario, Script, Transport
from .streams import FaultyStream, Wire

__all__ = ["Crash", "Seen", "converse"]

PATIENCE = 100.0
"""Who waits for the other's end leaves after so many seconds, wherever the clock jumps."""


class Crash(Exception):
    """What a handler raises that crashes."""


@dataclass
class Seen:
    """What one side has seen.

    Attributes:
        completed: the messages of each sender that were handed over, as far as the call has said.
        started: the messages of each sender that it has begun to hand over.
        received: the messages that came, in order.
        partial: what came of a message that was cut short.
        began: the close codes that this side decided on, in order.
        discarded: whether it closed in a way that drops what it has not received.
        closed: what its last `receive` raised.
        send_errors: what calls that send have raised.
        close_code: that of the connection, at the end.
        opened: whether the opening handshake succeeded.
        failure: what came out of the block or the opening handshake.
        stream: its end of the stream.
    """

    stream: FaultyStream
    completed: list[int] = field(default_factory=list)
    started: list[int] = field(default_factory=list)
    received: list[str | bytes] = field(default_factory=list)
    partial: str | bytes | None = None
    began: list[int] = field(default_factory=list)
    discarded: bool = False
    closed: anyws.ConnectionClosed | None = None
    send_errors: list[Exception] = field(default_factory=list)
    close_code: int | None = None
    opened: bool = False
    was_cancelled: bool = False
    failure: BaseException | None = None

    def __repr__(self) -> str:
        return (
            f"Seen(opened={self.opened}, completed={self.completed}, started={self.started}, "
            f"received={len(self.received)}, began={self.began}, discarded={self.discarded}, "
            f"close_code={self.close_code}, closed={self.closed!r}, failure={self.failure!r}, "
            f"send_errors={self.send_errors!r}, stream closed={self.stream.is_closed})"
        )


async def converse(scenario: Scenario, patience: float = PATIENCE) -> tuple[Seen, Seen]:
    """Act out a scenario; return what the client and the server have seen."""
    rng = random.Random(scenario.seed + 1)
    wire = Wire()
    async with AsyncExitStack() as stack:
        ends = await _ends(scenario.transport, scenario.capacity)
        for end in ends:
            stack.push_async_callback(anyio.aclose_forcefully, end)
        sides = []
        for script, end in zip((scenario.client, scenario.server), ends, strict=True):
            seen = Seen(FaultyStream(end, wire, script.weather, random.Random(rng.random())))
            sides.append(Side(script, seen, random.Random(rng.random()), patience))
        client, server = sides
        connect = functools.partial(anyws.connect, "ws://localhost/", stream=client.seen.stream)
        accept = functools.partial(anyws.accept, server.seen.stream)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(client.run, connect)
            tasks.start_soon(server.run, accept)
    return client.seen, server.seen


async def _ends(transport: Transport, capacity: int) -> tuple[ByteStream, ByteStream]:
    if transport == "memory":
        return memory_stream_pair(capacity)
    async with await anyio.create_tcp_listener(local_host="127.0.0.1", local_port=0) as listener:
        (raw,) = listener.listeners
        assert isinstance(raw, SocketListener)
        # AnyIO's own streams: ours are what all other tests use.
        return await anyio.connect_tcp(*address_of(raw)), await raw.accept()


class Side:
    """One side of the connection."""

    def __init__(self, script: Script, seen: Seen, rng: random.Random, patience: float) -> None:
        self.script = script
        self.seen = seen
        self._rng = rng
        self._patience = patience
        self._received = anyio.Event()  # again and again
        self._all_sent = anyio.Event()
        self._over = anyio.Event()

    async def run(self, opened: Callable[..., AbstractAsyncContextManager[anyws.WebSocket]]) -> None:
        """Live the life of this side."""
        seen = self.seen
        websocket: anyws.WebSocket | None = None
        try:
            with anyio.CancelScope() as scope:
                async with opened(**self.script.options) as websocket:
                    seen.opened = True
                    await self._act(websocket, scope)
                    if set(seen.began) <= {1011}:  # an iterable may not have begun its message
                        seen.began.append(1000)
            seen.was_cancelled = scope.cancelled_caught
        except* Exception as group:
            (seen.failure,) = group.exceptions
        finally:
            if websocket is not None:
                seen.close_code = websocket.close_code

    async def _act(self, websocket: anyws.WebSocket, scope: anyio.CancelScope) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._receive_all, websocket)
            tasks.start_soon(self._send_all, websocket)
            if self.script.pings:
                tasks.start_soon(self._ping, websocket)
            with anyio.move_on_after(self._patience):
                await self._wait_for_end()
                await self._end(websocket, scope)
            tasks.cancel_scope.cancel()

    async def _wait_for_end(self) -> None:
        """Return when it is time to do what this side does at its end."""
        after = self.script.after
        if self.script.end is End.STAY:
            await self._over.wait()
        elif after is None:
            await self._all_sent.wait()
        elif after > 10:
            for _ in range(after):
                await checkpoint()
        else:
            while len(self.seen.received) < after and not self._over.is_set():
                await self._received.wait()

    async def _end(self, websocket: anyws.WebSocket, scope: anyio.CancelScope) -> None:
        seen = self.seen
        match self.script.end:
            case End.LEAVE:
                seen.discarded = True
                seen.began.append(1000)
            case End.CLOSE:
                seen.discarded = True
                code = self.script.code
                seen.began.append(1005 if code is None else code)
                await websocket.aclose(code)
            case End.EOF:
                seen.began.append(1000)
                await websocket.send_eof()
                await self._over.wait()
            case End.CRASH:
                seen.discarded = True
                seen.began.append(1011)
                raise Crash
            case End.CANCELLED:
                seen.discarded = True
                seen.began.append(1001)
                scope.cancel()
                await checkpoint()
            case End.STAY:
                pass

    # -- sending -------------------------------------------------------------------------------------------------------

    async def _send_all(self, websocket: anyws.WebSocket) -> None:
        senders = self.script.senders
        self.seen.completed = [0] * len(senders)
        self.seen.started = [0] * len(senders)
        async with anyio.create_task_group() as tasks:
            for number, messages in enumerate(senders):
                tasks.start_soon(self._send_each, websocket, number, messages)
        self._all_sent.set()

    async def _send_each(self, websocket: anyws.WebSocket, number: int, messages: list[Message]) -> None:
        try:
            for message in messages:
                self.seen.started[number] += 1
                if message.cancel_at is None or not await self._send_cancelled(websocket, message):
                    await self._send(websocket, message)
                self.seen.completed[number] += 1
        except anyws.ConnectionClosed as exc:
            self.seen.send_errors.append(exc)

    async def _send_cancelled(self, websocket: anyws.WebSocket, message: Message) -> bool:
        """Send, cancelled somewhere; return whether the message was sent nevertheless."""
        assert message.cancel_at is not None
        with anyio.CancelScope() as scope:
            await cancelling_at(message.cancel_at, scope, self._send(websocket, message))
            return True
        return False

    async def _send(self, websocket: anyws.WebSocket, message: Message) -> None:
        body, compress = message.body, message.compress
        if message.mode is Mode.SEND:
            await websocket.send(body, compress=compress)
        elif message.mode is Mode.ITERABLE and body:
            try:
                await websocket.send(_pieces(body, message.piece), compress=compress)
            except BaseException:
                self.seen.began.append(1011)  # if its first element had been sent
                raise
        else:
            while True:
                await websocket.drain()
                try:
                    if message.mode is Mode.FRAMES:
                        websocket.send_nowait(body, fragment_size=message.piece, compress=compress)
                    else:
                        websocket.send_nowait(body, compress=compress)
                except anyio.WouldBlock:
                    continue
                return

    async def _ping(self, websocket: anyws.WebSocket) -> None:
        try:
            for _ in range(self.script.pings):
                assert await websocket.ping() >= 0
        except anyws.ConnectionClosed as exc:
            self.seen.send_errors.append(exc)

    # -- receiving -----------------------------------------------------------------------------------------------------

    async def _receive_all(self, websocket: anyws.WebSocket) -> None:
        script, seen = self.script, self.seen
        try:
            while script.receives is None or len(seen.received) < script.receives:
                if self._rng.random() < script.piecewise:
                    await self._receive_pieces(websocket)
                else:
                    seen.received.append(await self._cancelling(websocket.receive))
                self._received.set()
                self._received = anyio.Event()
                if script.nap and len(seen.received) == 1:
                    await anyio.sleep(script.nap)
                for _ in range(self._rng.randint(0, script.slowness)):
                    await checkpoint()
            await websocket.wait_closed()
        except anyws.ConnectionClosed as exc:
            seen.closed = exc
        self._over.set()
        self._received.set()

    async def _receive_pieces(self, websocket: anyws.WebSocket) -> None:
        pieces: list[str | bytes] = []
        stream = websocket.receive_stream()
        try:
            while True:
                pieces.append(await self._cancelling(functools.partial(anext, stream)))
        except StopAsyncIteration:
            self.seen.received.append(_joined(pieces))
        except BaseException:
            if pieces:
                self.seen.partial = _joined(pieces)
            raise

    async def _cancelling(self, call: Callable[[], Awaitable[str | bytes]]) -> str | bytes:
        """Call, cancelled now and then, until it returns."""
        while self._rng.random() < self.script.cancelling:
            taken: deque[str | bytes] = deque()

            async def take(taken: deque[str | bytes] = taken) -> None:
                taken.append(await call())

            with anyio.CancelScope() as scope:
                await cancelling_at(self._rng.randint(0, 5), scope, take())
            if taken:
                return taken.popleft()
        return await call()


async def _pieces(body: Any, size: int) -> AsyncIterator[Any]:
    for start in range(0, len(body), size):
        if start % 3 == 0:
            await checkpoint()
        yield body[start : start + size]


def _joined(pieces: list[Any]) -> str | bytes:
    whole: str | bytes = pieces[0][:0].join(pieces)
    return whole
