"""What many measured times say."""

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
        """Take one more."""
        self._times.append(seconds)

    @property
    def mean(self) -> float:
        """The average; NaN of none."""
        return math.fsum(self._times) / len(self) if self._times else math.nan

    @property
    def deviation(self) -> float:
        """The standard deviation, which ``ping`` calls mdev; NaN of none."""
        mean = self.mean
        return math.sqrt(math.fsum((time - mean) ** 2 for time in self._times) / len(self)) if self._times else math.nan

    def percentiles(self, wanted: Sequence[float]) -> list[float]:
        """Return, for each percentage, the time that so many of the times do not exceed; 0 and 100 are the ends."""
        ordered = sorted(self._times)
        if not ordered:
            return [math.nan] * len(wanted)
        return [ordered[max(0, math.ceil(round(percent * len(ordered) / 100, 6)) - 1)] for percent in wanted]
