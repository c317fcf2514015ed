"""Who may come in: how many connections in all, from one address, and in the opening handshake."""

from __future__ import annotations

from collections import Counter
from ipaddress import IPv4Address, ip_address

import anyio
from anyio import TypedAttributeProvider
from anyio.abc import SocketAttribute

from .options import ServerOptions
from .protocol.http11 import Response

__all__ = ["Admission", "Entry"]

_RETRY = [("Retry-After", "1")]


class Entry:
    """One accepted stream on its way through the opening handshake.

    Attributes:
        refusal: what to answer, where nothing is wrong with the request itself; None to let the client in.
        is_interrupted: whether the client was turned away while it, or a hook, was waited for.
    """

    __slots__ = ("_is_turned_away", "_waiting", "is_interrupted", "refusal")

    def __init__(self) -> None:
        self.refusal: Response | None = None
        self.is_interrupted: bool = False
        self._waiting: anyio.CancelScope | None = None
        self._is_turned_away = False

    def waiting(self, limit: float | None = None) -> anyio.CancelScope:
        """Return a scope to wait in for the client, and for hooks; it is cancelled when the client is turned away.

        Args:
            limit: how long it may take, in seconds; None for no limit.
        """
        self._waiting = anyio.move_on_after(limit)
        if self._is_turned_away:
            self._interrupt()
        return self._waiting

    def settle(self) -> None:
        """Take notice that nothing is waited for any more."""
        self._waiting = None

    def turn_away(self, why: str) -> None:
        """Answer 503, without waiting for the request."""
        self.refusal = self.refusal or _unavailable(why)
        self._is_turned_away = True
        self._interrupt()

    def _interrupt(self) -> None:
        if self._waiting is not None:
            self.is_interrupted = True
            self._waiting.cancel()


class Admission:
    """Counts the streams of a server, and says who is one too many.

    Args:
        options: the limits.
    """

    def __init__(self, options: ServerOptions) -> None:
        self._options = options
        self._entries: dict[Entry, str | None] = {}
        self._opening: set[Entry] = set()
        self._by_address: Counter[str] = Counter()
        self._is_stopping = False

    def enter(self, stream: TypedAttributeProvider) -> Entry:
        """Take in an accepted stream; its `Entry` says whether it is to be refused."""
        entry = Entry()
        address = None if self._options.max_connections_per_address is None else _address(stream)
        if self._is_stopping:
            entry.turn_away("the server stops")
        elif _reached(self._options.max_handshakes, len(self._opening)):
            entry.turn_away("too many opening handshakes")
        elif _reached(self._options.max_connections, len(self._entries)):
            entry.refusal = _unavailable("too many connections")
        elif address is not None and _reached(self._options.max_connections_per_address, self._by_address[address]):
            entry.refusal = Response(429, _RETRY, "too many connections from this address\n")
        self._entries[entry] = address
        self._opening.add(entry)
        if address is not None:
            self._by_address[address] += 1
        return entry

    def opened(self, entry: Entry) -> None:
        """Take notice that the opening handshake has ended, in whatever way."""
        self._opening.discard(entry)
        entry.settle()

    def leave(self, entry: Entry) -> None:
        """Take notice that the stream has ended."""
        self.opened(entry)
        address = self._entries.pop(entry)
        if address is not None:
            self._by_address[address] -= 1
            if not self._by_address[address]:
                del self._by_address[address]

    def stop(self) -> None:
        """Turn away those that are in the opening handshake, and whoever comes from now on."""
        self._is_stopping = True
        for entry in self._opening:
            entry.turn_away("the server stops")


def _reached(limit: int | None, count: int) -> bool:
    return limit is not None and count >= limit


def _unavailable(why: str) -> Response:
    return Response(503, _RETRY, f"{why}\n")


def _address(stream: TypedAttributeProvider) -> str | None:
    """The client's address as the limit sees it: of IPv6 the first 64 bits, which one client may have whole."""
    remote = stream.extra(SocketAttribute.remote_address, None)
    if not isinstance(remote, tuple):
        return None
    address = ip_address(remote[0].partition("%")[0])
    if isinstance(address, IPv4Address):
        return str(address)
    return str(address.ipv4_mapped or address.exploded[:19])
