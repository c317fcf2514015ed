"""Redirects (RFC 9110, section 15.4): which are followed, and which options are dropped on the way."""

from __future__ import annotations

import dataclasses
from typing import TypeVar
from urllib.parse import urldefrag, urljoin, urlsplit

from anyws.protocol.errors import HandshakeRefused, InvalidURI, RedirectError
from anyws.protocol.headers import Headers, is_secret
from anyws.protocol.uri import WebSocketURI, parse_uri, without_query

from .options import ClientOptions

__all__ = ["Redirects"]

Options = TypeVar("Options", bound=ClientOptions)

_STATUSES = (301, 302, 303, 307, 308)
_SCHEMES = ("ws", "wss", "http", "https")  # a server must not send its clients to unix sockets


class Redirects:
    """The chain of redirects of one connection.

    Args:
        uri: the first URI.
        limit: maximum number of redirects to follow.
    """

    def __init__(self, uri: WebSocketURI, limit: int) -> None:
        self._limit = limit
        self._chain = [uri]

    def follow(self, refused: HandshakeRefused, options: Options) -> tuple[WebSocketURI, Options] | None:
        """Return the next URI and its options; None if this is not a redirect or redirects are not followed.

        Raises:
            RedirectError: this redirect must not be followed.
        """
        location = refused.response.headers.get("location")
        if not self._limit or refused.status not in _STATUSES or location is None:
            return None
        current = self._chain[-1]
        try:
            target = _target(current, location)
        except ValueError as exc:
            raise self._error(str(exc), refused) from refused
        self._chain.append(target)
        if current.secure and not target.secure:
            raise self._error("from TLS to plain TCP", refused) from refused
        if current.socket_path is not None and target.socket_path is None:
            raise self._error("from a unix socket to another server", refused) from refused
        if len(self._chain) > self._limit + 1:
            raise self._error(f"more than {self._limit} redirects, see max_redirects", refused) from refused
        if _is_same_server(current, target):
            return target, options
        if options.ssl_context is not None:
            problem = "to another server, and ssl_context may hold a client certificate for this one"
            raise self._error(problem, refused) from refused
        return target, _without_credentials(options)

    def add_chain_to(self, exc: BaseException) -> None:
        """Add the chain to an error as a note, if there were redirects."""
        if len(self._chain) > 1:
            exc.add_note(f"redirected: {self._description}")

    @property
    def _description(self) -> str:
        return " -> ".join(without_query(uri) for uri in self._chain)

    def _error(self, problem: str, refused: HandshakeRefused) -> RedirectError:
        return RedirectError(
            f"redirect not followed ({problem}): {self._description}",
            chain=tuple(map(str, self._chain)),
            response=refused.response,
            request=refused.request,
        )


def _target(current: WebSocketURI, location: str) -> WebSocketURI:
    """Return the URI that a ``Location`` refers to, without fragment and user information.

    On the same server, the unix socket and the user name and password of the current URI are kept.
    """
    base = f"{'wss' if current.secure else 'ws'}://{current.host_header}{current.resource}"
    try:
        joined, _ = urldefrag(urljoin(base, _as_text(location)))
        scheme = urlsplit(joined).scheme
        if scheme not in _SCHEMES:
            raise InvalidURI(joined, "the scheme of its Location is not ws, wss, http or https")
        target = parse_uri(joined)
    except InvalidURI:
        raise
    except ValueError:
        raise InvalidURI(location, "its Location is not a valid URI") from None
    if _is_same_server(current, target):
        return dataclasses.replace(current, resource=target.resource)
    return dataclasses.replace(target, username=None, password=None)


def _as_text(value: str) -> str:
    """Decode UTF-8, which some servers use in ``Location`` contrary to RFC 9110, section 10.2.2."""
    try:
        return value.encode("latin-1").decode()
    except UnicodeError:
        return value


def _is_same_server(current: WebSocketURI, target: WebSocketURI) -> bool:
    return (current.secure, current.host, current.port) == (target.secure, target.host, target.port)


def _without_credentials(options: Options) -> Options:
    headers = [(name, value) for name, value in Headers(options.headers).multi_items() if not _is_server_specific(name)]
    return dataclasses.replace(options, headers=headers, auth=None, cookies=options.cookie_jar, server_hostname=None)


def _is_server_specific(name: str) -> bool:
    return name.lower() == "host" or is_secret(name)
