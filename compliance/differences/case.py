"""A case: what is sent, and what is right."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from .frames import Frame

__all__ = ["OFFER", "REQUEST", "RESPONSE", "ROLES", "Case", "Outcomes", "Role"]

Role = Literal["server", "client"]
"""What the library under test is."""
ROLES: tuple[Role, ...] = ("server", "client")
Outcomes = dict[tuple[Role, str], str]
"""What came out for one library, by role and name of the case."""

REQUEST = (
    b"GET /chat HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)  # the key of RFC 6455, 1.3
# What we answer to a client; (accept) stands for what its key asks for.
RESPONSE = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: (accept)\r\n\r\n"
)
OFFER = "permessage-deflate; client_max_window_bits"


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What is sent to a library, in both roles or in one, and what is right.

    Attributes:
        name: the case in a few words.
        section: of the RFC.
        rule: what the section says.
        right: the outcome that follows from it, as `Transcript.outcome` words it; that of anyws.
        allowed: other outcomes that it leaves room for.
        roles: what the library is.
        head: the request, or the response with ``(accept)``; None for a correct one.
        offer: what the client offers as ``Sec-WebSocket-Extensions``, when ``head`` is None; empty for nothing.
        answer: what the server agrees to, likewise; None for the same as ``offer``, without what only an offer has.
        shows_agreement: whether the outcome is the server's answer to the offer.
        header: the name of a header that a refusal must have.
        frames: what follows the opening handshake, in one write.
        messages: what the library must echo of them.
        is_unfinished: whether the last frame lacks bytes, so that only what is said at once counts.
        close: the code that we close with, if we do.
    """

    name: str
    section: str
    rule: str
    right: str
    allowed: tuple[str, ...] = ()
    roles: tuple[Role, ...] = ROLES
    head: bytes | None = None
    offer: str = ""
    answer: str | None = None
    shows_agreement: bool = False
    header: str = ""
    frames: tuple[Frame, ...] = ()
    messages: tuple[bytes, ...] = ()
    is_unfinished: bool = False
    close: int | None = None

    def request(self) -> bytes:
        """Return the request that a server gets."""
        return _with_extensions(REQUEST, self.offer) if self.head is None else self.head

    def response(self, accept: bytes) -> bytes:
        """Return the response that a client gets."""
        if self.head is not None:
            return self.head.replace(b"(accept)", accept)
        answer = self.offer.partition(";")[0] if self.answer is None else self.answer
        return _with_extensions(RESPONSE, answer).replace(b"(accept)", accept)


def _with_extensions(head: bytes, value: str) -> bytes:
    if not value:
        return head
    return head.removesuffix(b"\r\n") + f"Sec-WebSocket-Extensions: {value}\r\n\r\n".encode()
