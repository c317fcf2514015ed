"""Subprotocol names and the choice among them (RFC 6455, sections 1.9, 4.1 and 4.2.2)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from .headers import is_token

__all__ = ["SubprotocolSelector", "check_subprotocols", "prefer"]

SubprotocolSelector = Callable[[Sequence[str]], str | None]
"""Chooses among the subprotocols that a client offers; None for none of them."""


def check_subprotocols(subprotocols: Sequence[str]) -> tuple[str, ...]:
    """Check the names that a caller offers or supports (RFC 6455, section 4.1): tokens, each once.

    Raises:
        TypeError: a single `str` instead of a sequence of them.
        ValueError: a name is not a token, or stands twice.
    """
    if isinstance(subprotocols, str):
        raise TypeError("subprotocols is a sequence of names, such as ['chat'], not a str")
    # The names are not shown: tokens are sent among them.
    for number, name in enumerate(subprotocols):
        if not isinstance(name, str) or not is_token(name):
            raise ValueError(f"subprotocols[{number}] is not a token: no spaces, commas, =, / (RFC 6455, section 4.1)")
    if len(set(subprotocols)) < len(subprotocols):
        raise ValueError("a subprotocol stands twice in subprotocols")
    return tuple(subprotocols)


def prefer(ours: Sequence[str]) -> SubprotocolSelector:
    """Return the selector that takes the first of our names which the client offers."""
    return lambda offered: next((name for name in ours if name in offered), None)
