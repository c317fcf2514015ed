"""What happens on a connection, all of it chosen by a seed."""

from __future__ import annotations

import enum
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from .streams import Fault, Weather

__all__ = ["End", "Message", "Mode", "Scenario", "Script", "Transport", "scenario_of"]

Transport = Literal["memory", "tcp"]
_FILLER = "aé€😀 the quick brown fox jumps over the lazy dog "


class Mode(enum.Enum):
    """How a message is sent."""

    SEND = "send()"
    NOWAIT = "send_nowait()"
    FRAMES = "send_nowait(fragment_size=)"
    ITERABLE = "send() of an iterable"


class End(enum.Enum):
    """What one side does at its end."""

    STAY = "waits for the other's end"
    LEAVE = "leaves the block"
    CLOSE = "aclose()"
    EOF = "send_eof(), goes on receiving"
    CRASH = "raises"
    CANCELLED = "is cancelled"


@dataclass(frozen=True)
class Message:
    """A message: its content and how it is sent.

    Attributes:
        body: the content.
        mode: how it is sent.
        piece: the size of one fragment, where there are some.
        compress: what ``compress=`` says.
        cancel_at: the first attempt is cancelled where it suspends for the n-th time; None: it is not.
    """

    body: str | bytes
    mode: Mode
    piece: int
    compress: bool | None
    cancel_at: int | None

    def __repr__(self) -> str:
        how = f"{self.mode.name}, piece={self.piece}, compress={self.compress}, cancel_at={self.cancel_at}"
        return f"<{type(self.body).__name__} of {len(self.body)}, {how}>"


@dataclass(frozen=True)
class Script:
    """What one side does.

    Attributes:
        options: of anyws.
        weather: of its end of the stream.
        senders: the messages of each task that sends.
        pings: how many Pings one task sends.
        receives: how many messages it takes before it stops receiving; None: all.
        slowness: the most passes of the event loop between two messages that it takes.
        nap: how long it does not receive after its first message, in seconds.
        piecewise: how often it takes a message piece by piece, 0 to 1.
        cancelling: how often a `receive` is cancelled and repeated, 0 to 1.
        end: what it does at its end.
        code: the close code of `End.CLOSE`.
        after: the messages received, or steps waited, until it does so; None: when all is sent.
    """

    options: dict[str, Any] = field(default_factory=dict)
    weather: Weather = field(default_factory=Weather)
    senders: list[list[Message]] = field(default_factory=list)
    pings: int = 0
    receives: int | None = None
    slowness: int = 0
    nap: float = 0
    piecewise: float = 0
    cancelling: float = 0
    end: End = End.STAY
    code: int | None = 1000
    after: int | None = None


@dataclass(frozen=True)
class Scenario:
    """A connection between two of ours, from its opening handshake to its end.

    Attributes:
        seed: what it was made from.
        transport: what is below.
        capacity: the bytes that may be on their way, in memory.
        client: what the client does.
        server: what the server does.
    """

    seed: int
    transport: Transport
    capacity: int
    client: Script
    server: Script

    @property
    def is_fair(self) -> bool:
        """Whether the network does nothing but delay, split and coalesce."""
        return all(script.weather.fault in (None, Fault.STALL) for script in (self.client, self.server))


def scenario_of(seed: int) -> Scenario:
    """Make a scenario; the same one for the same seed."""
    rng = random.Random(seed)
    transport: Transport = "tcp" if rng.random() < 0.1 else "memory"
    capacity = rng.choice([1, 50, 1000, 65536, 1_000_000])
    compression = rng.choice([None, None, "memory", "default", "ratio"])
    is_fair = rng.random() < 0.6
    largest = rng.choice([200, 200, 5000, 5000, 30_000, 200_000])
    # Tiny pieces and large messages together only take time.
    smallest_pipe = largest // 100
    client, server = (_script(rng, side, is_fair, largest, compression) for side in ("client", "server"))
    return Scenario(seed, transport, max(capacity, smallest_pipe), client, server)


def _script(rng: random.Random, side: str, is_fair: bool, largest: int, compression: str | None) -> Script:
    options: dict[str, Any] = {
        "receive_buffer": rng.choice([1, 100, 1000, 65536]),
        "send_buffer": rng.choice([1, 100, 1000, 65536]),
        "ping_interval": rng.choice([None, 1, 20]),
        "ping_timeout": rng.choice([1, 20]),
        "close_timeout": rng.choice([0.5, 2]),
        "open_timeout": 5,
        "compression": compression,
    }
    if rng.random() < 0.1:
        options["max_message_size"] = 1000
    if rng.random() < 0.2:
        options["write_timeout"] = 1
    if side == "server":
        options["compression"] = rng.choice([None, compression])
    count = rng.choice([1, 1, 1, 2, 3])
    senders = [list(_messages(rng, f"{side} {number}", count == 1, largest)) for number in range(count)]
    fault = None if is_fair and rng.random() < 0.9 else rng.choice([Fault.STALL] if is_fair else list(Fault))
    weather = Weather(
        delay=rng.choice([0, 0, 1, 5]),
        piece=rng.choice([None, None, max(1, largest // 100), max(3, largest // 10)]),
        fault=fault,
        at=rng.choice([rng.randint(0, 400), rng.randint(100, 20_000)]),
        stall=rng.choice([0.1, 3]),
    )
    return Script(
        options=options,
        weather=weather,
        senders=senders,
        pings=rng.choice([0, 0, 1, 5]),
        receives=rng.choice([None, None, None, None, 0, 3]),
        slowness=rng.choice([0, 0, 3, 10]),
        nap=rng.choice([0, 0, 0, 0.5]),
        piecewise=rng.choice([0, 0, 0.5, 1]),
        cancelling=rng.choice([0, 0, 0.3, 0.8]),
        end=rng.choice([End.STAY, End.STAY, *End]),
        code=rng.choice([1000, 1000, 1001, None, 1011, 3000]),
        after=rng.choice([None, None, rng.randint(0, 10), rng.randint(0, 100)]),
    )


def _messages(rng: random.Random, name: str, is_alone: bool, largest: int) -> Iterator[Message]:
    for number in range(rng.choice([0, 1, 3, 6, 12])):
        size = rng.choice([0, 1, 125, 126, 1000, rng.randint(0, largest), largest])
        head = f"{name}.{number} "
        text = (head + _FILLER * (size // len(_FILLER) + 1))[: size if is_alone else max(size, len(head))]
        yield Message(
            body=text if rng.random() < 0.5 else text.encode(),
            mode=rng.choice([Mode.SEND, Mode.SEND, Mode.SEND, *Mode]),
            piece=rng.choice([1 + largest // 100, 1000, 70_000]),
            compress=rng.choice([None, True, False]),
            cancel_at=rng.randint(0, 6) if rng.random() < 0.1 else None,
        )
