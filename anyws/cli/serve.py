"""`anyws serve`."""

from __future__ import annotations

import argparse
import functools
import ssl
from typing import Any
from urllib.parse import quote

import anyws
from anyws.serving import Handler

from .backends import add_backend, is_missing, run
from .handlers import Broadcast, echo, load_handler
from .notes import note
from .stopping import stop_signals

__all__ = ["add_arguments"]

DESCRIPTION = """\
Serve WebSocket connections: with an echo, with a broadcast, or with a handler of yours.
The URI is printed on stdout when the server listens. SIGINT (Ctrl-C) and SIGTERM stop it
gracefully: connections are closed with 1001, and their handlers have 3 seconds to end. A second
signal stops it at once."""

EPILOG = """\
examples:
  anyws serve                              an echo on ws://127.0.0.1:8765/
  anyws serve --broadcast --host ::        every message goes to all other clients, on all addresses
  anyws serve --port 0                     a free port, see the URI that is printed
  anyws serve --cert cert.pem --key key.pem                 TLS (wss:)
  anyws serve --path /tmp/echo.sock        a unix socket (ws+unix:)
  anyws serve chat:handler                 chat.py has: async def handler(websocket): ...

exit status: 0 when a signal stopped it gracefully; 1 when it could not listen, or was stopped at once;
2 when the command line is wrong."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command."""
    parser.description, parser.epilog = DESCRIPTION, EPILOG
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--echo", action="store_true", help="send each message back; the default")
    what.add_argument("--broadcast", action="store_true", help="send each message to all other clients")
    what.add_argument("handler", nargs="?", metavar="MODULE:HANDLER", help="an async callable that gets each WebSocket")
    parser.add_argument("--host", help="a name or an address to listen on; default: 127.0.0.1")
    parser.add_argument("--port", type=_port, help="the TCP port, 0 for a free one; default: 8765")
    parser.add_argument("--path", metavar="SOCKET", help="listen on a unix socket, instead of --host and --port")
    parser.add_argument("--cert", metavar="FILE", help="the certificate chain (PEM); switches TLS on")
    parser.add_argument("--key", metavar="FILE", help="the private key (PEM); default: in the file of --cert")
    add_backend(parser)
    parser.set_defaults(run=functools.partial(_run, parser))


def _port(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and int(text) <= 65535):
        raise argparse.ArgumentTypeError(f"{text!r}: expected a number from 0 to 65535")
    return int(text)


def _run(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> int:
    if is_missing(arguments.backend):
        return 2
    options: dict[str, Any] = {}
    if arguments.path is None:
        options["host"] = "127.0.0.1" if arguments.host is None else arguments.host
        options["port"] = 8765 if arguments.port is None else arguments.port
    elif arguments.host is not None or arguments.port is not None:
        parser.error("argument --path: not allowed with arguments --host and --port")
    else:
        options["path"] = arguments.path
    if arguments.key is not None and arguments.cert is None:
        parser.error("argument --key: needs --cert")
    try:
        handler = _choose_handler(arguments)
    except ValueError as exc:
        parser.error(f"argument MODULE:HANDLER: {exc}")
    try:
        options["ssl_context"] = None if arguments.cert is None else _tls_context(arguments.cert, arguments.key)
    except OSError as exc:  # ssl.SSLError is one
        note(f"anyws: cannot use the certificate: {exc}")
        return 1
    return run(arguments.backend, functools.partial(_serve, handler, options))


def _choose_handler(arguments: argparse.Namespace) -> Handler:
    if arguments.handler is not None:
        return load_handler(arguments.handler)
    return Broadcast() if arguments.broadcast else echo


def _tls_context(cert: str, key: str | None) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.set_alpn_protocols(["http/1.1"])
    context.load_cert_chain(cert, key)
    return context


async def _serve(handler: Handler, options: dict[str, Any]) -> int:
    async with stop_signals() as stop:
        try:
            async with anyws.open_server(handler, **options) as server:
                for address in server.addresses:
                    print(_uri(address, secure=options["ssl_context"] is not None), flush=True)
                await stop.wait()
        except OSError as exc:
            note(f"anyws: cannot listen: {exc.strerror or exc}")
            return 1
        return 0
    return 1  # the second signal came before the server had stopped


def _uri(address: Any, *, secure: bool) -> str:
    scheme = "wss" if secure else "ws"
    if not isinstance(address, tuple):
        return f"{scheme}+unix:{quote(address)}"
    host, port = address[:2]
    return f"{scheme}://[{host}]:{port}/" if ":" in host else f"{scheme}://{host}:{port}/"
