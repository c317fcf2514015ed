"""An echo server on the sockets that systemd has opened (socket activation), or otherwise on port 8765.

Usage: python examples/systemd_server.py [--backend asyncio|trio]

    # echo.socket              # echo.service
    [Socket]                   [Service]
    ListenStream=8765          ExecStart=/usr/bin/python3 /opt/echo/systemd_server.py
    [Install]
    WantedBy=sockets.target

systemd listens from boot, and starts the service on the first connection. Connections that arrive while the service
restarts wait in the socket.
"""

import argparse
import signal

import anyio

import anyws


async def echo(websocket: anyws.WebSocket) -> None:
    async for message in websocket:
        await websocket.send(message)


async def main() -> None:
    listeners = anyws.listeners_from_systemd() or None
    host, port = (None, 0) if listeners else ("127.0.0.1", 8765)
    stop_signals = [signal.SIGTERM, signal.SIGINT]
    async with anyws.open_server(echo, host, port, listeners=listeners, stop_signals=stop_signals) as server:
        print("listening on", *server.addresses, flush=True)
        await server.wait_closed()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="An echo server on the sockets that systemd has opened.")
    parser.add_argument("--backend", default="asyncio", choices=["asyncio", "trio"])
    anyio.run(main, backend=parser.parse_args().backend)
