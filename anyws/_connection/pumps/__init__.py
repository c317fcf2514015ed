"""Pumps, which move bytes between a byte stream and a link."""

from __future__ import annotations

from anyio.abc import ByteStream
from anyio.lowlevel import current_token

from anyws._event_loops import is_asyncio_loop
from anyws._transport.stream import SocketStream
from anyws._transport.tls import TLSRecords, TLSStream

from .background import Alarm, Background, Timer, open_background
from .closed import CLOSED
from .pump import LinkInterface, Pump
from .streams import StreamPump
from .transport_stream import TransportStream

__all__ = [
    "CLOSED",
    "Alarm",
    "Background",
    "LinkInterface",
    "Pump",
    "Timer",
    "TransportStream",
    "new_pump",
    "open_background",
]


def new_pump(link: LinkInterface, stream: ByteStream | TransportStream) -> Pump:
    """Return the best pump for a stream on this event loop."""
    loop = current_token().native_token
    records: TLSRecords | None = None
    if isinstance(stream, TransportStream):
        from .callbacks import CallbackPump
        from .transports import TransportPump

        assert is_asyncio_loop(loop)
        return TransportPump(link, stream, loop, has_sockets=CallbackPump.is_possible(loop))
    below = stream
    # isinstance() is slow for another class, because these are abstract.
    if type(stream) is not SocketStream and isinstance(stream, TLSStream):
        records, below = stream.records, stream.transport_stream
    if not isinstance(below, SocketStream):
        return StreamPump(link, stream)
    if not is_asyncio_loop(loop):
        from .waiting import WaitingPump  # imported only where trio is running

        return WaitingPump(link, below, records)
    from .callbacks import CallbackPump  # imported only where asyncio is running

    if CallbackPump.is_possible(loop):
        return CallbackPump(link, below, records, loop)
    return StreamPump(link, stream)
