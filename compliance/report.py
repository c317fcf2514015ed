"""The verdict on one run, which only strict OK passes."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

__all__ = ["Report"]

# The testsuite has no other verdict for these: data after a Close, and close codes that RFC 6455 does not mention.
_INFORMATIONAL = frozenset({"7.1.6", "7.13.1", "7.13.2"})


class Report:
    """The report of the testsuite on one agent.

    Args:
        folder: the folder of the report.
        agent: the only agent in the report.
        expected: the number of cases that must have been run.
    """

    def __init__(self, folder: Path, agent: str, expected: int) -> None:
        self._folder = folder
        self._expected = expected
        agents: dict[str, dict[str, dict[str, Any]]] = json.loads((folder / "index.json").read_text())
        self._cases = agents.get(agent, {})
        self._other_agents = sorted(agents.keys() - {agent})

    @property
    def summary(self) -> str:
        """The counts, for example "298 OK, 3 INFORMATIONAL, 0 other of 301"."""
        counts = Counter(
            case["behavior"] if self._is_passed(number, case) else "other" for number, case in self._cases.items()
        )
        good = f"{counts['OK']} OK, {counts['INFORMATIONAL']} INFORMATIONAL"
        return f"{good}, {counts['other']} other of {len(self._cases)}"

    @property
    def problems(self) -> list[str]:
        """A line for each problem; empty if the run passed."""
        problems = [
            self._describe(number) for number in self._cases if not self._is_passed(number, self._cases[number])
        ]
        if len(self._cases) != self._expected:
            problems.append(f"{len(self._cases)} cases were run, expected {self._expected}")
        if self._other_agents:
            problems.append(f"unknown agents in the report: {', '.join(self._other_agents)}")
        return problems

    @staticmethod
    def _is_passed(number: str, case: dict[str, Any]) -> bool:
        behavior, at_close = case["behavior"], case["behaviorClose"]
        if number in _INFORMATIONAL:
            return behavior == "INFORMATIONAL" and at_close in ("OK", "INFORMATIONAL")
        return bool(behavior == at_close == "OK")

    def _describe(self, number: str) -> str:
        verdict = self._cases[number]
        case = json.loads((self._folder / verdict["reportfile"]).read_text())
        return (
            f"{number}: {verdict['behavior']} ({case['result']}); "
            f"close: {verdict['behaviorClose']} ({case['resultClose']})"
        )
