"""The server under test: ``python -m compliance.echo_server --backend trio`` prints its port, and runs until killed."""

from __future__ import annotations

import argparse

import anyio

import anyws

from .echo import BACKENDS, MAX_FRAGMENTS, MAX_MESSAGE_SIZE, backend_options, echo


async def main() -> None:
    """Serve on a free port of 127.0.0.1."""
    async with anyws.open_server(
        echo,
        "127.0.0.1",
        max_message_size=MAX_MESSAGE_SIZE,
        max_fragments=MAX_FRAGMENTS,
        compression=True,
    ) as server:
        print("listening on port", server.addresses[0][1], flush=True)
        await anyio.sleep_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="The server under test by the Autobahn testsuite.")
    parser.add_argument("--backend", choices=BACKENDS, default="asyncio")
    anyio.run(main, **backend_options(parser.parse_args().backend))
