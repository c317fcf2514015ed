"""aiohttp, on asyncio."""

from __future__ import annotations

import ssl
from urllib.parse import urlsplit

import aiohttp
import anyio
from aiohttp import WSMsgType, web

from . import puppet

# It writes each message as one frame, answers each Close with 1000, and drops the body of a refusal.
LACKS = ("fragments", "echo of the code", "body of a refusal")


class Link:
    def __init__(self, socket: web.WebSocketResponse | aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket
        self.close_received = (1006, "")

    async def receive(self) -> str | bytes | None:
        message = await self.socket.receive()
        if message.type is WSMsgType.TEXT or message.type is WSMsgType.BINARY:
            data: str | bytes = message.data
            return data
        if message.type is WSMsgType.CLOSE:
            self.close_received = message.data or 1005, message.extra or ""
        elif message.type in (WSMsgType.CLOSED, WSMsgType.CLOSING):
            self.close_received = self.socket.close_code or 1005, ""
        return None

    async def send(self, message: str | bytes) -> None:
        await (self.socket.send_str(message) if isinstance(message, str) else self.socket.send_bytes(message))

    async def send_fragments(self, pieces: list[str] | list[bytes]) -> None:
        raise NotImplementedError

    async def ping(self, payload: bytes) -> None:
        await self.socket.ping(payload)
        pong = await self.socket.receive()
        assert pong.type is WSMsgType.PONG
        assert pong.data == payload

    async def close(self, code: int, reason: str) -> None:
        await self.socket.close(code=code, message=reason.encode())

    def closed(self) -> tuple[int, str]:
        return self.close_received


def answers_pings(path: str) -> bool:
    """Say whether aiohttp deals with Pings and Pongs; a Pong that it has dealt with cannot be waited for."""
    return not path.startswith("/their-ping/")


async def handle(request: web.Request) -> web.StreamResponse:
    if puppet.is_refused(request.path):
        status, body = puppet.REFUSAL
        return web.Response(status=status, text=body)
    socket = web.WebSocketResponse(protocols=puppet.SUBPROTOCOLS, autoping=answers_pings(request.path))
    await socket.prepare(request)
    await puppet.obey(Link(socket), request.path, socket.ws_protocol)
    return socket


async def open_client(uri: str, subprotocols: list[str]) -> None:
    path = urlsplit(uri).path
    context = puppet.client_context(uri) or True
    try:
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(
                uri, protocols=subprotocols, autoping=answers_pings(path), ssl=context, compress=15
            ) as socket,
        ):
            await puppet.obey(Link(socket), path, socket.protocol)
    except aiohttp.WSServerHandshakeError as exc:
        puppet.report(path, status=exc.status)


async def listen(runner: web.AppRunner, context: ssl.SSLContext | None) -> None:
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()


async def main() -> None:
    application = web.Application()
    application.router.add_get("/{path:.*}", handle)
    runner = web.AppRunner(application, shutdown_timeout=1)
    await runner.setup()
    try:
        await listen(runner, None)
        await listen(runner, puppet.server_context())
        plain, secure = runner.addresses
        puppet.announce(plain[1], secure[1], LACKS)
        await puppet.follow(open_client)
    finally:
        await runner.cleanup()


if __name__ == "__main__":
    anyio.run(main, backend="asyncio")
