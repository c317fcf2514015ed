"""The behaviour of both programs under test: echo every message, in order."""

from __future__ import annotations

from typing import Any, Literal, get_args

import anyws

__all__ = ["BACKENDS", "MAX_FRAGMENTS", "MAX_MESSAGE_SIZE", "Backend", "backend_options", "echo"]

Backend = Literal["asyncio", "uvloop", "trio"]
BACKENDS: tuple[Backend, ...] = get_args(Backend)

MAX_MESSAGE_SIZE = 16 * 1024 * 1024  # cases 9.1.6 and 9.2.6
MAX_FRAGMENTS = 65536 + 1  # cases 9.3.1 and 9.4.1: 4 MiB in fragments of 64 bytes, plus an empty fragment


async def echo(websocket: anyws.WebSocket) -> None:
    """Echo until the connection closes; in many cases because of a protocol violation."""
    try:
        async for message in websocket:
            await websocket.send(message)
    except anyws.ConnectionClosed:
        pass


def backend_options(backend: Backend) -> dict[str, Any]:
    """Return the keyword arguments of `anyio.run` for a backend."""
    if backend == "trio":
        return {"backend": "trio"}
    return {"backend": "asyncio", "backend_options": {"use_uvloop": backend == "uvloop"}}
