"""The option ``auth``: the client's credentials."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable

from anyws.protocol.credentials import basic_credentials, bearer_credentials

__all__ = ["AuthLike", "Credentials", "authorization", "current_credentials"]

Credentials = tuple[str, str] | str
"""User name and password, for Basic authentication (RFC 7617); or a bearer token (RFC 6750)."""

AuthLike = Credentials | Callable[[], Credentials | Awaitable[Credentials]]
"""Credentials, or a sync or async callable that returns them, called for each connection."""


def authorization(credentials: object) -> str:
    """Return the value of the ``Authorization`` header. No error message includes the credentials.

    Raises:
        TypeError: the credentials have the wrong type.
        ValueError: the credentials cannot be sent.
    """
    if isinstance(credentials, str):
        return bearer_credentials(credentials)
    if isinstance(credentials, tuple) and [type(each) for each in credentials] == [str, str]:
        return basic_credentials(*credentials)
    given = type(credentials).__name__
    if isinstance(credentials, tuple):
        given += f" of ({', '.join(type(each).__name__ for each in credentials)})"
    raise TypeError(f"auth must be (user, password) or a bearer token, not {given}")


async def current_credentials(auth: Callable[[], Credentials | Awaitable[Credentials]]) -> Credentials:
    """Call a callable to get the credentials.

    Raises:
        TypeError: it returns something else.
        ValueError: the credentials cannot be sent.
    """
    result = auth()
    credentials = await result if inspect.isawaitable(result) else result
    authorization(credentials)
    return credentials
