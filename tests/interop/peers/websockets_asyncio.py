"""websockets, on asyncio."""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus
from urllib.parse import urlsplit

import anyio
from websockets.asyncio.client import connect
from websockets.asyncio.connection import Connection
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

from . import puppet


class Link:
    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.close_received = (1006, "")

    async def receive(self) -> str | bytes | None:
        try:
            return await self.connection.recv()
        except ConnectionClosed as exc:
            if exc.rcvd is not None:
                self.close_received = exc.rcvd.code, exc.rcvd.reason
            return None

    async def send(self, message: str | bytes) -> None:
        await self.connection.send(message)

    async def send_fragments(self, pieces: list[str] | list[bytes]) -> None:
        await self.connection.send(pieces)

    async def ping(self, payload: bytes) -> None:
        await (await self.connection.ping(payload))

    async def close(self, code: int, reason: str) -> None:
        await self.connection.close(code, reason)

    def closed(self) -> tuple[int, str]:
        return self.close_received


async def handle(connection: ServerConnection) -> None:
    assert connection.request is not None
    await puppet.obey(Link(connection), connection.request.path, connection.subprotocol)


def choose(connection: ServerConnection, offered: Sequence[Subprotocol]) -> Subprotocol | None:
    agreed = puppet.choose(offered)
    return None if agreed is None else Subprotocol(agreed)


def refuse(connection: ServerConnection, request: Request) -> Response | None:
    status, body = puppet.REFUSAL
    return connection.respond(HTTPStatus(status), body) if puppet.is_refused(request.path) else None


async def open_client(uri: str, subprotocols: list[str]) -> None:
    path = urlsplit(uri).path
    offered = [Subprotocol(name) for name in subprotocols] or None
    try:
        async with connect(uri, ssl=puppet.client_context(uri), subprotocols=offered, proxy=None) as connection:
            await puppet.obey(Link(connection), path, connection.subprotocol)
    except InvalidStatus as exc:
        puppet.report(path, status=exc.response.status_code, body=exc.response.body.decode())


async def main() -> None:
    async with (
        serve(handle, "127.0.0.1", 0, select_subprotocol=choose, process_request=refuse) as plain,
        serve(handle, "127.0.0.1", 0, select_subprotocol=choose, ssl=puppet.server_context()) as secure,
    ):
        puppet.announce(*(server.sockets[0].getsockname()[1] for server in (plain, secure)))
        await puppet.follow(open_client)


if __name__ == "__main__":
    anyio.run(main, backend="asyncio")
