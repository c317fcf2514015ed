"""A FastAPI application with an anyws server on a second port; nginx.conf combines both on one port.

Usage: uvicorn --app-dir examples/behind_nginx app:app --port 8000 --ws none
"""

import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request

import anyws


async def chat(websocket: anyws.WebSocket) -> None:
    async for message in websocket:
        await websocket.send(f"you said {message!s}")


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncGenerator[None, None]:
    port = int(os.environ.get("WEBSOCKET_PORT", "8765"))
    # A server on loopback accepts only pages from localhost, unless allowed_hosts lists the name that nginx forwards.
    hosts = os.environ.get("HOSTS", "localhost").split(",")
    async with anyws.open_server(chat, "127.0.0.1", port, allowed_hosts=hosts) as server:
        print("WebSocket on port", server.port, flush=True)
        app.state.websockets = server
        yield


app = FastAPI(lifespan=lifespan)


@app.post("/announcements/{text}")
async def announce(text: str, request: Request) -> dict[str, int]:
    """Send a text to all connected clients."""
    connections = request.app.state.websockets.connections
    left_out = await anyws.broadcast(connections, text, slow="drop")
    return {"told": len(connections) - len(left_out)}
