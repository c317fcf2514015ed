"""The server that a command connects to: its URI, and the connection options of all such commands."""

from __future__ import annotations

import argparse
import ssl
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import anyws
from anyws._checking import build_options
from anyws._client.options import ClientOptions
from anyws.protocol.client_handshake import ClientHandshake
from anyws.protocol.uri import WebSocketURI, parse_uri, without_query

from .arguments import header, positive_seconds, seconds, size
from .exit_status import CommandError, ExitStatus

__all__ = ["CONNECT_ERRORS", "Target", "add_target", "connect_error", "open_target", "read_target"]

# What `anyws.connect` raises if connecting fails. The last two are about proxies: the package for SOCKS is missing, or
# the URI of the proxy in the environment is invalid.
CONNECT_ERRORS = (anyws.HandshakeError, OSError, ImportError, anyws.InvalidURI)

_MAX_BODY = 200  # characters of the body of a refusal that are shown


@dataclass(frozen=True, slots=True)
class Target:
    """The arguments for `anyws.connect`; ``str()`` is the URI without credentials and query."""

    uri: str = field(repr=False)
    parsed: WebSocketURI
    options: dict[str, Any] = field(repr=False)

    def __str__(self) -> str:
        return without_query(self.parsed)


def add_target(parser: argparse.ArgumentParser) -> None:
    """Add the URI and the options of the connection."""
    parser.add_argument("uri", metavar="URI", help="ws://, wss://, http://, https:// or ws+unix:/the/socket:/resource")
    handshake = parser.add_argument_group("opening handshake")
    handshake.add_argument(
        "-H",
        "--header",
        action="append",
        default=[],
        type=header,
        metavar="'NAME: VALUE'",
        help="request header; may be repeated",
    )
    handshake.add_argument(
        "-s",
        "--subprotocol",
        action="append",
        default=[],
        metavar="NAME",
        help="subprotocol to offer; may be repeated",
    )
    handshake.add_argument("-o", "--origin", help="value of the Origin header, as sent by browsers")
    handshake.add_argument("--compress", action="store_true", help="offer compression (permessage-deflate)")
    network = parser.add_argument_group("network and TLS")
    network.add_argument("--proxy", metavar="URI", help="proxy to connect through; 'none' to connect directly")
    network.add_argument(
        "--connect-timeout",
        type=positive_seconds,
        default=10,
        metavar="SECONDS",
        help="time limit for connecting, including TLS and the opening handshake; default: 10",
    )
    network.add_argument("--cacert", metavar="FILE", help="CA certificates to trust (PEM), instead of the system's")
    network.add_argument("--insecure", action="store_true", help="do not verify the server's certificate")
    network.add_argument("--cert", metavar="FILE", help="client certificate (PEM)")
    network.add_argument("--key", metavar="FILE", help="private key (PEM); default: in the --cert file")
    limits = parser.add_argument_group("limits")
    limits.add_argument(
        "--max-size", type=size, metavar="BYTES", help="maximum message size, 0 for unlimited; default: 1M"
    )
    limits.add_argument(
        "--ping-interval",
        type=seconds,
        metavar="SECONDS",
        help="send a Ping after this many seconds of silence, 0 for never; default: 20",
    )


def read_target(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> Target:
    """Return the target for a command line.

    Raises:
        SystemExit: with status 2, if the command line is invalid.
        CommandError: a certificate file cannot be used.
    """
    options: dict[str, Any] = {
        "headers": arguments.header,
        "subprotocols": arguments.subprotocol,
        "origin": arguments.origin,
        "open_timeout": arguments.connect_timeout,
    }
    handshake = {name: options[name] for name in ("headers", "subprotocols", "origin")}
    if arguments.compress:
        options["compression"] = True
    if arguments.proxy is not None:
        options["proxy"] = None if arguments.proxy == "none" else arguments.proxy
    if arguments.max_size is not None:
        options["max_message_size"] = arguments.max_size or None
    if arguments.ping_interval is not None:
        options["ping_interval"] = arguments.ping_interval or None
    if arguments.key is not None and arguments.cert is None:
        parser.error("argument --key: requires --cert")
    try:
        uri = parse_uri(arguments.uri)
        build_options(ClientOptions, options, where="connect()")
        ClientHandshake(uri, **handshake)
    except (TypeError, ValueError) as exc:
        parser.error(str(exc))
    if uri.secure:
        options["ssl_context"] = _tls_context(arguments)
    return Target(arguments.uri, uri, options)


@asynccontextmanager
async def open_target(target: Target) -> AsyncGenerator[anyws.WebSocket, None]:
    """Connect, as `anyws.connect` does.

    Raises:
        CommandError: connecting failed.
    """
    async with AsyncExitStack() as stack:
        try:
            websocket = await stack.enter_async_context(anyws.connect(target.uri, **target.options))
        except CONNECT_ERRORS as exc:
            raise connect_error(target, exc) from exc
        yield websocket


def connect_error(target: Target, exc: Exception) -> CommandError:
    """Return the error for a command that could not connect because of one of `CONNECT_ERRORS`."""
    if isinstance(exc, OSError):
        status = ExitStatus.NOT_CONNECTED
    elif isinstance(exc, anyws.HandshakeError):
        status = ExitStatus.REFUSED
    else:
        status = ExitStatus.USAGE
    return CommandError(status, f"cannot connect to {target}: {_describe(exc)}")


def _tls_context(arguments: argparse.Namespace) -> ssl.SSLContext:
    file = arguments.cacert
    try:
        context = ssl.create_default_context(cafile=file)
        if arguments.cert is not None:
            file = arguments.cert
            context.load_cert_chain(arguments.cert, arguments.key)
    except OSError as exc:  # ssl.SSLError is one
        raise CommandError(ExitStatus.FAILED, f"cannot use {file}: {exc}") from exc
    context.set_alpn_protocols(["http/1.1"])
    if arguments.insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _describe(exc: Exception) -> str:
    if isinstance(exc, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted ({exc.verify_message}); see --cacert and --insecure"
    if isinstance(exc, anyws.HandshakeRefused) and exc.response.body:
        body = " ".join(exc.response.body.decode(errors="replace").split())
        return f"{exc}: {body[:_MAX_BODY]}{'...' if len(body) > _MAX_BODY else ''}"
    return str(getattr(exc, "strerror", None) or exc)
