"""Test utilities: connections without a network, and a scripted peer that sends exactly what your test tells it to."""

from anyws._names import claim_names

from ._connections import connect_to_handler, local_server, scripted_peer, scripted_server, websocket_pair
from ._scripted import Frame, ScriptedPeer
from ._streams import MemoryStream, memory_stream_pair

__all__ = [
    "Frame",
    "MemoryStream",
    "ScriptedPeer",
    "connect_to_handler",
    "local_server",
    "memory_stream_pair",
    "scripted_peer",
    "scripted_server",
    "websocket_pair",
]

claim_names(globals())
