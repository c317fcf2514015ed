"""The client's side of the opening handshake (RFC 6455, section 4.1)."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from anyws.protocol import ClientHandshake, HandshakeError, Headers, ServerHandshake, parse_uri
from tests.conformance.heads import answer, client

RESERVED = [
    "Connection",
    "Content-Length",
    "Sec-WebSocket-Accept",
    "Sec-WebSocket-Extensions",
    "Sec-WebSocket-Key",
    "Sec-WebSocket-Protocol",
    "Sec-WebSocket-Version",
    "Transfer-Encoding",
    "UPGRADE",
]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        *[
            pytest.param({"headers": {name: "x"}}, ValueError, f"header {name} cannot be set", id=name)
            for name in RESERVED
        ],
        pytest.param({"headers": {"a b": "c"}}, ValueError, "not a token", id="header-name"),
        pytest.param({"headers": {"a": "b\r\nc: d"}}, ValueError, "contains a forbidden character", id="header-value"),
        pytest.param({"headers": {"Host": "b\nc"}}, ValueError, "contains a forbidden character", id="host-value"),
        pytest.param({"headers": [("Host", "b"), ("host", "c")]}, ValueError, "Host was given twice", id="two-hosts"),
        pytest.param({"headers": {"a": b"b"}}, TypeError, "the value must be a str, not bytes", id="header-type"),
        pytest.param({"origin": "a\r\nb: c"}, ValueError, "header Origin", id="origin"),
        pytest.param({"subprotocols": ["a b"]}, ValueError, "is not a token", id="subprotocol"),
        pytest.param({"subprotocols": ["a", "a"]}, ValueError, "more than once", id="subprotocol-twice"),
        pytest.param({"subprotocols": "chat"}, TypeError, "not a str", id="subprotocol-str"),
        pytest.param({"extensions": "a; b="}, ValueError, "expected a token or a quoted string", id="extensions"),
        pytest.param({"extensions": ""}, ValueError, "expected at least one extension", id="extensions-empty"),
        pytest.param({"extensions": " a"}, ValueError, "header Sec-WebSocket-Extensions", id="extensions-space"),
        pytest.param({"nonce": b"15 bytes of key"}, ValueError, "nonce of 15 bytes, expected 16", id="nonce-short"),
    ],
)
def test_invalid_arguments_are_rejected_before_anything_is_sent(
    options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        client(sent=False, **options)


@pytest.mark.parametrize(("option", "limit"), [("max_head_bytes", 20), ("max_headers", 2)])
def test_limits_of_the_head(option: str, limit: int) -> None:
    options: dict[str, Any] = {option: limit}
    with pytest.raises(HandshakeError, match=f"(exceeds|more than) {limit}"):
        client(**options).receive_data(answer({}))


# -- two ends ----------------------------------------------------------------------------------------------------------

tokens = st.text("!#$%&'*+-.^_`|~0aZ", min_size=1, max_size=5)


@given(offered=st.lists(tokens, max_size=3, unique=True), spoken=st.lists(tokens, max_size=3, unique=True))
@settings(deadline=None)
def test_both_ends_agree(offered: list[str], spoken: list[str]) -> None:
    client = ClientHandshake(parse_uri("ws://a/b"), subprotocols=offered, origin="http://a")
    server = ServerHandshake(subprotocols=spoken)
    request = server.receive_data(client.data_to_send() + b"early")
    assert request == client.request
    assert server.trailing_data == b"early"
    response = server.accept(Headers({"X": "y"}))
    assert client.receive_data(server.data_to_send(response) + b"frames") == response
    assert client.trailing_data == b"frames"
    assert client.subprotocol == server.subprotocol == next((name for name in spoken if name in offered), None)
