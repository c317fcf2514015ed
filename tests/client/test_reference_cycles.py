"""A failed connection leaves no reference cycles."""

from __future__ import annotations

import gc
import ssl
import types
from collections.abc import Callable
from typing import Any

import anyio
import pytest
import trustme

import anyws
import anyws.protocol
from tests.peers import connected, echo, resolve_to, scripted_server, uri_of
from tests.proxies.programs import needs_socks


async def once(uri: str, **options: Any) -> None:
    async for connection in anyws.reconnecting(uri, on_disconnect=lambda _: False, **options):
        async with connection:
            raise AssertionError("connected")


async def with_callbacks(uri: str, **options: Any) -> None:
    parts = anyws.protocol.parse_uri(uri)
    where = {"host": parts.host, "port": parts.port}
    async with anyws.client_connect(socket_options=where, secure=parts.secure, resource=parts.resource, **options):
        raise AssertionError("connected")


async def leavings(connect: Callable[..., Any], uri: str, **options: Any) -> list[str]:
    """Connect in vain, and return what the garbage collector then finds of it."""
    await fail(connect, uri, **options)  # what is made once
    gc.collect()
    gc.disable()
    try:
        await fail(connect, uri, **options)
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        found = [each for each in gc.garbage if is_ours(each)]
        return [str(each)[:200] for each in found]
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()


async def fail(connect: Callable[..., Any], uri: str, **options: Any) -> None:
    with pytest.raises((OSError, anyws.WebSocketError, ZeroDivisionError)):
        await connect(uri, **options)


def is_ours(found: object) -> bool:
    if isinstance(found, types.FrameType):
        return str(found.f_globals.get("__name__")).startswith("anyws")
    return isinstance(found, BaseException) or type(found).__module__.startswith("anyws")


every_way = pytest.mark.parametrize("connect", [connected, once, with_callbacks])


def answer(request: anyws.Request) -> anyws.Response:
    return anyws.Response(302, {"Location": "/"}) if request.path == "/old" else anyws.Response(401)


@every_way
@pytest.mark.parametrize("path", ["/", "/old"])
async def test_a_refusal(connect: Callable[..., Any], path: str) -> None:
    async with anyws.open_server(echo, "127.0.0.1", 0, on_request=answer) as server:
        assert not await leavings(connect, uri_of(server, path))


@pytest.mark.parametrize("connect", [connected, once])
@pytest.mark.parametrize("limit", [1, 2])
async def test_redirects(connect: Callable[..., Any], limit: int) -> None:
    locations = {"/0": "/1", "/1": "/2", "/2": "/3"}

    def turn(request: anyws.Request) -> anyws.Response:
        return anyws.Response(302, {"Location": locations[request.path]})

    async with anyws.open_server(echo, "127.0.0.1", 0, on_request=turn) as server:
        assert not await leavings(connect, uri_of(server, "/0"), max_redirects=limit)


@every_way
@pytest.mark.parametrize("said", [b"", b"\0", b"HTTP/1.1 101 Switching\r\n\r\n", b"HTTP/1.1 403 No\r\n\r\nwhy"])
async def test_a_bad_answer(connect: Callable[..., Any], said: bytes) -> None:
    async with scripted_server(lambda _: said) as uri:
        assert not await leavings(connect, uri)


@every_way
async def test_connection_refused(connect: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    resolve_to(monkeypatch, ("127.0.0.1", 1), ("127.0.0.2", 1))
    assert not await leavings(connect, "ws://127.0.0.1:1/")
    assert not await leavings(connect, "ws://two.example:1/")


@pytest.mark.parametrize("connect", [connected, once])
async def test_tls(
    connect: Callable[..., Any],
    certificate_authority: trustme.CA,
    server_ssl_context: ssl.SSLContext,
    client_ssl_context: ssl.SSLContext,
) -> None:
    demanding = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    certificate_authority.issue_cert("127.0.0.1").configure_cert(demanding)
    certificate_authority.configure_trust(demanding)
    demanding.verify_mode = ssl.CERT_REQUIRED
    async with (
        anyws.open_server(echo, "127.0.0.1", 0) as plain,
        anyws.open_server(echo, "127.0.0.1", 0, ssl_context=server_ssl_context) as secure,
        anyws.open_server(echo, "127.0.0.1", 0, ssl_context=demanding) as strict,
    ):
        assert not await leavings(connect, uri_of(secure, scheme="wss"))  # is not trusted
        assert not await leavings(connect, uri_of(secure))
        assert not await leavings(connect, uri_of(plain, scheme="wss"))
        assert not await leavings(connect, uri_of(strict, scheme="wss"), ssl_context=client_ssl_context)


@needs_socks
@pytest.mark.parametrize("said", [b"", b"\5\xff", b"HTTP/1.1 407 Who are you\r\nContent-Length: 0\r\n\r\n"])
async def test_a_proxy(said: bytes) -> None:
    async with scripted_server(lambda _: said) as uri:
        assert not await leavings(connected, "ws://server.example/", proxy=uri.replace("ws:", "http:"))
    assert not await leavings(connected, "ws://server.example/", proxy="http://127.0.0.1:1")
    assert not await leavings(connected, "ws://server.example/", proxy="socks5h://127.0.0.1:1")


@pytest.mark.parametrize("connect", [connected, once])
async def test_errors_of_the_caller(connect: Callable[..., Any]) -> None:
    assert not await leavings(connect, "ws://127.0.0.1:1/", auth=lambda: 1 / 0, open_timeout=5)
    assert not await leavings(connect, "ws://127.0.0.1:1/", auth=anyio.sleep_forever, open_timeout=0.01)
    assert not await leavings(connect, "nothing:")
