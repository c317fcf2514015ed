"""Connection limits: in total, per address, and in the opening handshake."""

from __future__ import annotations

from collections import Counter
from ipaddress import IPv4Address, ip_address

import anyio
from anyio import TypedAttributeProvider
from anyio.abc import SocketAttribute

from anyws.protocol.http11 import Response

from .options import ServerOptions

__all__ = ["ConnectionLimits", "PendingHandshake"]

_RETRY = [("Retry-After", "1")]
# From how many refused clients the server still reads the request, so that the response follows it.
_MAX_REFUSED = 64


class PendingHandshake:
    """The opening handshake of one accepted stream.

    Args:
        group: the set that this one belongs to until its response is known.

    Attributes:
        refusal: the response that refuses the client even if its request is valid; None to accept it.
        is_interrupted: whether the client was refused while the server was waiting for its request or for a hook.
    """

    __slots__ = ("_group", "_is_refused_now", "_scope", "is_interrupted", "refusal")

    def __init__(self, group: set[PendingHandshake] | None = None) -> None:
        self.refusal: Response | None = None
        self.is_interrupted: bool = False
        self._group: set[PendingHandshake] = set() if group is None else group
        self._group.add(self)
        self._scope: anyio.CancelScope | None = None
        self._is_refused_now = False

    def interruptible(self, timeout: float | None = None) -> anyio.CancelScope:
        """Return a cancel scope for waiting for the client and hooks; it is cancelled when the client is refused.

        Args:
            timeout: how long to wait, in seconds; None for no limit.
        """
        self._scope = anyio.move_on_after(timeout)
        if self._is_refused_now:
            self._interrupt()
        return self._scope

    def mark_decided(self) -> None:
        """Record that the response is known and only needs to be written."""
        self._scope = None
        self._group.discard(self)

    def refuse_now(self, refusal: Response) -> None:
        """Refuse the client without waiting for its request."""
        self.refusal = self.refusal or refusal
        self._is_refused_now = True
        self._interrupt()

    def _interrupt(self) -> None:
        if self._scope is not None:
            self.is_interrupted = True
            self._scope.cancel()


class ConnectionLimits:
    """Counts the streams of a server, and refuses those beyond a limit.

    Refused streams are counted separately, so that they do not use up the limits.

    Args:
        options: the server's options, with the limits.
    """

    def __init__(self, options: ServerOptions) -> None:
        self._options = options
        self._counted: dict[PendingHandshake, str | None] = {}
        self._opening: set[PendingHandshake] = set()
        self._refused: set[PendingHandshake] = set()
        self._by_address: Counter[str] = Counter()
        self._is_stopping = False

    def add(self, stream: TypedAttributeProvider) -> PendingHandshake:
        """Count an accepted stream; the returned `PendingHandshake` says whether to refuse it."""
        address = None if self._options.max_connections_per_address is None else _address(stream)
        refusal = self._refusal(address)
        if refusal is None:
            pending = PendingHandshake(self._opening)
            self._counted[pending] = address
            if address is not None:
                self._by_address[address] += 1
            return pending
        is_immediate = self._is_stopping or self._is_busy or len(self._refused) >= _MAX_REFUSED
        pending = PendingHandshake(None if is_immediate else self._refused)
        pending.refusal = refusal
        if is_immediate:
            pending.refuse_now(refusal)
        return pending

    def remove(self, pending: PendingHandshake) -> None:
        """Stop counting a stream that has ended."""
        pending.mark_decided()
        address = self._counted.pop(pending, None)
        if address is not None:
            self._by_address[address] -= 1
            if not self._by_address[address]:
                del self._by_address[address]

    def refuse_all(self) -> None:
        """Refuse all streams in the opening handshake, and all new ones."""
        self._is_stopping = True
        for pending in self._opening | self._refused:
            pending.refuse_now(_STOPPING)

    @property
    def _is_busy(self) -> bool:
        return _is_reached(self._options.max_handshakes, len(self._opening))

    def _refusal(self, address: str | None) -> Response | None:
        options = self._options
        if self._is_stopping:
            return _STOPPING
        if address is not None and _is_reached(options.max_connections_per_address, self._by_address[address]):
            return Response(429, _RETRY, "too many connections from this address\n")
        if _is_reached(options.max_connections, len(self._counted)):
            return _unavailable("too many connections")
        if self._is_busy:
            return _unavailable("too many opening handshakes")
        return None


def _is_reached(limit: int | None, count: int) -> bool:
    return limit is not None and count >= limit


def _unavailable(why: str) -> Response:
    return Response(503, _RETRY, f"{why}\n")


_STOPPING = _unavailable("the server is shutting down")


def _address(stream: TypedAttributeProvider) -> str | None:
    """Return the address to count a client by: for IPv6 the /64 network, all of which one client may own."""
    remote = stream.extra(SocketAttribute.remote_address, None)
    if not isinstance(remote, tuple):
        return None
    address = ip_address(remote[0].partition("%")[0])
    if isinstance(address, IPv4Address):
        return str(address)
    return str(address.ipv4_mapped or address.exploded[:19])
