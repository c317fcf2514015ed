"""`anyws connect`."""

from __future__ import annotations

import argparse
import functools
import ssl
import sys
from typing import Any

import anyws
from anyws.options import ClientOptions
from anyws.protocol.client_handshake import ClientHandshake
from anyws.protocol.uri import WebSocketURI, parse_uri

from .backends import add_backend, is_missing, run
from .conversation import Conversation
from .lines import Lines
from .notes import note
from .screen import Screen
from .stopping import stop_signals

__all__ = ["add_arguments"]

DESCRIPTION = """\
Connect to a WebSocket server. Lines of stdin are sent as text messages; messages that come are
printed on stdout: text as it is, binary as [binary, 3 bytes] 00ff10. All else, such as the close
code, goes to stderr.

The end of the input (Ctrl-D in a terminal) begins the close; what was on its way is still printed.
So that a pipe gets its answers, anyws first waits for the Pong to a Ping (then the peer has read all
of the input), and then until nothing has come for --wait seconds. Ctrl-C begins the close at once; a
second one cuts."""

EPILOG = """\
examples:
  anyws connect ws://localhost:8765/
  echo hello | anyws connect ws://localhost:8765/
  anyws connect --wait inf wss://example.com/feed < subscriptions.txt     print until the server closes
  anyws connect --header "Authorization: Bearer 1234" --subprotocol chat wss://example.com/
  anyws connect ws+unix:/tmp/echo.sock

exit status: 0 after a clean close (1000, 1001 or no code); 1 after any other end, and when there was no
connection; 2 when the command line is wrong."""

_BODY = 200  # characters of the body of a refusal that are shown


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command."""
    parser.description, parser.epilog = DESCRIPTION, EPILOG
    parser.add_argument("uri", metavar="URI", help="ws://, wss://, http://, https:// or ws+unix:/the/socket:/resource")
    parser.add_argument(
        "--header",
        action="append",
        default=[],
        type=_header,
        metavar="'NAME: VALUE'",
        help="a request header; may be repeated",
    )
    parser.add_argument(
        "--subprotocol", action="append", default=[], metavar="NAME", help="a subprotocol to offer; may be repeated"
    )
    parser.add_argument("--origin", help="the value of the Origin header, as of a browser")
    parser.add_argument("--cacert", metavar="FILE", help="the authorities to trust (PEM), instead of the system's")
    parser.add_argument("--insecure", action="store_true", help="do not check the server's certificate")
    parser.add_argument(
        "--wait",
        type=_seconds,
        metavar="SECONDS",
        help="how long nothing may come before the end of the input closes the connection; 'inf' for ever; "
        "default: 0 if the input is a terminal, else 0.5",
    )
    add_backend(parser)
    parser.set_defaults(run=functools.partial(_run, parser))


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon:
        raise argparse.ArgumentTypeError(f"{text!r}: expected 'NAME: VALUE'")
    return name.strip(), value.strip()


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1
    if not seconds >= 0:  # nor is NaN
        raise argparse.ArgumentTypeError(f"{text!r}: expected a number of seconds, or inf")
    return seconds


def _run(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> int:
    if is_missing(arguments.backend):
        return 2
    options: dict[str, Any] = {
        "headers": arguments.header,
        "subprotocols": arguments.subprotocol,
        "origin": arguments.origin,
    }
    try:
        uri = parse_uri(arguments.uri)
        ClientOptions(**options)
        ClientHandshake(uri, **options)
    except ValueError as exc:
        parser.error(str(exc))
    try:
        options["ssl_context"] = _tls_context(arguments.cacert, insecure=arguments.insecure) if uri.secure else None
    except OSError as exc:  # ssl.SSLError is one
        note(f"anyws: cannot use {arguments.cacert}: {exc}")
        return 1
    return run(arguments.backend, functools.partial(_connect, arguments, uri, options))


def _tls_context(authorities: str | None, *, insecure: bool) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=authorities)
    context.set_alpn_protocols(["http/1.1"])
    if insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


async def _connect(arguments: argparse.Namespace, uri: WebSocketURI, options: dict[str, Any]) -> int:
    async with stop_signals() as stop:
        try:
            async with anyws.connect(arguments.uri, **options) as websocket:
                screen = Screen()
                agreed = "" if websocket.subprotocol is None else f", subprotocol {websocket.subprotocol}"
                screen.note(f"connected to {uri}{agreed}")
                is_terminal = sys.stdin is not None and sys.stdin.isatty()
                patience = arguments.wait
                if patience is None:
                    patience = 0 if is_terminal else 0.5
                lines = None if sys.stdin is None else Lines(sys.stdin.fileno(), sys.stdin.encoding)
                return await Conversation(websocket, screen, lines, patience=patience).run(stop)
        except (anyws.HandshakeError, OSError) as exc:
            note(f"anyws: cannot connect to {uri}: {_describe(exc)}")
            return 1
    note("anyws: interrupted")
    return 1


def _describe(exc: anyws.HandshakeError | OSError) -> str:
    if isinstance(exc, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted ({exc.verify_message}); see --cacert and --insecure"
    if isinstance(exc, anyws.HandshakeRefused) and exc.response.body:
        body = " ".join(exc.response.body.decode(errors="replace").split())
        return f"{exc}: {body[:_BODY]}{'...' if len(body) > _BODY else ''}"
    return str(getattr(exc, "strerror", None) or exc)
