"""The server that a command connects to: its URI and the options of the connection, from the command line."""

from __future__ import annotations

import argparse
import getpass
import re
import ssl
import warnings
from dataclasses import dataclass, field
from typing import Any

from anyws._checking import build_options
from anyws._client.options import ClientOptions
from anyws.protocol.client_handshake import ClientHandshake
from anyws.protocol.hosts import is_loopback
from anyws.protocol.uri import WebSocketURI, parse_uri, without_query

from .exit_status import CommandError, ExitStatus
from .files import file_problem

__all__ = ["Target", "read_target"]

_MAX_REDIRECTS = 10  # more than any real chain has, so a loop ends soon
_WITHOUT_SCHEME = re.compile(r"(\[[^\]/?#@]*\]|[^:/?#@\[\]]*)(:[0-9]+)?([/?].*)?", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Target:
    """The arguments for `anyws.connect`; ``str()`` is the URI without credentials and query."""

    uri: str = field(repr=False)
    parsed: WebSocketURI
    options: dict[str, Any] = field(repr=False)

    def __str__(self) -> str:
        return without_query(self.parsed)

    def connected_text(self, subprotocol: str | None) -> str:
        """Return what to show once the connection is open."""
        return f"connected to {self}{'' if subprotocol is None else f', subprotocol {subprotocol}'}"


def read_target(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> Target:
    """Return the target for a command line.

    Raises:
        SystemExit: with status 2, if the command line is invalid.
        CommandError: a certificate file cannot be used, or there is no terminal to ask for a password.
    """
    given = _with_scheme(arguments.uri)
    options = _options(arguments)
    handshake = {name: options[name] for name in ("headers", "subprotocols", "origin")}
    try:
        uri = parse_uri(given)
        build_options(ClientOptions, options, where="connect()")
        ClientHandshake(uri, **handshake)
    except (TypeError, ValueError) as exc:
        parser.error(str(exc))
    _check_combinations(parser, arguments, uri)
    if arguments.user is not None:
        name, password = arguments.user
        options["auth"] = (name, _ask_password(name) if password is None else password)
    if _tls_arguments(arguments):
        options["ssl_context"] = _tls_context(arguments)
    return Target(given, uri, options)


def _with_scheme(uri: str) -> str:
    """Add ``ws://`` to a URI on this machine that has no scheme; for any other, the user must choose between two."""
    match = _WITHOUT_SCHEME.fullmatch(uri)
    if match is None:
        return uri
    host, port, rest = match[1].lower(), match[2] or "", match[3] or ""
    if not host and port:
        host = "localhost"
    if host and is_loopback(host.removeprefix("[").removesuffix("]")):
        return f"ws://{host}{port}{rest}"
    return uri


def _options(arguments: argparse.Namespace) -> dict[str, Any]:
    options: dict[str, Any] = {
        "headers": arguments.header,
        "subprotocols": arguments.subprotocol,
        "origin": arguments.origin,
        "open_timeout": arguments.connect_timeout,
    }
    if arguments.compress:
        options["compression"] = True
    if arguments.cookie is not None:
        options["cookies"] = dict(arguments.cookie)
    if arguments.location or arguments.max_redirects is not None:
        options["max_redirects"] = arguments.max_redirects or _MAX_REDIRECTS
    if arguments.proxy is not None:
        options["proxy"] = None if arguments.proxy == "none" else arguments.proxy
    if arguments.max_size is not None:
        options["max_message_size"] = arguments.max_size or None
    if arguments.ping_interval is not None:
        options["ping_interval"] = arguments.ping_interval or None
    if arguments.user is not None:
        options["auth"] = (arguments.user[0], arguments.user[1] or "")
    return options


def _check_combinations(parser: argparse.ArgumentParser, arguments: argparse.Namespace, uri: WebSocketURI) -> None:
    if arguments.key is not None and arguments.cert is None:
        parser.error("argument --key: requires --cert")
    if not uri.secure and (given := _tls_arguments(arguments)):
        parser.error(f"argument {given[0]}: the URI does not use TLS: expected wss:// or https://")
    if uri.socket_path is not None and arguments.proxy not in (None, "none"):
        parser.error("argument -x/--proxy: not allowed with the URI of a unix socket")
    if uri.username is not None and arguments.user is not None:
        parser.error("argument -u/--user: the URI has a user name already")


def _tls_arguments(arguments: argparse.Namespace) -> list[str]:
    given = {"--cacert": arguments.cacert, "-k/--insecure": arguments.insecure, "--cert": arguments.cert}
    return [name for name, value in given.items() if value]


def _ask_password(name: str) -> str:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", getpass.GetPassWarning)  # it would read stdin, visibly
            return getpass.getpass(f"password for {name}: ")
    except (getpass.GetPassWarning, EOFError) as exc:
        problem = "there is no terminal to ask for the password: expected -u USER:PASSWORD"
        raise CommandError(ExitStatus.USAGE, problem) from exc


def _tls_context(arguments: argparse.Namespace) -> ssl.SSLContext:
    file = arguments.cacert
    try:
        context = ssl.create_default_context(cafile=file)
        if arguments.cert is not None:
            file = arguments.cert if arguments.key is None else f"{arguments.cert} with {arguments.key}"
            context.load_cert_chain(arguments.cert, arguments.key)
    except OSError as exc:  # ssl.SSLError is one
        raise CommandError(ExitStatus.FAILED, f"cannot use {file}: {file_problem(exc)}") from exc
    context.set_alpn_protocols(["http/1.1"])
    if arguments.insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
