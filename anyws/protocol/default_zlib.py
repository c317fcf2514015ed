"""The module that compresses unless the user passes one: zlib-ng if it is installed, otherwise ``zlib``."""

from __future__ import annotations

import functools
import importlib
from typing import Any

__all__ = ["default_zlib", "is_zlib_ng", "zlib_ng_level"]

_ZLIB_NG = "zlib_ng.zlib_ng"
# For each level of zlib, the fastest level of zlib-ng whose output is at most 2 % larger; measured with JSON, HTML,
# Markdown and Python, in messages of 1 and 16 KiB, with windows of 4 and 32 KiB. At level 1, zlib-ng compresses much
# less than zlib, and at levels 8 and 9 hardly more than at level 7.
_LEVELS = {-1: 5, 0: 0, 1: 2, 2: 2, 3: 3, 4: 4, 5: 4, 6: 5, 7: 7, 8: 7, 9: 7}


@functools.cache
def default_zlib() -> Any:
    """Return the module that compresses by default: see ``zlib`` of `PerMessageDeflate`.

    It is ``zlib_ng.zlib_ng`` if the extra ``zlib-ng`` is installed, and otherwise ``zlib``. The first call imports it.
    """
    try:
        return importlib.import_module(_ZLIB_NG)
    except ImportError:
        return importlib.import_module("zlib")


def is_zlib_ng(module: Any) -> bool:
    """Whether a module is zlib-ng."""
    return getattr(module, "__name__", "") == _ZLIB_NG


def zlib_ng_level(level: int) -> int:
    """Return the level of zlib-ng that compresses about as well as a level of zlib."""
    return _LEVELS[level]
