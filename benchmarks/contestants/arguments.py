"""The command line of the contestants, and what they have in common."""

from __future__ import annotations

import argparse
import asyncio
import gc
import signal
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import anyio

__all__ = ["Arguments", "announce", "run_on_anyio", "run_on_asyncio"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Arguments:
    """The command line of a contestant.

    Attributes:
        loop: asyncio, uvloop or trio, as far as the contestant supports it.
        compression: ``off``, or one of the contestant's settings.
        ssl_context: the TLS context, or None for plain TCP.
        max_size: the maximum message size in bytes; None for the contestant's default.
        broadcast: whether every message is sent to all connections instead of echoed.
        topics: whether that is done by a topic; only for anyws.
    """

    loop: str
    compression: str
    ssl_context: ssl.SSLContext | None
    max_size: int | None
    broadcast: bool
    topics: bool

    @classmethod
    def parse(cls, *, loops: tuple[str, ...], compressions: tuple[str, ...]) -> Arguments:
        """Parse the command line, and make SIGUSR2 collect garbage.

        Args:
            loops: the event loops that the contestant supports.
            compressions: its compression settings besides ``off``.
        """
        parser = argparse.ArgumentParser()
        parser.add_argument("--loop", choices=loops, default=loops[0])
        parser.add_argument("--compression", choices={"off", *compressions}, default="off")
        parser.add_argument("--tls", nargs=2, metavar=("CERTIFICATE", "KEY"), help="PEM files")
        parser.add_argument(
            "--max-size", type=int, metavar="BYTES", help="maximum message size (default: that of the library)"
        )
        parser.add_argument("--broadcast", action="store_true", help="send every message to all connections")
        parser.add_argument("--topics", action="store_true", help="do that by a topic (only for anyws)")
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
            topics=options.topics,
        )


def announce(port: int) -> None:
    """Print the port on which the server listens."""
    print("listening on port", port, flush=True)


def run_on_anyio(main: Callable[[Arguments], Awaitable[Any]], arguments: Arguments) -> None:
    """Run an AnyIO server on the chosen event loop."""
    if arguments.loop == "trio":
        anyio.run(main, arguments, backend="trio")
    else:
        anyio.run(main, arguments, backend_options={"use_uvloop": arguments.loop == "uvloop"})


def run_on_asyncio(main: Callable[[Arguments], Awaitable[Any]], arguments: Arguments) -> None:
    """Run an asyncio server, on asyncio's event loop or on uvloop."""

    async def run() -> None:
        await main(arguments)

    if arguments.loop == "uvloop":
        import uvloop

        uvloop.run(run())
    else:
        asyncio.run(run())
