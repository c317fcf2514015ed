"""The options of a connection that client and server share: each with its name, unit, default and reason.

The dataclasses hold the values; the typed dictionaries beside them give type checkers and editors the same names as
keywords. A test keeps the two equal.
"""

# No `from __future__ import annotations`: the annotations are the types that options are checked against.

import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypedDict

from anyws._checking import check_positive
from anyws.protocol.deflate import PRESETS, PerMessageDeflate, Preset
from anyws.protocol.extensions import Extension

__all__ = [
    "ConnectionKeywords",
    "ConnectionOptions",
    "check_side",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionOptions:
    """The options of clients and servers. Times are in seconds, sizes in bytes; None switches a limit off.

    Attributes:
        ssl_context: the TLS context. A client without one uses a default context for ``wss:``, which trusts what the
            system trusts and checks the name. Each thread makes it at its first connection and keeps it, so
            certificates that the system gets later count after a restart. A server without one speaks plain TCP.
        close_timeout: bounds the closing handshake and the end of TCP and TLS together; then the connection is cut.
            10 s, as in websockets.
        ping_interval: a peer that was silent for so long gets a Ping. Any byte that comes in counts as a sign of life,
            also while the application receives nothing. 20 s, below the 30 s or 60 s of common proxies.
        ping_timeout: a peer that stays silent for so long after that Ping is given up (1006). 20 s, as in websockets.
        write_timeout: a peer that takes nothing of what is written for so long is given up (1006). None: no limit,
            because a peer may have its reasons to read late; then only its silence counts (``ping_timeout``).
        max_message_size: the largest message, over all its fragments; refused with 1009 at the header of the frame that
            would exceed it. 1 MiB, as in websockets.
        max_frame_size: the largest data frame; 1009 likewise. No limit besides that of the message.
        max_fragments: the most frames that one message may have, empty ones included; 1009. 16,384, as in ws.
        receive_buffer: received messages that nobody has taken yet may fill so much memory; beyond, nothing more is
            read, and TCP holds the peer back. 64 KiB, as the receive window of a new TCP connection.
        send_buffer: frames that wait to be written may fill so much memory before ``send()`` waits. One message more
            may stand beyond it. 64 KiB, as in uWebSockets.
        compression: permessage-deflate (RFC 7692): True or the name of a preset, ``"memory"``, ``"default"``,
            ``"ratio"`` or ``"speed"``; or a `PerMessageDeflate` with exact parameters. None: off, because it costs
            memory and time for each connection, and because compressed secrets beside a peer's data can be guessed
            (RFC 7692, 8).
    """

    ssl_context: ssl.SSLContext | None = None
    close_timeout: float | None = 10
    ping_interval: float | None = 20
    ping_timeout: float | None = 20
    write_timeout: float | None = None
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
            "max_message_size",
            "max_frame_size",
            "max_fragments",
            "receive_buffer",
            "send_buffer",
        )

    @property
    def deflate(self) -> Sequence[Extension]:
        """What ``compression`` asks for, as extensions."""
        if isinstance(self.compression, PerMessageDeflate):
            return [self.compression]
        return [PRESETS["default" if self.compression is True else self.compression]] if self.compression else []


def check_side(option: str, context: ssl.SSLContext | None, purpose: ssl.Purpose) -> None:
    """Check that a context is not one of the other side, with which every handshake would fail."""
    ours, theirs = ("server", "client") if purpose is ssl.Purpose.CLIENT_AUTH else ("client", "server")
    other = ssl.PROTOCOL_TLS_CLIENT if ours == "server" else ssl.PROTOCOL_TLS_SERVER
    if context is not None and context.protocol is other:
        raise ValueError(
            f"option {option} is a context of a {theirs} ({other.name}): expected one of a {ours}, "
            f"such as ssl.create_default_context(ssl.Purpose.{purpose.name})"
        )


class ConnectionKeywords(TypedDict, total=False):
    ssl_context: ssl.SSLContext | None
    close_timeout: float | None
    ping_interval: float | None
    ping_timeout: float | None
    write_timeout: float | None
    max_message_size: int | None
    max_frame_size: int | None
    max_fragments: int | None
    receive_buffer: int
    send_buffer: int
    compression: bool | Preset | PerMessageDeflate | None
