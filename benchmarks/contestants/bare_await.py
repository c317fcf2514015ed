"""Bare asyncio with `await`: echoes bytes with a registered reader, one future and one task, without WebSocket."""

from __future__ import annotations

import asyncio
import socket

import anyio

from .arguments import Arguments, announce, run_on_asyncio

_READ_SIZE = 65536


class _Connection:
    """A socket that the event loop reads, for the task that awaits `receive`."""

    def __init__(self, connected: socket.socket) -> None:
        self._socket = connected
        self._loop = asyncio.get_running_loop()
        self._data: list[bytes] = []
        self._waiter: asyncio.Future[None] | None = None
        self._loop.add_reader(connected.fileno(), self._read)

    async def receive(self) -> bytes:
        while not self._data:
            self._waiter = self._loop.create_future()
            await self._waiter
        return self._data.pop()

    async def send(self, data: bytes) -> None:
        written = self._socket.send(data)
        if written < len(data):
            raise RuntimeError("the load is too large for the socket buffer")

    def close(self) -> None:
        self._loop.remove_reader(self._socket.fileno())
        self._socket.close()

    def _read(self) -> None:
        try:
            self._data.append(self._socket.recv(_READ_SIZE))
        except BlockingIOError:
            return
        except OSError:
            self._data.append(b"")
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


async def _echo(connected: socket.socket) -> None:
    connected.setblocking(False)
    connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
    connection = _Connection(connected)
    try:
        while data := await connection.receive():
            await connection.send(data)
    finally:
        connection.close()


async def main(arguments: Arguments) -> None:
    """Serve on a free port of 127.0.0.1."""
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listening:
        listening.setblocking(False)
        announce(listening.getsockname()[1])
        loop = asyncio.get_running_loop()
        async with anyio.create_task_group() as connections:
            while True:
                connected, _ = await loop.sock_accept(listening)
                connections.start_soon(_echo, connected)


if __name__ == "__main__":
    run_on_asyncio(main, Arguments.parse(loops=("asyncio", "uvloop"), compressions=()))
