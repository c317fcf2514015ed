"""A case: the bytes to send, and the correct outcome."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from .frames import Frame

__all__ = ["OFFER", "REQUEST", "RESPONSE", "ROLES", "Case", "Outcomes", "Role"]

Role = Literal["server", "client"]
"""The role of the library under test."""
ROLES: tuple[Role, ...] = ("server", "client")
Outcomes = dict[tuple[Role, str], str]
"""The outcomes of one library, by role and name of the case."""

REQUEST = (
    b"GET /chat HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)  # the key of RFC 6455, section 1.3
# The response to a client; (accept) is replaced by the accept value for its key.
RESPONSE = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: (accept)\r\n\r\n"
)
OFFER = "permessage-deflate; client_max_window_bits"


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """The bytes sent to a library in one or both roles, and the correct outcome.

    Attributes:
        name: a short description.
        section: the section of the RFC.
        rule: the rule in that section.
        right: the outcome that the rule requires, and that anyws must have; a value of `Transcript.outcome`.
        allowed: other outcomes that the rule permits.
        roles: the roles of the library.
        head: the request, or the response with ``(accept)``; None for a valid one.
        offer: the client's ``Sec-WebSocket-Extensions`` if ``head`` is None; empty for none.
        answer: the server's ``Sec-WebSocket-Extensions``, likewise; None for ``offer`` without its parameters.
        shows_agreement: whether the outcome is the server's response to the offer.
        header: the name of a header that a rejection must have.
        frames: the frames sent after the opening handshake, in one write.
        messages: the messages that the library must echo.
        is_unfinished: whether the last frame is incomplete, so that only an immediate response counts.
        close: the close code that the script sends, if any.
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
        """Return the request to send to a server."""
        return _with_extensions(REQUEST, self.offer) if self.head is None else self.head

    def response(self, accept: bytes) -> bytes:
        """Return the response to send to a client."""
        if self.head is not None:
            return self.head.replace(b"(accept)", accept)
        answer = self.offer.partition(";")[0] if self.answer is None else self.answer
        return _with_extensions(RESPONSE, answer).replace(b"(accept)", accept)


def _with_extensions(head: bytes, value: str) -> bytes:
    if not value:
        return head
    return head.removesuffix(b"\r\n") + f"Sec-WebSocket-Extensions: {value}\r\n\r\n".encode()
