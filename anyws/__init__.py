"""anyws: a WebSocket client and server (RFC 6455) for trio and asyncio, built on AnyIO.

Start with `connect` and `serve`. `client_connect` and `server` are the callback API of the node:websocket proposal;
their types are in `anyws.callbacks`. The protocol without I/O is in `anyws.protocol`.
"""

from ._client.connect import connect
from ._client.options import ClientOptions, ReconnectOptions
from ._client.outages import Outage
from ._client.reconnecting import reconnecting
from ._connection.broadcast import broadcast
from ._connection.options import ConnectionOptions
from ._connection.receiving import MessageStream
from ._connection.sending import PreparedMessage
from ._connection.websocket import WebSocket
from ._names import claim_names
from ._server.accept import accept
from ._server.authentication import basic_auth
from ._server.certificate_reload import reload_certificate, watch_certificate
from ._server.health_check import health_check
from ._server.options import AcceptOptions, ServerOptions
from ._server.serve import open_server, serve
from ._server.server import Server
from ._server.systemd import listeners_from_systemd
from ._server.virtual_hosts import virtual_hosts
from ._version import __version__
from .callbacks import client_connect, get_address, magic_string, server
from .exceptions import ConnectionClosed, ConnectionClosedError, ConnectionClosedLocally, ConnectionClosedOK
from .protocol.closing import Close, CloseCode
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
    RedirectError,
    RemoteProtocolError,
    WebSocketError,
)
from .protocol.extensions import Codec, Extension, ExtensionOffer
from .protocol.frames import Opcode
from .protocol.headers import Headers
from .protocol.http11 import Request, Response

__all__ = [
    "AcceptOptions",
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
    "Extension",
    "ExtensionOffer",
    "HandshakeError",
    "HandshakeRefused",
    "Headers",
    "InvalidText",
    "InvalidURI",
    "LimitExceeded",
    "LocalProtocolError",
    "MessageStream",
    "Opcode",
    "Outage",
    "PerMessageDeflate",
    "PreparedMessage",
    "ProtocolError",
    "ProxyError",
    "ReconnectOptions",
    "RedirectError",
    "RemoteProtocolError",
    "Request",
    "Response",
    "Server",
    "ServerOptions",
    "WebSocket",
    "WebSocketError",
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
    "reconnecting",
    "reload_certificate",
    "serve",
    "server",
    "virtual_hosts",
    "watch_certificate",
]

claim_names(globals())
