"""Credentials of a client: ``auth`` and ``cookies``."""

from __future__ import annotations

import base64
import http.cookiejar
import http.cookies
from typing import Any

import anyio
import pytest

import anyws
from anyws._client.cookies import cookie_header, store_cookies
from anyws.protocol import Response, parse_uri
from anyws.testing import websocket_pair
from tests.peers import connected, echo, open_sockets, uri_of


async def request_for(**options: Any) -> anyws.Request:
    """Return the request that a client sends."""
    async with websocket_pair(client_options=options) as (_, server):
        return server.request


def basic(text: str) -> str:
    return f"Basic {base64.b64encode(text.encode()).decode()}"


async def asynchronous() -> str:
    await anyio.lowlevel.checkpoint()
    return "t0ken"


@pytest.mark.parametrize(
    ("auth", "value"),
    [
        (("me", "s3cret"), basic("me:s3cret")),
        (("jürgen", "p:ß"), basic("jürgen:p:ß")),
        (("", ""), basic(":")),
        ("t0ken", "Bearer t0ken"),
        ("a.b-c_d~e+f/g==", "Bearer a.b-c_d~e+f/g=="),
        (lambda: "t0ken", "Bearer t0ken"),
        (lambda: ("me", "s3cret"), basic("me:s3cret")),
        (asynchronous, "Bearer t0ken"),
    ],
)
async def test_auth(auth: Any, value: str) -> None:
    assert (await request_for(auth=auth)).headers.get_all("authorization") == [value]


@pytest.mark.parametrize(
    ("options", "exception", "problem"),
    [
        ({"auth": "Bearer s3cret"}, ValueError, "omit the word Bearer"),
        ({"auth": ""}, ValueError, "visible ASCII"),
        ({"auth": "s3cret\r\nX: y"}, ValueError, "visible ASCII"),
        ({"auth": ("m:e", "s3cret")}, ValueError, "must not contain a colon"),
        ({"auth": ("me", "s3cret\n")}, ValueError, "must not contain control characters"),
        ({"auth": ("s3cret",)}, TypeError, r"auth must be \(user, password\) or a bearer token"),
        ({"auth": ("me", b"s3cret")}, TypeError, r"auth must be \(user, password\) or a bearer token"),
        ({"auth": b"s3cret"}, TypeError, "option auth must be"),
        ({"auth": lambda: None}, TypeError, "auth must be .*, not NoneType"),
        ({"auth": lambda: "s3 cret"}, ValueError, "visible ASCII"),
        ({"auth": "s3cret", "headers": {"authorization": "x"}}, ValueError, "option auth or the header Authorization"),
        ({"cookies": {"a": "s3cret"}, "headers": {"Cookie": "x"}}, ValueError, "option cookies or the header Cookie"),
        ({"cookies": {"a b": "s3cret"}}, ValueError, "cookie name 'a b'"),
        ({"cookies": {"a": "s3cret; b=c"}}, ValueError, "cookie a has an invalid character"),
        ({"cookies": {"a": "s3cret\r\nX: y"}}, ValueError, "cookie a has an invalid character"),
        ({"cookies": {"a": "s3crét"}}, ValueError, "percent-encode"),
        ({"cookies": {"a": 5}}, TypeError, "names and values must be str"),
        ({"cookies": "a=s3cret"}, TypeError, "option cookies must be"),
    ],
)
async def test_invalid_credentials_are_rejected_without_showing_them(
    options: dict[str, Any], exception: type[Exception], problem: str
) -> None:
    sockets_before = open_sockets()
    with pytest.raises(exception, match=problem) as raised:
        await connected("ws://127.0.0.1:1/", **options)
    assert "s3c" not in str(raised.value)
    assert open_sockets() == sockets_before


async def test_auth_is_equivalent_to_user_information_in_the_uri() -> None:
    with pytest.raises(ValueError, match="in the URI or with the option auth") as raised:
        await connected("ws://me:s3cret@127.0.0.1:1/", auth="t0ken")
    assert "s3cret" not in str(raised.value)


async def test_an_auth_callable_is_called_for_each_connection() -> None:
    count = 0

    def auth() -> str:
        nonlocal count
        count += 1
        return f"token{count}"

    assert (await request_for(auth=auth)).headers["authorization"] == "Bearer token1"
    assert (await request_for(auth=auth)).headers["authorization"] == "Bearer token2"


async def test_an_auth_callable_that_raises_leaves_no_resources() -> None:
    def auth() -> str:
        raise LookupError("no token")

    sockets_before = open_sockets()
    with pytest.raises(LookupError):
        await connected("ws://127.0.0.1:1/", auth=auth)
    assert open_sockets() == sockets_before


async def test_the_timeout_includes_an_auth_callable() -> None:
    with pytest.raises(TimeoutError):
        await connected("ws://127.0.0.1:1/", auth=anyio.sleep_forever, open_timeout=0.05)


# -- cookies -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cookies", "value"),
    [
        ({"a": "b"}, ["a=b"]),
        ({"a": "b", "c": ""}, ["a=b; c="]),
        ({"a": '{"b": [1, 2]}'}, ['a={"b": [1, 2]}']),
        ({}, []),
        (http.cookies.SimpleCookie({"a": "b", "c": "d"}), ["a=b; c=d"]),
    ],
)
async def test_cookies(cookies: Any, value: list[str]) -> None:
    assert (await request_for(cookies=cookies)).headers.get_all("cookie") == value


async def test_a_cookie_jar_stores_cookies_and_can_be_shared() -> None:
    jar = http.cookiejar.CookieJar()
    headers = [
        ("Set-Cookie", "a=b; Path=/; HttpOnly"),
        ("Set-Cookie", "c=d; Path=/chat"),
        ("Set-Cookie", "e=f; Secure"),
    ]
    requests: list[anyws.Request] = []
    async with anyws.open_server(echo, "127.0.0.1", 0, headers=headers, on_request=requests.append) as server:
        for path in ("/chat", "/chat", "/"):
            await connected(uri_of(server, path), cookies=jar)
    assert "cookie" not in requests[0].headers
    assert sorted(requests[1].headers["cookie"].split("; ")) == ["a=b", "c=d"]
    assert requests[2].headers["cookie"] == "a=b"
    assert {cookie.name for cookie in jar} >= {"a", "c"}


@pytest.mark.parametrize("status", [302, 401, 503])
async def test_a_cookie_jar_stores_the_cookies_of_a_refusal(status: int) -> None:
    jar = http.cookiejar.CookieJar()
    async with anyws.open_server(
        echo, "127.0.0.1", 0, on_request=lambda _: Response(status, {"Set-Cookie": "a=b"})
    ) as server:
        with pytest.raises(anyws.HandshakeRefused):
            await connected(uri_of(server), cookies=jar)
    assert [(cookie.name, cookie.value) for cookie in jar] == [("a", "b")]


@pytest.mark.parametrize(
    "value", ["", "=", "a", ";;;", "a=b; Expires=nonsense; Max-Age=x", "a=b; Domain=.com", "\xff=\xff"]
)
async def test_an_invalid_set_cookie_is_ignored(value: str) -> None:
    jar = http.cookiejar.CookieJar()
    async with anyws.open_server(echo, "127.0.0.1", 0, headers={"Set-Cookie": value}) as server:
        await connected(uri_of(server), cookies=jar)


COOKIE_DATES = ["Wed, 09 Jun 2060 10:18:14 GMT", "Wednesday, 09-Jun-60 10:18:14 GMT", "Wed Jun  9 10:18:14 2060"]


def kept(*values: str, uri: str = "wss://www.a.example/x/y") -> list[http.cookiejar.Cookie]:
    """Return what a jar keeps of these ``Set-Cookie``."""
    jar = http.cookiejar.CookieJar()
    store_cookies(jar, parse_uri(uri), anyws.Headers([("Set-Cookie", value) for value in values]))
    return list(jar)


@pytest.mark.parametrize(
    ("value", "kept_value"),
    [
        ("a=b", "b"),
        ("a=", ""),
        (" a = b=c ", "b=c"),
        ('a="b c"', '"b c"'),
        ("a=b; Max-Age", "b"),
        ("a=b; Max-Age=soon", "b"),
        ("a=b; Max-Age=" + "9" * 400, "b"),
        ("a=b; Version=x; Port=y; Comment; Discard; Unknown=z", "b"),
        ("a=b; Domain; Path; Expires; Secure; HttpOnly", "b"),
        ("a=b; Expires=Wed, 09 Jwn 2060 10:18:14 GMT", "b"),
        ("a=b; Expires=Mon, 01 Jan 99999999999 00:00:00 GMT", "b"),
        ("a=" + "b" * 4094, "b" * 4094),
        *((f"a=b; Expires={date}", "b") for date in COOKIE_DATES),
    ],
)
def test_which_parts_of_a_cookie_are_ignored(value: str, kept_value: str) -> None:
    """RFC 6265, section 5.2."""
    (cookie,) = kept(value)
    assert (cookie.name, cookie.value) == ("a", kept_value)
    assert (cookie.expires is not None) == any(date in value for date in COOKIE_DATES)


@pytest.mark.parametrize("value", ["", "a", "=b", " =b", ";a=b", "a=" + "b" * 4095, "a" * 4096 + "="])
def test_invalid_cookies(value: str) -> None:
    assert not kept(value)


@pytest.mark.parametrize(
    "end", ["Max-Age=0", "Max-Age=-5", "Expires=Thu, 01 Jan 1970 00:00:00 GMT", "Expires=Mon, 01 Jan 1601 00:00:00 GMT"]
)
def test_a_server_can_delete_a_cookie(end: str) -> None:
    jar = http.cookiejar.CookieJar()
    for value in ("a=b", f"a=c; {end}"):
        store_cookies(jar, parse_uri("ws://a.example/"), anyws.Headers({"Set-Cookie": value}))
    assert not list(jar)


def test_which_cookie_attributes_are_honoured() -> None:
    (cookie,) = kept("a=b; Domain=a.example; Path=/x; Secure; HttpOnly; SameSite=Lax; Max-Age=60")
    assert (cookie.domain, cookie.path, cookie.secure) == (".a.example", "/x", True)
    assert cookie.expires is not None


def test_a_cookie_jar_is_bounded() -> None:
    jar = http.cookiejar.CookieJar()
    for number in range(0, 3600, 100):
        headers = [("Set-Cookie", f"n{number + each}=x") for each in range(100)]
        store_cookies(jar, parse_uri("ws://a.example/"), anyws.Headers(headers))
    assert [cookie.name for cookie in jar] == [f"n{number}" for number in range(3420, 3600)]
    store_cookies(jar, parse_uri("ws://b.example/"), anyws.Headers({"Set-Cookie": "a=b"}))
    assert len(jar) == 181


def test_replacing_a_cookie_drops_no_other() -> None:
    jar = http.cookiejar.CookieJar()
    for _ in range(3):
        headers = [("Set-Cookie", f"n{number}=x") for number in range(180)]
        store_cookies(jar, parse_uri("ws://a.example/"), anyws.Headers(headers))
    assert len(jar) == 180


def test_cookies_added_by_the_user_are_sent_only_to_their_domain() -> None:
    jar = http.cookiejar.CookieJar()
    store_cookies(jar, parse_uri("ws://mine.example/"), anyws.Headers({"Set-Cookie": "mine=x"}))
    for number in range(200):
        store_cookies(jar, parse_uri("ws://theirs.example/"), anyws.Headers({"Set-Cookie": f"n{number}=x"}))
    assert next(iter(jar)).name == "mine"


async def test_secure_cookies_are_sent_over_tls_only() -> None:
    jar = http.cookiejar.CookieJar()
    store_cookies(jar, parse_uri("wss://a.example/"), anyws.Headers({"Set-Cookie": "a=b; Secure"}))
    assert cookie_header(jar, parse_uri("wss://a.example/x")) == "a=b"
    assert cookie_header(jar, parse_uri("ws://a.example/x")) is None
    assert cookie_header(jar, parse_uri("wss://b.example/x")) is None


async def test_the_response_has_its_cookies_without_a_jar() -> None:
    headers = [("Set-Cookie", "a=b"), ("Set-Cookie", "c=d")]
    async with websocket_pair(server_options={"headers": headers}) as (client, _):
        found = http.cookies.SimpleCookie()
        for value in client.response.headers.get_all("set-cookie"):
            found.load(value)
    assert {name: morsel.value for name, morsel in found.items()} == {"a": "b", "c": "d"}
