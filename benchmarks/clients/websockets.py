"""websockets, with its APIs for asyncio and trio."""

from __future__ import annotations

from typing import Any

from websockets.asyncio import client as asyncio_client
from websockets.trio import client as trio_client

from .driver import Run, parse, start

if __name__ == "__main__":
    options = parse("asyncio", "uvloop", "trio")
    library: Any = trio_client if options.loop == "trio" else asyncio_client
    run = Run(
        options,
        lambda: library.connect(options.uri, compression=None, proxy=None),
        library.ClientConnection.send,
        library.ClientConnection.recv,
    )
    start(run, options)
