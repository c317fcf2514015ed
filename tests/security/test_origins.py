"""Pages of other origins: cross-site WebSocket hijacking (RFC 6455, section 10.2) and DNS rebinding."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest

import anyws
from tests.callbacks.peers import plain_server
from tests.peers import Wire, echo

from .attacker import answer_to, asking, check_serves

Opened = Callable[..., AbstractAsyncContextManager[anyws.Server]]


def native_server(**options: Any) -> AbstractAsyncContextManager[anyws.Server]:
    """Run a server with the native API, like `plain_server` with callbacks."""
    return anyws.open_server(echo, "127.0.0.1", 0, **options)


both_servers = pytest.mark.parametrize("opened", [native_server, plain_server])

LOOKALIKES = [
    "https://app.example.evil.example",
    "https://evil-app.example",
    "https://evilapp.example",
    "https://appXexample",
    "https://app.example:8443",
    "https://app.example.",
    "https://app.example/",
    "https://app.example@evil.example",
    "https://evil.example/https://app.example",
    "https://evil.example#https://app.example",
    "https://app.example, https://evil.example",
    "https://app.example%00.evil.example",
    "http://app.example",
    "wss://app.example",
    "app.example",
    "null",
    "",
    "*",
]


@pytest.mark.parametrize("origin", LOOKALIKES)
@both_servers
async def test_an_origin_that_resembles_an_allowed_one(opened: Opened, origin: str) -> None:
    """Gitpod CVE-2023-0957, Vite CVE-2025-24010: a pattern or a part of the name was accepted."""
    allowed = ["https://app.example"]
    async with opened(origins=allowed, allowed_hosts=["localhost"]) as server:
        assert (await answer_to(server, asking(f"Origin: {origin}"))).startswith(b"HTTP/1.1 403 ")


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "http://localhost.evil.example", "http://localhost:1", "null"]
)
@both_servers
async def test_cross_site_websocket_hijacking_by_default(opened: Opened, origin: str) -> None:
    """webpack-dev-server CVE-2018-14732 and CVE-2025-30360: the protection needs no option."""
    async with opened() as server:
        assert (await answer_to(server, asking(f"Origin: {origin}"))).startswith(b"HTTP/1.1 403 ")


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "127.1"])
@both_servers
async def test_dns_rebinding_by_default(opened: Opened, host: str) -> None:
    """Vite CVE-2025-24010, Tauri 2026: the attacker's name has our address, so origin and host agree."""
    head = asking(f"Origin: http://{host}").replace(b"Host: localhost", f"Host: {host}".encode())
    async with opened() as server:
        assert (await answer_to(server, head)).startswith(b"HTTP/1.1 403 ")


async def test_accept_checks_the_origin_too() -> None:
    """`accept` has the same default as a server."""
    said = bytearray()
    wire = Wire(said.extend)
    wire.give(asking("Origin: https://evil.example"))
    wire.incoming_ended = True
    with pytest.raises(anyws.HandshakeRefused) as raised:
        async with anyws.accept(wire):
            pytest.fail("accepted")
    assert raised.value.status == 403
    assert said.startswith(b"HTTP/1.1 403 ")


async def test_the_hook_does_not_see_a_foreign_page() -> None:
    """A hook that trusts the cookies of a request therefore only sees our own pages."""
    seen: list[anyws.Request] = []
    async with native_server(on_request=seen.append) as server:
        await answer_to(server, asking("Origin: https://evil.example", "Cookie: session=1"))
        assert not seen
        await check_serves(server)
    assert len(seen) == 1
