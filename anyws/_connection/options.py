"""Options shared by clients and servers, each with its unit, its default and the reason for it.

The dataclass holds the values. The typed dictionary gives type checkers and editors the same names as keywords. A test
keeps the two in sync.
"""

# No `from __future__ import annotations`: the annotations are the types that options are checked against.

import functools
import logging
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypedDict

from anyws._checking import check_positive
from anyws.protocol.deflate import PRESETS, PerMessageDeflate, Preset
from anyws.protocol.extensions import Extension

from .rate_limit import RateLimit

__all__ = [
    "ConnectionKeywords",
    "ConnectionOptions",
    "check_side",
]

_logger = logging.getLogger("anyws")


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionOptions:
    """Options of clients and servers. Times are in seconds, sizes in bytes; None disables a limit.

    Attributes:
        ssl_context: the TLS context. For ``wss:``, a client without one uses a default context, which trusts the
            system's certificates and checks the host name. Each thread creates it for its first connection and keeps
            it, so certificates added to the system later, or another ``SSL_CERT_FILE``, take effect after a restart. A
            server without one speaks plain TCP.
        close_timeout: time limit for the closing handshake and shutting down TLS and TCP together; after that the
            connection is aborted. 10 s, as in websockets.
        ping_interval: send a Ping if nothing is received for this many seconds. Any incoming byte counts, even while
            the application isn't receiving. 20 s, below the idle timeouts of 30 s or 60 s of common proxies.
        ping_timeout: drop the connection (1006) if nothing is received within this many seconds after that Ping. 20 s,
            as in websockets.
        write_timeout: drop the connection (1006) if the peer accepts none of the data being written for this many
            seconds. None: no limit, because a peer may have good reason to read late; it must still respond to Pings
            (``ping_timeout``).
        idle_timeout: close with 1001 (going away) if no message is received or sent for this many seconds. Pings don't
            count, and a message in transit does. It is checked four times within this time, so the close comes up to a
            quarter later. None: no limit, because an idle connection costs little, and Pings find those that are lost.
        max_lifetime: close after this many seconds: a server with 1012 (service restart), upon which clients reconnect,
            and a client with 1001. Use it to move connections to new servers behind a load balancer. Up to 10 % is
            taken off at random, so that connections opened together don't all end together. None: no limit.
        rate_limit: how fast the peer may send, and what to do if it is faster: a `RateLimit`, for example
            ``RateLimit(messages=50, bytes=100_000)`` per second. None: as fast as the application receives.
        max_message_size: maximum size of a message, over all its fragments. A larger one is rejected with 1009 as soon
            as the header of the offending frame arrives. 1 MiB, as in websockets.
        max_frame_size: maximum size of a data frame; a larger one is rejected with 1009. None: only the message size is
            limited.
        max_fragments: maximum number of frames in a message, empty ones included; beyond that it is rejected with 1009.
            16,384, as in ws.
        receive_buffer: how much memory messages may take that were received but not yet read by the application. When
            it is full, reading from the network stops and TCP slows the peer down. 64 KiB, like the receive window of a
            new TCP connection.
        send_buffer: how much memory frames may take that are waiting to be written. When it is full, ``send()`` waits.
            One more message may exceed it. 64 KiB, as in uWebSockets.
        compression: permessage-deflate (RFC 7692): True or the name of a preset (``"memory"``, ``"default"``,
            ``"ratio"`` or ``"speed"``), or a `PerMessageDeflate` with exact parameters. None: off, because compression
            costs memory and time for each connection, and because secrets compressed together with a peer's data can be
            guessed (RFC 7692, section 8).
    """

    ssl_context: ssl.SSLContext | None = None
    close_timeout: float | None = 10
    ping_interval: float | None = 20
    ping_timeout: float | None = 20
    write_timeout: float | None = None
    idle_timeout: float | None = None
    max_lifetime: float | None = None
    rate_limit: RateLimit | None = None
    max_message_size: int | None = 1024 * 1024
    max_frame_size: int | None = None
    max_fragments: int | None = 16384
    receive_buffer: int = 65536
    send_buffer: int = 65536
    compression: bool | Preset | PerMessageDeflate | None = None

    def __post_init__(self) -> None:
        check_positive(
            self,
            "close_timeout",
            "ping_interval",
            "ping_timeout",
            "write_timeout",
            "idle_timeout",
            "max_lifetime",
            "max_message_size",
            "max_frame_size",
            "max_fragments",
            "receive_buffer",
            "send_buffer",
        )

    @property
    def deflate(self) -> Sequence[Extension]:
        """The value of ``compression``, as extensions."""
        if not self.compression:
            return []
        if isinstance(self.compression, PerMessageDeflate):
            deflate = self.compression
        else:
            deflate = PRESETS["default" if self.compression is True else self.compression]
        _log_library(deflate.library.__name__)
        return [deflate]


@functools.cache
def _log_library(name: str) -> None:
    """Log once that a compression module is in use."""
    _logger.debug("compressing with %s", name)


def check_side(option: str, context: ssl.SSLContext | None, purpose: ssl.Purpose) -> None:
    """Check that a TLS context is not meant for the other side, which would make every handshake fail."""
    ours, theirs = ("server", "client") if purpose is ssl.Purpose.CLIENT_AUTH else ("client", "server")
    other = ssl.PROTOCOL_TLS_CLIENT if ours == "server" else ssl.PROTOCOL_TLS_SERVER
    if context is not None and context.protocol is other:
        raise ValueError(
            f"option {option} is a {theirs} context ({other.name}): expected a {ours} context, "
            f"for example ssl.create_default_context(ssl.Purpose.{purpose.name})"
        )


class ConnectionKeywords(TypedDict, total=False):
    ssl_context: ssl.SSLContext | None
    close_timeout: float | None
    ping_interval: float | None
    ping_timeout: float | None
    write_timeout: float | None
    idle_timeout: float | None
    max_lifetime: float | None
    rate_limit: RateLimit | None
    max_message_size: int | None
    max_frame_size: int | None
    max_fragments: int | None
    receive_buffer: int
    send_buffer: int
    compression: bool | Preset | PerMessageDeflate | None
