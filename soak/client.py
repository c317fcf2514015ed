"""Clients that need almost no resources: plain sockets that share one selector."""

from __future__ import annotations

import errno
import selectors
import socket
import struct
import time
from collections.abc import Callable, Iterable

from anyws.protocol import Opcode, serialize_frame

from .resources import Failed

__all__ = ["REQUEST", "Client", "ClientPool"]

REQUEST = (
    b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)  # the key of RFC 6455, section 1.3
_ACCEPT = b"\r\nsec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo=\r\n"
_SOURCES = 200  # addresses, so that there are enough ports
_MASKING_KEY = b"\x37\xfa\x21\x3d"
_FIN = 0x80
_RESET = struct.pack("ii", 1, 0)  # linger for 0 seconds: close() resets the connection


class Client:
    """A connection from one of 200 addresses.

    Args:
        number: a unique number.
        port: the port of the server on 127.0.0.1.
        first_data: the first bytes to send.

    Attributes:
        status: the status of the response; 0 before it has arrived.
        is_closed: whether either side has closed the connection.
        echoes: the number of messages that were echoed.
    """

    def __init__(self, number: int, port: int, first_data: bytes = REQUEST) -> None:
        self.number = number
        self.first_data = first_data
        self.status = 0
        self.is_closed = False
        self.echoes = 0
        self._expected: bytes | None = None
        self._received = bytearray()
        self.socket = socket.socket()
        self.socket.setblocking(False)
        self.socket.bind((f"127.0.0.{2 + number % _SOURCES}", 0))
        if (error := self.socket.connect_ex(("127.0.0.1", port))) not in (0, errno.EINPROGRESS):
            raise OSError(error, "cannot connect")

    @property
    def expects_echo(self) -> bool:
        """Whether an echo is still outstanding."""
        return self._expected is not None

    def on_first_data_sent(self) -> None:
        """Called after the first data was sent. Does nothing by default."""

    def send(self, message: bytes) -> None:
        """Send a message and expect its echo."""
        self._expected = message
        self._send_frame(Opcode.BINARY, message)

    def send_close(self) -> None:
        """Start the closing handshake."""
        self._send_frame(Opcode.CLOSE, b"\x03\xe8")

    def reset(self) -> None:
        """Reset the connection."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self.close()

    def close(self) -> None:
        """Close TCP without a Close frame."""
        self.is_closed = True
        self.socket.close()

    def receive(self) -> None:
        """Process received data.

        Raises:
            Failed: the data is not what the server must send.
        """
        try:
            data = self.socket.recv(65536)
        except ConnectionError:
            data = b""
        if not data:
            self.close()
            return
        self._received += data
        if not self.status:
            self._receive_head()
        if self.status == 101:
            self._receive_frames()

    def _send_frame(self, opcode: Opcode, payload: bytes) -> None:
        data = serialize_frame(opcode, payload, masking_key=_MASKING_KEY)
        try:
            count = self.socket.send(data)
        except ConnectionError:
            self.close()
            return
        if count < len(data):
            raise Failed(f"client {self.number}: the server accepts no more data")

    def _receive_head(self) -> None:
        head, end, rest = self._received.partition(b"\r\n\r\n")
        if end:
            self.status = int(head.split(b" ")[1])
            if self.status == 101 and _ACCEPT not in (head + end).lower():
                raise Failed(f"client {self.number}: {bytes(head)!r}")
            self._received = rest

    def _receive_frames(self) -> None:
        while len(self._received) >= 2:
            length, start = self._received[1], 2
            if length == 126:
                length, start = int.from_bytes(self._received[2:4], "big"), 4
            if len(self._received) < start + length:
                return
            first, payload = self._received[0], bytes(self._received[start : start + length])
            del self._received[: start + length]
            self._receive_frame(first, payload)

    def _receive_frame(self, first: int, payload: bytes) -> None:
        if first == _FIN | Opcode.PING:
            self._send_frame(Opcode.PONG, payload)
        elif first == _FIN | Opcode.BINARY and payload == self._expected:
            self._expected = None
            self.echoes += 1
        elif first != _FIN | Opcode.CLOSE or payload != b"\x03\xe8":
            raise Failed(f"client {self.number}: unexpected frame {first:#x}, {payload[:100]!r}")


class ClientPool:
    """Clients that share one selector."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()

    def close(self) -> None:
        """Close the selector. All clients must be gone."""
        self._selector.close()

    def add(self, client: Client) -> None:
        """Add a client, which sends its first data as soon as it is connected."""
        self._selector.register(client.socket, selectors.EVENT_WRITE, client)

    def poll(self, timeout: float) -> None:
        """Serve the clients whose sockets are ready.

        Args:
            timeout: how long to wait for a client, in seconds.
        """
        for key, events in self._selector.select(timeout):
            client: Client = key.data
            if events & selectors.EVENT_WRITE:
                self._send_first_data(client)
            elif not client.is_closed:
                client.receive()
            if client.is_closed:
                self._selector.unregister(key.fileobj)

    def wait(self, clients: Iterable[Client], is_done: Callable[[Client], bool], *, limit: float) -> None:
        """Wait until a condition holds for all clients.

        Args:
            clients: the clients to check.
            is_done: the condition.
            limit: how long to wait, in seconds.

        Raises:
            Failed: the limit has expired.
        """
        end = time.monotonic() + limit
        while late := [client for client in clients if not is_done(client)]:
            if time.monotonic() > end:
                raise Failed(
                    f"{len(late)} clients still wait after {limit:g} s, the first with status {late[0].status}"
                )
            clients = late
            self.poll(0.05)

    def _send_first_data(self, client: Client) -> None:
        try:
            client.socket.send(client.first_data)
        except ConnectionError:
            client.close()
            return
        self._selector.modify(client.socket, selectors.EVENT_READ, client)
        client.on_first_data_sent()
