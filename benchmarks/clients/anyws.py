"""anyws, with its defaults."""

from __future__ import annotations

import anyws

from .driver import Run, parse, start

if __name__ == "__main__":
    options = parse("asyncio", "uvloop", "trio")
    run = Run(
        options,
        lambda: anyws.connect(options.uri, compression=None),
        anyws.WebSocket.send,
        anyws.WebSocket.receive,
    )
    start(run, options)
