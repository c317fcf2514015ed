"""The two twins of the inner loops: pure Python, and compiled if the extension was built."""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import Any

import pytest

from anyws.protocol import _pure

__all__ = ["PURE", "both_twins", "compiled_twin"]

PURE: Any = _pure


def compiled_twin() -> ModuleType | None:
    """Return the extension module, if it was built."""
    try:
        return importlib.import_module("anyws.protocol._speedups")
    except ModuleNotFoundError:
        return None


_COMPILED = compiled_twin()
both_twins = pytest.mark.parametrize(
    "twin",
    [
        pytest.param(PURE, id="pure"),
        pytest.param(
            _COMPILED, id="compiled", marks=pytest.mark.skipif(_COMPILED is None, reason="the extension is not built")
        ),
    ],
)
"""For a test that takes a ``twin``, the module."""
