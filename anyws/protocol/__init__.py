"""RFC 6455 without I/O: bytes in, events and bytes out. For authors of other I/O layers, and for tests.

A client sends the bytes from `ClientHandshake.data_to_send` and passes the response to `ClientHandshake.receive_data`.
It then creates a `Connection` with `Role.CLIENT` and first passes `ClientHandshake.trailing_data` to it. A server does
the same with `ServerHandshake` and `Role.SERVER`.
"""

from .client_handshake import ClientHandshake as ClientHandshake
from .closing import Close as Close, CloseCode as CloseCode
from .connection import (
    Connection as Connection,
    Event as Event,
    Ping as Ping,
    Pong as Pong,
    Role as Role,
    State as State,
)
from .default_zlib import default_zlib as default_zlib
from .deflate import (
    DeflateParameters as DeflateParameters,
    InvalidDeflate as InvalidDeflate,
    PerMessageDeflate as PerMessageDeflate,
)
from .errors import (
    HandshakeError as HandshakeError,
    HandshakeRefused as HandshakeRefused,
    InvalidText as InvalidText,
    InvalidURI as InvalidURI,
    LimitExceeded as LimitExceeded,
    LocalProtocolError as LocalProtocolError,
    ProtocolError as ProtocolError,
    ProxyError as ProxyError,
    RateExceeded as RateExceeded,
    RemoteProtocolError as RemoteProtocolError,
    UnsupportedData as UnsupportedData,
    WebSocketError as WebSocketError,
)
from .extensions import (
    Codec as Codec,
    Extension as Extension,
    ExtensionOffer as ExtensionOffer,
    parse_extensions as parse_extensions,
    serialize_extensions as serialize_extensions,
)
from .frames import (
    FrameDecoder as FrameDecoder,
    FrameHeader as FrameHeader,
    FramePart as FramePart,
    Opcode as Opcode,
    serialize_frame as serialize_frame,
)
from .headers import Headers as Headers, HeadersLike as HeadersLike
from .http11 import Request as Request, Response as Response
from .keys import MAGIC_STRING as MAGIC_STRING, accept_value as accept_value
from .messages import MessageDecoder as MessageDecoder
from .proxy import Proxy as Proxy, ProxyHandshake as ProxyHandshake, parse_proxy as parse_proxy
from .query import Query as Query
from .server_handshake import ServerHandshake as ServerHandshake
from .speedups import apply_mask as apply_mask, speedups_in_use as speedups_in_use
from .subprotocols import SubprotocolSelector as SubprotocolSelector
from .uri import WebSocketURI as WebSocketURI, parse_uri as parse_uri
