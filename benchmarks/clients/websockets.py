"""websockets, its asyncio API."""

from __future__ import annotations

from websockets.asyncio.client import ClientConnection, connect

from .driver import Run, gather, parse, run_on_asyncio

if __name__ == "__main__":
    options = parse("asyncio", "uvloop")
    run = Run(
        options,
        lambda: connect(options.uri, compression=None, proxy=None),
        ClientConnection.send,
        ClientConnection.recv,
        gather,
    )
    run_on_asyncio(run, options)
