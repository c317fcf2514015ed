"""A live dashboard of the server that serves it, on one port: ``python -m examples.dashboard [HOST] [PORT]``.

Every client of ``/ws`` receives a sample each second, and an echo of each message that it sends.
"""

import json
import time
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio

import anyws
from examples.shared.pages import HERE, pages
from examples.shared.running import parser, serve_until_stopped

REMEMBERED = 120  # samples sent to new clients


@dataclass
class Client:
    """The data of one connection that the dashboard shows."""

    number: int
    agent: str
    since: float = field(default_factory=time.time)
    latency: float | None = None  # seconds
    messages: int = 0


class Dashboard:
    """Samples the load of this server.

    Args:
        interval: seconds from one sample to the next.
    """

    def __init__(self, interval: float) -> None:
        self.interval = interval
        self.clients: dict[anyws.WebSocket, Client] = {}
        self.samples: deque[dict[str, Any]] = deque(maxlen=REMEMBERED)
        self.opened = 0
        self.messages = 0

    async def handle(self, websocket: anyws.WebSocket) -> None:
        self.opened += 1
        client = Client(self.opened, websocket.request.headers.get("user-agent", "unknown"))
        await websocket.send(json.dumps({"type": "history", "interval": self.interval, "samples": list(self.samples)}))
        self.clients[websocket] = client
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self.measure_latency, websocket, client)
                async for message in websocket:
                    client.messages += 1
                    self.messages += 1
                    if isinstance(message, str):
                        await websocket.send(json.dumps({"type": "echo", "echo": message}))
                tasks.cancel_scope.cancel()
        finally:
            del self.clients[websocket]

    async def measure_latency(self, websocket: anyws.WebSocket, client: Client) -> None:
        while True:
            client.latency = await websocket.ping()
            await anyio.sleep(self.interval)

    async def sample(self) -> None:
        """Take samples until cancelled."""
        while True:
            before, cpu, messages = time.perf_counter(), time.process_time(), self.messages
            await anyio.sleep(self.interval)
            passed = time.perf_counter() - before
            sample = {
                "at": time.time(),
                "cpu": 100 * (time.process_time() - cpu) / passed,
                "lag": 1000 * max(0, passed - self.interval),
                "rate": (self.messages - messages) / passed,
                "connections": len(self.clients),
            }
            self.samples.append(sample)
            clients = [vars(client) for client in self.clients.values()]
            message = json.dumps({"type": "sample", "sample": sample, "clients": clients})
            await anyws.broadcast(list(self.clients), message, slow="drop")  # the next sample replaces it


@asynccontextmanager
async def open_dashboard(host: str, port: int, interval: float = 1) -> AsyncGenerator[anyws.Server, None]:
    """Serve the page on ``/``, and the samples on ``/ws``."""
    dashboard = Dashboard(interval)
    hook = pages(HERE, Path(__file__).parent)
    async with (
        anyws.open_server(dashboard.handle, host, port, on_request=hook) as server,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(dashboard.sample)
        yield server
        tasks.cancel_scope.cancel()


async def main(host: str, port: int) -> None:
    await serve_until_stopped(open_dashboard(host, port))


if __name__ == "__main__":
    arguments = parser("A live dashboard in the browser.").parse_args()
    anyio.run(main, arguments.host, arguments.port, backend=arguments.backend)
