"""Several hosts on one port, each with its certificate: Server Name Indication (RFC 6066, 3)."""

from __future__ import annotations

import ssl
from collections.abc import Mapping

import idna

__all__ = ["virtual_hosts"]

# What a connection has taken over from its first context when the client's name becomes known.
_FIXED = ("options", "minimum_version", "maximum_version", "verify_mode", "verify_flags", "post_handshake_auth")


def virtual_hosts(contexts: Mapping[str, ssl.SSLContext], *, default: ssl.SSLContext | None = None) -> ssl.SSLContext:
    """Return a TLS context that presents the certificate of the host that the client has asked for.

    A context may be given a new certificate at any time, see `reload_certificate`. The name in TLS is not checked
    against ``Host``; where hosts have different users, compare ``Host`` as well. With client certificates, sessions are
    not resumed.

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

    def choose(
        connection: ssl.SSLObject | ssl.SSLSocket, name: str | None, _: ssl.SSLContext
    ) -> ssl.AlertDescription | None:
        asked = (name or "").lower()
        found = by_name.get(asked) or by_name.get(f"*.{asked.partition('.')[2]}") or default
        if found is None:
            return ssl.AlertDescription.ALERT_DESCRIPTION_UNRECOGNIZED_NAME
        connection.context = found
        return None

    first.sni_callback = choose
    return first


def _to_ascii(name: str) -> str:
    wildcard, host = ("*.", name[2:]) if name.startswith("*.") else ("", name)
    try:
        return wildcard + idna.encode(host, uts46=True).decode("ascii")
    except idna.IDNAError as exc:
        raise ValueError(f"{name!r} is no host name: {exc}") from exc
