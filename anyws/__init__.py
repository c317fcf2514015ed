"""anyws: WebSocket client and server for trio and asyncio, on AnyIO (RFC 6455)."""

from ._version import __version__ as __version__
from .accepting import accept as accept
from .client import connect as connect
from .exceptions import (
    ConnectionBroken as ConnectionBroken,
    ConnectionClosed as ConnectionClosed,
    ConnectionClosedLocally as ConnectionClosedLocally,
    ConnectionEnded as ConnectionEnded,
)
from .protocol.closing import Close as Close, CloseCode as CloseCode
from .protocol.errors import (
    HandshakeError as HandshakeError,
    HandshakeRefused as HandshakeRefused,
    InvalidText as InvalidText,
    InvalidURI as InvalidURI,
    LimitExceeded as LimitExceeded,
    LocalProtocolError as LocalProtocolError,
    ProtocolError as ProtocolError,
    RemoteProtocolError as RemoteProtocolError,
    WebSocketError as WebSocketError,
)
from .protocol.headers import Headers as Headers
from .protocol.http11 import Request as Request, Response as Response
from .servers import Server as Server
from .serving import open_server as open_server, serve as serve
from .websocket import MessageStream as MessageStream, WebSocket as WebSocket
