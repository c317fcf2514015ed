"""`Router`: which handler gets which path, and what is answered where none does."""

from __future__ import annotations

import sys
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from hypothesis import example, given, strategies as st
from werkzeug.routing import BaseConverter

import anyws
from anyws.routing import Route, Router
from anyws.testing import websocket_pair

from .cli.commands import start
from .peers import REQUEST, connected, uri_of
from .server.test_plain_http import ask
from .server.test_responses import answer_to


def telling(name: str) -> Callable[..., Awaitable[None]]:
    """Make a handler that sends its name and its parameters."""

    async def handler(websocket: anyws.WebSocket, **parameters: object) -> None:
        await websocket.send(f"{name} {parameters}")

    return handler


class Hex(BaseConverter):
    """A number in base 16."""

    regex = "[0-9a-f]+"

    def to_python(self, value: str) -> int:
        return int(value, 16)

    def to_url(self, value: int) -> str:
        return f"{value:x}"


RULES = [
    ("home", "/", None),
    ("rooms", "/rooms/", None),
    ("room", "/rooms/<int:room>", None),
    ("lobby", "/rooms/lobby", None),
    ("user", "/users/<name>/<uuid:device>", None),
    ("file", "/files/<path:name>", None),
    ("color", "/colors/<hex:color>", None),
    ("chat", "/chat", None),
    ("tenant", "/chat", "<tenant>.example.com"),
    ("www", "/chat", "www.example.com"),
    ("loopback", "/chat", "[::1]"),
]


@pytest.fixture
def router() -> Router:
    """A router with rules of all kinds."""
    return make_router()


def make_router() -> Router:
    router = Router(converters={"hex": Hex})
    for name, rule, host in RULES:
        router.route(rule, host=host)(telling(name))
    router.redirect("/r/<int:room>", "/rooms/<int:room>")
    router.redirect("/web-colors/<hex:color>", "/colors/<hex:color>", status=307)
    router.redirect("/docs/<path:name>", "/files/<path:name>", host="old.example.com")
    router.redirect("/up/<path:name>", "/<path:name>")
    return router


def ask_router(
    router: Router, target: str, host: str = "localhost:8765"
) -> tuple[anyws.Response | None, dict[str, Any]]:
    request = anyws.Request(target=target, headers=anyws.Headers({"Host": host}))
    return router.on_request(request), request.state


DEVICE = uuid.UUID("12345678-1234-5678-1234-567812345678")


@pytest.mark.parametrize(
    ("target", "rule", "parameters"),
    [
        ("/", "/", {}),
        ("/?room=1", "/", {}),
        ("/rooms/", "/rooms/", {}),
        ("/rooms", "/rooms/", {}),
        ("/rooms/7", "/rooms/<int:room>", {"room": 7}),
        ("/rooms/7/", "/rooms/<int:room>", {"room": 7}),
        ("/rooms/007?x=/a", "/rooms/<int:room>", {"room": 7}),
        ("/rooms/lobby", "/rooms/lobby", {}),
        (f"/users/caf%C3%A9%20x/{DEVICE}", "/users/<name>/<uuid:device>", {"name": "café x", "device": DEVICE}),
        ("/files/a/b%20c.txt", "/files/<path:name>", {"name": "a/b c.txt"}),
        ("/files/a..b/...", "/files/<path:name>", {"name": "a..b/..."}),
        ("/rooms/%6cobby", "/rooms/lobby", {}),
        ("/colors/ff", "/colors/<hex:color>", {"color": 255}),
        ("http://localhost/rooms/7", "/rooms/<int:room>", {"room": 7}),
    ],
)
def test_what_matches(router: Router, target: str, rule: str, parameters: dict[str, Any]) -> None:
    answer, state = ask_router(router, target)
    assert answer is None
    assert isinstance(route := state["route"], Route)
    assert (route.rule, route.parameters) == (rule, parameters)


@pytest.mark.parametrize(
    "target",
    [
        "/nowhere",
        "/rooms/x",
        "/rooms/-7",
        "/rooms/7/8",
        "/rooms/7//",
        "/rooms//7",
        "//rooms/7",
        "/rooms/" + "9" * 5000,
        "/ROOMS/7",
        f"/users/a%2Fb/{DEVICE}",
        "/users/ann/1234",
        "/users/%FF/1234",
        "/files/",
        "/files/%FF",
        "/colors/xy",
        "*",
        "rooms/7",
        "/rooms/%D9%A7",  # ARABIC-INDIC DIGIT SEVEN
        "/rooms/\u0667",
        "/files/../secret",
        "/files/a/..",
        "/files/%2e%2e/secret",
        "/files/..%2Fsecret",
        "/files/./a",
        "/files/..%5Csecret",
        "/../rooms/7",
    ],
)
def test_what_does_not(router: Router, target: str) -> None:
    answer, state = ask_router(router, target)
    assert answer is not None
    assert (answer.status, state) == (404, {})


@pytest.mark.parametrize(
    ("host", "name", "parameters"),
    [
        ("a.example.com", "tenant", {"tenant": "a"}),
        ("A.Example.COM:8443", "tenant", {"tenant": "a"}),
        ("www.example.com", "www", {}),
        ("[::1]:8765", "loopback", {}),
        ("[::1]", "loopback", {}),
        ("example.com", "chat", {}),
        ("a.example.com.evil.example", "chat", {}),
        ("127.0.0.1", "chat", {}),
        ("a..b", "chat", {}),
        ("x" * 80, "chat", {}),
        ("xn--caf-dma.example.com", "tenant", {"tenant": "xn--caf-dma"}),
    ],
)
async def test_hosts(router: Router, host: str, name: str, parameters: dict[str, Any]) -> None:
    answer, state = ask_router(router, "/chat", host)
    assert answer is None
    assert state["route"].parameters == parameters
    async with websocket_pair("ws://x/chat", client_options={"headers": {}}) as (client, server):
        await state["route"].handler(server, **parameters)
        assert await client.receive() == f"{name} {parameters}"


def test_the_host_of_the_target_counts(router: Router) -> None:
    _, state = ask_router(router, "http://b.example.com:80/chat", "a.example.com")
    assert state["route"].parameters == {"tenant": "b"}


def test_a_path_of_any_host_holds_where_the_host_has_others(router: Router) -> None:
    _, state = ask_router(router, "/rooms/7", "a.example.com")
    assert state["route"].parameters == {"room": 7}


@pytest.mark.parametrize(
    ("target", "host", "status", "location"),
    [
        ("/r/7", "localhost", 308, "/rooms/7"),
        ("/r/007?token=x&y=/z", "localhost:80", 308, "/rooms/7?token=x&y=/z"),
        ("/r/7/", "localhost", 308, "/rooms/7"),
        ("/web-colors/ff", "localhost", 307, "/colors/ff"),
        ("/docs/caf%C3%A9/a%20b", "old.example.com", 308, "/files/caf%C3%A9/a%20b"),
        ("/up/%5Cevil.example", "localhost", 308, "/%5Cevil.example"),
        ("/up/evil.example//x", "localhost", 308, "/evil.example//x"),
    ],
)
def test_redirects(router: Router, target: str, host: str, status: int, location: str) -> None:
    answer, state = ask_router(router, target, host)
    assert answer is not None
    assert (answer.status, answer.headers["location"], state) == (status, location, {})


@given(
    target=st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E))
    | st.from_regex(r"/[a-z]{1,6}(/[%/a-z0-9.]*)+", fullmatch=True),
    host=st.from_regex(r"[0-9A-Za-z.:\[\]%_-]{1,80}", fullmatch=True),
)
@example(target="/up/" + "/" * 50, host="a.example.com")
@example(target="x://[", host="a.example.com")
@example(target="http://@@[::1]:x/chat", host="a.example.com")
def test_whatever_is_asked_is_answered(target: str, host: str) -> None:
    answer, state = ask_router(make_router(), target, host)
    if answer is None:
        assert state["route"].rule in {rule for _, rule, _ in RULES}
    else:
        assert answer.status in (307, 308, 404)
        assert answer.headers.get("location", "/")[0] == "/"
        assert not answer.headers.get("location", "/").startswith("//")


@given(target=st.from_regex(r"/?((%2[Ff]|/)|(%6[Cc]|l)|(%6[Ff]|o)|[rsmby%.?#]|rooms|lobby|%25){1,12}", fullmatch=True))
@example(target="/rooms/%6cobby")
@example(target="/rooms%2Flobby/")
@example(target="rooms/lobby")
def test_a_hook_sees_the_path_that_is_served(target: str) -> None:
    """So a hook that guards a path guards its handler."""
    request = anyws.Request(target=target, headers=anyws.Headers({"Host": "localhost"}))
    if make_router().on_request(request) is None and request.state["route"].rule == "/rooms/lobby":
        assert request.path in ("/rooms/lobby", "/rooms/lobby/")


async def test_a_guarded_path_cannot_be_reached_in_another_spelling() -> None:
    router = Router()
    router.route("/admin")(telling("admin"))
    router.route("/admin/<path:what>")(telling("below"))

    def guard(request: anyws.Request) -> anyws.Response | None:
        if request.path == "/admin" or request.path.startswith("/admin/"):
            return anyws.Response(403, body="not for you\n")
        return None

    async with anyws.open_server(router, "127.0.0.1", 0, on_request=guard) as server:
        for target in ("/admin", "/admin/", "/%61dmin", "/admin%2F", "/admin%2Fx", "/%2561dmin", "admin", "//admin"):
            head = REQUEST.replace(b"/chat", target.encode())
            status = (await answer_to(server, head)).partition(b"\r\n")[0]
            assert status.startswith((b"HTTP/1.1 403 ", b"HTTP/1.1 404 ", b"HTTP/1.1 400 ")), target


@pytest.mark.parametrize("target", ["/up//evil.example", "/up/%2Fevil.example", "/up/%2F%2Fevil.example"])
def test_no_redirect_leads_to_another_host(router: Router, target: str) -> None:
    answer, _ = ask_router(router, target)
    assert answer is not None
    assert not answer.headers.get("location", "").startswith("//")


async def test_a_server_routes(router: Router) -> None:
    async with anyws.open_server(router, "127.0.0.1", 0) as server:
        for path, answer in [("/rooms/7", "room {'room': 7}"), ("/rooms/8/?x", "room {'room': 8}"), ("/", "home {}")]:
            async with anyws.connect(uri_of(server, path)) as websocket:
                assert await websocket.receive() == answer
        with pytest.raises(anyws.HandshakeRefused) as raised:
            await connected(uri_of(server, "/nowhere"))
        assert raised.value.status == 404
        assert (await ask(server, "GET", "/nowhere"))[0] == 404
        assert (await ask(server, "GET", "/rooms/7"))[0] == 426
        status, headers, _ = await ask(server, "HEAD", "/r/7?a=b")
        assert (status, headers["location"]) == (308, "/rooms/7?a=b")


async def test_who_is_not_known_does_not_learn_what_paths_there_are(router: Router) -> None:
    hooks = [anyws.health_check(), anyws.basic_auth("rooms", credentials={"ann": "x"})]
    async with anyws.open_server(router, "127.0.0.1", 0, on_request=hooks) as server:
        assert (await ask(server, "GET", "/healthz"))[0] == 200
        for path in ("/rooms/7", "/nowhere"):
            with pytest.raises(anyws.HandshakeRefused) as raised:
                await connected(uri_of(server, path))
            assert raised.value.status == 401
        uri = uri_of(server, "/rooms/7").replace("//", "//ann:x@")
        async with anyws.connect(uri) as websocket:
            assert await websocket.receive() == "room {'room': 7}"


async def test_a_hook_behind_the_router_knows_the_parameters(router: Router) -> None:
    def members_only(request: anyws.Request) -> anyws.Response | None:
        return anyws.Response(403) if request.state["route"].parameters == {"room": 7} else None

    hooks = [router.on_request, members_only]
    async with anyws.open_server(router, "127.0.0.1", 0, on_request=hooks) as server:
        with pytest.raises(anyws.HandshakeRefused) as raised:
            await connected(uri_of(server, "/rooms/7"))
        assert raised.value.status == 403
        await connected(uri_of(server, "/rooms/8"))


async def test_a_router_over_a_stream(router: Router) -> None:
    options = {"on_request": router.on_request}
    async with websocket_pair("ws://x/rooms/7", server_options=options) as (client, server):
        await router(server)
        assert await client.receive() == "room {'room': 7}"


async def test_a_router_that_was_not_asked_says_so(router: Router) -> None:
    async with websocket_pair("ws://x/rooms/7") as (_client, server):
        with pytest.raises(LookupError, match="on_request"):
            await router(server)


async def nothing(websocket: anyws.WebSocket) -> None:
    pytest.fail("not called")


@pytest.mark.parametrize(
    ("rule", "error", "message"),
    [
        ("rooms", ValueError, "must start with a slash"),
        ("/<int:", ValueError, "malformed"),
        ("/<integer:room>", LookupError, "integer"),
        ("/<int:room>", TypeError, "the handler for /<int:room> does not accept its parameters: .*'room'"),
    ],
)
def test_wrong_rules(rule: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        Router().route(rule)(nothing)


def test_a_handler_that_lacks_a_parameter_of_the_host() -> None:
    with pytest.raises(TypeError, match="'tenant'"):
        Router().route("/", host="<tenant>.example.com")(nothing)


@pytest.mark.parametrize("host", ["Example.com", "example.com:80", "[::1]:80", "<Tenant>.Example.com"])
def test_a_host_that_could_never_match(host: str) -> None:
    with pytest.raises(ValueError, match="expected a name in lower case, without a port"):
        Router().route("/", host=host)(telling("never"))


def test_a_redirect_has_what_it_needs() -> None:
    with pytest.raises(ValueError, match="/b/<x> has parameters that /a does not have: x"):
        Router().redirect("/a", "/b/<x>")


def test_the_extra_is_named_where_it_is_missing() -> None:
    code = "import sys; sys.modules['werkzeug'] = None; import anyws; import anyws.routing"
    with start([sys.executable, "-c", code]) as process:
        status, _, err = process.finish()
    assert status == 1
    assert "ImportError: anyws.routing requires werkzeug: pip install 'anyio-websocket[routing]'" in err


def test_anyws_does_not_import_werkzeug_by_itself() -> None:
    with start([sys.executable, "-c", "import sys, anyws; sys.exit('werkzeug' in sys.modules)"]) as process:
        assert process.finish()[0] == 0
