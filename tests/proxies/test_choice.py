"""Which proxy is taken: the option, the environment, exceptions from both."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import anyio
import pytest

import anyws
from anyws._client import proxies
from anyws._client.proxies import choose_proxy
from anyws.protocol import parse_uri
from tests.peers import Wire, connected, echo, open_sockets, uri_of

ENVIRONMENT = [
    # variables, URI, proxy
    ({}, "ws://a/", None),
    ({"http_proxy": "http://p"}, "ws://a/", "http://p:80"),
    ({"HTTP_PROXY": "http://p"}, "ws://a/", "http://p:80"),
    ({"http_proxy": "http://p"}, "wss://a/", None),
    ({"https_proxy": "http://p"}, "wss://a/", "http://p:80"),
    ({"https_proxy": "http://p"}, "ws://a/", "http://p:80"),
    ({"https_proxy": "http://p", "http_proxy": "http://q"}, "ws://a/", "http://p:80"),
    ({"https_proxy": "http://p", "socks_proxy": "socks5://q"}, "wss://a/", "socks5://q:1080"),
    ({"socks_proxy": "http://q:1"}, "wss://a/", "socks5h://q:1"),
    ({"https_proxy": "http://p", "wss_proxy": "http://q"}, "wss://a/", "http://q:80"),
    ({"https_proxy": "http://p", "ws_proxy": "http://q"}, "ws://a/", "http://q:80"),
    ({"all_proxy": "p:3128"}, "wss://a/", "http://p:3128"),
    ({"ALL_PROXY": "socks://p"}, "ws://a/", "socks5h://p:1080"),
    ({"all_proxy": "http://p", "no_proxy": "b, a"}, "ws://a:8080/", None),
    ({"all_proxy": "http://p", "no_proxy": ".a.example"}, "ws://b.a.example/", None),
    ({"all_proxy": "http://p", "no_proxy": "a:80"}, "ws://a/", None),
    ({"all_proxy": "http://p", "no_proxy": ".a.example"}, "ws://b.a.example./", None),
    ({"all_proxy": "http://p", "no_proxy": "a.:80"}, "ws://b.:80/", "http://p:80"),
    ({"all_proxy": "http://p"}, "ws://localhost./", None),
    ({"all_proxy": "http://p"}, "ws://a.localhost./", None),
    ({"all_proxy": "http://p", "no_proxy": "a:80"}, "ws://a:81/", "http://p:80"),
    ({"all_proxy": "http://p", "no_proxy": "*"}, "ws://a/", None),
    ({"all_proxy": "http://p", "NO_PROXY": "2001:db8::1"}, "ws://[2001:db8::1]/", None),
    ({"all_proxy": "http://p", "no_proxy": "b"}, "ws://a/", "http://p:80"),
    ({"all_proxy": "http://p"}, "ws://localhost/", None),
    ({"all_proxy": "http://p"}, "ws://a.localhost/", None),
    ({"all_proxy": "http://p"}, "ws://127.1.2.3/", None),
    ({"all_proxy": "http://p"}, "ws://[::1]/", None),
    ({"all_proxy": "http://p"}, "ws+unix:/a:/", None),
]


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="the system's settings count there")
@pytest.mark.parametrize(("variables", "uri", "proxy"), ENVIRONMENT)
def test_the_environment(
    variables: dict[str, str], uri: str, proxy: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proxies, "_socks_tunnel", object)  # as if python-socks was installed
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    chosen = choose_proxy(True, parse_uri(uri))
    assert (None if chosen is None else str(chosen)) == proxy
    assert choose_proxy(None, parse_uri(uri)) is None


def test_the_option_goes_for_loopback_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")
    assert str(choose_proxy("http://p", parse_uri("ws://localhost/"))) == "http://p:80"


def test_a_bad_proxy_of_the_environment_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "gopher://me:s3cret@p")
    with pytest.raises(anyws.InvalidURI, match="https_proxy in the environment: proxy scheme 'gopher'") as raised:
        choose_proxy(True, parse_uri("wss://a/"))
    assert "s3cret" not in str(raised.value)


async def test_the_environment_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    async with anyws.open_server(echo, "127.0.0.1", 0) as server:
        monkeypatch.setenv("all_proxy", "gopher://p")
        with pytest.raises(anyws.InvalidURI, match="all_proxy"):
            await connected("ws://example.com/")
        await connected(uri_of(server))  # which is on loopback
        monkeypatch.setenv("all_proxy", "http://127.0.0.1:1")
        with pytest.raises(ConnectionRefusedError):
            await connected("ws://example.com/")


async def test_a_stream_of_the_user_needs_no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("all_proxy", "http://127.0.0.1:1")
    wire = Wire(lambda _: wire.give(b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n"))
    with pytest.raises(anyws.HandshakeRefused):
        await connected("ws://example.com/", stream=wire)


async def test_without_python_socks_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proxies, "_socks_tunnel", lambda: None)
    with pytest.raises(
        ImportError, match=r"the proxy socks5h://p:1080 requires python-socks: pip install 'anyio-websocket\[socks\]'"
    ):
        await connected("ws://127.0.0.1:1/", proxy="socks5h://me:s3cret@p")


@pytest.mark.parametrize(
    ("uri", "options", "exception", "problem"),
    [
        ("ws://a/", {"proxy": "gopher://me:s3cret@p"}, ValueError, "scheme 'gopher'"),
        ("ws://a/", {"proxy": False}, TypeError, "option proxy must be str"),
        ("ws://a/", {"proxy": b"http://me:s3cret@p"}, TypeError, "option proxy must be str"),
        ("ws://a/", {"proxy": "http://p", "stream": Wire(lambda _: None)}, ValueError, "cannot be used with stream"),
        ("ws://a/", {"max_redirects": 1, "stream": Wire(lambda _: None)}, ValueError, "cannot be used with stream"),
        ("ws+unix:/a:/", {"proxy": "http://p"}, ValueError, "cannot be used with a unix socket"),
    ],
)
async def test_options_that_cannot_be(
    uri: str, options: dict[str, Any], exception: type[Exception], problem: str
) -> None:
    sockets_before = open_sockets()
    with pytest.raises(exception, match=problem) as raised:
        await connected(uri, **options)
    assert "s3cret" not in str(raised.value)
    assert open_sockets() == sockets_before


async def test_a_tls_context_for_a_proxy_without_tls(client_ssl_context: Any) -> None:
    with pytest.raises(ValueError, match="proxy_ssl_context"):
        await connected("ws://a/", proxy="http://p", proxy_ssl_context=client_ssl_context)


def test_options_show_no_secret() -> None:
    options = anyws.ClientOptions(proxy="http://me:s3cret@p", auth=("me", "s3cret"), cookies={"a": "s3cret"})
    assert "s3cret" not in repr(options)
    assert "s3cret" not in repr(
        anyws.callbacks.ClientConnectOptions(authentication="s3cret", proxy_authorization="s3cret")
    )
    assert "s3cret" not in repr(anyws.ClientOptions(headers={"Authorization": "Bearer s3cret"}))


async def test_unix_sockets_are_reached_past_the_proxy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("all_proxy", "http://127.0.0.1:1")
    async with anyws.open_server(echo, path=str(tmp_path / "socket")):
        with anyio.fail_after(5):
            await connected(f"ws+unix:{tmp_path}/socket:/")
