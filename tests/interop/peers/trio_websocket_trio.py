"""trio-websocket."""

from __future__ import annotations

import gc
from functools import partial
from urllib.parse import urlsplit

import trio
from trio_websocket import (
    ConnectionClosed,
    ConnectionRejected,
    WebSocketConnection,
    WebSocketRequest,
    open_websocket_url,
    serve_websocket,
)

from . import puppet

LACKS = ("fragments", "compression")  # it writes each message as one frame, as it is


class Link:
    def __init__(self, connection: WebSocketConnection) -> None:
        self.connection = connection

    async def receive(self) -> str | bytes | None:
        try:
            return await self.connection.get_message()
        except ConnectionClosed:
            return None

    async def send(self, message: str | bytes) -> None:
        await self.connection.send_message(message)

    async def send_fragments(self, pieces: list[str] | list[bytes]) -> None:
        raise NotImplementedError

    async def ping(self, payload: bytes) -> None:
        await self.connection.ping(payload)

    async def close(self, code: int, reason: str) -> None:
        await self.connection.aclose(code, reason)

    def closed(self) -> tuple[int, str]:
        close = self.connection.closed
        return (1006, "") if close is None else (close.code, close.reason or "")


async def handle(request: WebSocketRequest) -> None:
    if puppet.is_refused(request.path):
        status, body = puppet.REFUSAL
        await request.reject(status, body=body.encode())
        return
    agreed = puppet.choose(request.proposed_subprotocols)
    connection = await request.accept(subprotocol=agreed)
    await puppet.obey(Link(connection), request.path, agreed)


async def open_client(uri: str, subprotocols: list[str]) -> None:
    path = urlsplit(uri).path
    try:
        async with open_websocket_url(uri, puppet.client_context(uri), subprotocols=subprotocols) as connection:
            await puppet.obey(Link(connection), path, connection.subprotocol)
    except ConnectionRejected as exc:
        puppet.report(path, status=exc.status_code, body=(exc.body or b"").decode())


async def open_and_clean(uri: str, subprotocols: list[str]) -> None:
    """Leave no stream open: after a refusal, or a Close of the server, the library relies on the garbage collector."""
    await open_client(uri, subprotocols)
    gc.collect()


async def main() -> None:
    listen = partial(serve_websocket, handle, "127.0.0.1", 0)
    async with trio.open_nursery() as nursery:
        plain = await nursery.start(listen, None)
        secure = await nursery.start(listen, puppet.server_context())
        puppet.announce(plain.port, secure.port, LACKS)
        await puppet.follow(open_and_clean)
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(main)
