"""The terms of a server, which are prepared once for all its connections."""

from __future__ import annotations

import pytest

from anyws._server.options import ServerOptions
from anyws.protocol.server_handshake import begin_handshake
from anyws.protocol.terms import ServerTerms
from tests.conformance.heads import opening


def test_options_prepare_their_terms_once() -> None:
    options = ServerOptions(headers={"X": "y"}, allowed_hosts=["localhost"])
    terms = options.terms
    assert options.terms is terms
    assert ServerOptions(headers={"X": "y"}, allowed_hosts=["localhost"]) == options  # the terms are not an option


def test_handshakes_with_the_same_terms_are_independent() -> None:
    terms = ServerOptions(headers={"X": "y"}, subprotocols=["chat"]).terms
    with_subprotocol, without = begin_handshake(terms), begin_handshake(terms)
    with_subprotocol.receive_data(opening({"Sec-WebSocket-Protocol": "chat"}))
    without.receive_data(opening())
    answers = [each.data_to_send(each.accept({"Z": "1"})) for each in (with_subprotocol, without)]
    assert [each.subprotocol for each in (with_subprotocol, without)] == ["chat", None]
    assert [b"\r\nSec-WebSocket-Protocol: chat\r\n" in answer for answer in answers] == [True, False]
    assert all(answer.endswith(b"\r\nX: y\r\nZ: 1\r\n\r\n") for answer in answers)


def test_each_response_has_the_accept_value_of_its_own_key() -> None:
    """The other bytes of the response are cached."""
    terms = ServerOptions().terms
    proofs = {}
    for key in ("dGhlIHNhbXBsZSBub25jZQ==", "AAAAAAAAAAAAAAAAAAAAAA=="):
        handshake = begin_handshake(terms)
        handshake.receive_data(opening({"Sec-WebSocket-Key": key}))
        response = handshake.accept()
        proofs[key] = response.headers["sec-websocket-accept"]
        assert handshake.data_to_send(response).count(f"\r\nSec-WebSocket-Accept: {proofs[key]}\r\n".encode()) == 1
    assert proofs["dGhlIHNhbXBsZSBub25jZQ=="] == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
    assert len(set(proofs.values())) == 2


def test_a_default_response_header_is_checked() -> None:
    with pytest.raises(ValueError, match="cannot be set: the opening handshake sets it"):
        ServerTerms(
            subprotocols=(),
            extensions=(),
            origins=None,
            allowed_hosts=None,
            headers={"Upgrade": "x"},
            max_head_bytes=1,
            max_headers=1,
        )
