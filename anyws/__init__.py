"""anyws: WebSocket client and server for trio and asyncio, on AnyIO (RFC 6455).

`connect` and `serve` are the native API; `client_connect` and `server` are the same with callbacks. The protocol
without I/O is `anyws.protocol`.
"""

from ._version import __version__
from .accepting import accept
from .activation import listeners_from_systemd
from .addresses import Address, SocketAddresses, get_address
from .authentication import basic_auth
from .broadcasting import broadcast
from .callback_client import client_connect
from .callback_options import (
    ClientConnectOptions,
    ClientSocketOptions,
    ListenerOptions,
    ServerSocketOptions,
    SocketServerOptions,
)
from .callback_server import Ready, server
from .certificates import TLSOptions
from .client import connect
from .exceptions import ConnectionBroken, ConnectionClosed, ConnectionClosedLocally, ConnectionEnded
from .health import health_check
from .hosts import virtual_hosts
from .options import AcceptOptions, ClientOptions, ConnectionOptions, ReconnectOptions, ServerOptions
from .outages import Outage
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
from .protocol.keys import MAGIC_STRING as magic_string
from .receiving import MessageStream
from .reconnection import reconnecting
from .renewal import reload_certificate, watch_certificate
from .sending import PreparedMessage
from .servers import Server
from .serving import open_server, serve
from .sockets import Room, Socket
from .websocket import WebSocket

__all__ = [
    "AcceptOptions",
    "Address",
    "ClientConnectOptions",
    "ClientOptions",
    "ClientSocketOptions",
    "Close",
    "CloseCode",
    "Codec",
    "ConnectionBroken",
    "ConnectionClosed",
    "ConnectionClosedLocally",
    "ConnectionEnded",
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
    "ListenerOptions",
    "LocalProtocolError",
    "MessageStream",
    "Opcode",
    "Outage",
    "PerMessageDeflate",
    "PreparedMessage",
    "ProtocolError",
    "ProxyError",
    "Ready",
    "ReconnectOptions",
    "RedirectError",
    "RemoteProtocolError",
    "Request",
    "Response",
    "Room",
    "Server",
    "ServerOptions",
    "ServerSocketOptions",
    "Socket",
    "SocketAddresses",
    "SocketServerOptions",
    "TLSOptions",
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


# Tracebacks, reprs and documentation name what users import, not where it stands.
def _claim_names() -> None:
    for name in __all__:
        if hasattr(public := globals()[name], "__module__"):
            public.__module__ = __name__


_claim_names()
