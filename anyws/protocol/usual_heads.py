"""Fast code for the usual heads of an opening handshake: the request, and the response 101. It exists for speed.

h11 and the checks in `exchange` take ten times as long, almost a fifth of an opening handshake. This code accepts a
part of what they accept, with the same result; tests compare them. Anything else is left to them, and all errors are.
"""

from __future__ import annotations

import re

from .headers import SHARED, headers_of
from .http11 import Request, Response, checked_response

__all__ = ["parse_usual_request", "parse_usual_response", "serialize_usual_request"]

_END = b"\r\n\r\n"
# Header lines with a value and the usual single space before it, all in ASCII. The possessive quantifiers (*+, ++) make
# this linear in the length of the head.
_FIELDS = r"((?:[!#$%&'*+\-.^_`|~0-9A-Za-z]++: [!-~][ -~]*+(?<! )\r\n)++)\r\n"
_USUAL_REQUEST = re.compile(rf"GET ([!-~]++) HTTP/1\.1\r\n{_FIELDS}")
_USUAL_RESPONSE = re.compile(rf"HTTP/1\.1 101 ([!-~][ -~]*+(?<! ))\r\n{_FIELDS}")
_FIELD = re.compile(r"([^:]++): ([^\r]++)\r\n")  # in what has matched the above
_OF_BODIES = ("content-length", "transfer-encoding")
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
    found = _parse(_USUAL_REQUEST, data, max_bytes, max_headers)
    if found is None or "host" not in found[2]:
        return None
    target, pairs, by_name, length = found
    return Request(target=target, headers=headers_of(pairs, by_name)), length


def parse_usual_response(data: bytes, *, max_bytes: int, max_headers: int) -> tuple[Response, int] | None:
    """Return the response 101 and the length of its head; None if it is not a usual one, incomplete or invalid.

    Args:
        data: the first bytes from the server.
        max_bytes: the maximum size of the head.
        max_headers: the maximum number of header lines.
    """
    found = _parse(_USUAL_RESPONSE, data, max_bytes, max_headers)
    if found is None:
        return None
    reason, pairs, by_name, length = found
    return checked_response(101, headers_of(pairs, by_name), b"", reason), length


def serialize_usual_request(request: Request) -> bytes | None:
    """Return the bytes of a request; None if it is not a usual one, or invalid."""
    if request.method != "GET" or request.http_version != "1.1":
        return None
    pairs = request.headers.multi_items()
    head = "".join([f"GET {request.target} HTTP/1.1\r\n", *[f"{name}: {value}\r\n" for name, value in pairs], "\r\n"])
    if not head.isascii():
        return None
    data = head.encode("ascii")
    # Parsing it again makes sure that it is one request, and that no header has added another.
    found = _parse(_USUAL_REQUEST, data, len(data), len(pairs))
    is_same = found is not None and found[3] == len(data) and len(found[1]) == len(pairs) and pairs[0][0] == "Host"
    return data if is_same else None


def _parse(
    usual: re.Pattern[str], data: bytes, max_bytes: int, max_headers: int
) -> tuple[str, list[tuple[str, str]], dict[str, str], int] | None:
    """Return the target or reason, the headers as pairs and by name, and the length of the head; None if unusual."""
    length = data.find(_END) + len(_END)
    if length > max_bytes:
        return None
    head = usual.fullmatch(data[:length].decode("latin-1"))
    if head is None:
        return None
    first, fields = head.groups()
    found: list[tuple[str, str]] = _FIELD.findall(fields)
    pairs = [(_shared(name, name), _shared(value, value)) for name, value in found]
    by_name = {_lower(name) or name.lower(): value for name, value in pairs}
    if len(by_name) < len(pairs) or len(pairs) > max_headers or not by_name.keys().isdisjoint(_OF_BODIES):
        return None
    return first, pairs, by_name, length
