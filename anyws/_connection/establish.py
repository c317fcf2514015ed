"""From a completed opening handshake to the running connection."""

from __future__ import annotations

from anyio.abc import ByteStream

from anyws._logs import ConnectionLogger
from anyws.protocol.client_handshake import ClientHandshake
from anyws.protocol.connection import Connection, Role
from anyws.protocol.http11 import Response
from anyws.protocol.server_handshake import ServerHandshake

from .link import Link
from .options import ConnectionOptions
from .websocket import WebSocket

__all__ = ["establish", "new_core"]


def establish(
    handshake: ClientHandshake | ServerHandshake,
    response: Response,
    stream: ByteStream,
    options: ConnectionOptions,
    logger: ConnectionLogger,
    *,
    masking: bool = True,
    accept_unmasked: bool = False,
) -> tuple[WebSocket, Link]:
    """Return the connection that a completed opening handshake has established on a stream.

    Args:
        handshake: the completed handshake; its class says whether this side is the client or the server.
        response: the response 101.
        stream: the byte stream.
        options: the options.
        logger: the logger of the connection.
        masking: see the options of a client.
        accept_unmasked: see the options of a server.
    """
    assert handshake.request is not None
    core = new_core(handshake, options, masking=masking, accept_unmasked=accept_unmasked)
    link = Link(stream, core, options, logger)
    if handshake.trailing_data:
        link.feed_first(handshake.trailing_data)
    return WebSocket(link, handshake.request, response, handshake.subprotocol), link


def new_core(
    handshake: ClientHandshake | ServerHandshake,
    options: ConnectionOptions,
    *,
    masking: bool = True,
    accept_unmasked: bool = False,
) -> Connection:
    """Return the protocol that a completed opening handshake has agreed on. The arguments are those of `establish`."""
    return Connection(
        Role.CLIENT if isinstance(handshake, ClientHandshake) else Role.SERVER,
        max_message_size=options.max_message_size,
        max_frame_size=options.max_frame_size,
        max_fragments=options.max_fragments,
        masking=masking,
        accept_unmasked=accept_unmasked,
        codecs=handshake.codecs,
        hold_failure=True,
    )
