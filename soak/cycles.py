"""Connects and closes in every possible way: nothing grows."""

from __future__ import annotations

import logging
import socket
import struct
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager

import anyio
from anyio.abc import SocketAttribute
from anyio.lowlevel import checkpoint

import anyws

from .resources import Failed, check_flat, check_released, wait_until_released, wait_until_steady

__all__ = ["SCENARIOS", "run"]

_WORKERS = 8
_SAMPLES = 20
_ALLOWED_GROWTH = 2048  # KiB by which memory may grow: Python allocates arenas of 1 MiB
_SOURCES = 100  # addresses to connect from, so that there are enough ports
_HANDSHAKE_STEPS = 24  # more than the number of times that a handshake suspends

_Connecting = AbstractAsyncContextManager[anyws.WebSocket]


class _DeliberateError(Exception):
    """The exception raised in a block that fails."""


def _set_reset(websocket: anyws.WebSocket) -> None:
    """Make the connection end with a reset when its socket is closed."""
    raw = websocket.extra(SocketAttribute.raw_socket)
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


async def handle(websocket: anyws.WebSocket) -> None:
    """Echo a message, or end the connection as the message requests."""
    async for message in websocket:
        match message:
            case "return":
                return
            case "close":
                await websocket.aclose(4000, "as you wish")
            case "raise":
                raise _DeliberateError
            case "abort":
                await anyio.aclose_forcefully(websocket)
            case "end":
                websocket.extra(SocketAttribute.raw_socket).shutdown(socket.SHUT_WR)
            case "reset":
                _set_reset(websocket)
                await anyio.aclose_forcefully(websocket)
            case _:
                await websocket.send(message)


async def _exchange(websocket: anyws.WebSocket) -> None:
    await websocket.send("hello")
    if await websocket.receive() != "hello":
        raise Failed("wrong echo")


# -- the scenarios -----------------------------------------------------------------------------------------------------


async def _client_closes(connecting: _Connecting, number: int) -> None:
    async with connecting as websocket:
        await _exchange(websocket)


async def _client_does_nothing(connecting: _Connecting, number: int) -> None:
    async with connecting:
        pass


async def _client_raises(connecting: _Connecting, number: int) -> None:
    try:
        async with connecting as websocket:
            await _exchange(websocket)
            raise _DeliberateError
    except _DeliberateError:
        pass


async def _client_is_cancelled(connecting: _Connecting, number: int) -> None:
    with anyio.CancelScope() as scope:
        async with connecting as websocket:
            await _exchange(websocket)
            scope.cancel()
            await websocket.receive()


async def _client_is_cancelled_early(connecting: _Connecting, number: int) -> None:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_client_does_nothing, connecting, number)
        for _ in range(number % _HANDSHAKE_STEPS):
            await checkpoint()
        tasks.cancel_scope.cancel()


async def _client_ends_tcp(connecting: _Connecting, number: int) -> None:
    async with connecting as websocket:
        await _exchange(websocket)
        websocket.extra(SocketAttribute.raw_socket).shutdown(socket.SHUT_WR)
        await _expect(websocket, 1006)


async def _client_resets(connecting: _Connecting, number: int) -> None:
    async with connecting as websocket:
        await _exchange(websocket)
        _set_reset(websocket)
        await anyio.aclose_forcefully(websocket)


def _server_ends(how: str, *codes: int) -> Callable[[_Connecting, int], Awaitable[None]]:
    async def ask(connecting: _Connecting, number: int) -> None:
        async with connecting as websocket:
            await _exchange(websocket)
            await websocket.send(how)
            await _expect(websocket, *codes)

    return ask


async def _client_is_refused(connecting: _Connecting, number: int) -> None:
    try:
        async with connecting:
            raise Failed("the server accepted a connection that it must reject")
    except anyws.HandshakeError:
        pass


async def _expect(websocket: anyws.WebSocket, *codes: int) -> None:
    try:
        await websocket.receive()
    except anyws.ConnectionClosed as exc:
        if exc.code not in codes:
            raise Failed(f"closed with {exc.code}, not {codes}") from exc
    else:
        raise Failed("received a message, but the connection must end")


SCENARIOS: dict[str, Callable[[_Connecting, int], Awaitable[None]]] = {
    "the client closes": _client_closes,
    "the client closes immediately": _client_does_nothing,
    "the client's block raises": _client_raises,
    "the client's block is cancelled": _client_is_cancelled,
    "the client is cancelled during the opening handshake": _client_is_cancelled_early,
    "the client ends TCP": _client_ends_tcp,
    "the client resets": _client_resets,
    "the handler returns": _server_ends("return", 1000),
    "the handler closes": _server_ends("close", 4000),
    "the handler raises": _server_ends("raise", 1011),
    "the handler aborts": _server_ends("abort", 1000),
    "the server ends TCP": _server_ends("end", 1006),
    "the server resets": _server_ends("reset", 1000, 1006),  # the Close may overtake the reset
    "the server rejects": _client_is_refused,
}


# -- the run -----------------------------------------------------------------------------------------------------------


async def run(cycles: int) -> dict[str, str]:
    """Connect and close eight connections at a time, client and server in one process.

    Args:
        cycles: the number of connections, over all scenarios.

    Returns:
        The figures, by name.

    Raises:
        Failed: memory grows by more than 2 MiB after the first quarter; descriptors, tasks or objects are not released;
            or a connection does not end as it must.
    """
    batch = max(cycles // _SAMPLES, 2 * len(SCENARIOS))
    begin, done = time.perf_counter(), 0
    with _unexpected_logs() as unexpected:
        async with anyws.open_server(handle, "127.0.0.1", on_request=_refuse) as server:
            uri = "ws://{}:{}".format(*server.addresses[0])
            await _cycle(uri, range(batch))
            first = await wait_until_steady()
            steps, samples = [0.0], [first]
            while done < cycles:
                await _cycle(uri, range(done, min(done + batch, cycles)))
                done = min(done + batch, cycles)
                steps.append(done)
                samples.append(await wait_until_released(first))
                check_released(first, samples[-1])
                print(f"{done}: {samples[-1]}", file=sys.stderr, flush=True)
        if unexpected:
            raise Failed(f"logged: {unexpected[:10]}")
    took = time.perf_counter() - begin
    warm = len(samples) // 4
    growth = check_flat(steps[warm:], [sample.memory for sample in samples[warm:]], bound=_ALLOWED_GROWTH)
    last = samples[-1]
    return {
        "cycles": f"{cycles} in {len(SCENARIOS)} scenarios, after {batch} to warm up; {took:.0f} s",
        "memory": f"{first.memory} KiB first, {samples[warm].memory} after a quarter, {last.memory} last",
        "growth": f"{growth:.0f} KiB in the last three quarters",
        "descriptors": f"{first.descriptors} first, {last.descriptors} last",
        "tasks": f"{first.tasks} first, {last.tasks} last",
        "objects": f"{first.objects} first, {last.objects} last",
    }


async def _cycle(uri: str, numbers: range) -> None:
    """Run the cycles with these numbers, some of them concurrently."""
    scenarios = list(SCENARIOS.items())

    async def work(worker: int) -> None:
        for number in numbers[worker::_WORKERS]:
            name, scenario = scenarios[number % len(scenarios)]
            path = "/refuse" if scenario is _client_is_refused else "/"
            source = f"127.0.0.{2 + number % _SOURCES}"
            try:
                await scenario(
                    anyws.connect(uri + path, local_host=source, max_connecting=None), number // len(scenarios)
                )
            except Exception as exc:
                failures.append(f"{name}: {exc!r}")

    failures: list[str] = []
    async with anyio.create_task_group() as tasks:
        for worker in range(_WORKERS):
            tasks.start_soon(work, worker)
    if failures:
        raise Failed(f"{len(failures)} cycles: {failures[:10]}")


def _refuse(request: anyws.Request) -> anyws.Response | None:
    return anyws.Response(403) if request.target == "/refuse" else None


@contextmanager
def _unexpected_logs() -> Iterator[list[str]]:
    """Collect log records of level WARNING and above, except for deliberate failures."""
    found: list[str] = []

    class Collect(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.exc_info is None or not isinstance(record.exc_info[1], _DeliberateError):
                found.append(self.format(record))

    logger, handler = logging.getLogger("anyws"), Collect(logging.WARNING)
    propagate = logger.propagate
    logger.addHandler(handler)
    logger.propagate = False
    try:
        yield found
    finally:
        logger.removeHandler(handler)
        logger.propagate = propagate
