"""The goals, and how far the results are from them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from .loads import LOADS
from .results import Results
from .servers import CONTESTANTS, Contestant
from .tables import number

__all__ = ["GOALS", "Goal", "goals_table"]

_BOTH = ("asyncio", "uvloop")
_ALL = (*_BOTH, "trio")
_TIMES = "\N{MULTIPLICATION SIGN}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """A goal: what a message may cost at most, as a multiple of what it costs another contestant.

    Attributes:
        title: what is measured, and where.
        loads: the names of the loads.
        loops: the event loops.
        contestant: the name of the contestant that the goal is for.
        limits: for each reference, the largest ratio. A reference is the name of a contestant, or of another load of
            the same contestant.
    """

    title: str
    loads: tuple[str, ...]
    loops: tuple[str, ...] = _BOTH
    contestant: str = "anyws"
    limits: Mapping[str, float]

    def ratios(self, results: Results, reference: str) -> list[float]:
        """Return the ratio to a reference for each load and event loop for which both were measured."""
        return [
            cost / base
            for loop in self.loops
            for load in self.loads
            if (cost := _cost(results, load, self.contestant, loop))
            and (
                base := _cost(results, reference, self.contestant, loop)
                if reference in LOADS
                else _cost(results, load, reference, loop)
            )
        ]


GOALS = (
    Goal(
        title="64 B and 4 KiB round trips, asyncio and uvloop",
        loads=("rt64", "rt4k"),
        limits={"picows": 1.1, "picows-websockets": 1.0, "websockets": 0.45},
    ),
    Goal(title="the same, sync hooks", loads=("rt64", "rt4k"), contestant="anyws-callbacks", limits={"picows": 1.0}),
    Goal(
        title="64 B round trips, trio",
        loads=("rt64",),
        loops=("trio",),
        limits={"bare-trio": 0.75, "websockets": 0.25},
    ),
    Goal(
        title="64 B pipelined, each event loop",
        loads=("pipe64",),
        loops=_ALL,
        limits={"picows": 0.1, "websockets": 0.05},
    ),
    Goal(
        title="64 KiB and 1 MiB, 1 and 4 connections, asyncio and uvloop",
        loads=("64k", "1m", "64kx4", "1mx4"),
        limits={"picows": 1.1, "websockets": 1.0},
    ),
    Goal(title="TLS, round trips, asyncio and uvloop", loads=("tls64x1", "tls64"), limits={"picows": 1.0}),
    Goal(
        title="the same, sync hooks", loads=("tls64x1", "tls64"), contestant="anyws-callbacks", limits={"picows": 1.0}
    ),
    Goal(title="TLS, 1 MiB, asyncio and uvloop", loads=("tls1m",), limits={"picows": 1.0}),
    Goal(
        title="permessage-deflate with zlib-ng and equal parameters, 1, 4 and 64 KiB, each event loop",
        loads=("json1k", "json4k", "json64k"),
        loops=_ALL,
        contestant="anyws-zlib-ng",
        limits={"websockets": 0.5},
    ),
    Goal(
        title="opening handshake, asyncio and uvloop",
        loads=("handshakes",),
        limits={"picows": 1.2, "aiohttp": 0.8},
    ),
    Goal(title="opening handshake, trio", loads=("handshakes",), loops=("trio",), limits={"trio-websocket": 0.5}),
    Goal(title="broadcast to 1,000, asyncio and uvloop", loads=("broadcast",), limits={"websockets": 0.7}),
    Goal(title="broadcast to 10,000, each event loop", loads=("broadcast10k",), loops=_ALL, limits={"broadcast": 1.2}),
    Goal(
        title="inside uvicorn, round trips, asyncio and uvloop",
        loads=("rt64",),
        contestant="anyws-uvicorn",
        limits={"uvicorn": 0.65},
    ),
    Goal(
        title="inside uvicorn, pipelined, asyncio and uvloop",
        loads=("pipe64",),
        contestant="anyws-uvicorn",
        limits={"uvicorn": 0.2},
    ),
    Goal(
        title="pure Python, 64 B, each event loop",
        loads=("rt64x1", "rt64", "pipe64"),
        loops=_ALL,
        contestant="anyws-pure",
        limits={"websockets": 1.0},
    ),
    Goal(
        title="64 B, from 10 to 1,000 connections, each event loop",
        loads=("conns1000",),
        loops=_ALL,
        limits={"conns10": 1.2},
    ),
)


def goals_table(results: Results) -> str:
    """Return the goals beside the smallest and the largest ratio that was measured; empty without measurements."""
    lines = ["| Load | Goal | Measured |", "|---|---|---|"]
    for goal in GOALS:
        found = {reference: goal.ratios(results, reference) for reference in goal.limits}
        if any(found.values()):
            limits = ", ".join(f"{limit:g} {_TIMES} {_name(reference)}" for reference, limit in goal.limits.items())
            measured = ", ".join(f"{_range(ratios)} {_TIMES} {_name(name)}" for name, ratios in found.items() if ratios)
            lines.append(f"| {goal.title} | at most {limits} | {measured} |")
    lines += _absolute(results)
    return "\n".join(lines) if len(lines) > 2 else ""


def _absolute(results: Results) -> Iterator[str]:
    """Return the rows of what is not a ratio."""
    memory = [value for each in _anyws() if (value := results.memory(each)) is not None]
    if memory:
        kibibytes = ", ".join(map(number, memory))
        yield f"| memory of an idle connection, each event loop | at most 10 KiB | {kibibytes} KiB |"
    longest = [found.ping_max / 1000 for each in _anyws() if (found := results.median(LOADS["broadcast10k"], each))]
    if longest:
        milliseconds = ", ".join(map(number, longest))
        yield f"| longest Ping during a broadcast to 10,000, each event loop | at most 20 ms | {milliseconds} ms |"


def _anyws() -> list[Contestant]:
    return [each for each in CONTESTANTS if each.name == "anyws"]


def _cost(results: Results, load: str, name: str, loop: str) -> float | None:
    found = results.median(LOADS[load], Contestant(name, loop))
    return found.cpu if found else None


def _name(reference: str) -> str:
    return {"broadcast": "that to 1,000", "conns10": "that with 10", "uvicorn": "uvicorn's default"}.get(
        reference, reference
    )


def _range(ratios: list[float]) -> str:
    low, high = f"{min(ratios):.2f}", f"{max(ratios):.2f}"
    return low if low == high else f"{low} to {high}"
