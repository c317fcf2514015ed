"""Conversations over bad networks, from seeds: ``python -m tests.faults`` acts out more of them."""

from __future__ import annotations

import pytest

from .clocks import BACKENDS
from .runs import failures_of


@pytest.mark.parametrize("backend", BACKENDS)
def test_whatever_happens_nothing_is_lost_twice_or_stuck(backend: str) -> None:
    if backend == "uvloop":
        pytest.importorskip("uvloop")
    failed = failures_of(range(200), backend)
    assert not failed, "\n".join(failed[:5])
