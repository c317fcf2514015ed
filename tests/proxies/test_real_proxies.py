"""Through proxies that others wrote: tinyproxy, stunnel, microsocks and Dante, from Debian."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

import anyws
from tests.harness import free_port
from tests.peers import connected, echo, open_sockets

from .programs import dante, microsocks, needs_socks, stunnel, tinyproxy


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("programs")


@pytest.fixture(scope="module")
def http_port(directory: Path) -> Iterator[int]:
    with tinyproxy(directory, "BasicAuth me s3cret") as port:
        yield port


@pytest.fixture(scope="module")
def https_port(directory: Path, http_port: int, pem: Path) -> Iterator[int]:
    with stunnel(directory, http_port, pem) as port:
        yield port


@pytest.fixture(scope="module")
def socks_port(directory: Path) -> Iterator[int]:
    with microsocks(directory, "-u", "me", "-P", "s3cret") as port:
        yield port


@pytest.fixture(scope="module")
def dante_port(directory: Path) -> Iterator[int]:
    with dante(directory) as port:
        yield port


async def converse(
    proxy: str, *, host: str = "127.0.0.1", server_context: ssl.SSLContext | None = None, context: ssl.SSLContext | None
) -> anyws.Request:
    """Send a large message there and back; return the request as the server saw it."""
    seen: list[anyws.Request] = []

    async def serve(websocket: anyws.WebSocket) -> None:
        seen.append(websocket.request)
        await echo(websocket)

    async with anyws.open_server(serve, "127.0.0.1", 0, ssl_context=server_context) as server:
        uri = f"{'ws' if server_context is None else 'wss'}://{host}:{server.addresses[0][1]}/chat"
        secured = {} if server_context is None else {"ssl_context": context}
        to_proxy = {"proxy_ssl_context": context} if proxy.startswith("https") else {}
        async with anyws.connect(uri, proxy=proxy, **secured, **to_proxy) as websocket:  # type: ignore[arg-type]
            await websocket.send("x" * 300_000)
            assert await websocket.receive() == "x" * 300_000
            assert await websocket.ping() > 0
    return seen[0]


secure = pytest.mark.parametrize("is_secure", [False, True], ids=["ws", "wss"])


@secure
async def test_http(
    is_secure: bool, http_port: int, server_ssl_context: ssl.SSLContext, client_ssl_context: ssl.SSLContext
) -> None:
    proxy = f"http://me:s3cret@127.0.0.1:{http_port}"
    request = await converse(
        proxy, server_context=server_ssl_context if is_secure else None, context=client_ssl_context
    )
    assert "proxy-authorization" not in request.headers
    assert "authorization" not in request.headers


@secure
async def test_https(
    is_secure: bool, https_port: int, server_ssl_context: ssl.SSLContext, client_ssl_context: ssl.SSLContext
) -> None:
    """TLS to the proxy, and in it, with wss:, TLS to the server."""
    sockets_before = open_sockets()
    proxy = f"https://me:s3cret@localhost:{https_port}"
    server_context = server_ssl_context if is_secure else None
    await converse(proxy, server_context=server_context, context=client_ssl_context)
    assert open_sockets() <= sockets_before


async def test_an_https_proxy_that_is_not_to_be_trusted(https_port: int) -> None:
    with pytest.raises(ssl.SSLCertVerificationError) as raised:
        await connected("ws://127.0.0.1:1/", proxy=f"https://localhost:{https_port}")
    assert f"the proxy https://localhost:{https_port}" in raised.value.__notes__[0]


@pytest.mark.parametrize(("credentials", "status"), [("", 407), ("me:wr0ng@", 401)])
async def test_http_credentials(credentials: str, status: int, http_port: int) -> None:
    with pytest.raises(anyws.ProxyError, match=f"responded with {status}") as raised:
        await connected("ws://127.0.0.1:1/", proxy=f"http://{credentials}127.0.0.1:{http_port}")
    assert raised.value.status == status
    assert raised.value.response is not None
    assert raised.value.response.status == status
    assert raised.value.response.body
    assert raised.value.proxy == f"http://127.0.0.1:{http_port}"
    assert "wr0ng" not in repr(raised.value)


async def test_http_to_where_nobody_listens(http_port: int) -> None:
    with pytest.raises(anyws.ProxyError) as raised:
        await connected(f"ws://127.0.0.1:{free_port()}/", proxy=f"http://me:s3cret@127.0.0.1:{http_port}")
    assert raised.value.status in range(500, 505)


@needs_socks
@secure
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
@pytest.mark.parametrize("scheme", ["socks", "socks5", "socks5h"])
async def test_socks5(
    scheme: str,
    host: str,
    is_secure: bool,
    socks_port: int,
    server_ssl_context: ssl.SSLContext,
    client_ssl_context: ssl.SSLContext,
) -> None:
    proxy = f"{scheme}://me:s3cret@127.0.0.1:{socks_port}"
    server_context = server_ssl_context if is_secure else None
    await converse(proxy, host=host, server_context=server_context, context=client_ssl_context)


@needs_socks
@pytest.mark.parametrize(
    ("scheme", "host"),
    # Dante knows SOCKS4a for addresses only.
    [("socks4", "127.0.0.1"), ("socks4", "localhost"), ("socks4a", "127.0.0.1"), ("socks5h", "localhost")],
)
async def test_socks4(scheme: str, host: str, dante_port: int) -> None:
    await converse(f"{scheme}://127.0.0.1:{dante_port}", host=host, context=None)


@needs_socks
@pytest.mark.parametrize(
    ("credentials", "problem"), [("", "No acceptable authentication"), ("me:wr0ng@", "authentication failure")]
)
async def test_socks_credentials(credentials: str, problem: str, socks_port: int) -> None:
    with pytest.raises(anyws.ProxyError, match=problem) as raised:
        await connected("ws://127.0.0.1:1/", proxy=f"socks5://{credentials}127.0.0.1:{socks_port}")
    assert raised.value.response is None
    assert "wr0ng" not in repr(raised.value)


@needs_socks
@pytest.mark.parametrize(("version", "status"), [("4", 0x5B), ("5", 5)])
async def test_socks_to_where_nobody_listens(version: str, status: int, dante_port: int) -> None:
    with pytest.raises(anyws.ProxyError) as raised:
        await connected(f"ws://127.0.0.1:{free_port()}/", proxy=f"socks{version}://127.0.0.1:{dante_port}")
    assert raised.value.status == status
