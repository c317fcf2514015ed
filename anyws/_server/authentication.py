"""Who a client is: Basic authentication (RFC 7617), as a request hook."""

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
"""Gets user name and password; says whether the user may come in."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")  # RFC 7617, 2: neither part may have them


def basic_auth(
    realm: str, *, credentials: Mapping[str, str] | None = None, check: CredentialsCheck | None = None
) -> RequestHook:
    """Return a hook for ``on_request`` that lets in who knows a password, and answers 401 to all others.

    The user name is then in ``websocket.request.state["user"]``. Use it over TLS only: the password is sent as it is.

    Args:
        realm: what the user name and the password are for, as a browser shows it.
        credentials: the password of each user. They are compared in a time that tells nothing of them, also where
            there is no such user.
        check: instead of ``credentials``, a sync or async callable that gets user name and password, and says whether
            they are right. To compare in constant time is then its task.

    Raises:
        TypeError: neither or both of ``credentials`` and ``check`` are given, or one of the wrong type.
        ValueError: the realm has a character that a header cannot carry.
    """
    if (credentials is None) == (check is None):
        raise TypeError("basic_auth() takes either credentials or check")
    if not isinstance(credentials or {}, Mapping):
        raise TypeError(f"credentials are a mapping of passwords, not {type(credentials).__name__}")
    if not callable(check or _compare_with):
        raise TypeError(f"check is a callable, not {type(check).__name__}")
    challenge = 'Basic realm="{}", charset="UTF-8"'.format(re.sub(r'(["\\])', r"\\\1", realm))
    check_header("WWW-Authenticate", challenge)
    if not realm.isascii():
        raise ValueError(f"realm {realm!r} has a character outside ASCII, for which there is no encoding")
    is_right = check or _compare_with(dict(credentials or {}))

    async def authenticate(request: Request) -> Response | None:
        given = parse_basic(request.headers.get("authorization", ""))
        if given is not None:
            answer = is_right(*given)
            if inspect.isawaitable(answer):
                answer = await answer
            if answer:
                request.state["user"] = given[0]
                return None
        return Response(401, {"WWW-Authenticate": challenge}, "a user name and its password are required\n")

    return authenticate


def parse_basic(authorization: str) -> tuple[str, str] | None:
    """Return the user name and the password of an ``Authorization`` header; None if it has none (RFC 7617, 2)."""
    scheme, _, encoded = authorization.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        decoded = base64.b64decode(encoded.strip(" "), validate=True).decode()
    except (binascii.Error, ValueError):
        return None
    user, colon, password = decoded.partition(":")
    return None if not colon or _CONTROL.search(decoded) else (user, password)


def _compare_with(passwords: Mapping[str, str]) -> CredentialsCheck:
    key = secrets.token_bytes(16)

    def digest(password: str) -> bytes:
        return hashlib.blake2b(password.encode(), key=key).digest()  # all of one length

    digests = {user: digest(password) for user, password in passwords.items()}
    nobody = secrets.token_bytes(hashlib.blake2b().digest_size)

    def is_right(user: str, password: str) -> bool:
        return hmac.compare_digest(digests.get(user, nobody), digest(password))

    return is_right
