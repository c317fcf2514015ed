"""TLS of clients: the default context, and errors that say what is wrong and what to do."""

from __future__ import annotations

import gc
import logging
import socket
import ssl
import threading
import weakref
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
import trustme

import anyws
from anyws._transport import securing
from anyws._transport.securing import default_context
from tests.peers import connected, echo, resolve_to, scripted_server, uri_of
from tests.proxies.scripted import http_tunnel, scripted_proxy


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[ssl.SSLContext]:
    """The default contexts that are created; no thread has one yet."""
    contexts: list[ssl.SSLContext] = []
    create = ssl.create_default_context

    def counting(*args: Any, **options: Any) -> ssl.SSLContext:
        contexts.append(create(*args, **options))
        return contexts[-1]

    monkeypatch.setattr(securing, "_thread_local", threading.local())
    monkeypatch.setattr(ssl, "create_default_context", counting)
    return contexts


# -- the default context -----------------------------------------------------------------------------------------------


async def test_all_connections_share_one_default_context(
    made: list[ssl.SSLContext], server_ssl_context: ssl.SSLContext
) -> None:
    """No connection succeeds, because the default context trusts only the system's CA certificates."""
    async with (
        anyws.open_server(echo, "127.0.0.1", 0, ssl_context=server_ssl_context) as server,
        scripted_proxy(http_tunnel) as proxy_port,
    ):
        uri = uri_of(server, scheme="wss")
        for options in ({}, {}, {"proxy": f"http://127.0.0.1:{proxy_port}"}):
            with pytest.raises(ssl.SSLCertVerificationError):
                await connected(uri, **options)
        with pytest.raises(ssl.SSLCertVerificationError):
            async with anyws.client_connect(socket_options={"host": "127.0.0.1", "port": server.addresses[0][1]}):
                pass
        async for connection in anyws.reconnecting(uri, initial_delay=0.001):
            with pytest.raises(ssl.SSLCertVerificationError):
                async with connection:
                    pass
            break
    assert len(made) == 1


def test_each_thread_has_its_own_default_context(made: list[ssl.SSLContext]) -> None:
    found: list[ssl.SSLContext] = []
    thread = threading.Thread(target=lambda: found.extend([default_context(), default_context()]))
    thread.start()
    thread.join()
    assert found[0] is found[1]
    assert default_context() is not found[0]
    assert made == [found[0], default_context()]


def test_a_default_context_is_freed_with_its_thread() -> None:
    found: list[weakref.ref[ssl.SSLContext]] = []
    thread = threading.Thread(target=lambda: found.append(weakref.ref(default_context())))
    thread.start()
    thread.join()
    gc.collect()
    assert found[0]() is None


# -- whom a client asks for --------------------------------------------------------------------------------------------


@asynccontextmanager
async def naming(authority: trustme.CA, *names: str) -> AsyncIterator[tuple[anyws.Server, list[str | None]]]:
    """Run a server with a certificate for these names; yield it and the names that clients request."""
    asked: list[str | None] = []
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(*names).configure_cert(context)
    context.sni_callback = lambda _, name, __: asked.append(name)
    async with anyws.open_server(echo, "127.0.0.1", 0, ssl_context=context) as server:
        yield server, asked


@pytest.mark.parametrize("way", ["uri", "server_hostname", "servername"])
async def test_a_trailing_dot_is_removed_from_the_server_name(
    way: str,
    certificate_authority: trustme.CA,
    client_ssl_context: ssl.SSLContext,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Neither SNI (RFC 6066, section 3) nor certificates have a trailing dot."""
    async with naming(certificate_authority, "site.example") as (server, asked):
        port = server.addresses[0][1]
        resolve_to(monkeypatch, ("127.0.0.1", port))
        if way == "uri":
            async with anyws.connect(f"wss://site.example.:{port}/", ssl_context=client_ssl_context) as websocket:
                assert websocket.request.headers["host"] == f"site.example.:{port}"
        elif way == "server_hostname":
            uri = f"wss://127.0.0.1:{port}/"
            await connected(uri, ssl_context=client_ssl_context, server_hostname="Site.Example.")
        else:
            options = {"host": "127.0.0.1", "port": port, "servername": "site.example."}
            async with anyws.client_connect(socket_options=options, ssl_context=client_ssl_context):
                pass
    assert asked == ["site.example"]


async def test_a_trailing_dot_in_the_host_of_a_proxy(
    certificate_authority: trustme.CA, client_ssl_context: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with naming(certificate_authority, "proxy.example") as (server, asked):
        port = server.addresses[0][1]
        resolve_to(monkeypatch, ("127.0.0.1", port))
        with pytest.raises(anyws.ProxyError):  # it is not a proxy
            proxy = f"https://proxy.example.:{port}"
            await connected("ws://server.example/", proxy=proxy, proxy_ssl_context=client_ssl_context)
    assert asked == ["proxy.example"]


async def test_an_ipv6_zone_is_only_used_to_resolve_the_address(
    certificate_authority: trustme.CA, client_ssl_context: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A zone has a meaning only on this machine (RFC 6874)."""
    looked_up: list[str] = []

    async def getaddrinfo(host: str, port: int, **_: object) -> list[Any]:
        looked_up.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    monkeypatch.setattr(anyio, "getaddrinfo", getaddrinfo)
    async with naming(certificate_authority, "fe80::1") as (server, _):
        uri = f"wss://[FE80::1%25Lo0]:{server.addresses[0][1]}/"
        async with anyws.connect(uri, ssl_context=client_ssl_context) as websocket:
            assert websocket.request.headers["host"] == f"[fe80::1]:{server.addresses[0][1]}"
    assert looked_up == ["fe80::1%Lo0"]


NO_NAMES = ["", ".", ".a", "a..b", "a b", "a/b", "a\\b", "a" * 64, "a%", "[::1]", "\xfc..a", "a\0"]


@pytest.mark.parametrize("name", NO_NAMES)
async def test_an_invalid_server_name(name: str) -> None:
    with pytest.raises(anyws.InvalidURI, match="option server_hostname: "):
        await connected("wss://127.0.0.1:1/", server_hostname=name)
    with pytest.raises(anyws.InvalidURI, match="option servername: "):
        async with anyws.client_connect(socket_options={"host": "127.0.0.1", "port": 1, "servername": name}):
            pass


# -- what went wrong ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
@pytest.mark.parametrize("secured_by", ["anyws", "the user"])
async def test_a_server_requests_a_client_certificate(
    version: str, secured_by: str, certificate_authority: trustme.CA, client_ssl_context: ssl.SSLContext
) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    certificate_authority.issue_cert("127.0.0.1").configure_cert(context)
    certificate_authority.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED
    context.minimum_version = context.maximum_version = ssl.TLSVersion[version]
    async with anyws.open_server(echo, "127.0.0.1", 0, ssl_context=context) as server:
        with pytest.raises(ssl.SSLError, match=r"certificate required|handshake failure"):
            if secured_by == "anyws":
                await connected(uri_of(server, scheme="wss"), ssl_context=client_ssl_context)
            else:
                host, port = server.addresses[0]
                stream = await anyio.connect_tcp(host, port, ssl_context=client_ssl_context, tls_hostname=host)
                await connected("ws://localhost/", stream=stream)


async def test_a_proxy_requests_a_client_certificate(
    certificate_authority: trustme.CA, client_ssl_context: ssl.SSLContext
) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    certificate_authority.issue_cert("127.0.0.1").configure_cert(context)
    certificate_authority.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED
    async with anyws.open_server(echo, "127.0.0.1", 0, ssl_context=context) as server:
        proxy = uri_of(server, "", scheme="https")
        with pytest.raises(ssl.SSLError, match="certificate required") as raised:
            await connected("ws://server.example/", proxy=proxy, proxy_ssl_context=client_ssl_context)
        assert raised.value.__notes__ == [f"while connecting to the proxy {proxy}"]


async def test_a_server_that_selects_http_2(
    certificate_authority: trustme.CA, server_ssl_context: ssl.SSLContext
) -> None:
    serving = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    certificate_authority.issue_cert("127.0.0.1").configure_cert(serving)
    serving.set_alpn_protocols(["h2", "http/1.1"])
    offering = ssl.create_default_context()
    certificate_authority.configure_trust(offering)
    offering.set_alpn_protocols(["h2", "http/1.1"])
    async with anyws.open_server(echo, "127.0.0.1", 0, ssl_context=serving) as server:
        with pytest.raises(anyws.HandshakeError, match=r"HTTP/2.*set_alpn_protocols\(\[\"http/1.1\"\]\)"):
            await connected(uri_of(server, scheme="wss"), ssl_context=offering)
        with pytest.raises(anyws.HandshakeError, match="HTTP/2") as raised:
            proxy = uri_of(server, "", scheme="https")
            await connected("ws://server.example/", proxy=proxy, proxy_ssl_context=offering)
        assert raised.value.__notes__ == [f"while connecting to the proxy {proxy}"]
        offering.set_alpn_protocols(["http/1.1"])
        await connected(uri_of(server, scheme="wss"), ssl_context=offering)


async def test_tls_to_a_server_without_tls(
    caplog: pytest.LogCaptureFixture, client_ssl_context: ssl.SSLContext
) -> None:
    caplog.set_level(logging.INFO, "anyws")
    async with anyws.open_server(echo, "127.0.0.1", 0) as server:
        with pytest.raises(ssl.SSLError, match=r"^127.0.0.1 does not use TLS on this port; did you mean ws://"):
            await connected(uri_of(server, scheme="wss"), ssl_context=client_ssl_context)
    (record,) = [each for each in caplog.records if each.name == "anyws.server"]
    assert "not HTTP but TLS" in record.getMessage()
    assert "set an ssl_context on the server, or use ws:// on the client" in record.getMessage()


async def test_plain_http_to_a_server_with_tls(
    caplog: pytest.LogCaptureFixture, server_ssl_context: ssl.SSLContext
) -> None:
    caplog.set_level(logging.INFO, "anyws")
    async with anyws.open_server(echo, "127.0.0.1", 0, ssl_context=server_ssl_context) as server:
        with pytest.raises(anyws.HandshakeRefused) as raised:
            await connected(uri_of(server, scheme="ws"))
        assert raised.value.status == 400
        assert raised.value.response.body == b"this port speaks TLS: use wss:// or https://\n"
        with pytest.raises(anyws.ProxyError, match="400"):  # as a proxy gets a CONNECT
            await connected("ws://server.example/", proxy=uri_of(server, "", scheme="http"))
    records = [each.getMessage() for each in caplog.records if each.name == "anyws.server"]
    assert len(records) == 2
    assert all("the client does not speak TLS; should it use wss:// or https://?" in each for each in records)


ALERT = b"\x15\x03\x03\x00\x02\x02\x0a"  # fatal, unexpected_message


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (ALERT, r"not HTTP but TLS; did you mean wss:// or https://\?"),
        (b"\x16\x03", r"not HTTP but TLS; did you mean wss:// or https://\?"),
        (b"", "closed the connection without a response; if it expects TLS, use wss:// or https://"),
    ],
)
async def test_servers_that_do_not_use_tls(answer: bytes, problem: str) -> None:
    async with scripted_server(lambda _: answer) as uri:
        with pytest.raises(anyws.HandshakeError, match=problem):
            await connected(uri)
        with pytest.raises(anyws.ProxyError, match="did you mean wss:// or https://" if answer else "closed"):
            await connected("ws://server.example/", proxy=uri.replace("ws:", "http:"))
