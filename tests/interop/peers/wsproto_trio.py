"""wsproto, with trio's streams."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Sequence
from typing import Any
from urllib.parse import urlsplit

import trio
from wsproto import ConnectionType, WSConnection
from wsproto.connection import ConnectionState
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Event,
    Message,
    Ping,
    Pong,
    RejectConnection,
    RejectData,
    Request,
    TextMessage,
)
from wsproto.extensions import PerMessageDeflate

from . import puppet


class Link:
    def __init__(self, stream: trio.abc.Stream, role: ConnectionType) -> None:
        self.stream = stream
        self.core = WSConnection(role)
        self.events = self.read_events()
        self.pieces: list[Any] = []  # of one type
        self.close_received = (1006, "")

    async def write(self, event: Event) -> None:
        await self.stream.send_all(self.core.send(event))

    async def read_events(self) -> AsyncIterator[Event]:
        while data := await self.stream.receive_some(65536):
            self.core.receive_data(bytes(data))
            for event in self.core.events():
                yield event

    async def receive(self) -> str | bytes | None:
        async for event in self.events:
            if isinstance(event, Message):
                self.pieces.append(bytes(event.data) if isinstance(event, BytesMessage) else event.data)
                if event.message_finished:
                    pieces, self.pieces = self.pieces, []
                    message: str | bytes = type(pieces[0])().join(pieces)
                    return message
            elif isinstance(event, Ping):
                await self.write(event.response())
            elif isinstance(event, CloseConnection):
                self.close_received = event.code, event.reason or ""
                if self.core.state is ConnectionState.REMOTE_CLOSING:
                    await self.write(event.response())
                return None
        return None

    async def send(self, message: str | bytes) -> None:
        await self.send_frame(message, fin=True)

    async def send_fragments(self, pieces: Sequence[str | bytes]) -> None:
        *rest, last = pieces
        for piece in rest:
            await self.send_frame(piece, fin=False)
        await self.send_frame(last, fin=True)

    async def send_frame(self, data: str | bytes, *, fin: bool) -> None:
        if isinstance(data, str):
            await self.write(TextMessage(data, message_finished=fin))
        else:
            await self.write(BytesMessage(data, message_finished=fin))

    async def ping(self, payload: bytes) -> None:
        await self.write(Ping(payload))
        pong = await anext(self.events)
        assert isinstance(pong, Pong)
        assert pong.payload == payload

    async def close(self, code: int, reason: str) -> None:
        await self.write(CloseConnection(code, reason))

    def closed(self) -> tuple[int, str]:
        return self.close_received


async def handle(stream: trio.abc.Stream) -> None:
    async with stream:
        link = Link(stream, ConnectionType.SERVER)
        request = await anext(link.events)
        assert isinstance(request, Request)
        if puppet.is_refused(request.target):
            status, body = puppet.REFUSAL
            headers = [(b"Content-Length", str(len(body)).encode())]
            await link.write(RejectConnection(status, headers, has_body=True))
            await link.write(RejectData(body.encode()))
            return
        agreed = puppet.choose(request.subprotocols)
        await link.write(AcceptConnection(agreed, extensions=[PerMessageDeflate()]))
        await puppet.obey(link, request.target, agreed)


async def open_client(uri: str, subprotocols: list[str]) -> None:
    target = urlsplit(uri)
    assert target.hostname is not None
    assert target.port is not None
    context = puppet.client_context(uri)
    async with await open_stream(target.hostname, target.port, context) as stream:
        link = Link(stream, ConnectionType.CLIENT)
        await link.write(Request(target.netloc, target.path, [PerMessageDeflate()], subprotocols=subprotocols))
        answer = await anext(link.events)
        if isinstance(answer, RejectConnection):
            body = await anext(link.events)
            assert isinstance(body, RejectData)
            puppet.report(target.path, status=answer.status_code, body=bytes(body.data).decode())
        else:
            assert isinstance(answer, AcceptConnection)
            await puppet.obey(link, target.path, answer.subprotocol)


async def open_stream(host: str, port: int, context: ssl.SSLContext | None) -> trio.abc.Stream:
    if context is None:
        return await trio.open_tcp_stream(host, port)
    return await trio.open_ssl_over_tcp_stream(host, port, ssl_context=context)


async def main() -> None:
    plain = await trio.open_tcp_listeners(0, host="127.0.0.1")
    tcp = await trio.open_tcp_listeners(0, host="127.0.0.1")
    secure = [trio.SSLListener(listener, puppet.server_context()) for listener in tcp]
    async with trio.open_nursery() as nursery:
        await nursery.start(trio.serve_listeners, handle, [*plain, *secure])
        puppet.announce(*(listener.socket.getsockname()[1] for listener in (plain[0], tcp[0])))
        await puppet.follow(open_client)
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(main)
