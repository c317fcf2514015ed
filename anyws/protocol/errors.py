"""What can be wrong, with the close code or HTTP status that it means.

Three questions decide the class: was it *our* caller (`LocalProtocolError`), the *peer* once the connection was open
(`RemoteProtocolError`, with a close code), or the peer during the opening handshake (`HandshakeError`)?
"""

from __future__ import annotations

import copyreg
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .http11 import Request, Response

__all__ = [
    "HandshakeError",
    "HandshakeRefused",
    "InvalidText",
    "InvalidURI",
    "LimitExceeded",
    "LocalProtocolError",
    "ProtocolError",
    "ProxyError",
    "RedirectError",
    "RemoteProtocolError",
    "WebSocketError",
    "in_one_line",
]

_MAX_SHOWN = 300  # characters


def in_one_line(text: str) -> str:
    """Return text of a peer as it may stand in a log or a message of ours: no line break, no terminal codes, short."""
    shown = text if len(text) <= _MAX_SHOWN else text[:_MAX_SHOWN] + "..."
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in shown)


class WebSocketError(Exception):
    """The root of every exception that anyws defines.

    All of them can be pickled and copied, and so cross the border between processes.
    """

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]:
        """Restore without ``__init__``, whose arguments are not those that an exception keeps in ``args``."""
        return copyreg.__newobj__, (type(self), *self.args), vars(self)  # type: ignore[attr-defined]  # not in typeshed


class LocalProtocolError(WebSocketError):
    """Our own caller asked for something that RFC 6455 forbids in this state, such as data after a Close."""


class RemoteProtocolError(WebSocketError):
    """The peer broke a rule after the opening handshake: "Fail the WebSocket Connection" (RFC 6455, section 7.1.7).

    Attributes:
        close_code: the close code to send (RFC 6455, section 7.4.1).
        reason: what was wrong and what was expected, in at most 123 bytes of UTF-8.
    """

    close_code: int = 1002

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class ProtocolError(RemoteProtocolError):
    """The peer sent what RFC 6455 does not allow (close code 1002)."""


class InvalidText(RemoteProtocolError):
    """The peer sent a text message or a close reason that is not UTF-8 (close code 1007; RFC 6455, section 8.1)."""

    close_code = 1007


class LimitExceeded(RemoteProtocolError):
    """The peer sent more than an option of ours allows (close code 1009).

    Attributes:
        option: the name of the option, such as ``"max_message_size"``.
        limit: the value of that option.
        actual: what came, or would have come by the frame's header; in the unit of the option.
    """

    close_code = 1009

    def __init__(self, option: str, limit: int, actual: int) -> None:
        super().__init__(f"{option} is {limit}, received {actual}")
        self.option = option
        self.limit = limit
        self.actual = actual


class InvalidURI(WebSocketError, ValueError):
    """A URI that is not a WebSocket URI (RFC 6455, section 3).

    Attributes:
        uri: the text as given. It is not part of the message when it has a user name or a password.
    """

    def __init__(self, uri: str, problem: str) -> None:
        super().__init__(problem)
        self.uri = uri


class HandshakeError(WebSocketError):
    """The opening handshake failed (RFC 6455, section 4).

    Attributes:
        request: the request, when it was read (server) or sent (client); otherwise None.
        response: the response that was received (client) or sent (server); None when there was none.
    """

    def __init__(self, message: str, *, request: Request | None = None, response: Response | None = None) -> None:
        super().__init__(message)
        self.request = request
        self.response = response


class HandshakeRefused(HandshakeError):
    """The opening handshake was answered with an HTTP status other than 101.

    On a client that is the server's answer; on a server it is the answer that was given to the client.

    Attributes:
        response: the answer: ``status``, ``headers`` and a bounded ``body``.
    """

    response: Response

    def __init__(self, message: str, *, response: Response, request: Request | None = None) -> None:
        super().__init__(message, request=request, response=response)

    @property
    def status(self) -> int:
        """The HTTP status code."""
        return self.response.status


class RedirectError(HandshakeRefused):
    """A redirect that was not followed, though redirects are followed: too many, or one that must not be.

    Attributes:
        chain: the URIs from the first to the one that was refused, without user names and passwords.
    """

    def __init__(
        self, message: str, *, chain: Sequence[str], response: Response, request: Request | None = None
    ) -> None:
        super().__init__(message, response=response, request=request)
        self.chain: Sequence[str] = chain


class ProxyError(HandshakeError):
    """The proxy did not make a way to the server, so that there is no request.

    A proxy that cannot be reached is an `OSError`, as a server that cannot be reached.

    Attributes:
        proxy: the URI of the proxy, without user name and password.
        status: the HTTP status of its answer to CONNECT, or the reply code of SOCKS (RFC 1928, section 6); None when there was
            no such answer.
        response: its answer to CONNECT, with a bounded body; None when there was none, and for SOCKS.
    """

    def __init__(
        self, proxy: str, problem: str, *, status: int | None = None, response: Response | None = None
    ) -> None:
        super().__init__(f"the proxy {proxy} {problem}", response=response)
        self.proxy = proxy
        self.status = status
