"""An echo server in several processes on one port.

``python examples/workers.py [HOST] [PORT] [--workers N] [--backend trio]``

Ctrl-C or SIGTERM shuts them all down gracefully. With SO_REUSEPORT, each process has its own listening socket on the
same port, and Linux distributes new connections between them.
"""

import argparse
import multiprocessing
import os
import signal
import socket

import anyio

import anyws


async def echo(websocket: anyws.WebSocket) -> None:
    await websocket.send(f"process {os.getpid()}")
    async for message in websocket:
        await websocket.send(message)


async def serve(host: str, port: int) -> None:
    stop_signals = [signal.SIGINT, signal.SIGTERM]
    async with anyws.open_server(echo, host, port, reuse_port=True, stop_signals=stop_signals) as server:
        report("listening on", host, server.port)
        await server.wait_closed()
    report("stopped")


def report(*words: object) -> None:
    print(f"process {os.getpid()} {' '.join(map(str, words))}\n", end="", flush=True)  # one write: lines never mix


def work(host: str, port: int, backend: str) -> None:
    anyio.run(serve, host, port, backend=backend)


def main(host: str, port: int, count: int, backend: str) -> None:
    spawn = multiprocessing.get_context("spawn")  # a fork would copy the state of this process
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as reserved:  # never listens
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, True)
        reserved.bind((host, port))
        port = reserved.getsockname()[1]  # the same for all workers, even if it was 0
        workers = [spawn.Process(target=work, args=(host, port, backend)) for _ in range(count)]

        def stop(number: int, frame: object) -> None:
            for worker in workers:
                worker.terminate()

        for worker in workers:
            worker.start()
        signal.signal(signal.SIGTERM, stop)
        signal.signal(signal.SIGINT, stop)
        for worker in workers:
            worker.join()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="An echo server in several processes. Press Ctrl-C to stop.")
    parser.add_argument("host", nargs="?", default="127.0.0.1")
    parser.add_argument("port", nargs="?", type=int, default=8765)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--backend", choices=["asyncio", "trio"], default="asyncio")
    arguments = parser.parse_args()
    main(arguments.host, arguments.port, arguments.workers, arguments.backend)
