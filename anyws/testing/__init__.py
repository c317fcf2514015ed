"""Test utilities: connections without a network, a scripted peer, and an engine of topics that fails on command."""

from anyws._names import claim_names

from ._connections import connect_to_handler, local_server, scripted_peer, scripted_server, websocket_pair
from ._engines import FaultyEngine
from ._fixtures import ClientFactory, ServerFactory
from ._scripted import Frame, ScriptedPeer
from ._streams import MemoryStream, memory_stream_pair

__all__ = [
    "ClientFactory",
    "FaultyEngine",
    "Frame",
    "MemoryStream",
    "ScriptedPeer",
    "ServerFactory",
    "connect_to_handler",
    "local_server",
    "memory_stream_pair",
    "scripted_peer",
    "scripted_server",
    "websocket_pair",
]

claim_names(globals())
