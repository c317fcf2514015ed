"""Plays sequences to anyws, in different chunks, and to the peers; explains or reports the differences."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence as Many
from dataclasses import dataclass, field
from itertools import islice

from .generate import Sequence, generate
from .known import Case, explain
from .outcome import Outcome, replay
from .peers import PEERS

__all__ = ["Counts", "Unexplained", "compare"]

_BATCH = 200
_BYTE_BY_BYTE = 5000  # bytes; longer sequences are split into larger pieces


@dataclass(frozen=True, slots=True)
class Unexplained:
    """A difference that no rule explains."""

    sequence: Sequence
    peer: str
    ours: Outcome
    theirs: Outcome

    def __str__(self) -> str:
        sequence = self.sequence
        data = sequence.data
        return "\n".join(
            [
                f"seed {sequence.seed}: {sequence.role.name}, {sequence.deflate}, limit {sequence.max_message_size}",
                f"  bytes:  {data[:200].hex(' ')}{' ...' if len(data) > 200 else ''}",
                f"  chunks: {' '.join(str(len(chunk)) for chunk in sequence.chunks)}",
                f"  anyws:  {self.ours}",
                f"  {f'{self.peer}:':7} {self.theirs}",
                f"  again:  {self.command}",
            ]
        )

    @property
    def command(self) -> str:
        """The command that repeats the sequence."""
        peer = "" if self.peer == "chunks" else f" --peer {self.peer}"
        return f"python -m compliance.differential --seed {self.sequence.seed} --count 1{peer}"


@dataclass(slots=True)
class Counts:
    """Counts of what was played, and of the results."""

    sequences: int = 0
    events: int = 0
    failures: int = 0
    compared: Counter[str] = field(default_factory=Counter)
    known: Counter[tuple[str, str]] = field(default_factory=Counter)
    unexplained: int = 0


def compare(seeds: Iterable[int], peers: Many[str], counts: Counts) -> Iterator[Unexplained | None]:
    """Play the sequences of these seeds; yield each unexplained difference, and None after each batch."""
    remaining = iter(seeds)
    with contextlib.ExitStack() as stack:
        running = [stack.enter_context(PEERS[name]()) for name in peers]
        while batch := [generate(seed) for seed in islice(remaining, _BATCH)]:
            assignments = [(peer, [sequence for sequence in batch if peer.can_play(sequence)]) for peer in running]
            for peer, playable in assignments:
                peer.begin(playable)
            ours = {sequence.seed: replay(sequence) for sequence in batch}
            counts.sequences += len(batch)
            counts.events += sum(len(outcome.events) for outcome in ours.values())
            counts.failures += sum(outcome.failure is not None for outcome in ours.values())
            results: list[tuple[str, Sequence, Outcome]] = [
                ("chunks", sequence, outcome) for sequence in batch for outcome in _replay_in_other_chunks(sequence)
            ]
            for peer, playable in assignments:
                outcomes = peer.end()
                counts.compared[peer.name] += len(outcomes)
                results += [
                    (peer.name, sequence, outcome) for sequence, outcome in zip(playable, outcomes, strict=True)
                ]
            for name, sequence, theirs in results:
                if theirs == ours[sequence.seed]:
                    continue
                known = explain(Case(sequence, ours[sequence.seed], theirs), name)
                if known is not None:
                    counts.known[name, known.name] += 1
                else:
                    counts.unexplained += 1
                    yield Unexplained(sequence, name, ours[sequence.seed], theirs)
            yield None


def _replay_in_other_chunks(sequence: Sequence) -> Iterator[Outcome]:
    """Yield the outcome for the sequence in one piece, and byte by byte."""
    data = sequence.data
    yield replay(sequence, [data])
    step = 1 if len(data) <= _BYTE_BY_BYTE else 997
    yield replay(sequence, (data[start : start + step] for start in range(0, len(data), step)))
