"""Builds the optional extension; everything else is in pyproject.toml."""

from __future__ import annotations

import os
import sys

from setuptools import Extension, setup

speedups = Extension(
    "anyws.protocol._speedups",
    sources=["anyws/protocol/_speedups.c"],
    depends=[
        f"anyws/protocol/{name}.h" for name in ("_frames", "_payload", "_plain_path", "_queues", "_signal", "_state")
    ],
    extra_compile_args=[] if sys.platform == "win32" else ["-O3"],
    optional=True,  # Without a compiler anyws works in pure Python.
)
wanted = sys.implementation.name == "cpython" and not os.environ.get("ANYWS_NO_EXTENSION")

setup(ext_modules=[speedups] if wanted else [])
