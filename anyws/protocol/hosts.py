"""Domain names and IP addresses, in the forms used in URIs, in ``Host`` and in TLS."""

from __future__ import annotations

import re
from ipaddress import IPv6Address, ip_address

__all__ = [
    "ascii_host",
    "bare_host",
    "host_in_uri",
    "idna_encoded",
    "is_loopback",
    "join_host_port",
    "parse_host",
    "with_port",
]

# The "forbidden domain code points" of https://url.spec.whatwg.org/#host-miscellaneous.
_FORBIDDEN = re.compile(r"[\x00-\x20#%/:<>?@\[\\\]^|\x7f]")
_ZONE = re.compile(r"[A-Za-z0-9._~\-]+")  # RFC 6874, section 2, but without percent-encoding, which Python rejects
_MAX_NAME = 253  # RFC 1035, section 2.3.4: 255 including the length of the first label and the empty root label
_MAX_LABEL = 63


def parse_host(text: str) -> str:
    """Parse the host of a URI: a name, an IPv4 address, or an IPv6 address in brackets.

    ``[fe80::1%25eth0]`` becomes ``fe80::1%eth0`` (RFC 6874), the form that name resolution accepts.

    Raises:
        ValueError: the host is invalid. The message is a predicate, to be appended to the name of the host.
    """
    if not text.startswith("["):
        return ascii_host(text)
    address, percent, zone = text.removeprefix("[").removesuffix("]").partition("%25")
    if "%" in address:
        raise ValueError("contains % before its zone: write %25 (RFC 6874, section 2)")
    return _ipv6(f"{address}%{zone}" if percent else address)


def ascii_host(text: str) -> str:
    """Return a name or an IP address in lower case and ASCII (IDNA), without brackets.

    Raises:
        ValueError: the host is invalid. The message is a predicate, to be appended to the name of the host.
    """
    if ":" in text:
        return _ipv6(text)
    if len(text) > _MAX_NAME + 1:
        raise ValueError(f"has more than {_MAX_NAME} characters")
    if not text.isascii():
        text = idna_encoded(text)
    text = text.lower()
    if (forbidden := _FORBIDDEN.search(text)) is not None:
        raise ValueError(f"contains {forbidden[0]!r}, which is not allowed in a domain name")
    name = text.removesuffix(".")  # the dot of the root
    if len(name) > _MAX_NAME:
        raise ValueError(f"has more than {_MAX_NAME} characters")
    for label in name.split("."):
        if not label:
            raise ValueError("has an empty label")
        if len(label) > _MAX_LABEL:
            raise ValueError(f"has a label of more than {_MAX_LABEL} characters")
    return text


def idna_encoded(name: str) -> str:
    """Return a domain name in ASCII (RFC 5890).

    Raises:
        ValueError: the name is invalid. The message is a predicate, to be appended to the name.
    """
    import idna

    try:
        return idna.encode(name, uts46=True).decode("ascii")
    except idna.IDNAError as exc:
        raise ValueError(f"is not a domain name: {exc}") from None


def with_port(host: str, port: int | None) -> str:
    """Return a ``Host`` value: IPv6 in brackets, without its zone (RFC 6874, section 4); no port if it is None."""
    return join_host_port(host.partition("%")[0], port)


def host_in_uri(host: str, port: int | None) -> str:
    """Return host and port as in a URI: like `with_port`, but with the zone of an IPv6 address."""
    address, percent, zone = host.partition("%")
    return join_host_port(f"{address}%25{zone}" if percent else host, port)


def bare_host(host: str) -> str:
    """Return the host without its zone and trailing dot, as used in SNI (RFC 6066, section 3)."""
    return host.partition("%")[0].removesuffix(".")


def is_loopback(host: str) -> bool:
    """Return whether a host, without brackets, is this machine: an address of loopback, or a name for it."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")  # RFC 6761, section 6.3


def join_host_port(host: str, port: int | None) -> str:
    """Return ``host:port``, with an IPv6 address in brackets; no port if it is None."""
    host = f"[{host}]" if ":" in host else host
    return host if port is None else f"{host}:{port}"


def _ipv6(text: str) -> str:
    address, percent, zone = text.partition("%")
    if percent and not _ZONE.fullmatch(zone):
        raise ValueError("has no valid zone after the %")
    try:
        IPv6Address(address)
    except ValueError:
        raise ValueError("is not an IPv6 address") from None
    return f"{address.lower()}{percent}{zone}"
