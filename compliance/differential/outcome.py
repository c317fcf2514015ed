"""The outcome of a sequence in a form that all implementations share, and the outcome in anyws."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from anyws.protocol import Close, Connection, PerMessageDeflate, Ping, Pong, Role
from anyws.protocol.deflate import DeflateCodec

from .generate import Sequence

__all__ = ["Event", "Outcome", "replay"]


class Event(NamedTuple):
    """A ``text``, ``binary``, ``ping``, ``pong`` or ``close``; ``payload`` is the reason of a Close."""

    kind: str
    payload: bytes
    code: int = 0


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of a sequence.

    Attributes:
        events: the events up to a Close or a failure.
        failure: the close code with which the receiver fails the connection; None if it does not fail.
        reason: the receiver's reason for the failure.
    """

    events: tuple[Event, ...]
    failure: int | None = None
    reason: str = field(default="", compare=False)

    def __str__(self) -> str:
        events = [
            f"{event.kind}{event.code or ''}[{len(event.payload)}] {event.payload[:24].hex(' ')}".rstrip()
            for event in self.events
        ]
        end = f"fails with {self.failure}: {self.reason}" if self.failure else "continues"
        return " | ".join([*events, end])


def replay(sequence: Sequence, chunks: Iterable[bytes] | None = None) -> Outcome:
    """Replay the sequence to anyws, in its own chunks or in others."""
    codecs = []
    if sequence.deflate is not None:
        codecs.append(DeflateCodec(sequence.deflate, PerMessageDeflate(), is_server=sequence.role is Role.SERVER))
    connection = Connection(
        sequence.role, max_message_size=sequence.max_message_size, max_fragments=None, codecs=codecs
    )
    events: list[Event] = []
    for chunk in sequence.chunks if chunks is None else chunks:
        for event in connection.receive_data(chunk):
            match event:
                case str():
                    events.append(Event("text", event.encode()))
                case bytes():
                    events.append(Event("binary", event))
                case Ping(payload):
                    events.append(Event("ping", payload))
                case Pong(payload):
                    events.append(Event("pong", payload))
                case Close(code, reason):
                    events.append(Event("close", reason.encode(), code))
    failure = connection.failure
    if failure is None:
        return Outcome(tuple(events))
    return Outcome(tuple(events), failure.close_code, failure.reason)
