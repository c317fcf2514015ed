"""Opening the connection of a command: showing the handshake, and errors in one line."""

from __future__ import annotations

import ssl
from collections.abc import AsyncGenerator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager

from anyio.abc import SocketAttribute
from anyio.streams.tls import TLSAttribute

import anyws
from anyws.protocol.headers import HIDDEN, Headers, is_secret, shown_value

from .exit_status import CommandError, ExitStatus
from .notes import note
from .target import Target

__all__ = [
    "CONNECT_ERRORS",
    "connect_error",
    "connected",
    "open_target",
    "show_failed_handshake",
    "show_handshake",
]

# What `anyws.connect` raises if connecting fails. The last two are about proxies: the package for SOCKS is missing, or
# the URI of the proxy in the environment is invalid.
CONNECT_ERRORS = (anyws.HandshakeError, OSError, ImportError, anyws.InvalidURI)

_MAX_BODY = 200  # characters of the body of a refusal that are shown
_REDIRECTS = (301, 302, 303, 307, 308)


@asynccontextmanager
async def open_target(target: Target, *, is_verbose: bool = False) -> AsyncGenerator[anyws.WebSocket, None]:
    """Connect, as `connected` does.

    Raises:
        CommandError: connecting failed.
    """
    async with AsyncExitStack() as stack:
        try:
            websocket = await stack.enter_async_context(connected(target, is_verbose=is_verbose))
        except CONNECT_ERRORS as exc:
            raise connect_error(target, exc) from exc
        yield websocket


@asynccontextmanager
async def connected(target: Target, *, is_verbose: bool) -> AsyncGenerator[anyws.WebSocket, None]:
    """Connect, as `anyws.connect` does.

    Args:
        target: the server.
        is_verbose: whether to show the addresses, TLS, and the headers of the request and the response on stderr.
    """
    async with AsyncExitStack() as stack:
        try:
            websocket = await stack.enter_async_context(anyws.connect(target.uri, **target.options))
        except anyws.HandshakeError as exc:
            if is_verbose:
                show_failed_handshake(exc)
            raise
        if is_verbose:
            show_handshake(websocket)
        yield websocket


def show_handshake(websocket: anyws.WebSocket) -> None:
    """Show the addresses, TLS, and the headers of the request and the response on stderr."""
    _show(_facts(websocket))
    _show(_heads(websocket.request, websocket.response))


def show_failed_handshake(exc: anyws.HandshakeError) -> None:
    """Show the headers of the request and the response on stderr, as far as there are any."""
    _show(_heads(exc.request, exc.response))


def connect_error(target: Target, exc: Exception) -> CommandError:
    """Return the error for a command that could not connect because of one of `CONNECT_ERRORS`."""
    if isinstance(exc, OSError):
        status = ExitStatus.NOT_CONNECTED
    elif isinstance(exc, anyws.HandshakeError):
        status = ExitStatus.REFUSED
    else:
        status = ExitStatus.USAGE
    notes = getattr(exc, "__notes__", [])  # for example, that it is the proxy that refuses
    more = f" ({'; '.join(notes)})" if notes else ""
    return CommandError(status, f"cannot connect to {target}: {_describe(exc)}{more}")


def _describe(exc: Exception) -> str:
    if isinstance(exc, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted ({exc.verify_message}); see --cacert and --insecure"
    if isinstance(exc, anyws.HandshakeRefused) and not isinstance(exc, anyws.RedirectError):
        location = exc.response.headers.get("location")
        if exc.status in _REDIRECTS and location is not None:
            return f"{exc}, to {shown_value(location)}; to follow redirects, see --location"
        body = " ".join(exc.response.body.decode(errors="replace").split())
        return f"{exc}{': ' if body else ''}{body[:_MAX_BODY]}{'...' if len(body) > _MAX_BODY else ''}"
    return str(getattr(exc, "strerror", None) or exc)


def _show(lines: Iterator[str]) -> None:
    for line in lines:
        note(line)


def _facts(websocket: anyws.WebSocket) -> Iterator[str]:
    address = websocket.extra(SocketAttribute.remote_address, None)
    if isinstance(address, tuple):
        yield f"* connected to {address[0]} port {address[1]}"
    version = websocket.extra(TLSAttribute.tls_version, None)
    if version is not None:
        yield f"* {version}, {websocket.extra(TLSAttribute.cipher)[0]}"


def _heads(request: anyws.Request | None, response: anyws.Response | None) -> Iterator[str]:
    """Yield the lines of the request and the response, marked as by curl, with possible secrets hidden."""
    if request is not None:
        yield f"> {request.method} {shown_value(request.target)} HTTP/{request.http_version}"
        yield from _lines(">", request.headers)
    if response is not None:
        yield f"< HTTP/1.1 {response.status} {response.reason}".rstrip()
        yield from _lines("<", response.headers)


def _lines(mark: str, headers: Headers) -> Iterator[str]:
    for name, value in headers.multi_items():
        # The command line shows the subprotocol anyhow, as soon as it is agreed.
        shown = value if name.lower() == "sec-websocket-protocol" or not is_secret(name) else HIDDEN
        yield f"{mark} {name}: {shown_value(shown)}"
