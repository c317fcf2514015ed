"""Conversations over bad networks, from seeds: ``nox -s faults`` acts out thousands more of them."""

from __future__ import annotations

import pytest

from .clocks import BACKENDS
from .runs import failures_of


@pytest.mark.parametrize("seeds", [range(40), range(40, 80), range(80, 120)], ids=lambda seeds: f"from {seeds.start}")
@pytest.mark.parametrize("backend", BACKENDS)
def test_whatever_happens_nothing_is_lost_twice_or_stuck(backend: str, seeds: range) -> None:
    if backend == "uvloop":
        pytest.importorskip("uvloop")
    failed = failures_of(seeds, backend)
    assert not failed, "\n".join(failed[:5])
