"""A handler for ``anyws serve`` that does what the path of the URI says, to test the other commands."""

from __future__ import annotations

import anyio

import anyws

__all__ = ["NAME", "handler"]

NAME = f"{__name__}:handler"


async def handler(websocket: anyws.WebSocket) -> None:
    """Serve one connection."""
    path = websocket.request.path
    if path == "/greet":
        await websocket.send("grüße")
        await websocket.send(b"\x00\xff\x10")
        await websocket.send("two\nlines \x1b[31mred")
        await websocket.wait_closed()
    elif path.startswith("/close/"):
        code = int(path.removeprefix("/close/"))
        await websocket.aclose(code or None, "the reason" if code else "")
    elif path == "/headers":
        await websocket.send("\n".join(f"{name}: {value}" for name, value in websocket.request.headers.multi_items()))
        await websocket.wait_closed()
    elif path == "/crash":
        raise RuntimeError("the handler crashed")
    elif path == "/late":
        async for message in websocket:
            await anyio.sleep(0.2)
            await websocket.send(message)
    elif path == "/flood":
        while True:
            await websocket.send("x" * 10000)
    elif path == "/slow-end":
        await anyio.sleep(30)
    else:
        async for message in websocket:
            await websocket.send(message)
