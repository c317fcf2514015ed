"""What every contestant is told, and what it does besides echoing."""

from __future__ import annotations

import argparse
import asyncio
import gc
import signal
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

__all__ = ["Arguments", "announce", "run_on_asyncio"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Arguments:
    """The command line of a contestant.

    Attributes:
        loop: asyncio, uvloop or trio; a contestant takes those that it supports.
        compression: ``off``, or one of the settings that the contestant names.
        ssl_context: the TLS context, or None for plain TCP.
        max_size: the largest message that must be taken, in bytes; None for the contestant's own limit.
        broadcast: whether every message goes to all connections instead of back.
    """

    loop: str
    compression: str
    ssl_context: ssl.SSLContext | None
    max_size: int | None
    broadcast: bool

    @classmethod
    def parse(cls, *, loops: tuple[str, ...], compressions: tuple[str, ...]) -> Arguments:
        """Read the command line, and let SIGUSR2 collect garbage.

        Args:
            loops: what the contestant runs on.
            compressions: its settings besides ``off``.
        """
        parser = argparse.ArgumentParser()
        parser.add_argument("--loop", choices=loops, default=loops[0])
        parser.add_argument("--compression", choices=("off", *compressions), default="off")
        parser.add_argument("--tls", nargs=2, metavar=("CERTIFICATE", "KEY"), help="files in PEM")
        parser.add_argument("--max-size", type=int, metavar="BYTES", help="of a message; default: its own limit")
        parser.add_argument("--broadcast", action="store_true", help="send every message to all connections")
        options = parser.parse_args()
        context = None
        if options.tls:
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            context.load_cert_chain(*options.tls)
        signal.signal(signal.SIGUSR2, lambda *_: gc.collect())
        return cls(
            loop=options.loop,
            compression=options.compression,
            ssl_context=context,
            max_size=options.max_size,
            broadcast=options.broadcast,
        )


def announce(port: int) -> None:
    """Say where the server listens."""
    print("listening on port", port, flush=True)


def run_on_asyncio(main: Callable[[Arguments], Awaitable[Any]], arguments: Arguments) -> None:
    """Run a server of asyncio's, on its own loop or on uvloop."""

    async def run() -> None:
        await main(arguments)

    if arguments.loop == "uvloop":
        import uvloop

        uvloop.run(run())
    else:
        asyncio.run(run())
