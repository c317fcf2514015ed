"""Public names say where users import them from, in tracebacks, reprs and documentation."""

from __future__ import annotations

from typing import Any

__all__ = ["claim_names"]


def claim_names(namespace: dict[str, Any]) -> None:
    """Let each name in a module's ``__all__`` say that it belongs to that module.

    Args:
        namespace: the module's ``globals()``.
    """
    for name in namespace["__all__"]:
        if hasattr(public := namespace[name], "__module__"):
            public.__module__ = namespace["__name__"]
