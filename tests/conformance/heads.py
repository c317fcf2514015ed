"""Helpers: request and response heads of the opening handshake."""

from __future__ import annotations

from typing import Any

from anyws.protocol import ClientHandshake, ServerHandshake, parse_uri
from tests.chunks import Chunked, whole

__all__ = ["ACCEPT", "KEY", "NONCE", "answer", "client", "opening", "read"]

KEY = "dGhlIHNhbXBsZSBub25jZQ=="  # RFC 6455, section 1.3


OPENING = {
    "Host": "server.example.com",
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Key": KEY,
    "Sec-WebSocket-Version": "13",
}


def opening(changes: dict[str, str | list[str] | None] | None = None, line: str = "GET /chat HTTP/1.1") -> bytes:
    """Return a request with changed headers: a list repeats a header, None omits it."""
    lines = [line]
    for name, values in {**OPENING, **(changes or {})}.items():
        lines += [f"{name}: {value}" for value in ([values] if isinstance(values, str) else values or [])]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def read(data: bytes, chunked: Chunked = whole, **options: Any) -> ServerHandshake:
    """Return a server handshake that has received a valid request."""
    handshake = ServerHandshake(**options)
    *before, last = chunked(data)
    assert not any(handshake.receive_data(chunk) for chunk in before)
    assert handshake.request is None
    request = handshake.receive_data(last)
    assert request is not None
    assert request is handshake.request
    return handshake


NONCE = b"the sample nonce"  # RFC 6455, section 1.3


ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


ANSWER = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Accept": ACCEPT}


def client(uri: str = "ws://a/", *, sent: bool = True, **options: Any) -> ClientHandshake:
    """Return a client handshake with the nonce of the RFC that has sent its request."""
    handshake = ClientHandshake(parse_uri(uri), **{"nonce": NONCE, **options})
    if sent:
        handshake.data_to_send()
    return handshake


def answer(changes: dict[str, str | list[str] | None], status: str = "101 Switching Protocols") -> bytes:
    """Return a response with changed headers: a list repeats a header, None omits it."""
    lines = [f"HTTP/1.1 {status}"]
    for name, values in {**ANSWER, **changes}.items():
        lines += [f"{name}: {value}" for value in ([values] if isinstance(values, str) else values or [])]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")
