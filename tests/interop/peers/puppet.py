"""What every Python peer does, whichever library it uses: echo, obey, and report.

A peer is a process that listens on two ports of 127.0.0.1, one of them with TLS, and connects where it is told to.
Whether it is the server or the client of a connection, it then does the same: it echoes each message, except that a
text that begins with ``!`` is an order (JSON) to do something else.

* Argument: a directory with ``server.pem`` (key and certificates) and ``ca.pem``.
* Standard output, a JSON object on each line: first the ports and what the library lacks, then for each connection that
  has ended a report of what the peer has seen.
* Standard input, the same: where to connect to. The peer ends when its standard input ends.
"""

from __future__ import annotations

import json
import ssl
import sys
from collections.abc import Callable, Coroutine, Iterable
from pathlib import Path
from typing import Any, Protocol

import anyio
import anyio.to_thread

__all__ = [
    "REFUSAL",
    "SUBPROTOCOLS",
    "Link",
    "announce",
    "choose",
    "client_context",
    "follow",
    "is_refused",
    "obey",
    "report",
    "server_context",
]

SUBPROTOCOLS = ["chat.v2", "chat.v1"]
REFUSAL = 403, "not today\n"


class Link(Protocol):
    """A connection of a library, in the words of these tests."""

    async def receive(self) -> str | bytes | None:
        """Return the next message, or None once the connection is closed."""

    async def send(self, message: str | bytes) -> None:
        """Send a message."""

    async def send_fragments(self, pieces: list[str] | list[bytes]) -> None:
        """Send one message, each piece as a frame."""

    async def ping(self, payload: bytes) -> None:
        """Send a Ping, and wait for its Pong."""

    async def close(self, code: int, reason: str) -> None:
        """Close the connection."""

    def closed(self) -> tuple[int, str]:
        """Return the code and the reason that were received."""


async def obey(link: Link, path: str, subprotocol: str | None) -> None:
    """Echo and obey until the connection is closed, and report."""
    while (message := await link.receive()) is not None:
        if isinstance(message, str) and message.startswith("!"):
            await _execute(link, json.loads(message[1:]))
        else:
            await link.send(message)
    code, reason = link.closed()
    report(path, subprotocol=subprotocol, code=int(code), reason=reason)


async def _execute(link: Link, order: dict[str, object]) -> None:
    match order:
        case {"do": "close", "code": int(code), "reason": str(reason)}:
            await link.close(code, reason)
        case {"do": "ping", "payload": str(payload)}:
            await link.ping(payload.encode())
            await link.send("pong")
        case {"do": "fragments", "text": list(pieces)}:
            await link.send_fragments(pieces)
        case {"do": "fragments", "binary": list(pieces)}:
            await link.send_fragments([piece.encode() for piece in pieces])
        case _:
            raise ValueError(f"unknown order {order}")


def announce(port: int, tls_port: int, lacks: tuple[str, ...] = ()) -> None:
    """Say where the peer listens, and which of the tests cannot be done with its library."""
    print(json.dumps({"port": port, "tls_port": tls_port, "lacks": lacks}), flush=True)


def report(path: str, **seen: object) -> None:
    """Say what was seen of one connection: subprotocol, code and reason, or the status and body of a refusal."""
    print(json.dumps({"path": path, **seen}), flush=True)


def choose(offered: Iterable[str]) -> str | None:
    """Return the subprotocol that a peer's server agrees to."""
    return next((name for name in SUBPROTOCOLS if name in offered), None)


def is_refused(path: str) -> bool:
    """Say whether a peer's server refuses this path."""
    return path.startswith("/refuse/")


async def follow(connect: Callable[[str, list[str]], Coroutine[Any, Any, None]]) -> None:
    """Connect where we are told to, until there is no one to tell us."""
    async with anyio.create_task_group() as tasks:
        while line := await anyio.to_thread.run_sync(sys.stdin.readline, abandon_on_cancel=True):
            command = json.loads(line)
            tasks.start_soon(connect, command["uri"], command["subprotocols"])
        tasks.cancel_scope.cancel()


def server_context() -> ssl.SSLContext:
    """Return the TLS context of a server."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(Path(sys.argv[1], "server.pem"))
    return context


def client_context(uri: str) -> ssl.SSLContext | None:
    """Return the TLS context of a client that connects to the URI; None if that is without TLS."""
    return ssl.create_default_context(cafile=Path(sys.argv[1], "ca.pem")) if uri.startswith("wss:") else None
