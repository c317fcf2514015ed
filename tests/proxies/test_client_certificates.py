"""A client's certificate is presented to the server that it is for, through any proxy, and never to the proxy."""

from __future__ import annotations

import ssl
from typing import Any

import pytest
import trustme
from anyio.abc import ByteStream
from anyio.streams.tls import TLSAttribute

import anyws

from .programs import needs_socks
from .scripted import http_tunnel, scripted_proxy, socks5_tunnel


@pytest.fixture
def presenting(certificate_authority: trustme.CA) -> ssl.SSLContext:
    """A client's context with a certificate."""
    context = ssl.create_default_context()
    certificate_authority.configure_trust(context)
    certificate_authority.issue_cert("client@example.org").configure_cert(context)
    return context


def asking(certificate_authority: trustme.CA, mode: ssl.VerifyMode, version: ssl.TLSVersion) -> ssl.SSLContext:
    """A server's context that asks for a certificate."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = context.maximum_version = version
    certificate_authority.issue_cert("localhost", "127.0.0.1").configure_cert(context)
    certificate_authority.configure_trust(context)
    context.verify_mode = mode
    return context


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("scheme", ["http", "https", pytest.param("socks5", marks=needs_socks)])
async def test_the_server_gets_it_and_the_proxy_does_not(
    scheme: str,
    version: ssl.TLSVersion,
    certificate_authority: trustme.CA,
    presenting: ssl.SSLContext,
    client_ssl_context: ssl.SSLContext,
) -> None:
    seen: list[Any] = []

    async def handler(websocket: anyws.WebSocket) -> None:
        seen.append(websocket.extra(TLSAttribute.peer_certificate))
        await websocket.send("known")

    async def tunnel(stream: ByteStream) -> None:
        proxy_saw.append(stream.extra(TLSAttribute.peer_certificate, None))
        await (socks5_tunnel if scheme == "socks5" else http_tunnel)(stream)

    proxy_saw: list[Any] = []
    wants = asking(certificate_authority, ssl.CERT_REQUIRED, version)
    would_take = asking(certificate_authority, ssl.CERT_OPTIONAL, version) if scheme == "https" else None
    options: dict[str, Any] = {"proxy_ssl_context": client_ssl_context} if scheme == "https" else {}
    async with (
        anyws.open_server(handler, "127.0.0.1", 0, ssl_context=wants) as server,
        scripted_proxy(tunnel, would_take) as port,
    ):
        uri = f"wss://127.0.0.1:{server.addresses[0][1]}/"
        proxy = f"{scheme}://me:s3cret@127.0.0.1:{port}"
        async with anyws.connect(uri, ssl_context=presenting, proxy=proxy, **options) as websocket:
            assert await websocket.receive() == "known"
        with pytest.raises(ssl.SSLError, match=r"(?i)alert"):
            async with anyws.connect(uri, ssl_context=client_ssl_context, proxy=proxy, **options) as websocket:
                await websocket.receive()
    assert [each["subjectAltName"] for each in seen] == [(("email", "client@example.org"),)]
    assert len(proxy_saw) == 2
    assert not any(proxy_saw)
