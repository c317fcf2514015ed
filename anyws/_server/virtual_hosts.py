"""Several hosts on one port, each with its own certificate: Server Name Indication (RFC 6066, section 3)."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping
from weakref import WeakKeyDictionary

from anyws.protocol.hosts import idna_encoded

__all__ = ["HostSelector", "is_misdirected", "virtual_hosts"]

# Settings that a connection takes from its first context, before the client's host name is known.
_SHARED_SETTINGS = (
    "options",
    "minimum_version",
    "maximum_version",
    "verify_mode",
    "verify_flags",
    "post_handshake_auth",
)


class HostSelector:
    """Chooses the TLS context by the host name that the client requests: an ``sni_callback``.

    Args:
        find: returns the context for a name, or for no name; None to fail the TLS handshake.
    """

    def __init__(self, find: Callable[[str | None], ssl.SSLContext | None]) -> None:
        self._find = find
        self._requested: WeakKeyDictionary[ssl.SSLObject | ssl.SSLSocket, str] = WeakKeyDictionary()

    def __call__(
        self, connection: ssl.SSLObject | ssl.SSLSocket, name: str | None, _: ssl.SSLContext
    ) -> ssl.AlertDescription | None:
        """Choose the context of a connection."""
        found = self._find(name)
        if found is None:
            return ssl.AlertDescription.ALERT_DESCRIPTION_UNRECOGNIZED_NAME
        connection.context = found
        self._requested[connection] = (name or "").lower()
        return None

    def is_valid_for(self, connection: ssl.SSLObject, host: str) -> bool:
        """Return whether the client's authentication in TLS is also valid for this host."""
        name = host.removesuffix(".")  # SNI has no trailing dot
        return name == self._requested.get(connection) or self._find(name) is connection.context


def is_misdirected(context: ssl.SSLContext, connection: ssl.SSLObject, host: str) -> bool:
    """Return whether a request is for another host than its TLS connection, if client certificates are used.

    Args:
        context: the server's context.
        connection: the TLS connection, after the handshake.
        host: the host of the request.
    """
    selector = context.sni_callback
    if not isinstance(selector, HostSelector) or connection.context.verify_mode is ssl.CERT_NONE:
        return False
    return not selector.is_valid_for(connection, host)


def virtual_hosts(contexts: Mapping[str, ssl.SSLContext], *, default: ssl.SSLContext | None = None) -> ssl.SSLContext:
    """Return a TLS context that presents the certificate of the host that the client requests.

    You can load a new certificate into any of the contexts at any time, see `reload_certificate`. With client
    certificates, a request for another host than the one in TLS gets a response 421, and sessions are not resumed.
    Without them, the name in TLS is not checked against ``Host``; if your hosts have different users, check
    ``request.host``.

    Args:
        contexts: the context of each host. The name ``*.example.com`` matches any host with one more label, unless that
            host is listed itself.
        default: the context for clients that request another host, or none. None: their TLS handshake fails.

    Raises:
        ValueError: there is no context; a name is not a valid host name; the contexts differ in ``options``, versions,
            ``verify_mode``, ``verify_flags`` or ``post_handshake_auth``, which OpenSSL fixes before the host is known;
            or they request client certificates but allow TLS before 1.3, where a session of one host could be resumed
            at another.
    """
    by_name = {_to_ascii(name): context for name, context in contexts.items()}
    known = [*by_name.values()] if default is None else [*by_name.values(), default]
    if not known:
        raise ValueError("virtual_hosts() needs at least one context")
    if any(context.protocol is ssl.PROTOCOL_TLS_CLIENT for context in known):
        raise ValueError("one of the contexts is a client context (PROTOCOL_TLS_CLIENT): expected server contexts")
    first = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    for attribute in _SHARED_SETTINGS:
        values = {getattr(context, attribute) for context in known}
        if len(values) > 1:
            raise ValueError(f"the contexts differ in {attribute}, which must be the same for all hosts")
        setattr(first, attribute, values.pop())
    if first.verify_mode is not ssl.CERT_NONE and len(set(known)) > 1:
        # OpenSSL would resume a session of one host at another without checking the client's certificate there.
        if first.minimum_version is not ssl.TLSVersion.TLSv1_3:
            raise ValueError(
                "client certificates require minimum_version TLSv1_3: "
                "with older versions, a session of one host can be resumed at another"
            )
        first.num_tickets = 0

    def find(name: str | None) -> ssl.SSLContext | None:
        requested = (name or "").lower()
        return by_name.get(requested) or by_name.get(f"*.{requested.partition('.')[2]}") or default

    first.sni_callback = HostSelector(find)
    return first


def _to_ascii(name: str) -> str:
    wildcard, host = ("*.", name[2:]) if name.startswith("*.") else ("", name)
    try:
        return wildcard + idna_encoded(host)
    except ValueError as exc:
        raise ValueError(f"{name!r} {exc}") from None
