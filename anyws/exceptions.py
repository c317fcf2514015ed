"""Exceptions raised by open connections and by topics.

Catch `ConnectionClosed` to find out that the connection is over. Its three subclasses also derive from AnyIO's stream
exceptions, so code written for AnyIO streams handles them correctly without knowing anyws.
"""

from __future__ import annotations

import anyio

from .protocol.closing import Close, CloseCode
from .protocol.errors import WebSocketError

__all__ = [
    "ConnectionClosed",
    "ConnectionClosedError",
    "ConnectionClosedLocally",
    "ConnectionClosedOK",
    "EngineUnavailable",
    "MessagesMissed",
]

_CLEAN = (CloseCode.NORMAL_CLOSURE, CloseCode.GOING_AWAY, CloseCode.NO_STATUS_RECEIVED)
_NAMES = {int(code): code.name.replace("_", " ").lower() for code in CloseCode}


class ConnectionClosed(WebSocketError):
    """The connection is closed or closing, so the operation is not possible.

    If the peer violated the protocol or exceeded a limit, or the network failed, that error is the ``__cause__``.

    Attributes:
        received: the Close frame that the peer sent, with its ``code`` (1005 if the frame had none) and ``reason``;
            None if no Close was received.
        sent: the Close frame that this side queued; None if there was none.
        detail: why this side aborted the connection, for example a timeout; empty otherwise.
        undelivered: the number of bytes in accepted messages that did not reach the peer, as far as this side knows:
            those still in the library's buffers and, on Linux and macOS, in the kernel's. 0 after the peer's Close,
            because the peer did not want any more data.
    """

    def __init__(self, *, received: Close | None, sent: Close | None, detail: str = "", undelivered: int = 0) -> None:
        lost = f"{undelivered} bytes of messages were not delivered" if undelivered else ""
        super().__init__("; ".join(filter(None, (detail, lost, self._describe_end(received, sent)))))
        self.received = received
        self.sent = sent
        self.detail: str = detail
        self.undelivered: int = undelivered

    @property
    def code(self) -> int:
        """The received close code; 1005 if the Close had none, 1006 without a Close (RFC 6455, section 7.1.5)."""
        return int(CloseCode.ABNORMAL_CLOSURE) if self.received is None else self.received.code

    @property
    def reason(self) -> str:
        """The received close reason; empty if there was none."""
        return "" if self.received is None else self.received.reason

    @staticmethod
    def _describe_end(received: Close | None, sent: Close | None) -> str:
        if received is not None:
            return f"closed by the peer: {_with_name(received)}"
        if sent is not None:
            return f"closed by this side: {_with_name(sent)}; no Close received"
        return "the connection ended without a closing handshake"


class ConnectionClosedOK(ConnectionClosed, anyio.EndOfStream):
    """The peer closed the connection normally: with code 1000, 1001 or none. Ends ``async for``."""


class ConnectionClosedError(ConnectionClosed, anyio.BrokenResourceError):
    """The connection was lost or closed with any other code, or you sent a message after the peer had closed it."""


class ConnectionClosedLocally(ConnectionClosed, anyio.ClosedResourceError):
    """You sent a message after calling ``aclose()`` or ``send_eof()``."""

    @staticmethod
    def _describe_end(received: Close | None, sent: Close | None) -> str:
        return f"cannot send: this side has closed the connection{'' if sent is None else f' ({sent.code})'}"


class EngineUnavailable(WebSocketError, ConnectionError):
    """The engine that carries the messages of topics cannot be used at the moment, or did not respond in time.

    It is a `ConnectionError`, and so an `OSError`, like the failure of any other service that your program connects to.
    """


class MessagesMissed(WebSocketError, anyio.BrokenResourceError):
    """A subscription has missed messages of a topic, and the engine no longer has them.

    Load the current state from where your program keeps it, and subscribe again.

    Attributes:
        topic: the topic.
        last: the position up to which nothing is missing; None if the position given as ``since`` was malformed.
        new: the position from which nothing is missing again; None if that is not known yet.
    """

    def __init__(self, topic: str, *, last: str | None, new: str | None, why: str) -> None:
        after = "" if last is None else f" after {last}"
        super().__init__(f"messages of topic {topic!r} were missed{after}: {why}")
        self.topic = topic
        self.last = last
        self.new = new


def is_clean(received: Close | None) -> bool:
    """Return whether a received Close is a normal closure."""
    return received is not None and received.code in _CLEAN


def _with_name(close: Close) -> str:
    """Return the code and its reason, or the name of the code if there is no reason."""
    if close.reason or close.code not in _NAMES:
        return str(close)
    return f"{close.code} ({_NAMES[close.code]})"
