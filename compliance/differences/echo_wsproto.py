"""wsproto, with asyncio's streams: ``python -m compliance.differences.echo_wsproto server``, or ``client URI COUNT``.

wsproto does no I/O: this program sends its output, and closes TCP where its documentation says so. See peers.py.
"""

from __future__ import annotations

import asyncio
import sys
from urllib.parse import urlsplit

from wsproto import ConnectionType, WSConnection
from wsproto.connection import ConnectionState
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Event,
    Message,
    Ping,
    RejectConnection,
    Request,
    TextMessage,
)
from wsproto.extensions import PerMessageDeflate
from wsproto.utilities import RemoteProtocolError


class Link:
    """A connection that responds to events, and echoes messages."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, role: ConnectionType) -> None:
        self.reader = reader
        self.writer = writer
        self.core = WSConnection(role)
        self.pieces: list[str | bytes] = []

    async def run(self) -> None:
        try:
            while self.core.state is not ConnectionState.CLOSED and (data := await self.reader.read(65536)):
                self.receive(data)
                await self.writer.drain()
        except Exception:  # not only ProtocolError: a parameter that is not a number raises ValueError
            pass
        finally:
            self.writer.close()

    def receive(self, data: bytes) -> None:
        try:
            self.core.receive_data(data)
            for event in self.core.events():
                self.answer(event)
        except RemoteProtocolError as exc:
            if isinstance(exc.event_hint, RejectConnection):
                self.write(exc.event_hint)
            raise

    def answer(self, event: Event) -> None:
        if isinstance(event, Request):
            self.write(AcceptConnection(extensions=[PerMessageDeflate()]))
        elif isinstance(event, Message):
            self.pieces.append(event.data if isinstance(event, TextMessage) else bytes(event.data))
            if event.message_finished:
                self.echo()
        elif isinstance(event, Ping | CloseConnection) and self.core.state is not ConnectionState.CLOSED:
            self.write(event.response())

    def echo(self) -> None:
        pieces, self.pieces = self.pieces, []
        if isinstance(pieces[0], str):
            self.write(TextMessage("".join(map(str, pieces))))
        else:
            self.write(BytesMessage(b"".join(piece for piece in pieces if isinstance(piece, bytes))))

    def write(self, event: Event) -> None:
        self.writer.write(self.core.send(event))


async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await Link(reader, writer, ConnectionType.SERVER).run()


async def connect(uri: str) -> None:
    target = urlsplit(uri)
    reader, writer = await asyncio.open_connection(target.hostname, target.port)
    link = Link(reader, writer, ConnectionType.CLIENT)
    link.write(Request(target.netloc, target.path, [PerMessageDeflate()]))
    await link.run()


async def main(*arguments: str) -> None:
    role, uri, count = [*arguments, "", "0"][:3]
    if role == "server":
        server = await asyncio.start_server(handle, "127.0.0.1", 0)
        print("listening on port", server.sockets[0].getsockname()[1], flush=True)
        await server.serve_forever()
    for _ in range(int(count)):
        await connect(uri)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
