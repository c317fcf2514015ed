"""Run one target in atheris, which never returns: ``python -m fuzz.worker TARGET [OPTION ...] [FOLDER ...]``."""

from __future__ import annotations

import sys
import warnings

import atheris  # type: ignore[import-untyped,import-not-found,unused-ignore]  # it has no types

with atheris.instrument_imports(include=["anyws", "h11", "http.cookiejar", "email._parseaddr"]):
    from .targets import TARGETS

if __name__ == "__main__":
    warnings.simplefilter("error")
    target = TARGETS[sys.argv[1]]
    atheris.Setup([sys.argv[0], *sys.argv[2:]], target)
    atheris.Fuzz()
