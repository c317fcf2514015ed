"""Several hosts on one port, each with its certificate: Server Name Indication (RFC 6066, section 3)."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping
from weakref import WeakKeyDictionary

import idna

__all__ = ["HostChoice", "is_misdirected", "virtual_hosts"]

# What a connection has taken over from its first context when the client's name becomes known.
_FIXED = ("options", "minimum_version", "maximum_version", "verify_mode", "verify_flags", "post_handshake_auth")


class HostChoice:
    """Chooses the context of a connection by the name that the client asks for: an ``sni_callback``.

    Args:
        find: returns the context of a name, or of no name; None to end the TLS handshake.
    """

    def __init__(self, find: Callable[[str | None], ssl.SSLContext | None]) -> None:
        self._find = find
        self._asked: WeakKeyDictionary[ssl.SSLObject | ssl.SSLSocket, str] = WeakKeyDictionary()

    def __call__(
        self, connection: ssl.SSLObject | ssl.SSLSocket, name: str | None, _: ssl.SSLContext
    ) -> ssl.AlertDescription | None:
        """Choose."""
        found = self._find(name)
        if found is None:
            return ssl.AlertDescription.ALERT_DESCRIPTION_UNRECOGNIZED_NAME
        connection.context = found
        self._asked[connection] = (name or "").lower()
        return None

    def holds_for(self, connection: ssl.SSLObject, host: str) -> bool:
        """Say whether what a client has proved in TLS holds for this host as well."""
        name = host.removesuffix(".")  # SNI has no dot at the end
        return name == self._asked.get(connection) or self._find(name) is connection.context


def is_misdirected(context: ssl.SSLContext, connection: ssl.SSLObject, host: str) -> bool:
    """Say whether a request asks for another host than TLS did, where a client certificate opens hosts.

    Args:
        context: the server's context.
        connection: its side of TLS, after the handshake.
        host: the host of the request.
    """
    choice = context.sni_callback
    if not isinstance(choice, HostChoice) or connection.context.verify_mode is ssl.CERT_NONE:
        return False
    return not choice.holds_for(connection, host)


def virtual_hosts(contexts: Mapping[str, ssl.SSLContext], *, default: ssl.SSLContext | None = None) -> ssl.SSLContext:
    """Return a TLS context that presents the certificate of the host that the client has asked for.

    A context may be given a new certificate at any time, see `reload_certificate`. With client certificates, a request
    for another host than the one in TLS is answered 421, and sessions are not resumed. Without them the name in TLS is
    not checked against ``Host``; where hosts have different users, look at ``request.host``.

    Args:
        contexts: the context of each host. The name ``*.example.com`` is any host of one label more, unless it is given
            itself.
        default: the context for a client that names another host, or none. None: the TLS handshake with such fails.

    Raises:
        ValueError: there is no context; a name is no host; the contexts differ in ``options``, versions,
            ``verify_mode``, ``verify_flags`` or ``post_handshake_auth``, which OpenSSL fixes before the host is known;
            or they ask for client certificates, and allow TLS before 1.3, where a session of one host would be taken
            up at another.
    """
    by_name = {_to_ascii(name): context for name, context in contexts.items()}
    known = [*by_name.values()] if default is None else [*by_name.values(), default]
    if not known:
        raise ValueError("virtual_hosts() needs at least one context")
    if any(context.protocol is ssl.PROTOCOL_TLS_CLIENT for context in known):
        raise ValueError("a context is that of a client (PROTOCOL_TLS_CLIENT): expected those of a server")
    first = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    for attribute in _FIXED:
        values = {getattr(context, attribute) for context in known}
        if len(values) > 1:
            raise ValueError(f"the contexts differ in {attribute}, which has to be the same for all hosts")
        setattr(first, attribute, values.pop())
    if first.verify_mode is not ssl.CERT_NONE and len(set(known)) > 1:
        # OpenSSL resumes a session of one host at another, where nobody has checked the client's certificate.
        if first.minimum_version is not ssl.TLSVersion.TLSv1_3:
            raise ValueError("client certificates need minimum_version TLSv1_3: older sessions pass from host to host")
        first.num_tickets = 0

    def find(name: str | None) -> ssl.SSLContext | None:
        asked = (name or "").lower()
        return by_name.get(asked) or by_name.get(f"*.{asked.partition('.')[2]}") or default

    first.sni_callback = HostChoice(find)
    return first


def _to_ascii(name: str) -> str:
    wildcard, host = ("*.", name[2:]) if name.startswith("*.") else ("", name)
    try:
        return wildcard + idna.encode(host, uts46=True).decode("ascii")
    except idna.IDNAError as exc:
        raise ValueError(f"{name!r} is no host name: {exc}") from exc
