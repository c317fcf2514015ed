"""For tests of programs that use anyws: connections without a network, and a peer that does exactly what it is told."""

from anyws._names import claim_names

from ._connections import websocket_pair, connect_to_handler, local_server, scripted_peer, scripted_server
from ._scripted import Frame, ScriptedPeer
from ._streams import MemoryStream, memory_stream_pair

__all__ = [
    "Frame",
    "MemoryStream",
    "ScriptedPeer",
    "websocket_pair",
    "connect_to_handler",
    "local_server",
    "memory_stream_pair",
    "scripted_peer",
    "scripted_server",
]

claim_names(globals())
