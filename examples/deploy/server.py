"""An echo server for deployment, with health checks and graceful shutdown on SIGTERM.

Usage: python server.py [HOST] [PORT] [--health-port PORT] [--grace SECONDS] [--backend trio]
"""

import argparse
import logging
import signal

import anyio

import anyws


async def echo(websocket: anyws.WebSocket) -> None:
    async for message in websocket:
        await websocket.send(message)


def not_found(request: anyws.Request) -> anyws.Response:
    return anyws.Response(404)


async def main(host: str, port: int, health_port: int, grace: float) -> None:
    health_check = anyws.health_check("/healthz")
    stop_signals = [signal.SIGTERM, signal.SIGINT]
    async with (
        # The separate port responds even if the server is full or shutting down.
        anyws.open_server(echo, host, health_port, on_request=[health_check, not_found]) as health,
        anyws.open_server(
            echo, host, port, on_request=health_check, stop_signals=stop_signals, stop_grace=grace
        ) as server,
    ):
        print("listening on", server.port, "health", health.port, flush=True)
        await server.wait_closed()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="An echo server with health checks.")
    parser.add_argument("host", nargs="?", default="127.0.0.1")
    parser.add_argument("port", nargs="?", type=int, default=8765)
    parser.add_argument("--health-port", type=int, default=8766)
    parser.add_argument("--grace", type=float, default=3, help="seconds that handlers have to finish on shutdown")
    parser.add_argument("--backend", choices=["asyncio", "trio"], default="asyncio")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO)
    anyio.run(
        main,
        arguments.host,
        arguments.port,
        arguments.health_port,
        arguments.grace,
        backend=arguments.backend,
    )
