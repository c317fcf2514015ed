"""A fast parser for the usual request head of an opening handshake. It exists for speed.

h11 and the checks in `exchange` take ten times as long, almost a fifth of an opening handshake on a server. This parser
accepts a part of what they accept, with the same result; tests compare them. Any other request is left to them, and so
are all errors.
"""

from __future__ import annotations

import re

from .headers import SHARED, headers_of
from .http11 import Request

__all__ = ["parse_usual_request"]

_END = b"\r\n\r\n"
# GET over HTTP/1.1, and header lines with a value and the usual single space before it, all in ASCII. The possessive
# quantifiers (*+, ++) make this linear in the length of the head.
_USUAL_HEAD = re.compile(
    r"GET ([!-~]++) HTTP/1\.1\r\n((?:[!#$%&'*+\-.^_`|~0-9A-Za-z]++: [!-~][ -~]*+(?<! )\r\n)++)\r\n"
)
_FIELD = re.compile(r"([^:]++): ([^\r]++)\r\n")  # in what has matched the above
_shared = SHARED.get
_lower = {name: SHARED[name.lower()] for name in SHARED}.get


def parse_usual_request(data: bytes, *, max_bytes: int, max_headers: int) -> tuple[Request, int] | None:
    """Return the request and the length of its head; None if it is not a usual one, incomplete or invalid.

    A request with a body or with a repeated header is not a usual one.

    Args:
        data: the first bytes from the client.
        max_bytes: the maximum size of the head.
        max_headers: the maximum number of header lines.
    """
    length = data.find(_END) + len(_END)
    if length > max_bytes:
        return None
    head = _USUAL_HEAD.fullmatch(data[:length].decode("latin-1"))
    if head is None:
        return None
    target, fields = head.groups()
    pairs = [(_shared(name, name), _shared(value, value)) for name, value in _FIELD.findall(fields)]
    by_name = {_lower(name) or name.lower(): value for name, value in pairs}
    is_usual = (
        len(by_name) == len(pairs) <= max_headers
        and "host" in by_name
        and "content-length" not in by_name
        and "transfer-encoding" not in by_name
    )
    return (Request(target=target, headers=headers_of(pairs, by_name)), length) if is_usual else None
