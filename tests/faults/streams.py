"""A byte stream that misbehaves as networks do, at points that a seed has chosen."""

from __future__ import annotations

import enum
import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import anyio
from anyio.abc import ByteStream
from anyio.lowlevel import checkpoint

__all__ = ["Fault", "FaultyStream", "Weather", "Wire"]

T = TypeVar("T")


class Fault(enum.Enum):
    """What happens once, when a stream has written so many bytes."""

    RESET = "reset"
    """Both ends lose the connection, and what was on its way."""
    HALF_CLOSE = "half-close"
    """The other end sees the end of this side; what is written after is lost."""
    BLOCK = "block"
    """Nothing is taken any more."""
    STALL = "stall"
    """Nothing is taken for some seconds."""


@dataclass(frozen=True)
class Weather:
    """How one end of a connection behaves.

    Attributes:
        delay: the most passes of the event loop that a call takes in addition.
        piece: the most bytes that go through in one piece, either way; None for any number.
        fault: what happens at a point.
        at: the bytes that are written before the fault.
        stall: how long a `Fault.STALL` lasts, in seconds.
    """

    delay: int = 0
    piece: int | None = None
    fault: Fault | None = None
    at: int = 0
    stall: float = 0


class Wire:
    """What two ends share: a reset of one is a reset of both."""

    def __init__(self) -> None:
        self.is_reset = False
        self._waiting: set[anyio.CancelScope] = set()

    def reset(self) -> None:
        """Lose the connection; whoever waits on either end sees it."""
        self.is_reset = True
        for scope in self._waiting:
            scope.cancel()

    async def unless_reset(self, operation: Callable[..., Awaitable[T]], *arguments: Any) -> T:
        """Call an operation of a stream; raise as soon as the connection is lost."""
        if not self.is_reset:
            with anyio.CancelScope() as scope:
                self._waiting.add(scope)
                try:
                    return await operation(*arguments)
                finally:
                    self._waiting.discard(scope)
        await checkpoint()
        raise anyio.BrokenResourceError("reset")


class FaultyStream(ByteStream):
    """One end of a connection, in some weather.

    Args:
        stream: the stream below; owned.
        wire: shared with the other end.
        weather: how this end behaves.
        rng: where the choices come from.
    """

    def __init__(self, stream: ByteStream, wire: Wire, weather: Weather, rng: random.Random) -> None:
        self._stream = stream
        self._wire = wire
        self._weather = weather
        self._rng = rng
        self._left: int | None = None if weather.fault is None else weather.at  # to be written before the fault
        self._arrived = b""
        self._half_closed = False
        self._sending = self._receiving = False
        self.is_closed = False

    async def receive(self, max_bytes: int = 65536) -> bytes:
        """Return a piece of what has come; a cancelled call loses nothing."""
        assert not self._receiving, "two tasks receive"
        self._receiving = True
        try:
            await self._delay()
            if not self._arrived:
                self._arrived = await self._wire.unless_reset(self._stream.receive, max_bytes)
            size = min(max_bytes, self._piece())
            piece, self._arrived = self._arrived[:size], self._arrived[size:]
            return piece
        finally:
            self._receiving = False

    async def send(self, item: bytes) -> None:
        """Write all of the bytes, in pieces, unless the fault comes before."""
        assert not self._sending, "two tasks write"
        self._sending = True
        try:
            rest = memoryview(item)
            while rest:
                await self._delay()
                size = min(len(rest), self._piece())
                if self._left is not None:
                    if self._left == 0:
                        await self._fail()
                        continue
                    size = min(size, self._left)
                    self._left -= size
                await self._wire.unless_reset(self._stream.send, bytes(rest[:size]))
                rest = rest[size:]
        finally:
            self._sending = False

    async def send_eof(self) -> None:
        """End this side."""
        await self._delay()
        if not self._half_closed:
            await self._wire.unless_reset(self._stream.send_eof)

    async def aclose(self) -> None:
        """Close both sides at once."""
        self.is_closed = True
        await self._stream.aclose()

    @property
    def extra_attributes(self) -> Mapping[Any, Callable[[], Any]]:
        """The attributes of the stream below."""
        return self._stream.extra_attributes

    def _piece(self) -> int:
        return 1 << 30 if self._weather.piece is None else self._rng.randint(1, self._weather.piece)

    async def _delay(self) -> None:
        for _ in range(self._rng.randint(0, self._weather.delay)):
            await checkpoint()

    async def _fail(self) -> None:
        """Let the fault happen that is due; it happens once, or for ever."""
        match self._weather.fault:
            case Fault.RESET:
                self._wire.reset()
                self._left = None
            case Fault.HALF_CLOSE:
                if not self._half_closed:
                    self._half_closed = True
                    await self._wire.unless_reset(self._stream.send_eof)
                raise anyio.BrokenResourceError("this side has ended")
            case Fault.BLOCK:
                await self._wire.unless_reset(anyio.sleep_forever)
            case _:
                self._left = None
                await self._wire.unless_reset(anyio.sleep, self._weather.stall)
