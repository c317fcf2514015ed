"""The option ``auth``: how a client says who it is."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable

from anyws.protocol.credentials import basic_credentials, bearer_credentials

__all__ = ["AuthLike", "Credentials", "authorization", "current_credentials"]

Credentials = tuple[str, str] | str
"""User name and password, for Basic authentication (RFC 7617); or a bearer token (RFC 6750)."""

AuthLike = Credentials | Callable[[], Credentials | Awaitable[Credentials]]
"""Credentials, or a sync or async callable that is asked for them before each connection."""


def authorization(credentials: object) -> str:
    """Return the value of ``Authorization``; no message shows what it is about.

    Raises:
        TypeError: these are no credentials.
        ValueError: they cannot be sent.
    """
    if isinstance(credentials, str):
        return bearer_credentials(credentials)
    if isinstance(credentials, tuple) and [type(each) for each in credentials] == [str, str]:
        return basic_credentials(*credentials)
    raise TypeError(f"auth is (user, password) or a bearer token, not {type(credentials).__name__}")


async def current_credentials(auth: Callable[[], Credentials | Awaitable[Credentials]]) -> Credentials:
    """Ask a callable for the credentials.

    Raises:
        TypeError: it does not give credentials.
        ValueError: what it gives cannot be sent.
    """
    asked = auth()
    credentials = await asked if inspect.isawaitable(asked) else asked
    authorization(credentials)
    return credentials
