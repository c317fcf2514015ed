"""From a URI to an open connection: the timeout, the limit on concurrent handshakes, redirects and credentials."""

from __future__ import annotations

import dataclasses
from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio

from anyws._deadlines import took_too_long
from anyws._transport.turns import Turn
from anyws.protocol.credentials import basic_credentials
from anyws.protocol.errors import HandshakeRefused, RedirectError, WebSocketError
from anyws.protocol.headers import Headers
from anyws.protocol.uri import WebSocketURI

from .authorization import authorization, current_credentials
from .cookies import cookie_header
from .options import ClientOptions
from .proxies import choose_proxy
from .redirects import Redirects

__all__ = ["connect_within", "request_headers", "with_credentials"]

T = TypeVar("T")
Options = TypeVar("Options", bound=ClientOptions)


async def connect_within(
    limit: float | None,
    uri: WebSocketURI,
    options: Options,
    attempt: Callable[[WebSocketURI, Options, Turn], Awaitable[T]],
) -> T:
    """Connect and follow redirects.

    Args:
        limit: the timeout for all of it, in seconds; None for no timeout.
        uri: the server to connect to.
        options: the client's options.
        attempt: connects to one server.

    Raises:
        TimeoutError: connecting took longer.
        ValueError: the options do not fit the URI.
    """
    _check_target(uri, options)
    redirects = Redirects(uri, options.max_redirects)
    start = (uri, options)
    try:
        with anyio.move_on_after(limit) as scope:
            options = await with_credentials(options)
            while True:
                try:
                    with Turn(options.max_connecting, scope) as turn:
                        return await attempt(uri, options, turn)
                except HandshakeRefused as exc:
                    following = redirects.follow(exc, options)
                    if following is None:
                        raise
                    uri, options = following
        raise took_too_long(_describe(*start), limit)
    except RedirectError:  # its message already includes the chain
        raise
    except (OSError, WebSocketError) as exc:
        redirects.add_chain_to(exc)
        raise


async def with_credentials(options: Options) -> Options:
    """Return options with the actual credentials, if ``auth`` is a callable that returns them.

    Raises:
        TypeError, ValueError: it returns credentials that cannot be sent.
    """
    if not callable(options.auth):
        return options
    return dataclasses.replace(options, auth=await current_credentials(options.auth))


def request_headers(uri: WebSocketURI, options: ClientOptions) -> Headers:
    """Return the request headers for the options, including credentials and cookies."""
    if options.auth is None and options.cookies is None:
        return Headers(options.headers)
    headers = Headers(options.headers).multi_items()
    if options.auth is not None:
        headers.append(("Authorization", authorization(options.auth)))
    if options.cookies is not None and (cookies := cookie_header(options.cookies, uri)) is not None:
        headers.append(("Cookie", cookies))
    return Headers(headers)


def _describe(uri: WebSocketURI, options: ClientOptions) -> str:
    proxy = choose_proxy(options.proxy, uri) if options.stream is None else None
    return f"connecting to {uri.host_header}" + ("" if proxy is None else f" through the proxy {proxy}")


def _check_target(uri: WebSocketURI, options: ClientOptions) -> None:
    if options.ssl_context is not None and not uri.secure:
        raise ValueError("ssl_context is given, but the URI does not use TLS: expected wss:// or https://")
    if uri.socket_path is not None and isinstance(options.proxy, str):
        raise ValueError("option proxy cannot be used with a unix socket")
    if uri.username is not None:
        if options.auth is not None:
            raise ValueError("give credentials either in the URI or with the option auth, not both")
        basic_credentials(uri.username, uri.password or "")
