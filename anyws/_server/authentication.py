"""Basic authentication (RFC 7617), as a request hook."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import inspect
import re
import secrets
from collections.abc import Awaitable, Callable, Mapping

from anyws.protocol.headers import check_header
from anyws.protocol.http11 import Request, Response

from .options import RequestHook

__all__ = ["basic_auth"]

CredentialsCheck = Callable[[str, str], bool | Awaitable[bool]]
"""Receives a user name and a password; returns whether they are valid."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")  # not allowed in either part (RFC 7617, section 2)


def basic_auth(
    realm: str, *, credentials: Mapping[str, str] | None = None, check: CredentialsCheck | None = None
) -> RequestHook:
    """Return a hook for ``on_request`` that requires HTTP Basic authentication, and responds with 401 otherwise.

    The user name is stored in ``websocket.request.state["user"]``. Use it with TLS only, because the password is sent
    unencrypted.

    Args:
        realm: the name of the protected area, which browsers show.
        credentials: a mapping of user names to passwords. They are compared in constant time, even for unknown users.
        check: instead of ``credentials``, a sync or async callable that receives the user name and the password and
            returns whether they are valid. It should compare in constant time.

    Raises:
        TypeError: neither or both of ``credentials`` and ``check`` are given, or one has the wrong type.
        ValueError: the realm has a character that a header cannot carry.
    """
    if not isinstance(realm, str):
        hint = ": call it, on_request=anyws.basic_auth(...)" if isinstance(realm, Request) else ""
        raise TypeError(f"basic_auth() expects the name of a realm, not {type(realm).__name__}{hint}")
    if (credentials is None) == (check is None):
        raise TypeError("basic_auth() requires either credentials or check")
    if not isinstance(credentials or {}, Mapping):
        raise TypeError(f"credentials must map user names to passwords, not be {type(credentials).__name__}")
    if not callable(check or _password_check):
        raise TypeError(f"check must be callable, not {type(check).__name__}")
    challenge = 'Basic realm="{}", charset="UTF-8"'.format(re.sub(r'(["\\])', r"\\\1", realm))
    check_header("WWW-Authenticate", challenge)
    if not realm.isascii():
        raise ValueError(f"realm {realm!r} has a character outside ASCII, for which no encoding is defined")
    is_valid = check or _password_check(dict(credentials or {}))

    async def authenticate(request: Request) -> Response | None:
        given = parse_basic(request.headers.get("authorization", ""))
        if given is not None:
            result = is_valid(*given)
            if inspect.isawaitable(result):
                result = await result
            if result:
                request.state["user"] = given[0]
                return None
        return Response(401, {"WWW-Authenticate": challenge}, "a user name and its password are required\n")

    return authenticate


def parse_basic(authorization: str) -> tuple[str, str] | None:
    """Return the user name and password in an ``Authorization`` header (RFC 7617, section 2); None if invalid."""
    scheme, _, encoded = authorization.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        decoded = base64.b64decode(encoded.strip(" "), validate=True).decode()
    except (binascii.Error, ValueError):
        return None
    user, colon, password = decoded.partition(":")
    return None if not colon or _CONTROL.search(decoded) else (user, password)


def _password_check(passwords: Mapping[str, str]) -> CredentialsCheck:
    key = secrets.token_bytes(16)

    def digest(password: str) -> bytes:
        return hashlib.blake2b(password.encode(), key=key).digest()  # all have the same length

    digests = {user: digest(password) for user, password in passwords.items()}
    unknown_user = secrets.token_bytes(hashlib.blake2b().digest_size)

    def is_valid(user: str, password: str) -> bool:
        return hmac.compare_digest(digests.get(user, unknown_user), digest(password))

    return is_valid
