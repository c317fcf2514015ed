"""Attacks on the opening handshake of servers and clients."""

from __future__ import annotations

import pytest

import anyws
from anyws.protocol import ClientHandshake, HandshakeError, ServerHandshake, parse_uri
from anyws.protocol.http11 import Request
from tests.peers import REQUEST, connected, echo, opening_response, scripted_server

from .attacker import answer_to, asking, check_serves

LENGTH = 400_000
PATHOLOGICAL = {
    "Sec-WebSocket-Protocol": ["b" + " " * LENGTH + "b", "," * LENGTH, "a\t" * (LENGTH // 2), "b" * LENGTH + "\xe9"],
    "Sec-WebSocket-Extensions": [
        "b" + " " * LENGTH + "b",
        "a;" * (LENGTH // 2),
        'a;b="' + "\\a" * (LENGTH // 2),
        "b; c=" + "\t" * LENGTH,
        "a, " * (LENGTH // 3) + "\xe9",
    ],
    "Sec-WebSocket-Key": ["A" * LENGTH, " " * LENGTH + "=" * LENGTH],
    "Sec-WebSocket-Version": ["13" * (LENGTH // 2), "1" + " " * LENGTH + "3"],
    "Connection": ["Upgrade" * (LENGTH // 7), " , " * (LENGTH // 3)],
    "Upgrade": ["websocket " * (LENGTH // 10)],
    "Host": ["a." * (LENGTH // 2) + " ", "[" * LENGTH, "a:" + "0" * LENGTH + "x", "[" + ":" * LENGTH],
    "Origin": [
        "http://" + "a." * (LENGTH // 2) + "\xe9",
        "a" * LENGTH + "://",
        "http://[" + ":" * LENGTH,
    ],
    "X": [" \t" * (LENGTH // 2) + "\x01", "a" + " " * LENGTH + "b"],
}


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, values in PATHOLOGICAL.items() for value in values]
)
def test_redos_in_a_header(name: str, value: str) -> None:
    """Ws CVE-2021-32640: a pattern that backtracks. With anything worse than linear time, this test would not end."""
    lines = [line for line in REQUEST.split(b"\r\n")[:-2] if not line.startswith(name.encode() + b": ")]
    head = b"\r\n".join([*lines, f"{name}: {value}".encode("latin-1"), b"", b""])
    handshake = ServerHandshake(max_head_bytes=10 * LENGTH)
    try:
        assert handshake.receive_data(head) is not None
    except HandshakeError:
        pass


def test_redos_in_pieces() -> None:
    """A head that arrives byte by byte is not searched from its beginning each time."""
    handshake = ServerHandshake(max_head_bytes=10 * LENGTH)
    for byte in (b"GET / HTTP/1.1\r\nX: ", *[b"\t"] * LENGTH):
        assert handshake.receive_data(byte) is None


@pytest.mark.parametrize(
    "head",
    [
        asking("Content-Length: 40"),
        asking("Transfer-Encoding: chunked"),
        REQUEST.replace(b"GET", b"POST"),
        REQUEST.replace(b"Version: 13", b"Version: 8"),
        asking("Origin: https://evil.example"),
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: keep-alive\r\n\r\n",
    ],
)
async def test_request_smuggling_after_a_rejected_request(head: bytes) -> None:
    """Aiohttp CVE-2026-69243: data after a rejected request is not a second request."""
    paths: list[str] = []

    def on_request(request: anyws.Request) -> anyws.Response | None:
        paths.append(request.path)
        return None

    async with anyws.open_server(echo, "127.0.0.1", 0, on_request=on_request) as server:
        answer = await answer_to(server, head + REQUEST.replace(b"/chat", b"/smuggled"))
        assert answer.count(b"HTTP/1.1 ") == 1
        assert not answer.startswith(b"HTTP/1.1 101 ")
        assert b"close" in answer.partition(b"\r\n\r\n")[0]
        await check_serves(server)
    assert "/smuggled" not in paths


def test_request_smuggling_with_several_content_lengths() -> None:
    """Several lengths are never added, joined or chosen from (RFC 9112, section 6.3)."""
    for lines in (
        ["Content-Length: 0", "Content-Length: 5"],
        ["Content-Length: 0, 5"],
        ["Content-Length: +5"],
        ["Content-Length: 0x5"],
        ["Content-Length: 5 "],
        ["Content-Length: 0", "Transfer-Encoding: chunked"],
        ["Transfer-Encoding: identity"],
        ["Transfer-Encoding: \x0bchunked"],
        ["Content-Length : 5"],
    ):
        with pytest.raises(HandshakeError):
            ServerHandshake().receive_data(asking(*lines) + b"hello")


async def test_an_endless_series_of_informational_responses() -> None:
    """A server could keep a client busy with 103 responses forever; they count towards the limit of the head."""

    def answer(request: bytes) -> bytes:
        return b"HTTP/1.1 103 Early Hints\r\n\r\n" * 1000 + opening_response(request)

    async with scripted_server(answer) as uri:
        with pytest.raises(anyws.HandshakeError, match="the head exceeds"):
            await connected(uri)


def test_a_few_informational_responses_are_accepted() -> None:
    handshake = ClientHandshake(parse_uri("ws://localhost/"))
    request = handshake.data_to_send()
    assert handshake.receive_data(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" * 50) is None
    response = handshake.receive_data(opening_response(request))
    assert response is not None
    assert response.status == 101


@pytest.mark.parametrize(
    "value", ["a\r\nX-Evil: 1", "a\nb", "a\rb", "a\0b", "\x1b[2J", " a", "a ", "\u0130", "\ud800", "\x7f"]
)
def test_header_injection_by_the_caller(value: str) -> None:
    """Undici CVE-2026-1527: user data became a header. This covers every way into a head."""
    uri = parse_uri("ws://localhost/")
    ways = [
        lambda: ClientHandshake(uri, headers={"X": value}),
        lambda: ClientHandshake(uri, headers={f"X{value}": "a"}),
        lambda: ClientHandshake(uri, headers={"Host": value}),
        lambda: ClientHandshake(uri, origin=value),
        lambda: ClientHandshake(uri, subprotocols=[value]),
        lambda: ClientHandshake(uri, extensions=f"a; b={value};"),
        lambda: ServerHandshake(subprotocols=[value]),
        lambda: anyws.Response(200, {"X": value}),
        lambda: anyws.Response(200, {f"X{value}": "a"}),
        lambda: anyws.Response(200, reason=f"OK{value}\n"),
        lambda: anyws.ServerOptions(headers={"X": value}),
        lambda: anyws.ClientOptions(headers={"X": value}),
        lambda: anyws.ClientOptions(origin=value),
    ]
    for way in ways:
        with pytest.raises(ValueError, match=r".") as raised:
            way()
        assert type(raised.value) is ValueError


@pytest.mark.parametrize("target", ["/a b", "/a\r\nX: y", "/\x00", "/\xe9"])
def test_header_injection_by_the_target(target: str) -> None:
    """The parts of a URI are percent-encoded; anything else is rejected."""
    try:
        uri = parse_uri(f"ws://localhost{target}")
    except anyws.InvalidURI:
        return
    request = ClientHandshake(uri).data_to_send()
    assert request.count(b"\r\n") == REQUEST.count(b"\r\n")
    assert request.isascii()


def test_a_subprotocol_chosen_by_a_callable_must_have_been_offered() -> None:
    """The selected subprotocol cannot inject another header."""
    handshake = ServerHandshake(subprotocols=lambda offered: "a\r\nX-Evil: 1")
    assert isinstance(handshake.receive_data(asking("Sec-WebSocket-Protocol: a")), Request)
    with pytest.raises(ValueError, match="was selected"):
        handshake.accept()
