"""aiohttp: ``ClientSession.ws_connect``."""

from __future__ import annotations

import aiohttp

from .driver import Run, parse, start


async def main() -> None:
    """Run all connections in one session."""
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as session:
        await Run(
            options,
            lambda: session.ws_connect(options.uri),
            aiohttp.ClientWebSocketResponse.send_str if options.text else aiohttp.ClientWebSocketResponse.send_bytes,
            aiohttp.ClientWebSocketResponse.receive,
        )()


if __name__ == "__main__":
    options = parse("asyncio", "uvloop")
    start(main, options)
