"""Statistics of measured times."""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence

__all__ = ["Times"]


class Times:
    """Measured times, in seconds."""

    def __init__(self) -> None:
        self._times = array("d")

    def __len__(self) -> int:
        return len(self._times)

    def add(self, seconds: float) -> None:
        """Add a measured time."""
        self._times.append(seconds)

    @property
    def mean(self) -> float:
        """The average; NaN if there are no times."""
        return math.fsum(self._times) / len(self) if self._times else math.nan

    @property
    def deviation(self) -> float:
        """The standard deviation, which ``ping`` calls mdev; NaN if there are no times."""
        mean = self.mean
        return math.sqrt(math.fsum((time - mean) ** 2 for time in self._times) / len(self)) if self._times else math.nan

    def percentiles(self, wanted: Sequence[float]) -> list[float]:
        """Return the percentiles for some percentages; 0 is the minimum, 100 the maximum."""
        ordered = sorted(self._times)
        if not ordered:
            return [math.nan] * len(wanted)
        return [ordered[max(0, math.ceil(round(percent * len(ordered) / 100, 6)) - 1)] for percent in wanted]
