"""The server's side of the opening handshake (RFC 6455, section 4.2)."""

from __future__ import annotations

from typing import Any

import pytest

from anyws.protocol import HandshakeRefused, Headers, Response, ServerHandshake
from anyws.protocol.server_handshake import check_final_response
from tests.conformance.heads import opening, read


def test_a_fragment_in_the_request_target_is_rejected() -> None:
    with pytest.raises(HandshakeRefused, match=r"target contains a fragment \(RFC 9112, section 3\.2\)") as refused:
        ServerHandshake().receive_data(opening(line="GET /chat#x HTTP/1.1"))
    assert refused.value.status == 400


# -- origin ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("option", ["origins", "allowed_hosts"])
def test_a_single_str_instead_of_a_sequence_is_a_type_error(option: str) -> None:
    """As a sequence of characters, "https://*.example.com" would allow any origin."""
    with pytest.raises(TypeError, match=f"{option} must be a sequence"):
        ServerHandshake(**{option: "https://*.example.com"})  # type: ignore[arg-type]  # that is the point


# -- subprotocols ------------------------------------------------------------------------------------------------------


def test_subprotocols_are_checked() -> None:
    with pytest.raises(ValueError, match="is not a token"):
        ServerHandshake(subprotocols=["a b"])


def test_a_subprotocol_may_be_selected_when_the_handshake_is_accepted() -> None:
    request = opening({"Sec-WebSocket-Protocol": "v1, v2"})
    handshake = read(request)
    assert handshake.offered_subprotocols == ("v1", "v2")
    assert handshake.accept(subprotocol="v2").headers["sec-websocket-protocol"] == "v2"
    assert handshake.subprotocol == "v2"
    with pytest.raises(ValueError, match="subprotocol 'v3' was selected, but is not one of the 2 offered"):
        read(request).accept(subprotocol="v3")
    with pytest.raises(ValueError, match="is not one of the 0 offered"):
        read(opening()).accept(subprotocol="v1")


# -- further headers of the 101 ----------------------------------------------------------------------------------------


def test_additional_response_headers() -> None:
    handshake = read(opening())
    response = handshake.accept([("Set-Cookie", "a=b"), ("Set-Cookie", "c=d")])
    assert handshake.data_to_send(response).endswith(b"\r\nSet-Cookie: a=b\r\nSet-Cookie: c=d\r\n\r\n")
    assert isinstance(response.headers, Headers)


@pytest.mark.parametrize(
    ("headers", "error", "message"),
    [
        *[
            pytest.param({name: "x"}, ValueError, f"header {name} cannot be set: the opening", id=name)
            for name in ("Connection", "Upgrade", "Content-Length", "Transfer-Encoding", "Sec-WebSocket-Accept")
        ],
        pytest.param({"sec-websocket-PROTOCOL": "x"}, ValueError, "cannot be set: the opening", id="protocol"),
        pytest.param({"Sec-WebSocket-Extensions": "x"}, ValueError, "cannot be set: the opening", id="extensions"),
        pytest.param({"X": "a\r\nY: b"}, ValueError, "contains a forbidden character", id="line-break"),
        pytest.param({"X": 1}, TypeError, "header X: the value must be a str, not int", id="value-type"),
    ],
)
def test_headers_that_cannot_be_added(headers: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        read(opening()).accept(headers)


@pytest.mark.parametrize(
    ("response", "problem"),
    [
        pytest.param(Response(101), "cannot respond with status 101", id="switching-protocols"),
        pytest.param(Response(100), "cannot respond with status 100", id="continue"),
        pytest.param(Response(600), "cannot respond with status 600", id="no-status"),
        pytest.param(Response(200, [("Transfer-Encoding", "chunked")]), "Transfer-Encoding cannot", id="chunked"),
        pytest.param(Response(200, [("Content-Length", "3")], b"ab"), "Content-Length is 3, but", id="wrong-length"),
    ],
)
def test_a_contradictory_response_is_rejected(response: Response, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        check_final_response(response)


@pytest.mark.parametrize("response", [Response(200, [("Content-Length", "2")], b"ab"), Response(599, body="no")])
def test_any_other_response_is_accepted(response: Response) -> None:
    check_final_response(response)
