"""The load test: messages on many connections, and the results."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass, field

import anyio

import anyws

from .opening import CONNECT_ERRORS
from .statistics import Times
from .stopping import Stop

__all__ = ["LoadResult", "LoadTest"]

_LAST_RESPONSES = 5.0  # seconds to wait for responses after the last message was sent
_UPDATE_INTERVAL = 0.2  # seconds between updates of the progress bar


@dataclass(slots=True)
class LoadResult:
    """The results of a load test.

    Attributes:
        opened: number of connections opened.
        failed: number of connections that could not be opened.
        lost: number of connections that ended before the test did.
        sent: number of messages sent.
        received: number of responses received.
        seconds: time from the first message to the last response.
        times: latencies of the responses.
        failure: why the first failed connection could not be opened.
        is_interrupted: whether a signal ended the test.
    """

    opened: int = 0
    failed: int = 0
    lost: int = 0
    sent: int = 0
    received: int = 0
    seconds: float = 0
    times: Times = field(default_factory=Times)
    failure: Exception | None = None
    is_interrupted: bool = False


class LoadTest:
    """Opens all connections, then sends on all of them, then waits for the last responses."""

    def __init__(
        self,
        *,
        connect: Callable[[], AbstractAsyncContextManager[anyws.WebSocket]],
        connections: int,
        connecting: int,
        rate: float | None,
        duration: float,
        message: str | bytes,
    ) -> None:
        """Create a load test.

        Args:
            connect: opens a connection.
            connections: number of connections.
            connecting: how many of them to open at the same time.
            rate: messages per second over all connections; None to send the next message after each response.
            duration: duration of sending, in seconds.
            message: the message to send.
        """
        self._connect = connect
        self._connections = connections
        self._connecting_limit = anyio.CapacityLimiter(connecting)
        self._interval = None if rate is None else connections / rate
        self._duration = duration
        self._message = message
        self._result = LoadResult()
        self._all_open = anyio.Event()
        self._started_at = 0.0
        self._sending_ends_at = 0.0  # by time.perf_counter(): the clock of an event loop may be coarse
        self._last_response_at = 0.0

    async def run(self, stop: Stop, show: Callable[[float, str], None]) -> LoadResult:
        """Run the test; a signal ends it early."""
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as helpers:

                async def stop_on_signal() -> None:
                    await stop.wait()
                    self._result.is_interrupted = True
                    scope.cancel()

                helpers.start_soon(stop_on_signal)
                helpers.start_soon(self._show, show)
                async with anyio.create_task_group() as tasks:
                    async with anyio.create_task_group() as opening:
                        for number in range(self._connections):
                            ready = anyio.Event()
                            tasks.start_soon(self._use_connection, number, ready)
                            opening.start_soon(ready.wait)
                    self._started_at = self._last_response_at = time.perf_counter()
                    self._sending_ends_at = self._started_at + self._duration
                    self._all_open.set()
                helpers.cancel_scope.cancel()
        self._result.seconds = self._last_response_at - self._started_at
        return self._result

    async def _use_connection(self, number: int, ready: anyio.Event) -> None:
        async with AsyncExitStack() as stack:
            try:
                async with self._connecting_limit:
                    websocket = await stack.enter_async_context(self._connect())
            except CONNECT_ERRORS as exc:
                self._result.failed += 1
                self._result.failure = self._result.failure or exc
                ready.set()
                return
            self._result.opened += 1
            ready.set()
            await self._all_open.wait()
            await self._load(websocket, number)

    async def _load(self, websocket: anyws.WebSocket, number: int) -> None:
        due: deque[float] = deque()  # when the unanswered messages were due to be sent
        try:
            if self._interval is None:
                await self._send_after_response(websocket, due)
            else:
                await self._send_on_schedule(
                    websocket, due, self._started_at + self._interval * number / self._connections
                )
        except* anyws.ConnectionClosed:
            self._result.lost += 1

    async def _send_after_response(self, websocket: anyws.WebSocket, due: deque[float]) -> None:
        while (now := time.perf_counter()) < self._sending_ends_at:
            await self._send(websocket, due, now)
            with anyio.move_on_after(self._sending_ends_at - now + _LAST_RESPONSES):
                await self._receive(websocket, due)

    async def _send_on_schedule(self, websocket: anyws.WebSocket, due: deque[float], first: float) -> None:
        assert self._interval is not None
        async with anyio.create_task_group() as tasks:
            answered = anyio.Event()
            is_over = False

            async def receive_all() -> None:
                while due or not is_over:
                    await self._receive(websocket, due)
                answered.set()

            tasks.start_soon(receive_all)
            sent = 0
            while (when := first + sent * self._interval) < self._sending_ends_at:
                await anyio.sleep(max(0, when - time.perf_counter()))
                await self._send(websocket, due, when)
                sent += 1
            is_over = True
            if due:
                with anyio.move_on_after(_LAST_RESPONSES):
                    await answered.wait()
            tasks.cancel_scope.cancel()

    async def _send(self, websocket: anyws.WebSocket, due: deque[float], when: float) -> None:
        due.append(when)
        await websocket.send(self._message)
        self._result.sent += 1

    async def _receive(self, websocket: anyws.WebSocket, due: deque[float]) -> None:
        await websocket.receive()
        self._last_response_at = time.perf_counter()
        if due:  # a server may also send messages of its own
            self._result.received += 1
            self._result.times.add(self._last_response_at - due.popleft())

    async def _show(self, show: Callable[[float, str], None]) -> None:
        while True:
            if self._all_open.is_set():
                done = min(time.perf_counter() - self._started_at, self._duration)
                show(done, f"{self._result.received / done if done else 0:.0f} messages/s")
            else:
                show(0, f"{self._result.opened} connections")
            await anyio.sleep(_UPDATE_INTERVAL)
