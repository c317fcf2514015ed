"""Builds the optional extension; everything else is in pyproject.toml."""

from __future__ import annotations

import glob
import os
import sys

from setuptools import Extension, setup

speedups = Extension(
    "anyws.protocol._speedups",
    sources=["anyws/protocol/_speedups.c"],
    depends=glob.glob("anyws/protocol/*.h"),
    extra_compile_args=[] if sys.platform == "win32" else ["-O3"],
    optional=True,  # Without a compiler anyws works in pure Python.
)
wanted = sys.implementation.name == "cpython" and not os.environ.get("ANYWS_NO_EXTENSION")

setup(ext_modules=[speedups] if wanted else [])
