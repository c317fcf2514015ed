"""The callback API of the node:websocket proposal: `client_connect` and `server`, built on the native API."""

from anyws._names import claim_names
from anyws.protocol.keys import MAGIC_STRING as magic_string

from ._addresses import Address, SocketAddresses, get_address
from ._certificates import TLSOptions
from ._client_connect import client_connect
from ._options import (
    ClientConnectOptions,
    ClientSocketOptions,
    ListenerOptions,
    ServerSocketOptions,
    SocketServerOptions,
)
from ._server import Ready, server
from ._socket import Backpressure, Socket

__all__ = [
    "Address",
    "Backpressure",
    "ClientConnectOptions",
    "ClientSocketOptions",
    "ListenerOptions",
    "Ready",
    "ServerSocketOptions",
    "Socket",
    "SocketAddresses",
    "SocketServerOptions",
    "TLSOptions",
    "client_connect",
    "get_address",
    "magic_string",
    "server",
]

claim_names(globals())
