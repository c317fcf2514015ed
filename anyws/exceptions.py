"""What a user catches once the connection was open.

`ConnectionClosed` is the question "is it over?"; its three subclasses answer it in AnyIO's vocabulary, so that code
which knows AnyIO's streams, but not anyws, does the right thing.
"""

from __future__ import annotations

import anyio

from .protocol.closing import Close, CloseCode
from .protocol.errors import WebSocketError

__all__ = ["ConnectionClosed", "ConnectionClosedError", "ConnectionClosedLocally", "ConnectionClosedOK"]

_CLEAN = (CloseCode.NORMAL_CLOSURE, CloseCode.GOING_AWAY, CloseCode.NO_STATUS_RECEIVED)


class ConnectionClosed(WebSocketError):
    """The connection is closed, or closing, and cannot do what was asked for.

    Where the peer broke a rule or exceeded a limit, or the network failed, that error is the ``__cause__``.

    Attributes:
        received: the Close of the peer: ``code`` (1005 when it had none) and ``reason``; None if none came.
        sent: our own Close, as it was queued; None if none was.
        detail: why we aborted the connection, for example a timeout; empty otherwise.
        undelivered: the number of bytes of messages that were accepted and that the peer has not taken, as far as we
            know: what was still in our buffers and, on Linux and macOS, in the kernel's. 0 if the peer's Close has
            come: it wanted no more.
    """

    def __init__(self, *, received: Close | None, sent: Close | None, detail: str = "", undelivered: int = 0) -> None:
        theirs = "no Close received" if received is None else f"received {received}"
        ours = "no Close sent" if sent is None else f"sent {sent}"
        lost = f"{undelivered} bytes of messages were not delivered" if undelivered else ""
        super().__init__("; ".join(filter(None, (detail, lost, theirs, ours))))
        self.received = received
        self.sent = sent
        self.detail: str = detail
        self.undelivered: int = undelivered

    @property
    def code(self) -> int:
        """The received close code; 1005 when the Close had none, 1006 when there was no Close (RFC 6455, 7.1.5)."""
        return int(CloseCode.ABNORMAL_CLOSURE) if self.received is None else self.received.code

    @property
    def reason(self) -> str:
        """The received reason; empty when there was none."""
        return "" if self.received is None else self.received.reason


class ConnectionClosedOK(ConnectionClosed, anyio.EndOfStream):
    """Nothing more will be received: the peer closed with 1000, 1001 or no code. Ends ``async for``."""


class ConnectionClosedError(ConnectionClosed, anyio.BrokenResourceError):
    """The connection was lost, or closed with a code that is no clean end; or we sent after the Close of the peer."""


class ConnectionClosedLocally(ConnectionClosed, anyio.ClosedResourceError):
    """We tried to send after our own ``aclose()`` or ``send_eof()``."""


def is_clean(received: Close | None) -> bool:
    """Say whether a received Close is a clean end."""
    return received is not None and received.code in _CLEAN
