"""Pumps, which move bytes between a byte stream and a link."""

from __future__ import annotations

import asyncio

from anyio.abc import ByteStream
from anyio.lowlevel import current_token

from anyws._transport.stream import SocketStream
from anyws._transport.tls import TLSRecords, TLSStream

from .background import Alarm, Background, Timer, open_background
from .callbacks import CallbackPump
from .closed import CLOSED
from .pump import LinkInterface, Pump
from .streams import StreamPump
from .transports import TransportPump, TransportStream

__all__ = [
    "CLOSED",
    "Alarm",
    "Background",
    "LinkInterface",
    "Pump",
    "Timer",
    "TransportPump",
    "TransportStream",
    "new_pump",
    "open_background",
]


def new_pump(link: LinkInterface, stream: ByteStream | TransportStream) -> Pump:
    """Return the best pump for a stream on this event loop."""
    loop = current_token().native_token
    if isinstance(stream, TransportStream):
        assert isinstance(loop, asyncio.AbstractEventLoop)
        return TransportPump(link, stream, loop, has_sockets=CallbackPump.is_possible(loop))
    records: TLSRecords | None = None
    if isinstance(stream, TLSStream):
        records, below = stream.records, stream.transport_stream
    else:
        below = stream
    if not isinstance(below, SocketStream):
        return StreamPump(link, stream)
    if not isinstance(loop, asyncio.AbstractEventLoop):
        from .waiting import WaitingPump  # imported only where trio is running

        return WaitingPump(link, below, records)
    if CallbackPump.is_possible(loop):
        return CallbackPump(link, below, records, loop)
    return StreamPump(link, stream)
