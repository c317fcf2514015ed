"""anyws: ``python -m compliance.differences.echo_anyws server``, or ``client URI COUNT``; see peers.py."""

from __future__ import annotations

import sys

import anyio

import anyws
from compliance.echo import echo

# The other libraries use a window of 32 KiB by default.
COMPRESSION = anyws.PerMessageDeflate()


async def serve() -> None:
    async with anyws.open_server(echo, "127.0.0.1", compression=COMPRESSION) as server:
        print("listening on port", server.addresses[0][1], flush=True)
        await anyio.sleep_forever()


async def connect(uri: str) -> None:
    try:
        async with anyws.connect(uri, compression=COMPRESSION) as websocket:
            await echo(websocket)
    except (OSError, anyws.HandshakeError):
        pass


async def main(*arguments: str) -> None:
    role, uri, count = [*arguments, "", "0"][:3]
    if role == "server":
        await serve()
    for _ in range(int(count)):
        await connect(uri)


if __name__ == "__main__":
    anyio.run(main, *sys.argv[1:])
