"""``Authorization`` and ``Proxy-Authorization`` (RFC 7617, RFC 6750). Error messages never show the credentials."""

from __future__ import annotations

import base64
import re

__all__ = ["basic_credentials", "bearer_credentials"]

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]|[\ud800-\udfff]")  # also surrogates, which UTF-8 cannot encode
_TOKEN = re.compile(r"[\x21-\x7e]+")


def basic_credentials(user: str, password: str) -> str:
    """Return the header value for HTTP Basic authentication, encoded as UTF-8 (RFC 7617, section 2).

    Raises:
        ValueError: the user name contains a colon, or the user name or password contains a control character.
    """
    if ":" in user:
        raise ValueError("a user name for Basic authentication must not contain a colon (RFC 7617, section 2)")
    if _CONTROL.search(user) or _CONTROL.search(password):
        raise ValueError(
            "a user name or password for Basic authentication must not contain control characters (RFC 7617, section 2)"
        )
    return f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"


def bearer_credentials(token: str) -> str:
    """Return the header value for a bearer token (RFC 6750, section 2.1).

    Args:
        token: the token itself, without the word "Bearer".

    Raises:
        ValueError: the token contains white space or anything other than visible ASCII characters.
    """
    if not _TOKEN.fullmatch(token):
        raise ValueError(
            "a bearer token must be visible ASCII without white space; omit the word Bearer (RFC 6750, section 2.1)"
        )
    return f"Bearer {token}"
