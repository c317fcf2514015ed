"""anyws: a WebSocket client and server (RFC 6455) for trio and asyncio, built on AnyIO.

Start with `connect` and `run`, or `serve` in a program that already runs an event loop. `open_topics` publishes and
subscribes. `client_connect` and `server` are the callback API of the node:websocket proposal; their types are in
`anyws.callbacks`. The protocol without I/O is in `anyws.protocol`.
"""

import sys as _sys
import typing as _typing
from importlib import import_module as _import_module

from anyio import BusyResourceError, WouldBlock

from ._connection.broadcast import broadcast
from ._connection.options import ConnectionOptions
from ._connection.rate_limit import RateLimit
from ._connection.receiving import MessageStream
from ._connection.sending import PreparedMessage
from ._connection.websocket import WebSocket
from ._names import claim_names as _claim_names
from ._version import __version__
from .exceptions import (
    ConnectionClosed,
    ConnectionClosedError,
    ConnectionClosedLocally,
    ConnectionClosedOK,
    EngineUnavailable,
    MessagesMissed,
)
from .protocol.closing import Close, CloseCode
from .protocol.connection import State
from .protocol.deflate import DeflateParameters, PerMessageDeflate
from .protocol.errors import (
    HandshakeError,
    HandshakeRefused,
    InvalidText,
    InvalidURI,
    LimitExceeded,
    LocalProtocolError,
    ProtocolError,
    ProxyError,
    RateExceeded,
    RedirectError,
    RemoteProtocolError,
    UnsupportedData,
    WebSocketError,
)
from .protocol.extensions import Codec, Extension, ExtensionOffer
from .protocol.frames import Opcode
from .protocol.headers import Headers
from .protocol.http11 import Request, Response
from .protocol.query import Query

if _typing.TYPE_CHECKING:
    from ._client.connect import connect
    from ._client.options import ClientOptions
    from ._client.outages import Outage
    from ._client.reconnect_options import ReconnectOptions
    from ._client.reconnecting import reconnecting
    from ._server.accept import accept
    from ._server.authentication import basic_auth
    from ._server.certificate_reload import reload_certificate, watch_certificate
    from ._server.health_check import health_check
    from ._server.options import AcceptOptions, RunOptions, ServerOptions
    from ._server.run import run
    from ._server.serve import open_server, serve
    from ._server.server import Server
    from ._server.statistics import ServerStatistics
    from ._server.systemd import listeners_from_systemd
    from ._server.virtual_hosts import virtual_hosts
    from .callbacks import client_connect, get_address, magic_string, server
    from .topics.engine import Engine
    from .topics.history import History
    from .topics.opening import open_topics
    from .topics.published import Published
    from .topics.topics import Topics

__all__ = [
    "AcceptOptions",
    "BusyResourceError",
    "ClientOptions",
    "Close",
    "CloseCode",
    "Codec",
    "ConnectionClosed",
    "ConnectionClosedError",
    "ConnectionClosedLocally",
    "ConnectionClosedOK",
    "ConnectionOptions",
    "DeflateParameters",
    "Engine",
    "EngineUnavailable",
    "Extension",
    "ExtensionOffer",
    "HandshakeError",
    "HandshakeRefused",
    "Headers",
    "History",
    "InvalidText",
    "InvalidURI",
    "LimitExceeded",
    "LocalProtocolError",
    "MessageStream",
    "MessagesMissed",
    "Opcode",
    "Outage",
    "PerMessageDeflate",
    "PreparedMessage",
    "ProtocolError",
    "ProxyError",
    "Published",
    "Query",
    "RateExceeded",
    "RateLimit",
    "ReconnectOptions",
    "RedirectError",
    "RemoteProtocolError",
    "Request",
    "Response",
    "RunOptions",
    "Server",
    "ServerOptions",
    "ServerStatistics",
    "State",
    "Topics",
    "UnsupportedData",
    "WebSocket",
    "WebSocketError",
    "WouldBlock",
    "__version__",
    "accept",
    "basic_auth",
    "broadcast",
    "client_connect",
    "connect",
    "get_address",
    "health_check",
    "listeners_from_systemd",
    "magic_string",
    "open_server",
    "open_topics",
    "reconnecting",
    "reload_certificate",
    "run",
    "serve",
    "server",
    "virtual_hosts",
    "watch_certificate",
]

# AnyIO's own exceptions, so that a program for trio or asyncio need not import anyio to catch them.
_OF_ANYIO = ("BusyResourceError", "WouldBlock")

# What only some programs use is loaded when it is used, so that the others start faster (PEP 562): most programs need
# either the client or the server.
_LATE = {
    "AcceptOptions": "_server.options",
    "ClientOptions": "_client.options",
    "Engine": "topics.engine",
    "History": "topics.history",
    "Outage": "_client.outages",
    "Published": "topics.published",
    "ReconnectOptions": "_client.reconnect_options",
    "RunOptions": "_server.options",
    "Server": "_server.server",
    "ServerOptions": "_server.options",
    "ServerStatistics": "_server.statistics",
    "Topics": "topics.topics",
    "accept": "_server.accept",
    "basic_auth": "_server.authentication",
    "client_connect": "callbacks",
    "connect": "_client.connect",
    "get_address": "callbacks",
    "health_check": "_server.health_check",
    "listeners_from_systemd": "_server.systemd",
    "magic_string": "callbacks",
    "open_server": "_server.serve",
    "open_topics": "topics.opening",
    "reconnecting": "_client.reconnecting",
    "reload_certificate": "_server.certificate_reload",
    "run": "_server.run",
    "serve": "_server.serve",
    "server": "callbacks",
    "virtual_hosts": "_server.virtual_hosts",
    "watch_certificate": "_server.certificate_reload",
}

if not _typing.TYPE_CHECKING:  # for a type checker, a module with __getattr__ has any attribute

    def __getattr__(name: str) -> object:
        if name == "callbacks":
            return _import_module(".callbacks", __name__)
        if name not in _LATE:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        _import_module(f".{_LATE[name]}", __name__)
        for each, place in _LATE.items():  # this may have loaded other names as well, which soon appear in messages
            module = _sys.modules.get(f"{__name__}.{place}")
            if each not in globals() and hasattr(module, each):
                globals()[each] = getattr(module, each)
                _claim_names(globals(), [each])
        return globals()[name]

    def __dir__() -> list[str]:
        return sorted({*globals(), *_LATE, "callbacks"})


_claim_names(globals(), [name for name in __all__ if name not in (*_LATE, *_OF_ANYIO)])
