"""Requests, as cases for servers."""

from __future__ import annotations

from typing import Any

from .case import OFFER, REQUEST, Case

__all__ = ["REQUEST_CASES"]

_KEY = b"dGhlIHNhbXBsZSBub25jZQ=="


def _case(name: str, head: bytes, *, right: str = "400", **fields: Any) -> Case:
    return Case(name=name, roles=("server",), head=head, right=right, **fields)


def _replaced(name: str, old: bytes, new: bytes, **fields: Any) -> Case:
    """Replace a part of the valid request."""
    assert REQUEST.count(old) == 1, old
    return _case(name, REQUEST.replace(old, new), **fields)


def _added(name: str, headers: bytes, *, body: bytes = b"", **fields: Any) -> Case:
    """Add headers, and optionally a body, to the valid request."""
    return _case(name, REQUEST.removesuffix(b"\r\n") + headers + b"\r\n\r\n" + body, **fields)


def _offering(offer: str, **fields: Any) -> Case:
    """Check the response to an offer."""
    return Case(name=f"offer `{offer}`", roles=("server",), offer=offer, shows_agreement=True, **fields)


_HTTP_CASES = [
    _replaced(
        "POST",
        b"GET",
        b"POST",
        section="RFC 6455, section 4.2.1",
        rule="GET only; an appropriate status",
        right="405",
        allowed=("400",),
    ),
    _replaced(
        "HTTP/1.0", b"HTTP/1.1", b"HTTP/1.0", section="RFC 6455, section 4.2.1", rule="1.1 or higher", right="505"
    ),
    _replaced(
        "HTTP/1.2",
        b"HTTP/1.1",
        b"HTTP/1.2",
        section="RFC 9110, section 2.5",
        rule="a higher minor version is treated as the highest supported one",
        right="accepts",
    ),
    _replaced("no Host", b"Host: localhost\r\n", b"", section="RFC 9112, section 3.2", rule="MUST respond with 400"),
    _added("two Hosts", b"Host: localhost", section="RFC 9112, section 3.2", rule="MUST respond with 400"),
    _replaced(
        "Host with a space in it",
        b"Host: localhost",
        b"Host: local host",
        section="RFC 9112, section 3.2",
        rule="an invalid value: MUST respond with 400",
    ),
    _replaced(
        "a target in absolute form",
        b"GET /chat",
        b"GET http://localhost/chat",
        section="RFC 9112, section 3.2.2",
        rule="MUST accept",
        right="accepts",
    ),
    _replaced(
        "a fragment in the target",
        b"GET /chat",
        b"GET /chat#x",
        section="RFC 9112, section 3.2; RFC 6455, section 3",
        rule="an invalid target: SHOULD respond with 400",
        allowed=("accepts",),
    ),
    _added(
        "a body, with Content-Length",
        b"Content-Length: 5",
        body=b"hello",
        section="RFC 9110, sections 7.8 and 9.3.1",
        rule="frames follow the body; may be rejected",
        allowed=("accepts",),
    ),
    _added(
        "Content-Length: 0",
        b"Content-Length: 0",
        section="RFC 9110, section 8.6",
        rule="no body",
        right="accepts",
    ),
    _added(
        "obs-fold",
        b"X: a\r\n b",
        section="RFC 9112, section 5.2",
        rule="MUST respond with 400, or replace it with spaces",
        allowed=("accepts",),
    ),
    _replaced(
        "a line that ends in a bare LF",
        b"Host: localhost\r\n",
        b"Host: localhost\n",
        section="RFC 9112, section 2.2",
        rule="MAY be recognized as a line terminator",
        allowed=("accepts",),
    ),
    _added("a space before the colon", b"X : a", section="RFC 9112, section 5.1", rule="MUST respond with 400"),
]

_OPENING_CASES = [
    _replaced(
        "version 12",
        b"Version: 13",
        b"Version: 12",
        section="RFC 6455, section 4.2.2",
        rule="an appropriate status, such as 426, and a `Sec-WebSocket-Version` header",
        header="Sec-WebSocket-Version",
        right="426",
        allowed=("400",),
    ),
    _replaced(
        "version 8",
        b"Version: 13",
        b"Version: 8",
        section="RFC 6455, section 4.2.2",
        rule="an appropriate status, such as 426, and a `Sec-WebSocket-Version` header",
        header="Sec-WebSocket-Version",
        right="426",
        allowed=("400",),
    ),
    _replaced(
        "no key",
        b"Sec-WebSocket-Key: " + _KEY + b"\r\n",
        b"",
        section="RFC 6455, section 4.2.1",
        rule="an appropriate status, such as 400",
    ),
    _added("two keys", b"Sec-WebSocket-Key: " + _KEY, section="RFC 6455, section 11.3.1", rule="MUST NOT appear twice"),
    _replaced(
        "a key of 15 bytes", _KEY, b"dGhlIHNhbXBsZSBub25j", section="RFC 6455, section 4.2.1", rule="16 bytes in base64"
    ),
    _replaced(
        "`Upgrade: h2c, WebSocket`",
        b"Upgrade: websocket",
        b"Upgrade: h2c, WebSocket",
        section="RFC 6455, section 4.2.1; RFC 9110, section 7.8",
        rule="a list that contains it, case-insensitive",
        right="accepts",
    ),
    _replaced(
        "`Connection: keep-alive, upgrade`",
        b"Connection: Upgrade",
        b"Connection: keep-alive, upgrade",
        section="RFC 6455, section 4.2.1",
        rule="a list that contains it, case-insensitive",
        right="accepts",
    ),
    _replaced(
        "two `Connection` lines",
        b"Connection: Upgrade",
        b"Connection: keep-alive\r\nConnection: Upgrade",
        section="RFC 9110, section 5.3",
        rule="two lines are one list",
        right="accepts",
    ),
    _added(
        "a subprotocol that is not a token",
        b"Sec-WebSocket-Protocol: a/b",
        section="RFC 6455, sections 4.1 and 4.2.1",
        rule="MUST be tokens",
    ),
    _added(
        "a subprotocol twice",
        b"Sec-WebSocket-Protocol: a, a",
        section="RFC 6455, sections 4.1 and 4.2.1",
        rule="MUST be unique",
    ),
    _added(
        "an empty list of extensions",
        b"Sec-WebSocket-Extensions:",
        section="RFC 6455, section 9.1",
        rule="the grammar requires at least one",
    ),
]

_OFFER_CASES = [
    _offering("permessage-deflate;; x", section="RFC 6455, section 9.1", rule="malformed: MUST fail", right="400"),
    _offering("foo", section="RFC 6455, section 9.1", rule="unknown: left out of the response", right="declines"),
    _offering(
        "foo, permessage-deflate", section="RFC 6455, section 9.1", rule="each one is a separate offer", right="agrees"
    ),
    _offering(OFFER, section="RFC 7692, section 7.1.2.2", rule="a hint", right="agrees"),
    _offering(
        'permessage-deflate; server_max_window_bits="10"',
        section="RFC 6455, section 9.1",
        rule="a value may be quoted",
        right="agrees: 10",
    ),
    _offering(
        "permessage-deflate; server_max_window_bits=8",
        section="RFC 7692, section 7.1.2.1",
        rule="8 to 15; may be declined",
        right="agrees: 8",
        allowed=("declines",),
    ),
    _offering(
        "permessage-deflate; unknown, permessage-deflate",
        section="RFC 7692, sections 5 and 7.1",
        rule="the first is declined, the second is a fallback",
        right="agrees",
    ),
    *(
        _offering(
            f"permessage-deflate; {parameters}",
            section="RFC 7692, section 7.1",
            rule=f"{problem}: MUST decline",
            right="declines",
        )
        for parameters, problem in (
            ("unknown", "undefined"),
            ("server_max_window_bits=10; server_max_window_bits=10", "twice"),
            ("server_max_window_bits=010", "leading zero"),
            ("server_max_window_bits=7", "8 to 15"),
            ("server_max_window_bits", "no value"),
            ("client_no_context_takeover=true", "has a value"),
        )
    ),
]

REQUEST_CASES = [*_HTTP_CASES, *_OPENING_CASES, *_OFFER_CASES]
