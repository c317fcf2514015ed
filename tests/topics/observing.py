"""What the long run observes, and what is wrong in it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from typing import Any

from anyws.topics import Position

__all__ = ["END", "Observer", "wrong_in"]

END = "end"
"""How the texts begin that end a run. Nobody waits for those of the others."""


class Observer:
    """Notes in which order messages were received and losses were told.

    Attributes:
        events: ``[position, text]`` for a message, and ``[last, new]`` with a list around it for a loss: all after
            ``last`` and up to ``new`` is missing. The first event is a loss of nothing, where it begins.
        position: up to where it has everything or knows better; None until it is known where it begins.
    """

    def __init__(self) -> None:
        self.events: list[list[Any]] = []
        self.position: str | None = None
        self.texts: set[str] = set()

    def begin(self, position: str) -> None:
        """Note where it begins."""
        self.lost(position, position)

    def received(self, position: str, text: str) -> None:
        """Note a message."""
        self.events.append([position, text])
        self.position = position
        self.texts.add(text)

    def lost(self, last: str | None, new: str | None) -> None:
        """Note that a loss was told."""
        self.events.append([[last, new]])
        self.position = new


def wrong_in(reports: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return what does not hold.

    Args:
        reports: what each process reports: ``accepted``, a mapping from positions to texts; ``refused``, the texts that
            may have been published; and ``observed``, the events of its observers by name.
    """
    accepted = {position: text for report in reports for position, text in report["accepted"].items()}
    refused = {text for report in reports for text in report["refused"]}
    observed = {
        f"{name} of process {number}": events
        for number, report in enumerate(reports)
        for name, events in report["observed"].items()
    }
    found = [f"{name}: {wrong}" for name, events in observed.items() for wrong in _wrong_alone(events)]
    offsets = {text: Position.parse(position).offset for position, text in accepted.items()}
    for name, events in observed.items():
        for position, text in _messages(events):  # its epoch may be another than that in which it was published
            if accepted.get(position, text) != text:
                found.append(f"{name}: received {text!r} at {position}, where {accepted[position]!r} was published")
            if text.startswith(END) or text in refused:
                continue
            if Position.parse(position).offset != offsets.get(text):
                found.append(f"{name}: received {text!r} at {position}, and it was not published with this number")
    for (one, ones), (other, others) in itertools.combinations(observed.items(), 2):
        if _common(ones, others) != _common(others, ones):
            found.append(f"{one} and {other} received messages in different orders")
    try:
        epochs = _in_order([report["accepted"] for report in reports], [*observed.values()])
    except CycleError as exc:
        return [*found, f"epochs do not follow one another: {exc.args[1]}"]
    for name, events in observed.items():
        found += [f"{name}: {wrong}" for wrong in _not_told(events, accepted, epochs)]
    return found


def _messages(events: Sequence[Sequence[Any]]) -> list[tuple[str, str]]:
    return [(event[0], event[1]) for event in events if len(event) == 2]


def _common(ours: Sequence[Sequence[Any]], theirs: Sequence[Sequence[Any]]) -> list[str]:
    """Return our texts that they have as well, in our order."""
    known = {text for _, text in _messages(theirs)}
    return [text for _, text in _messages(ours) if text in known]


def _losses(events: Sequence[Sequence[Any]]) -> list[tuple[str, str]]:
    return [(event[0][0], event[0][1]) for event in events if len(event) == 1]


def _wrong_alone(events: Sequence[Sequence[Any]]) -> Iterator[str]:
    """Yield what is wrong with an observer: between two messages there is nothing, or exactly a loss that was told."""
    texts = [text for _, text in _messages(events)]
    if len(set(texts)) < len(texts):
        yield "received messages twice"
    at: Position | None = None
    for event in events:
        last, new = (event[0], event[0]) if len(event) == 2 else event[0]
        if last is None or new is None:
            yield f"was told of a loss without its limits: {event}"
            return
        begin = Position.parse(last)
        if at is not None and len(event) == 2 and begin.offset != at.offset + 1:
            yield f"received {event} after {at} without being told what is between"
        if at is not None and len(event) == 1 and begin.offset != at.offset:
            yield f"was told of the loss {event} when it was at {at}"
        at = Position.parse(new)


def _in_order(accepted: Sequence[Mapping[str, str]], observed: Sequence[Sequence[Sequence[Any]]]) -> list[str]:
    """Return the epochs in their order, which all that have seen them agree on."""
    order: TopologicalSorter[str] = TopologicalSorter()
    chains = [[Position.parse(position).epoch for position in each] for each in accepted]
    for events in observed:
        ends = [end for event in events for end in ((event[0],) if len(event) == 2 else event[0]) if end is not None]
        chains.append([Position.parse(end).epoch for end in ends])
    for chain in chains:
        order.add(chain[0]) if chain else None
        for before, after in itertools.pairwise(chain):
            if before != after:
                order.add(after, before)
    return [*order.static_order()]


def _not_told(events: Sequence[Sequence[Any]], accepted: Mapping[str, str], epochs: Sequence[str]) -> Iterator[str]:
    """Yield the messages that the engine has accepted, but that were neither received nor within a loss."""
    places = {epoch: place for place, epoch in enumerate(epochs)}

    def place(position: str) -> tuple[int, int]:
        epoch, offset = Position.parse(position)
        return places[epoch], offset

    def covers(loss: tuple[tuple[int, int], tuple[int, int]], message: tuple[int, int]) -> bool:
        last, new = loss
        if last < message <= new:
            return True
        # A later epoch has the message under the same number.
        return last[0] == new[0] > message[0] and last[1] < message[1] <= new[1]

    has = {text for _, text in _messages(events)}
    losses = [(place(last), place(new)) for last, new in _losses(events)]
    begin = place(events[0][0][0])
    for position, text in accepted.items():
        if place(position) <= begin or text in has or text.startswith(END):
            continue
        if not any(covers(loss, place(position)) for loss in losses):
            yield f"{text!r} at {position} is missing, and was not told"
