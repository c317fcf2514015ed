"""Nothing that a peer sends outlives its connection: CPython 3.12 never frees interned names."""

from __future__ import annotations

import gc
import os
import sys
import tracemalloc
from collections.abc import Callable

import anyio
import pytest

import anyws
from anyws.protocol import Headers, Request
from anyws.protocol.exchange import ClientExchange, ServerExchange
from tests.peers import connected, scripted_server

from .attacker import answer_to, asking, attacker

REQUEST = Request(target="/", headers=Headers([("Host", "a"), ("Upgrade", "websocket"), ("Connection", "Upgrade")]))


def is_interned(text: str) -> bool:
    same = "".join(list(text))  # `intern` returns this very object, unless it knows another
    assert same is not text
    return sys.intern(same) is not same


def to_a_server(lines: bytes) -> Headers:
    request = ServerExchange(max_bytes=16384, max_headers=128).receive_data(b"GET / HTTP/1.1\r\nHost: a\r\n" + lines)
    assert request is not None
    return request.headers


def to_a_client(lines: bytes) -> Headers:
    exchange = ClientExchange(max_bytes=16384, max_headers=128, max_body=65536)
    exchange.send(REQUEST)
    response = exchange.receive_data(b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n" + lines)
    assert response is not None
    return response.headers


both_sides = pytest.mark.parametrize("headers_from", [to_a_server, to_a_client])


def check(headers: Headers, names: list[str]) -> None:
    assert [name for name in names if name.lower() in headers] == names
    assert "upgrade-insecure-requests" not in headers
    found = {name for name, _ in headers.multi_items()} | set(headers)
    assert [name for name in found if name.lower() in map(str.lower, names) and is_interned(name)] == []


@both_sides
@pytest.mark.parametrize("repeated", [1, 2])
def test_no_name_of_a_header_is_interned(headers_from: Callable[[bytes], Headers], repeated: int) -> None:
    name = f"X-{os.urandom(8).hex()}"
    check(headers_from(f"{name}: a\r\n".encode() * repeated + b"\r\n"), [name])


@both_sides
def test_all_connections_share_the_strings_of_common_names(headers_from: Callable[[bytes], Headers]) -> None:
    lines = b"Upgrade: websocket\r\nsec-websocket-key: x\r\nServer: y\r\n\r\n"
    one, other = (headers_from(lines) for _ in range(2))
    for (name, _), (same, _) in zip(one.multi_items(), other.multi_items(), strict=True):
        assert name is same
    for name, same in zip(one, other, strict=True):
        assert name is same


@both_sides
def test_memory_does_not_grow_with_requests(headers_from: Callable[[bytes], Headers]) -> None:
    def ask(count: int) -> None:
        for _ in range(count):
            assert headers_from(f"X-{os.urandom(4000).hex()}: a\r\n\r\n".encode()).get("upgrade") is None
        gc.collect()

    ask(10)
    tracemalloc.start()
    try:
        ask(10)
        before = tracemalloc.get_traced_memory()[0]
        ask(200)
        assert tracemalloc.get_traced_memory()[0] - before < 100_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("status", [101, 403])
async def test_a_server_keeps_nothing_of_a_request(status: int) -> None:
    seen: list[Headers] = []
    closed = anyio.Event()

    async def handler(websocket: anyws.WebSocket) -> None:
        assert websocket.request is not None
        seen.append(websocket.request.headers)
        closed.set()

    def on_request(request: anyws.Request) -> anyws.Response | None:
        if status == 101:
            return None
        seen.append(request.headers)
        return anyws.Response(status)

    name = f"X-{os.urandom(8).hex()}"
    async with anyws.open_server(handler, "127.0.0.1", 0, on_request=on_request) as server:
        if status == 101:
            async with attacker(server) as peer:
                await peer.stream.send(asking(f"{name}: a"))
                await closed.wait()
        else:
            assert (await answer_to(server, asking(f"{name}: a"))).startswith(b"HTTP/1.1 403 ")
    check(seen[0], [name])


async def test_a_client_keeps_nothing_of_a_response() -> None:
    name = f"X-{os.urandom(8).hex()}"
    refusal = f"HTTP/1.1 403 No\r\nContent-Length: 0\r\n{name}: a\r\n\r\n".encode()
    async with scripted_server(lambda _: refusal) as uri:
        with pytest.raises(anyws.HandshakeError) as caught:
            await connected(uri)
    assert caught.value.response is not None
    check(caught.value.response.headers, [name])
