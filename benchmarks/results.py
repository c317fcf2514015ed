"""The results of a run, which are stored as JSON."""

from __future__ import annotations

import importlib.metadata
import json
import math
import platform
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

from anyws.protocol import speedups_in_use

from .cpu import Usage
from .generator import Outcome
from .loads import Load
from .servers import Contestant

__all__ = ["Result", "Results", "versions"]

_VERSIONS = ("anyio-websocket", "picows", "aiohttp", "websockets", "trio-websocket", "anyio", "trio", "uvloop")


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One measurement.

    Attributes:
        cpu: CPU time of the server per message, in microseconds.
        rate: messages per second.
        p50: median latency in microseconds; likewise p99 and p999.
        server: share of the time in which the server could have run; 1 if its core was fully loaded.
        stolen: share of the time in which other processes used its core.
        generator: share of the time in which the load generator could have run.
        faults: minor page faults of the server per message.
        ping50: median latency of a Ping on another connection, in microseconds; likewise ping99 and ping_max, the
            largest. It shows for how long the server's event loop was busy. Only measured during broadcasts.
    """

    cpu: float
    rate: float
    p50: float
    p99: float
    p999: float
    server: float
    stolen: float
    generator: float
    # Earlier results lack them.
    faults: float = math.nan
    ping50: float = math.nan
    ping99: float = math.nan
    ping_max: float = math.nan

    @classmethod
    def of(cls, outcome: Outcome, used: Usage) -> Result:
        """Return the result of one measurement."""
        p50, p99, p999 = outcome.latencies
        ping50, ping99, ping_max = outcome.pings
        return cls(
            cpu=used.running / outcome.messages * 1e6,
            rate=outcome.messages / outcome.seconds,
            p50=p50,
            p99=p99,
            p999=p999,
            server=(used.running + used.waiting) / outcome.seconds,
            stolen=used.waiting / outcome.seconds,
            generator=(outcome.generator.running + outcome.generator.waiting) / outcome.seconds,
            faults=used.faults / outcome.messages,
            ping50=ping50,
            ping99=ping99,
            ping_max=ping_max,
        )

    def to_json(self) -> dict[str, float | None]:
        """Return the figures by name with four digits; None if not measured."""
        return {key: None if math.isnan(value) else float(f"{value:.4g}") for key, value in asdict(self).items()}

    def line(self) -> str:
        """Return the figures as one readable line."""
        return (
            f"{self.cpu:.2f} us CPU, {self.rate:,.0f}/s, {self.p50:.0f} {self.p99:.0f} {self.p999:.0f} us, "
            f"server {self.server:.0%} ({self.stolen:.0%} stolen), generator {self.generator:.0%}, "
            f"{self.faults:.2f} faults"
            + ("" if math.isnan(self.ping50) else f", Pings {self.ping50:.0f} {self.ping99:.0f} {self.ping_max:.0f} us")
        )


class Results:
    """All measurements of a run."""

    def __init__(self) -> None:
        self._runs: dict[tuple[str, Contestant], list[Result]] = {}
        self._memory: dict[Contestant, float] = {}
        self._skipped: dict[tuple[str, str], str] = {}
        self.imports: dict[str, float] = {}
        """The CPU time of imports in milliseconds, by name."""

    def read(self, file: Path) -> None:
        """Read the results of an earlier run, if there are any."""
        if not file.exists():
            return
        found = json.loads(file.read_text())
        for each in found["runs"]:
            runs = [{key: math.nan if value is None else value for key, value in run.items()} for run in each["runs"]]
            self._runs[each["load"], Contestant(each["contestant"], each["loop"])] = [Result(**run) for run in runs]
        for each in found["memory"]:
            self._memory[Contestant(each["contestant"], each["loop"])] = each["KiB"]
        for each in found["skipped"]:
            self._skipped[each["load"], each["who"]] = each["why"]
        self.imports = found.get("imports", {})

    def discard(self, load: Load, contestant: Contestant) -> None:
        """Remove results that are measured again."""
        self._runs.pop((load.name, contestant), None)
        self._skipped.pop((load.name, f"{contestant.name} on {contestant.loop}"), None)

    def add(self, load: Load, contestant: Contestant, result: Result) -> None:
        """Add a measurement."""
        self._runs.setdefault((load.name, contestant), []).append(result)

    def add_memory(self, contestant: Contestant, kibibytes: float) -> None:
        """Add the memory of an idle connection, in KiB."""
        self._memory[contestant] = kibibytes

    def skip(self, load: str, who: str, why: str) -> None:
        """Record why something was not measured."""
        self._skipped[load, who] = why

    def median(self, load: Load, contestant: Contestant) -> Result | None:
        """Return the median of each figure; None if there are no measurements."""
        runs = self._runs.get((load.name, contestant))
        if not runs:
            return None
        values = [asdict(run) for run in runs]
        return Result(**{key: median(value[key] for value in values) for key in values[0]})

    def memory(self, contestant: Contestant) -> float | None:
        """Return the memory of an idle connection, in KiB; None if it was not measured."""
        return self._memory.get(contestant)

    def best_peer(self, load: Load, loop: str, contestants: Iterable[Contestant]) -> float | None:
        """Return the CPU time of the best other library on the same event loop."""
        found = [self.median(load, each) for each in contestants if each.is_peer and each.loop == loop]
        return min((each.cpu for each in found if each), default=None)

    @property
    def skipped(self) -> Iterable[str]:
        """What was not measured, and why."""
        return [f"{load}, {who}: {why}" for (load, who), why in self._skipped.items()]

    def write(self, file: Path) -> None:
        """Write every run as JSON."""
        file.parent.mkdir(parents=True, exist_ok=True)
        runs = [
            {"load": load, "contestant": each.name, "loop": each.loop, "runs": [run.to_json() for run in found]}
            for (load, each), found in self._runs.items()
        ]
        memory = [{"contestant": each.name, "loop": each.loop, "KiB": idle} for each, idle in self._memory.items()]
        skipped = [{"load": load, "who": who, "why": why} for (load, who), why in self._skipped.items()]
        found = {"versions": versions(), "runs": runs, "memory": memory, "imports": self.imports, "skipped": skipped}
        file.write_text(json.dumps(found).replace('{"load"', '\n{"load"') + "\n")


def versions() -> str:
    """Return the versions of everything measured, in one line."""
    found = []
    for name in _VERSIONS:
        try:
            found.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            pass
    extension = "anyws with its extension" if speedups_in_use else "anyws without its extension"
    return ", ".join([*found, f"Python {platform.python_version()}; {extension}"])
