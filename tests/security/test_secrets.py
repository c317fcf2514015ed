"""A secret is put wherever one may be; then all texts that the library produces are searched for it.

Words are messages, their causes and notes, tracebacks, log records, the `repr` of each object that a user meets, and
what the commands print.
"""

from __future__ import annotations

import copy
import http.cookiejar
import io
import logging
import pickle
import ssl
import traceback
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, redirect_stderr, redirect_stdout
from typing import Any

import anyio
import pytest
from anyio.abc import ByteStream

import anyws
from anyws.__main__ import main
from anyws.protocol import ClientHandshake, ProxyHandshake, ServerHandshake, parse_proxy, parse_uri
from tests.peers import connected, echo, scripted_server, uri_of
from tests.proxies.programs import needs_socks
from tests.proxies.scripted import http_tunnel, scripted_proxy

SECRET = "s3cret"
BASIC = "c3VzaTpzM2NyZXQ="  # susi:s3cret
WORDS = (SECRET, BASIC)


def check(*texts: object) -> None:
    """Check that no text of these objects contains the secret."""
    for each in texts:
        for text in (str(each), repr(each)):
            found = [word for word in WORDS if word in text]
            assert not found, f"{found} in {text}"


def check_exception(exc: BaseException) -> None:
    """Check that neither the text nor an attribute of an exception contains the secret."""
    check("".join(traceback.format_exception(exc)), exc, getattr(exc, "__notes__", ""))
    for again in (copy.copy(exc), pickle.loads(pickle.dumps(exc)) if isinstance(exc, anyws.WebSocketError) else exc):
        check(again)
    check(*(getattr(exc, name, None) for name in ("request", "response", "reason", "proxy", "detail", "cause")))


async def fails(uri: str, **options: Any) -> BaseException:
    """Connect, check the exception, and return it; `reconnecting` must raise the same one."""
    with pytest.raises((OSError, anyws.WebSocketError, ValueError, TypeError, ImportError)) as raised:
        await connected(uri, **{"open_timeout": 2, **options})
    check_exception(raised.value)

    def on_disconnect(outage: anyws.Outage) -> bool:
        check(outage)
        return outage.attempt < 2  # so that the line of the log is there as well

    with pytest.raises((OSError, anyws.WebSocketError, ValueError, TypeError, ImportError)) as again:
        async for connection in anyws.reconnecting(uri, initial_delay=0.001, on_disconnect=on_disconnect, **options):
            async with connection:
                pass
    check_exception(again.value)
    return raised.value


@pytest.fixture(autouse=True)
def words_of_logs(caplog: pytest.LogCaptureFixture) -> Any:
    """Check all log messages at every level."""
    caplog.set_level(logging.DEBUG)
    caplog.set_level(logging.DEBUG, "anyws")  # as `anyws -v` sets it; so it is set back
    yield
    formatter = logging.Formatter("%(name)s %(message)s %(remote)s", defaults={"remote": ""})
    check(*(formatter.format(record) for record in caplog.records))


# What a client knows: (URI, options). Each of them can be sent.
PLANTED: list[Any] = [
    pytest.param(f"susi:{SECRET}@", "", {}, id="URI"),
    pytest.param(f"{SECRET}@", "", {}, id="URI, user only"),
    pytest.param("", f"?token={SECRET}", {}, id="query"),
    pytest.param("", "", {"auth": ("susi", SECRET)}, id="auth"),
    pytest.param("", "", {"auth": SECRET}, id="token"),
    pytest.param("", "", {"auth": lambda: SECRET}, id="callable"),
    *(
        pytest.param("", "", {"headers": {name: SECRET}}, id=name)
        for name in ("Authorization", "Proxy-Authorization", "Cookie", "X-API-Key", "X-Auth-Token", "X-Session-Id")
    ),
    pytest.param("", "", {"headers": {"Referer": f"https://a.example/?{SECRET}"}}, id="query of a header"),
    pytest.param("", "", {"cookies": {"session": SECRET}}, id="cookies"),
    pytest.param("", "", {"subprotocols": ["chat", SECRET]}, id="subprotocol"),
]


@asynccontextmanager
async def places() -> AsyncIterator[list[str]]:
    """Run servers that fail in different ways; yield their hosts and ports."""

    def refuse(request: anyws.Request) -> anyws.Response:
        check(request)
        return anyws.Response(401, {"Set-Cookie": f"a={SECRET}", "Location": f"/?{SECRET}"}, f"not {SECRET}")

    def turn(request: anyws.Request) -> anyws.Response:
        return anyws.Response(302, {"Location": f"/again?token={SECRET}", "Set-Cookie": f"a={SECRET}"})

    def astray(request: anyws.Request) -> anyws.Response:
        return anyws.Response(302, {"Location": f"ftp://susi:{SECRET}@a..b/?{SECRET}"})

    async with (
        anyws.open_server(echo, "127.0.0.1", 0, on_request=refuse) as refusing,
        anyws.open_server(echo, "127.0.0.1", 0, on_request=turn) as turning,
        anyws.open_server(echo, "127.0.0.1", 0, on_request=astray) as leading_astray,
        scripted_server(lambda _: b"HTTP/1.1 101 No\r\nSet-Cookie: a=" + SECRET.encode() + b"\r\n\r\n") as invalid,
        scripted_server(lambda _: b"HTTP/1.1 200 OK\r\nCookie : " + SECRET.encode() + b"\r\n\r\n") as illegal,
        scripted_server(lambda _: b"\x16\x03") as tls,
    ):
        uris = [uri_of(each, "/") for each in (refusing, turning, leading_astray)]
        yield [uri.removeprefix("ws://").strip("/") for uri in (*uris, invalid, illegal, tls, "ws://127.0.0.1:1")]


@pytest.mark.parametrize(("user", "query", "options"), PLANTED)
async def test_errors_of_a_failed_connection_show_no_secret(user: str, query: str, options: dict[str, Any]) -> None:
    async with places() as authorities:
        for authority in authorities:
            uri = f"ws://{user}{authority}/chat{query}"
            exc = await fails(uri, max_redirects=2, **options)
            check(exc)
        await fails(f"wss://{user}{authorities[0]}/chat{query}", **options)
        await fails(f"ws://{user}{authorities[0]}/chat{query}", open_timeout=1e-9, **options)


@pytest.mark.parametrize(("user", "query", "options"), PLANTED)
async def test_an_open_connection_shows_no_secret(user: str, query: str, options: dict[str, Any]) -> None:
    async def handler(websocket: anyws.WebSocket) -> None:
        check(websocket, websocket.request, websocket.response, websocket.request.headers, server)
        await websocket.receive()
        raise LookupError("a handler that fails")

    async with anyws.open_server(handler, "127.0.0.1", 0, headers={"Set-Cookie": f"a={SECRET}"}) as server:
        uri = uri_of(server).replace("//", f"//{user}") + query
        async with anyws.connect(uri, **options) as websocket:
            check(websocket, websocket.request, websocket.response, websocket.response.headers)
            await websocket.send(SECRET)
            with pytest.raises(anyws.ConnectionClosed) as raised:
                await websocket.receive()
    check_exception(raised.value)


@pytest.mark.parametrize(("user", "query", "options"), PLANTED)
def test_values_show_no_secret(user: str, query: str, options: dict[str, Any]) -> None:
    uri = parse_uri(f"ws://{user}a.example/{query}")
    kept = {name: value for name, value in options.items() if name in ("headers", "subprotocols")}
    handshake = ClientHandshake(uri, headers=kept.get("headers", {}))
    check(repr(uri), handshake, handshake.request)
    check(anyws.ClientOptions(**options), anyws.ReconnectOptions(**options))
    check(anyws.connect("ws://a/", **options), anyws.reconnecting("ws://a/", **options))
    server = ServerHandshake()
    check(server, server.receive_data(handshake.data_to_send()), server.accept())


def test_other_values_show_no_secret() -> None:
    headers = {"Set-Cookie": SECRET, "X-Token": SECRET, "Location": f"/?{SECRET}"}
    response = anyws.Response(401, headers, SECRET)
    check(response, response.headers, anyws.HandshakeRefused("refused", response=response))
    check(anyws.AcceptOptions(headers=headers), anyws.ServerOptions(headers=headers))
    check(anyws.callbacks.TLSOptions(key=SECRET, passphrase=SECRET, cert=SECRET))
    check(
        anyws.callbacks.ClientSocketOptions(port=1, key=SECRET, passphrase=SECRET),
        anyws.callbacks.ServerSocketOptions(key=SECRET),
    )
    hidden: dict[str, Any] = {"passphrase": SECRET}
    check(
        anyws.callbacks.ClientConnectOptions(authentication=SECRET, proxy_authorization=SECRET, socket_options=hidden)
    )
    check(anyws.callbacks.SocketServerOptions(server_options=hidden))
    check(anyws.basic_auth("here", credentials={"susi": SECRET}))
    proxy = parse_proxy(f"http://susi:{SECRET}@p")
    check(proxy, ProxyHandshake(proxy, parse_uri("ws://a/")))


# Texts that no parser takes, and which it must not quote. The password stands where a careless one would show it.
MALFORMED = [
    f"susi:{SECRET}@a.example",
    f"{SECRET}:x@a.example",
    f"//susi:{SECRET}@a.example",
    f"ftp://susi:{SECRET}@a.example/",
    f"ws://susi:{SECRET}@a.example:0/",
    f"ws://susi:{SECRET}@a.example/#x",
    f"ws://susi:{SECRET}/x@a.example/",
    f"ws://susi:[{SECRET}]@a.example/",
    f"ws://susi:{SECRET}\u2100@a.example/",
    f"ws://susi:{SECRET} @a.example/",
    f"ws://susi:{SECRET}\\@a.example/",
    f"ws://susi:x@{SECRET}..@a..example/",
    f"ws://susi:x@\u00fc{SECRET}..@\u00fc..example/",
    f"ws://su%3Asi:{SECRET}@a.example/",
    f"ws://susi:{SECRET}%0A@a.example/",
    f"ws+unix:susi:{SECRET}@a",
]


@pytest.mark.parametrize("text", MALFORMED)
async def test_errors_about_invalid_uris_show_no_secret(text: str) -> None:
    await fails(text)
    await fails("ws://a.example/", proxy=text.replace("ws:", "http:").replace("a.example", "a.example:1"))


@pytest.mark.parametrize(
    "options",
    [
        {"auth": f"Bearer {SECRET}"},
        {"subprotocols": ["chat", f"{SECRET}=="]},
        {"subprotocols": [SECRET, SECRET]},
        {"subprotocols": SECRET},
        {"auth": ("su:si", SECRET)},
        {"auth": ("susi", f"{SECRET}\udcff")},
        {"auth": (SECRET,)},
        {"auth": SECRET.encode()},
        {"auth": lambda: f"{SECRET}\n"},
        {"cookies": {"a": f"{SECRET};"}},
        {"cookies": {f"a={SECRET}": ""}},
        {"cookies": f"a={SECRET}"},
        {"headers": {"Authorization": f"{SECRET}\n"}},
        {"headers": {f"Authorization: Bearer {SECRET}": ""}},
        {"headers": f"Authorization: {SECRET}"},
        {"headers": [("Authorization", SECRET.encode())]},
        {"headers": {"Authorization": SECRET}, "auth": SECRET},
        {"proxy": SECRET.encode()},
        {"proxy": f"gopher://susi:{SECRET}@p"},
    ],
)
async def test_errors_about_invalid_options_show_no_secret(options: dict[str, Any]) -> None:
    await fails("ws://a.example/", **options)


async def test_a_server_shows_no_secret_of_a_request() -> None:
    for options in ({"headers": {"Set-Cookie": f"{SECRET}\n"}}, {"headers": f"Set-Cookie: {SECRET}"}):
        with pytest.raises((TypeError, ValueError)) as raised:
            async with anyws.open_server(echo, "127.0.0.1", 0, **options):
                pass
        check_exception(raised.value)
    for tls in ({"key": SECRET * 50, "cert": "x"}, {"key": f"-----BEGIN {SECRET}\n", "cert": f"-----BEGIN {SECRET}"}):
        with pytest.raises((OSError, ValueError)) as failed:
            async with anyws.server(server_options=tls):
                pass
        check_exception(failed.value)


REQUESTS = [
    f"GET /?token={SECRET} HTTP/1.1\r\nHost: a\r\nAuthorization : Basic {BASIC}\r\n\r\n",
    f"GET /?token={SECRET} HTTP/1.1\r\nHost: a\r\nAuthorization: {SECRET}\r\nX\r\n\r\n",
    f"GET /?token={SECRET} HTTP/1.1 {SECRET}\r\nHost: a\r\n\r\n",
    f"GET /?token={SECRET} HTTP/1.0\r\nUpgrade: websocket\r\n\r\n",
    f"POST /?token={SECRET} HTTP/1.1\r\nHost: a\r\nCookie: {SECRET}\r\n\r\n",
    f"GET /?token={SECRET} HTTP/1.1\r\nHost: susi:{SECRET}@a\r\n\r\n",
    f"GET http://susi:{SECRET}@a/ HTTP/1.1\r\nHost: a\r\n\r\n",
    f"GET /?{SECRET} HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nCookie: {SECRET}\r\n\r\n",
    f"GET /?{SECRET} HTTP/1.1\r\nHost: a\r\nCookie: {SECRET}\x01\r\n\r\n",
    f"GET /?{SECRET} HTTP/1.1\r\nHost: a\r\nCookie: a\r\n {SECRET}\r\n\r\n",
]


@pytest.mark.parametrize("said", REQUESTS)
async def test_rejections_show_no_secret(said: str) -> None:
    async with (
        anyws.open_server(echo, "127.0.0.1", 0) as server,
        await anyio.connect_tcp(*server.addresses[0][:2]) as stream,
    ):
        await stream.send(said.encode("latin-1"))
        check((await stream.receive()).decode("latin-1"))
    handshake = ServerHandshake()
    with pytest.raises(anyws.HandshakeRefused) as raised:
        handshake.receive_data(said.encode("latin-1"))
        handshake.accept()
    check_exception(raised.value)


async def test_a_proxy() -> None:
    async with anyws.open_server(echo, "127.0.0.1", 0) as server, scripted_proxy(http_tunnel) as port:
        proxy = f"http://susi:{SECRET}@127.0.0.1:{port}"
        async with anyws.connect(uri_of(server), proxy=proxy) as websocket:
            check(websocket, websocket.request)
        await fails("ws://127.0.0.1:1/", proxy=proxy)


PROXY_ANSWERS = [
    b"HTTP/1.1 407 No\r\nProxy-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\n\r\nmore",
    b"\5\2",
    b"\0\x5d\0\0\0\0\0\0",
]


@needs_socks
@pytest.mark.parametrize("scheme", ["http", "socks5h", "socks4a"])
@pytest.mark.parametrize("answer", PROXY_ANSWERS)
async def test_a_proxy_that_refuses(scheme: str, answer: bytes) -> None:
    async def talk(stream: ByteStream) -> None:
        await stream.receive()
        await stream.send(answer)
        await stream.send_eof()
        await stream.receive()

    async with scripted_proxy(talk) as port:
        await fails(f"ws://a.example/?{SECRET}", proxy=f"{scheme}://susi:{SECRET}@127.0.0.1:{port}")


async def test_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for proxy in (f"http://susi:{SECRET}@127.0.0.1:1", f"http://susi:{SECRET}/@p", f"gopher://susi:{SECRET}@p"):
        monkeypatch.setenv("all_proxy", proxy)
        await fails("ws://a.example/")


def test_a_jar(client_ssl_context: ssl.SSLContext) -> None:
    jar = http.cookiejar.CookieJar()
    check(anyws.ClientOptions(cookies=jar, ssl_context=client_ssl_context))


# -- the commands ------------------------------------------------------------------------------------------------------

LINES = [
    ["connect", f"ws://susi:{SECRET}@127.0.0.1:1/?token={SECRET}"],
    ["ping", f"ws://susi:{SECRET}@127.0.0.1:1/?token={SECRET}"],
    ["load", "--duration", "0.1", f"ws://susi:{SECRET}@127.0.0.1:1/?token={SECRET}"],
    ["connect", "ws://a/", f"ws://susi:{SECRET}@a/?token={SECRET}"],
    ["connect", "--nothing", f"ws://susi:{SECRET}@a/?token={SECRET}"],
    ["connect", "-H", f"Authorization Bearer {SECRET}", "ws://a/"],
    ["connect", "-H", f"Bad Name {SECRET}: x", "ws://a/"],
    ["connect", "-H", f"Authorization: {SECRET}\n", "ws://a/"],
    ["connect", "--proxy", f"gopher://susi:{SECRET}@p", "ws://a/"],
    ["connect", "--proxy", f"http://susi:{SECRET}@127.0.0.1:1", "ws://a.example/"],
    ["-v", "connect", "--proxy", f"http://susi:{SECRET}@127.0.0.1:1", f"ws://a.example/?{SECRET}"],
    *(["connect", text] for text in MALFORMED),
]


@pytest.mark.parametrize("line", LINES)
def test_what_a_command_prints(line: list[str]) -> None:
    out, errors = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(errors):
        try:
            status: object = main(line)
        except SystemExit as exc:
            status = exc.code
    assert status not in (0, None)
    assert out.getvalue() or errors.getvalue()
    check(out.getvalue(), errors.getvalue())
