"""Exceptions of the protocol layer.

The class says who made the mistake: the calling code (`LocalProtocolError`), the peer after the connection was open
(`RemoteProtocolError`, which has a close code), or the peer during the opening handshake (`HandshakeError`).
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
    "UnsupportedData",
    "WebSocketError",
    "in_one_line",
]

_MAX_SHOWN = 300  # characters


def in_one_line(text: str) -> str:
    """Return text received from a peer in a form that is safe to log: one line, printable and of limited length."""
    shown = text if len(text) <= _MAX_SHOWN else text[:_MAX_SHOWN] + "..."
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in shown)


class WebSocketError(Exception):
    """The base class of all exceptions that anyws defines.

    All of them can be copied and pickled, so you can pass them between processes.
    """

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]:
        """Restore without calling ``__init__``, whose parameters differ from the ``args`` of the exception."""
        return copyreg.__newobj__, (type(self), *self.args), vars(self)  # type: ignore[attr-defined]  # not in typeshed


class LocalProtocolError(WebSocketError):
    """The calling code asked for something that RFC 6455 forbids in this state, such as sending data after a Close."""


class RemoteProtocolError(WebSocketError):
    """The peer violated the protocol, so the connection fails (RFC 6455, section 7.1.7).

    Attributes:
        close_code: the close code to send (RFC 6455, section 7.4.1).
        reason: what the peer sent and what was expected, in at most 123 bytes of UTF-8.
    """

    close_code: int = 1002

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class ProtocolError(RemoteProtocolError):
    """The peer sent something that RFC 6455 does not allow (close code 1002)."""


class InvalidText(RemoteProtocolError):
    """The peer sent a text message or a close reason that is not valid UTF-8 (code 1007; RFC 6455, section 8.1)."""

    close_code = 1007


class UnsupportedData(RemoteProtocolError):
    """The peer sent a text message where a binary one was expected, or the other way round (close code 1003)."""

    close_code = 1003


class LimitExceeded(RemoteProtocolError):
    """The peer exceeded a limit set by an option (close code 1009).

    Attributes:
        option: the name of the option, for example ``"max_message_size"``.
        limit: the value of the option.
        actual: how much the peer sent, or announced in a frame header; in the unit of the option.
    """

    close_code = 1009

    def __init__(self, option: str, limit: int, actual: int) -> None:
        super().__init__(f"{option} is {limit}, received {actual}")
        self.option = option
        self.limit = limit
        self.actual = actual


class RateExceeded(RemoteProtocolError):
    """The peer sent more than the option ``rate_limit`` allows (close code 1008)."""

    close_code = 1008


class InvalidURI(WebSocketError, ValueError):
    """The URI is not a valid WebSocket URI (RFC 6455, section 3).

    Attributes:
        uri: the URI as given. The message does not contain it if it has a user name or a password.
    """

    def __init__(self, uri: str, problem: str) -> None:
        super().__init__(problem)
        self.uri = uri


class HandshakeError(WebSocketError):
    """The opening handshake failed (RFC 6455, section 4).

    Attributes:
        request: the request that was sent (client) or received (server); None if there was none.
        response: the response that was received (client) or sent (server); None if there was none.
    """

    def __init__(self, message: str, *, request: Request | None = None, response: Response | None = None) -> None:
        super().__init__(message)
        self.request = request
        self.response = response


class HandshakeRefused(HandshakeError):
    """The response to the opening handshake has an HTTP status other than 101.

    On a client, the server sent this response; on a server, it was sent to the client.

    Attributes:
        response: the response: its ``status``, its ``headers`` and the beginning of its ``body``.
    """

    response: Response

    def __init__(self, message: str, *, response: Response, request: Request | None = None) -> None:
        super().__init__(message, request=request, response=response)

    @property
    def status(self) -> int:
        """The HTTP status code of the response."""
        return self.response.status


class RedirectError(HandshakeRefused):
    """A redirect was not followed, although redirects are enabled: there were too many, or it was not allowed.

    Attributes:
        chain: the URIs from the first one to the rejected one, without user names and passwords.
    """

    def __init__(
        self, message: str, *, chain: Sequence[str], response: Response, request: Request | None = None
    ) -> None:
        super().__init__(message, response=response, request=request)
        self.chain: Sequence[str] = chain


class ProxyError(HandshakeError):
    """The proxy did not open a tunnel to the server, so no opening handshake was sent.

    A proxy that cannot be reached raises `OSError`, like a server that cannot be reached.

    Attributes:
        proxy: the URI of the proxy, without user name and password.
        status: the HTTP status of the response to CONNECT, or the SOCKS reply code (RFC 1928, section 6); None if there
            was none.
        response: the response to CONNECT, with the beginning of its body; None if there was none, and for SOCKS.
    """

    def __init__(
        self, proxy: str, problem: str, *, status: int | None = None, response: Response | None = None
    ) -> None:
        super().__init__(f"the proxy {proxy} {problem}", response=response)
        self.proxy = proxy
        self.status = status
