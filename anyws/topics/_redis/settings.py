"""What the URL of an engine says: which servers, and how to connect to them."""

from __future__ import annotations

import os
import ssl
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeVar
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

__all__ = ["Address", "Credentials", "Settings", "parse_url"]

T = TypeVar("T")

Address = tuple[str, int] | str
"""A host and a port, or the path of a unix socket."""

Credentials = Callable[[], Awaitable[tuple[str, str]]]

_SCHEMES = ("redis", "rediss", "valkey", "valkeys", "unix")
_KINDS = ("", "sentinel", "cluster")
_TLS_OPTIONS = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_check_hostname", "ssl_cert_reqs")
_OPTIONS = ("client_name", "db", "sentinel_username", "sentinel_password", *_TLS_OPTIONS)
_EXPECTED = (
    "expected redis://HOST:PORT/DB, rediss:// for TLS, redis+sentinel://HOST:PORT,.../SERVICE/DB, "
    "redis+cluster://HOST:PORT,... or unix:///PATH; valkey can stand for redis"
)
_REQUIREMENTS = {"none": ssl.CERT_NONE, "optional": ssl.CERT_OPTIONAL, "required": ssl.CERT_REQUIRED}
_BOOLEANS = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How to reach the servers of an engine.

    Attributes:
        kind: whether `addresses` are a server, sentinels, or some of the servers of a cluster.
        addresses: where to connect first.
        service: the name by which the sentinels know the servers.
        db: the number of the database.
        username: for AUTH; empty for the default user.
        password: for AUTH; empty if the server needs none.
        sentinel_username: the same for the sentinels.
        sentinel_password: the same for the sentinels.
        credentials: returns user name and password, instead of the two above; called for each connection.
        client_name: what ``CLIENT LIST`` shows.
        ssl_context: None without TLS.
    """

    kind: Literal["", "sentinel", "cluster"] = ""
    addresses: tuple[Address, ...]
    service: str = ""
    db: int = 0
    username: str = ""
    password: str = field(default="", repr=False)
    sentinel_username: str = ""
    sentinel_password: str = field(default="", repr=False)
    credentials: Credentials | None = None
    client_name: str = "anyws"
    ssl_context: ssl.SSLContext | None = None


def parse_url(
    url: str, *, ssl_context: ssl.SSLContext | None = None, credentials: Credentials | None = None
) -> Settings:
    """Return what a URL says.

    Raises:
        ValueError: the URL is malformed, or contradicts the other arguments. The message does not contain the password.
        OSError: a certificate cannot be read.
    """
    split = urlsplit(url)
    scheme, _, kind = split.scheme.partition("+")
    if scheme not in _SCHEMES or kind not in _KINDS or (scheme == "unix" and kind):
        raise ValueError(f"{_shown(url)!r} is not the URL of an engine: {_EXPECTED}")
    options = _options(split, url)
    username, _, password = split.netloc.rpartition("@")[0].partition(":")
    if credentials is not None and (username or password):
        raise ValueError("the URL has a user name or a password, and credentials= was passed as well: use one of them")
    addresses, path = _addresses(split, kind, url)
    service = ""
    if kind == "sentinel":
        service, _, path = path.partition("/")
        if not service:
            raise ValueError(f"{_shown(url)!r} does not name the service that the sentinels watch: {_EXPECTED}")
    return Settings(
        kind=kind,  # type: ignore[arg-type]  # it is one of _KINDS
        addresses=addresses,
        service=unquote(service),
        db=_database(options.get("db") or path, kind, url),
        username=unquote(username),
        password=unquote(password),
        sentinel_username=options.get("sentinel_username", ""),
        sentinel_password=options.get("sentinel_password", ""),
        credentials=credentials,
        client_name=options.get("client_name", "anyws"),
        ssl_context=_tls(scheme, options, ssl_context),
    )


def _shown(url: str) -> str:
    """Return a URL without what is secret in it."""
    before, _, rest = url.partition("://")
    return f"{before}://{rest.rpartition('@')[2].partition('?')[0]}" if rest else before.partition("?")[0]


def _options(split: SplitResult, url: str) -> dict[str, str]:
    options = dict(parse_qsl(split.query, keep_blank_values=True))
    for name in options:
        if name not in _OPTIONS:
            raise ValueError(f"{_shown(url)!r} has the unknown option {name!r}; known options: {', '.join(_OPTIONS)}")
    return options


def _addresses(split: SplitResult, kind: str, url: str) -> tuple[tuple[Address, ...], str]:
    """Return the addresses, and what follows them."""
    if split.scheme == "unix":
        if not split.path:
            raise ValueError(f"{_shown(url)!r} has no path: {_EXPECTED}")
        return (unquote(split.path),), ""
    hosts = split.netloc.rpartition("@")[2].split(",")
    if len(hosts) > 1 and not kind:
        raise ValueError(
            f"{_shown(url)!r} has several servers; did you mean '{split.scheme}+sentinel://' or "
            f"'{split.scheme}+cluster://'?"
        )
    default = 26379 if kind == "sentinel" else 6379
    return tuple(_host_and_port(host, default, url) for host in hosts), split.path.strip("/")


def _host_and_port(text: str, default: int, url: str) -> Address:
    try:
        split = urlsplit(f"//{text}")
        port = split.port
    except ValueError:
        raise ValueError(f"{_shown(url)!r} has a malformed host or port: {text!r}") from None
    return unquote(split.hostname or "127.0.0.1"), default if port is None else port


def _database(text: str, kind: str, url: str) -> int:
    if text and not (text.isascii() and text.isdigit()):
        raise ValueError(f"{_shown(url)!r} has the database {text!r}: expected a number")
    if kind == "cluster" and int(text or 0):
        raise ValueError(f"{_shown(url)!r} has the database {text}, but a cluster only has database 0")
    return int(text or 0)


def _tls(scheme: str, options: Mapping[str, str], given: ssl.SSLContext | None) -> ssl.SSLContext | None:
    named = [name for name in _TLS_OPTIONS if name in options]
    if scheme not in ("rediss", "valkeys"):
        if given is not None or named:
            what = "ssl_context=" if given is not None else named[0]
            raise ValueError(f"{what} was given with {scheme}://, which does not use TLS; did you mean {scheme}s://?")
        return None
    if given is not None:
        if named:
            raise ValueError(f"the URL has the option {named[0]}, and ssl_context= was passed as well: use one of them")
        return given
    authorities = options.get("ssl_ca_certs")
    is_folder = authorities is not None and os.path.isdir(authorities)
    context = ssl.create_default_context(
        cafile=None if is_folder else authorities, capath=authorities if is_folder else None
    )
    if "ssl_certfile" in options:
        context.load_cert_chain(options["ssl_certfile"], options.get("ssl_keyfile"))
    requirement = _choice(options, "ssl_cert_reqs", _REQUIREMENTS, ssl.CERT_REQUIRED)
    context.check_hostname = requirement is not ssl.CERT_NONE and _choice(
        options, "ssl_check_hostname", _BOOLEANS, True
    )
    context.verify_mode = requirement
    return context


def _choice(options: Mapping[str, str], name: str, choices: Mapping[str, T], default: T) -> T:
    value = options.get(name)
    if value is None:
        return default
    if value not in choices:
        raise ValueError(f"the option {name} of the URL is {value!r}; expected one of {', '.join(choices)}")
    return choices[value]
