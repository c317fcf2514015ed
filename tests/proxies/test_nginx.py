"""Behind nginx as a reverse proxy, with and without TLS; it buffers responses, as by default."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

import anyio
import pytest

import anyws
from tests.harness import free_port
from tests.peers import connected, echo

from .programs import nginx

secure = pytest.mark.parametrize("is_secure", [False, True], ids=["ws", "wss"])


@pytest.fixture
def options(is_secure: bool, client_ssl_context: ssl.SSLContext) -> dict[str, Any]:
    return {"ssl_context": client_ssl_context} if is_secure else {}


def uri(port: int, is_secure: bool, path: str = "/chat") -> str:
    return f"{'wss' if is_secure else 'ws'}://localhost:{port}{path}"


def behind(server: anyws.Server) -> str:
    return f"location / {{ proxy_pass http://127.0.0.1:{server.addresses[0][1]}; }}"


@secure
async def test_conversation(is_secure: bool, options: dict[str, Any], pem: Path, tmp_path: Path) -> None:
    async def hurry(websocket: anyws.WebSocket) -> None:
        await websocket.send("welcome")  # is not to be held back in a buffer
        await echo(websocket)

    async with anyws.open_server(hurry, "127.0.0.1", 0) as server:
        with nginx(tmp_path, behind(server), pem if is_secure else None) as port:
            async with anyws.connect(uri(port, is_secure), compression=True, **options) as websocket:
                assert await websocket.receive() == "welcome"
                for message in ("", "hello", "é" * 300_000, b"\x00" * 1_000_000):
                    await websocket.send(message)
                    assert await websocket.receive() == message
                assert await websocket.ping() > 0
            assert websocket.close_code == 1000


@secure
async def test_the_server_closes(is_secure: bool, options: dict[str, Any], pem: Path, tmp_path: Path) -> None:
    async def part(websocket: anyws.WebSocket) -> None:
        await websocket.aclose(4001, "enough")

    async with anyws.open_server(part, "127.0.0.1", 0) as server:
        with nginx(tmp_path, behind(server), pem if is_secure else None) as port:
            async with anyws.connect(uri(port, is_secure), **options) as websocket:
                with pytest.raises(anyws.ConnectionClosedError) as raised:
                    await websocket.receive()
    assert raised.value.received == anyws.Close(4001, "enough")


@secure
async def test_floods_both_ways(is_secure: bool, options: dict[str, Any], pem: Path, tmp_path: Path) -> None:
    count, message = 200, b"x" * 50_000

    async def flood(websocket: anyws.WebSocket) -> None:
        async def send() -> None:
            for _ in range(count):
                await websocket.send(message)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(send)
            for _ in range(count):
                assert await websocket.receive() == message

    async with anyws.open_server(flood, "127.0.0.1", 0) as server:
        with nginx(tmp_path, behind(server), pem if is_secure else None) as port:
            async with anyws.connect(uri(port, is_secure), **options) as websocket:
                await flood(websocket)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_by_nginx(status: int, tmp_path: Path) -> None:
    async with anyws.open_server(echo, "127.0.0.1", 0) as server:
        with nginx(tmp_path, f"location = /old {{ return {status} /chat?a=b; }}\n{behind(server)}") as port:
            async with anyws.connect(uri(port, False, "/old"), max_redirects=1) as websocket:
                assert websocket.request.target == "/chat?a=b"
                await websocket.send("hello")
                assert await websocket.receive() == "hello"


async def test_connecting_again_once_the_server_is_back(tmp_path: Path) -> None:
    upstream = free_port()
    statuses: list[int] = []

    async def start(outage: anyws.Outage) -> None:
        assert isinstance(outage.exception, anyws.HandshakeRefused)
        statuses.append(outage.exception.status)
        if len(statuses) == 2:
            await tasks.start(anyws.serve, echo, "127.0.0.1", upstream)

    # After a failure nginx would let the upstream alone for a while.
    location = f"location / {{ proxy_pass http://127.0.0.1:{upstream}; proxy_next_upstream off; }}"
    with nginx(tmp_path, location) as port:
        async with anyio.create_task_group() as tasks:
            async for connection in anyws.reconnecting(uri(port, False), initial_delay=0.01, on_disconnect=start):
                async with connection as websocket:
                    await websocket.send("hello")
                    assert await websocket.receive() == "hello"
                    break
            tasks.cancel_scope.cancel()
    assert statuses[:2] == [502, 502]


async def test_what_nginx_answers_itself(tmp_path: Path) -> None:
    nowhere = f"location / {{ proxy_pass http://127.0.0.1:{free_port()}; }}"
    later = "location = /later { add_header Retry-After 7 always; return 503; }"
    with nginx(tmp_path, f"{later}\n{nowhere}") as port:
        for path, status in (("/later", 503), ("/chat", 502)):
            with pytest.raises(anyws.HandshakeRefused) as raised:
                await connected(uri(port, False, path))
            assert raised.value.status == status
            assert b"nginx" in raised.value.response.body
            assert raised.value.response.headers.get("retry-after") == ("7" if status == 503 else None)
