"""Public names say where users import them from, in tracebacks, reprs and documentation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

__all__ = ["claim_names"]


def claim_names(namespace: dict[str, Any], names: Sequence[str] | None = None) -> None:
    """Let each public name of a module say that it belongs to that module.

    Args:
        namespace: the module's ``globals()``.
        names: the names; None for all in the module's ``__all__``.
    """
    for name in namespace["__all__"] if names is None else names:
        if hasattr(public := namespace[name], "__module__"):
            public.__module__ = namespace["__name__"]
