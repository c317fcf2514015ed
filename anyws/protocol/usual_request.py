"""A fast parser for the usual request head of an opening handshake. It exists for speed.

h11 and the checks in `exchange` take ten times as long, almost a fifth of an opening handshake on a server. This parser
accepts a part of what they accept, with the same result; tests compare them. Any other request is left to them, and so
are all errors.
"""

from __future__ import annotations

import re

from .headers import headers_of, shared
from .http11 import Request

__all__ = ["parse_usual_request"]

_END = b"\r\n\r\n"
# GET over HTTP/1.1, and header lines with a value and the usual single space before it, all in ASCII. The possessive
# quantifiers (*+, ++) make this linear in the length of the head.
_USUAL_HEAD = re.compile(
    r"GET ([!-~]++) HTTP/1\.1\r\n((?:[!#$%&'*+\-.^_`|~0-9A-Za-z]++: [!-~][ -~]*+(?<! )\r\n)++)\r\n"
)
_OF_BODY = ("content-length", "transfer-encoding")


def parse_usual_request(data: bytes, *, max_bytes: int, max_headers: int) -> tuple[Request, int] | None:
    """Return the request and the length of its head; None if it is not a usual one, incomplete or invalid.

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
    pairs = [(shared(name), shared(value)) for name, _, value in [line.partition(": ") for line in fields.splitlines()]]
    headers = headers_of(pairs)
    if len(pairs) > max_headers or len(headers.get_all("host")) != 1 or any(name in headers for name in _OF_BODY):
        return None
    return Request(target=target, headers=headers), length
