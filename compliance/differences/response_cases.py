"""Responses, as cases for clients."""

from __future__ import annotations

from typing import Any

from .case import RESPONSE, Case

__all__ = ["RESPONSE_CASES"]

_REFUSED = "closes TCP"


def _case(name: str, head: bytes, *, right: str = _REFUSED, **fields: Any) -> Case:
    return Case(name=name, roles=("client",), head=head, right=right, **fields)


def _replaced(name: str, old: bytes, new: bytes, **fields: Any) -> Case:
    """Replace a part of the valid response."""
    assert RESPONSE.count(old) == 1, old
    return _case(name, RESPONSE.replace(old, new), **fields)


def _added(name: str, headers: bytes, **fields: Any) -> Case:
    """Add headers to the valid response."""
    return _case(name, RESPONSE.removesuffix(b"\r\n") + headers + b"\r\n\r\n", **fields)


def _answering(answer: str, *, section: str = "RFC 7692, section 7.1", **fields: Any) -> Case:
    """Respond to an offer of permessage-deflate."""
    return _added(f"answer `{answer}`", f"Sec-WebSocket-Extensions: {answer}".encode(), section=section, **fields)


RESPONSE_CASES = [
    _replaced("a wrong accept value", b"(accept)", b"AAAA", section="RFC 6455, section 4.1", rule="MUST fail"),
    _replaced(
        "no accept value", b"Sec-WebSocket-Accept: (accept)\r\n", b"", section="RFC 6455, section 4.1", rule="MUST fail"
    ),
    _added(
        "the accept value twice",
        b"Sec-WebSocket-Accept: (accept)",
        section="RFC 6455, section 11.3.3",
        rule="MUST NOT appear twice",
    ),
    _added(
        "obs-fold",
        b"X: a\r\n b",
        section="RFC 9112, section 5.2",
        rule="MUST replace it with spaces",
        right="accepts",
    ),
    _replaced("no Upgrade", b"Upgrade: websocket\r\n", b"", section="RFC 6455, section 4.1", rule="MUST fail"),
    _replaced(
        "`Upgrade: WebSocket`",
        b"Upgrade: websocket",
        b"Upgrade: WebSocket",
        section="RFC 6455, section 4.1",
        rule="case-insensitive",
        right="accepts",
    ),
    _replaced(
        "`Upgrade: websocket, foo`",
        b"Upgrade: websocket",
        b"Upgrade: websocket, foo",
        section="RFC 6455, section 4.1",
        rule="another value: MUST fail",
    ),
    _replaced("no Connection", b"Connection: Upgrade\r\n", b"", section="RFC 6455, section 4.1", rule="MUST fail"),
    _replaced(
        "`Connection: keep-alive, upgrade`",
        b"Connection: Upgrade",
        b"Connection: keep-alive, upgrade",
        section="RFC 6455, section 4.1",
        rule="a list that contains it, case-insensitive",
        right="accepts",
    ),
    _replaced(
        "an empty reason phrase",
        b"101 Switching Protocols",
        b"101 ",
        section="RFC 9112, section 4",
        rule="may be empty",
        right="accepts",
    ),
    _replaced(
        "a line that ends in a bare LF",
        b"websocket\r\n",
        b"websocket\n",
        section="RFC 9112, section 2.2",
        rule="MAY be recognized as a line terminator",
        allowed=("accepts",),
    ),
    _added(
        "a subprotocol that was not offered",
        b"Sec-WebSocket-Protocol: a",
        section="RFC 6455, section 4.1",
        rule="MUST fail",
    ),
    _answering("foo", section="RFC 6455, section 4.1", rule="not offered: MUST fail"),
    _answering(
        "permessage-deflate, permessage-deflate",
        section="RFC 7692, section 5",
        rule="two extensions that use RSV1: MUST fail",
    ),
    _answering("permessage-deflate;; x", section="RFC 6455, section 9.1", rule="malformed: MUST fail"),
    _answering("permessage-deflate", rule="as offered", right="accepts"),
    _answering("permessage-deflate; server_max_window_bits=15", rule="may be sent unasked", right="accepts"),
    _answering(
        'permessage-deflate; server_max_window_bits="15"',
        section="RFC 6455, section 9.1",
        rule="a value may be quoted",
        right="accepts",
    ),
    _answering("permessage-deflate; server_max_window_bits=8", rule="8 to 15", right="accepts"),
    _answering("permessage-deflate; client_max_window_bits=8", rule="8 to 15", right="accepts"),
    *(
        _answering(f"permessage-deflate; {parameters}", rule=f"{problem}: MUST fail")
        for parameters, problem in (
            ("unknown", "undefined"),
            ("server_max_window_bits=10; server_max_window_bits=10", "twice"),
            ("server_no_context_takeover=true", "has a value"),
            ("server_max_window_bits=010", "leading zero"),
            ("server_max_window_bits=7", "8 to 15"),
            ("server_max_window_bits=16", "8 to 15"),
            ("server_max_window_bits", "no value"),
            ("client_max_window_bits", "no value"),
            ("client_max_window_bits=16", "8 to 15"),
        )
    ),
]
