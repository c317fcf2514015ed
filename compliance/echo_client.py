"""The client under test: ``python -m compliance.echo_client --backend trio URI AGENT`` runs all cases of a server."""

from __future__ import annotations

import argparse

import anyio

import anyws

from .echo import BACKENDS, MAX_FRAGMENTS, MAX_MESSAGE_SIZE, backend_options, echo


async def main(uri: str, agent: str) -> None:
    """Ask for the number of cases, run each on its own connection, and request the report."""
    async with anyws.connect(f"{uri}/getCaseCount") as websocket:
        count = int(await websocket.receive())
    for case in range(1, count + 1):
        async with anyws.connect(
            f"{uri}/runCase?case={case}&agent={agent}",
            max_message_size=MAX_MESSAGE_SIZE,
            max_fragments=MAX_FRAGMENTS,
            compression=True,
        ) as websocket:
            await echo(websocket)
    # The fuzzing server writes its reports before it responds.
    async with anyws.connect(f"{uri}/updateReports?agent={agent}", open_timeout=None) as websocket:
        await echo(websocket)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="The client under test by the Autobahn testsuite.")
    parser.add_argument("uri", help="URI of the fuzzing server, without a path")
    parser.add_argument("agent", help="name in the report")
    parser.add_argument("--backend", choices=BACKENDS, default="asyncio")
    arguments = parser.parse_args()
    anyio.run(main, arguments.uri, arguments.agent, **backend_options(arguments.backend))
