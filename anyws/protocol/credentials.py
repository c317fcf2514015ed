"""``Authorization`` and ``Proxy-Authorization`` (RFC 7617, RFC 6750). No message shows what it is about."""

from __future__ import annotations

import base64
import re

__all__ = ["basic_credentials", "bearer_credentials"]

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")  # and surrogates, which UTF-8 has not
_TOKEN = re.compile(r"[\x21-\x7e]+")


def basic_credentials(user: str, password: str) -> str:
    """Return the value for a user and a password, in UTF-8 (RFC 7617, section 2).

    Raises:
        ValueError: the user has a colon, or either has a control character.
    """
    if ":" in user:
        raise ValueError("a user name for Basic authentication has no colon (RFC 7617, section 2)")
    if _CONTROL.search(user) or _CONTROL.search(password):
        raise ValueError("a user name or password for Basic authentication has no control characters (RFC 7617, section 2)")
    return f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"


def bearer_credentials(token: str) -> str:
    """Return the value for a bearer token (RFC 6750, section 2.1).

    Raises:
        ValueError: the token has white space or what is not visible ASCII; "Bearer" is not a part of it.
    """
    if not _TOKEN.fullmatch(token):
        raise ValueError("a bearer token is visible ASCII without white space, and without the word Bearer (RFC 6750)")
    return f"Bearer {token}"
