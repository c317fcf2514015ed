"""An asyncio transport as the stream of a link. Programs on trio import this module, so it does not import asyncio."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from anyio import TypedAttributeProvider
from anyio.abc import SocketAttribute

from anyws._transport.stream import address_attributes
from anyws._transport.tls import tls_attributes

if TYPE_CHECKING:
    import asyncio

__all__ = ["TransportStream"]


class TransportStream(TypedAttributeProvider):
    """An asyncio transport as the stream of a link, which leaves reading and writing to its `TransportPump`.

    Args:
        transport: the transport; the link owns it.
    """

    def __init__(self, transport: asyncio.Transport) -> None:
        self.transport: asyncio.Transport = transport
        self.ssl_object: Any = transport.get_extra_info("ssl_object")
        self.raw_socket: Any = transport.get_extra_info("socket")
        self.remote_address: Any = transport.get_extra_info("peername")

    @property
    def is_plain_socket(self) -> bool:
        """Whether it is a socket without TLS."""
        return self.raw_socket is not None and self.ssl_object is None

    @property
    def extra_attributes(self) -> Mapping[Any, Callable[[], Any]]:
        """The attributes of `anyio.abc.SocketAttribute`, and with TLS of `anyio.streams.tls.TLSAttribute`."""
        attributes = address_attributes(self.transport.get_extra_info("sockname"), self.remote_address)
        raw_socket = self.raw_socket
        if raw_socket is not None:
            attributes[SocketAttribute.family] = lambda: raw_socket.family
            attributes[SocketAttribute.raw_socket] = lambda: raw_socket
        return attributes if self.ssl_object is None else {**attributes, **tls_attributes(self.ssl_object)}
