"""Statistics of measured times."""

from __future__ import annotations

import math
import random
import statistics

import pytest

from anyws._cli.statistics import Times


def test_many_times() -> None:
    times = Times()
    numbers = [number / 1000 for number in range(1, 1001)]
    for number in random.Random(1).sample(numbers, len(numbers)):
        times.add(number)
    assert len(times) == 1000
    assert times.mean == pytest.approx(statistics.fmean(numbers))
    assert times.deviation == pytest.approx(statistics.pstdev(numbers))
    assert times.percentiles([0, 50, 99, 99.9, 100]) == [0.001, 0.5, 0.99, 0.999, 1.0]


def test_one_time() -> None:
    times = Times()
    times.add(3)
    assert (times.mean, times.deviation, times.percentiles([0, 50, 100])) == (3, 0, [3, 3, 3])


def test_no_times() -> None:
    times = Times()
    assert all(map(math.isnan, (times.mean, times.deviation, *times.percentiles([0, 100]))))
