"""Redirects: followed only if enabled, never to a forbidden target, and without secrets of another server."""

from __future__ import annotations

import http.cookiejar
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest
import trustme

import anyws
from tests.peers import connected, echo, on_mock_clock, open_sockets, scripted_server, uri_of

Hook = Callable[[anyws.Request], anyws.Response | None]


class Seen:
    """Sends from /old to a location, and keeps the requests."""

    def __init__(self, location: str = "/new", status: int = 302) -> None:
        self.location = location
        self.status = status
        self.requests: list[anyws.Request] = []

    def __call__(self, request: anyws.Request) -> anyws.Response | None:
        self.requests.append(request)
        if request.path != "/old":
            return None
        return anyws.Response(self.status, {"Location": self.location, "Set-Cookie": "set=there"})


def serving(hook: Hook, **options: Any) -> Any:
    return anyws.open_server(echo, "127.0.0.1", 0, on_request=hook, **options)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_each_status(status: int) -> None:
    seen = Seen("/new?a=b#fragment", status)
    async with serving(seen) as server, anyws.connect(uri_of(server, "/old"), max_redirects=1) as websocket:
        await websocket.send("hello")
        assert await websocket.receive() == "hello"
        assert websocket.request.target == "/new?a=b"
    assert [request.target for request in seen.requests] == ["/old", "/new?a=b"]


@pytest.mark.parametrize(
    ("location", "target"),
    [
        ("/caf\xe9", "/caf%C3%A9"),  # Latin-1
        ("/caf\xc3\xa9?\xe2\x82\xac", "/caf%C3%A9?%E2%82%AC"),  # UTF-8
        ("//127.0.0.1:{port}/\xe2\x82\xac", "/%E2%82%AC"),
    ],
)
async def test_a_location_that_is_not_ascii(location: str, target: str) -> None:
    seen = Seen()
    async with serving(seen) as server:
        seen.location = location.format(port=server.addresses[0][1])
        async with anyws.connect(uri_of(server, "/old"), max_redirects=1) as websocket:
            assert websocket.request.target == target


@pytest.mark.parametrize(
    ("status", "headers", "limit"),
    [
        (302, {"Location": "/new"}, 0),
        (300, {"Location": "/new"}, 5),
        (304, {"Location": "/new"}, 5),
        (404, {"Location": "/new"}, 5),
        (302, {}, 5),
    ],
)
async def test_a_response_that_is_not_a_redirect_is_a_refusal(status: int, headers: dict[str, str], limit: int) -> None:
    async with serving(lambda _: anyws.Response(status, headers)) as server:
        with pytest.raises(anyws.HandshakeRefused) as raised:
            await connected(uri_of(server), max_redirects=limit)
    assert type(raised.value) is anyws.HandshakeRefused
    assert raised.value.status == status


@pytest.mark.parametrize("limit", [1, 2, 10])
async def test_a_redirect_loop_is_bounded_and_its_chain_reported(limit: int) -> None:
    count = 0

    def turn(request: anyws.Request) -> anyws.Response:
        nonlocal count
        count += 1
        return anyws.Response(302, {"Location": f"/{count}?s3cret"})

    sockets_before = open_sockets()
    async with serving(turn) as server:
        uri = uri_of(server, "/0?s3cret")
        with pytest.raises(anyws.RedirectError, match=f"more than {limit} redirects, see max_redirects") as raised:
            await connected(uri.replace("//", "//me:passw0rd@"), max_redirects=limit)
        base = uri_of(server, "")
    assert count == limit + 1
    assert raised.value.status == 302
    assert raised.value.chain == tuple(f"{base}/{number}?s3cret" for number in range(limit + 2))
    assert " -> ".join(f"{base}/{number}" for number in range(limit + 2)) in str(raised.value)
    assert "s3cret" not in str(raised.value)
    assert "passw0rd" not in f"{raised.value} {raised.value.chain}"
    assert open_sockets() <= sockets_before


@pytest.mark.parametrize(
    ("location", "problem"),
    [
        ("ws+unix:/run/docker.sock:/", "scheme of its Location"),
        ("wss+unix:/run/docker.sock:/", "scheme of its Location"),
        ("ftp://a/", "scheme of its Location"),
        ("javascript:alert(1)", "scheme of its Location"),
        ("http://", "has no host"),
        ("ws://a:99999/", "port"),
        ("ws://[a/", "not a valid URI"),
        ("ws://a b/", "contains a space"),
    ],
)
async def test_forbidden_redirect_targets(location: str, problem: str) -> None:
    async with serving(Seen(location)) as server:
        with pytest.raises(anyws.RedirectError, match=problem) as raised:
            await connected(uri_of(server, "/old"), max_redirects=5)
        assert raised.value.chain == (uri_of(server, "/old"),)


async def test_a_redirect_from_tls_to_plain_tcp_is_not_followed(
    server_ssl_context: ssl.SSLContext, client_ssl_context: ssl.SSLContext
) -> None:
    seen = Seen()
    async with serving(seen) as plain, serving(Seen(uri_of(plain, "/new")), ssl_context=server_ssl_context) as secure:
        with pytest.raises(anyws.RedirectError, match="from TLS to plain TCP"):
            await connected(uri_of(secure, "/old", scheme="wss"), max_redirects=5, ssl_context=client_ssl_context)
    assert not seen.requests


async def test_a_redirect_to_tls_is_followed(
    server_ssl_context: ssl.SSLContext, client_ssl_context: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("anyws._client.connect.default_context", lambda: client_ssl_context)
    seen = Seen()
    async with (
        serving(seen, ssl_context=server_ssl_context) as secure,
        serving(Seen(uri_of(secure, "/new", scheme="https"))) as plain,
    ):
        await connected(uri_of(plain, "/old"), max_redirects=5)
    assert [request.path for request in seen.requests] == ["/new"]


FOR_ONE = {"authorization", "cookie", "proxy-authorization", "x-api-key", "x-auth-token"}
CREDENTIALS: dict[str, Any] = {
    "headers": {
        "Proxy-Authorization": "Basic s3cret",
        "X-API-Key": "s3cret",
        "X-Auth-Token": "s3cret",
        "X-Other": "kept",
        "Host": "chosen.example",
    },
    "auth": "t0ken",
    "cookies": {"a": "b"},
}


async def test_credentials_stay_with_the_same_server() -> None:
    seen = Seen()
    async with serving(seen) as server:
        await connected(uri_of(server, "/old"), max_redirects=5, **CREDENTIALS)
    first, second = seen.requests
    assert first.headers["authorization"] == second.headers["authorization"] == "Bearer t0ken"
    assert first.headers["cookie"] == second.headers["cookie"] == "a=b"
    assert first.headers["host"] == second.headers["host"] == "chosen.example"


async def test_user_information_stays_with_the_same_server() -> None:
    seen = Seen()
    async with serving(seen) as server:
        await connected(uri_of(server, "/old").replace("//", "//me:it@"), max_redirects=5)
    assert seen.requests[1].headers["authorization"] == seen.requests[0].headers["authorization"]


@pytest.mark.parametrize("way", ["there", "there and back"])
async def test_credentials_are_not_sent_to_another_server(way: str) -> None:
    other = Seen()
    async with serving(other) as target:
        seen = Seen(uri_of(target, "/new" if way == "there" else "/old").replace("//", "//evil:us3r@"))
        async with serving(seen) as server:
            other.location = uri_of(server, "/new")
            await connected(uri_of(server, "/old"), max_redirects=5, **CREDENTIALS)
    later = [*other.requests, *seen.requests[1:]]
    assert len(later) == (1 if way == "there" else 2)
    assert set(seen.requests[0].headers) >= FOR_ONE
    for request in later:
        assert not FOR_ONE & set(request.headers)
        assert request.headers["x-other"] == "kept"
        assert request.headers["host"].startswith("127.0.0.1:")


async def test_user_information_is_not_sent_to_another_server() -> None:
    other = Seen()
    async with serving(other) as target, serving(Seen(uri_of(target, "/new"))) as server:
        await connected(uri_of(server, "/old").replace("//", "//me:it@"), max_redirects=5)
    assert "authorization" not in other.requests[0].headers


async def test_a_cookie_jar_is_kept_across_redirects_and_chooses_its_cookies() -> None:
    """A cookie is for a host, whatever the port (RFC 6265, 8.5)."""
    other = Seen()
    jar = http.cookiejar.CookieJar()
    async with serving(other) as target, serving(Seen(uri_of(target, "/new"))) as server:
        await connected(uri_of(server, "/old"), max_redirects=5, cookies=jar)
    assert other.requests[0].headers["cookie"] == "set=there"


@pytest.mark.parametrize("with_callable_auth", [False, True])
async def test_a_client_certificate_is_not_presented_to_another_server(
    with_callable_auth: bool, certificate_authority: trustme.CA
) -> None:
    presented: list[Any] = []
    demanding = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    certificate_authority.issue_cert("127.0.0.1").configure_cert(demanding)
    certificate_authority.configure_trust(demanding)
    demanding.verify_mode = ssl.CERT_REQUIRED
    ours = ssl.create_default_context()
    certificate_authority.configure_trust(ours)
    certificate_authority.issue_cert("susi.example").configure_cert(ours)
    options: dict[str, Any] = {"auth": lambda: "t0ken"} if with_callable_auth else {}
    async with (
        anyws.open_server(echo, "127.0.0.1", 0, on_request=presented.append, ssl_context=demanding) as target,
        serving(Seen(uri_of(target, "/new", scheme="wss")), ssl_context=demanding) as server,
    ):
        with pytest.raises(anyws.RedirectError, match="to another server, and ssl_context may hold") as raised:
            await connected(uri_of(server, "/old", scheme="wss"), max_redirects=5, ssl_context=ours, **options)
        assert not presented
        assert raised.value.chain[-1] == uri_of(target, "/new", scheme="wss")
        await connected(raised.value.chain[-1], ssl_context=ours)  # as it may be meant


async def test_a_client_certificate_stays_with_the_same_server(
    server_ssl_context: ssl.SSLContext, client_ssl_context: ssl.SSLContext
) -> None:
    async with serving(Seen(), ssl_context=server_ssl_context) as server:
        await connected(uri_of(server, "/old", scheme="wss"), max_redirects=1, ssl_context=client_ssl_context)


async def test_the_certificate_must_match_the_new_server(
    server_ssl_context: ssl.SSLContext, client_ssl_context: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("anyws._client.connect.default_context", lambda: client_ssl_context)
    other = Seen()
    async with anyws.open_server(echo, "127.0.0.2", 0, on_request=other, ssl_context=server_ssl_context) as target:
        location = uri_of(target, "/new", scheme="wss")  # its address is not in its certificate
        async with serving(Seen(location), ssl_context=server_ssl_context) as server:
            with pytest.raises(ssl.SSLCertVerificationError, match=r"127\.0\.0\.2"):
                await connected(
                    uri_of(server, "/old", scheme="wss"),
                    max_redirects=5,
                    server_hostname="localhost",
                )
    assert not other.requests


async def test_an_error_after_a_redirect_reports_the_chain() -> None:
    async with serving(lambda _: anyws.Response(404)) as target, serving(Seen(uri_of(target, "/new?s3cret"))) as server:
        with pytest.raises(anyws.HandshakeRefused) as raised:
            await connected(uri_of(server, "/old"), max_redirects=5)
        assert raised.value.status == 404
        assert raised.value.__notes__ == [f"redirected: {uri_of(server, '/old')} -> {uri_of(target, '/new')}"]
    async with serving(Seen("ws://127.0.0.1:1/")) as server:
        with pytest.raises(ConnectionRefusedError) as refused:
            await connected(uri_of(server, "/old"), max_redirects=5)
        assert refused.value.__notes__ == [f"redirected: {uri_of(server, '/old')} -> ws://127.0.0.1:1/"]


async def test_a_unix_socket(tmp_path: Path) -> None:
    seen = Seen()
    async with anyws.open_server(echo, path=str(tmp_path / "socket"), on_request=seen):
        uri = f"ws+unix:{tmp_path}/socket:/old"
        await connected(uri, max_redirects=1)
        assert [request.path for request in seen.requests] == ["/old", "/new"]
        seen.location = "ws://127.0.0.1:1/"
        with pytest.raises(anyws.RedirectError, match="unix socket"):
            await connected(uri, max_redirects=1)


@on_mock_clock
async def test_one_timeout_covers_all_redirects() -> None:
    async def hold(request: anyws.Request) -> anyws.Response:
        with anyio.move_on_after(2):
            await anyio.sleep_forever()
        return anyws.Response(302, {"Location": "/again"})

    begun = anyio.current_time()
    async with anyws.open_server(echo, "127.0.0.1", 0, on_request=hold) as server:
        with pytest.raises(TimeoutError, match="more than 5 s") as raised:
            await connected(uri_of(server), max_redirects=100, open_timeout=5)
        assert raised.value.__notes__[0].count("/again") == 2
        assert anyio.current_time() - begun == pytest.approx(5, abs=0.01)


async def test_a_redirect_whose_body_does_not_end() -> None:
    answer = b"HTTP/1.1 302 Found\r\nLocation: ftp://a/\r\nContent-Length: 1000000\r\n\r\n" + b"x" * 70_000
    async with scripted_server(lambda _: answer) as uri:
        with pytest.raises(anyws.RedirectError):
            await connected(uri, max_redirects=1)


async def test_client_connect_follows_no_redirects_by_default() -> None:
    with pytest.raises(ValueError, match="does not follow redirects"):
        async with anyws.client_connect(max_redirects=1, socket_options={"port": 1}):
            pass


async def test_an_invalid_limit() -> None:
    with pytest.raises(ValueError, match="max_redirects is -1"):
        await connected("ws://localhost/", max_redirects=-1)
