"""Subprotocol names and how one is selected (RFC 6455, sections 1.9, 4.1 and 4.2.2)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from .headers import is_token
from .http11 import Response

__all__ = ["SubprotocolSelector", "check_subprotocols", "prefer"]

SubprotocolSelector = Callable[[Sequence[str]], str | Response | None]
"""Selects one of the subprotocols that a client offers, or returns None for none of them, or a response to refuse with.

It is not called for a client that offers none.
"""


def check_subprotocols(subprotocols: Sequence[str]) -> tuple[str, ...]:
    """Check the names that a caller offers or supports: they must be unique tokens (RFC 6455, section 4.1).

    Raises:
        TypeError: the argument is a single `str` instead of a sequence of them, or a name is not a `str`.
        ValueError: a name is not a token, or is repeated.
    """
    if isinstance(subprotocols, str):
        raise TypeError("subprotocols must be a sequence of names, such as ['chat'], not a str")
    # Error messages do not show the names, because some clients send access tokens as subprotocols.
    for number, name in enumerate(subprotocols):
        if not isinstance(name, str):
            raise TypeError(f"subprotocols[{number}] must be a str, not {type(name).__name__}")
        if not is_token(name):
            raise ValueError(
                f"subprotocols[{number}] is not a token: it must not contain spaces, commas, = or / "
                "(RFC 6455, section 4.1)"
            )
    if len(set(subprotocols)) < len(subprotocols):
        raise ValueError("subprotocols contains a name more than once")
    return tuple(subprotocols)


def prefer(ours: Sequence[str]) -> Callable[[Sequence[str]], str | None]:
    """Return a selector that picks the first of our names that the client offers."""
    return lambda offered: next((name for name in ours if name in offered), None)
