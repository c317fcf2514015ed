"""The command line shared by these examples."""

import argparse
import signal
from contextlib import AbstractAsyncContextManager

import anyio

import anyws

__all__ = ["parser", "serve_until_stopped"]


def parser(description: str) -> argparse.ArgumentParser:
    """Return a parser for host, port and backend."""
    made = argparse.ArgumentParser(description=f"{description} Press Ctrl-C or send SIGTERM to stop.")
    made.add_argument("host", nargs="?", default="127.0.0.1")
    made.add_argument("port", nargs="?", type=int, default=8765)
    made.add_argument("--backend", choices=["asyncio", "trio"], default="asyncio")
    return made


async def serve_until_stopped(opened: AbstractAsyncContextManager[anyws.Server]) -> None:
    """Serve until a signal arrives, then shut down gracefully."""
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with opened as server:
            print("open", server.uri.replace("ws", "http", 1), flush=True)
            async for _ in signals:
                break
