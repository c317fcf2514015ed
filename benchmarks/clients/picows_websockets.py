"""picows.websockets: the API of picows that follows websockets, with ``await``."""

from __future__ import annotations

import importlib
from typing import Any

from .driver import Run, parse, start

library: Any = importlib.import_module("picows.websockets.asyncio.client")  # not installed for type checkers

if __name__ == "__main__":
    options = parse("asyncio", "uvloop")
    run = Run(
        options,
        lambda: library.connect(options.uri, compression=None, proxy=None),
        library.ClientConnection.send,
        library.ClientConnection.recv,
    )
    start(run, options)
