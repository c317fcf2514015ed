"""`basic_auth`: who may connect, and the response to everybody else."""

from __future__ import annotations

import base64
import inspect
import urllib.error
import urllib.request
from typing import Any

import anyio
import pytest
from websockets.headers import build_authorization_basic

import anyws
from anyws._server.authentication import parse_basic
from tests.peers import connected, uri_of

CREDENTIALS = {"ann": "p:ss wörd", "bob": ""}
CHALLENGE = 'Basic realm="the \\"inner\\" circle", charset="UTF-8"'


async def who(websocket: anyws.WebSocket) -> None:
    await websocket.send(websocket.request.state["user"])


def basic(text: str | bytes) -> str:
    return "Basic " + base64.b64encode(text.encode() if isinstance(text, str) else text).decode()


async def ann_only(user: str, password: str) -> bool:
    await anyio.lowlevel.checkpoint()
    return (user, password) == ("ann", CREDENTIALS["ann"])


@pytest.fixture(
    params=[
        {"credentials": CREDENTIALS},
        {"check": lambda user, password: CREDENTIALS.get(user) == password},
        {"check": ann_only},
    ],
    ids=["credentials", "sync", "async"],
)
def hook(request: pytest.FixtureRequest) -> Any:
    return anyws.basic_auth('the "inner" circle', **request.param)


async def test_the_right_password_is_accepted(hook: Any) -> None:
    async with anyws.open_server(who, "127.0.0.1", 0, on_request=hook) as server:
        uri = uri_of(server).replace("ws://", "ws://ann:p%3Ass%20w%C3%B6rd@")
        async with anyws.connect(uri) as websocket:
            assert await websocket.receive() == "ann"
        header = build_authorization_basic("ann", CREDENTIALS["ann"])  # as another library writes it
        async with anyws.connect(uri_of(server), headers={"Authorization": header}) as websocket:
            assert await websocket.receive() == "ann"


@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "",
        "Basic",
        "Bearer abc",
        "Basic !!!",
        "Basic YW5u",  # no colon
        "Basic YW5uOg",  # no padding
        basic("ann:wrong"),
        basic("ann:"),
        basic("Ann:p:ss wörd"),
        basic("nobody:"),
        basic("nobody:p:ss wörd"),
        basic("ann:p:ss wörd".encode("latin-1")),
        basic("ann:p:ss wörd\n"),
        basic("ann:p:ss wörd") + "," + basic("ann:p:ss wörd"),
    ],
)
async def test_everybody_else_is_refused(hook: Any, authorization: str | None) -> None:
    headers = {} if authorization is None else {"Authorization": authorization}
    async with anyws.open_server(who, "127.0.0.1", 0, on_request=hook) as server:
        with pytest.raises(anyws.HandshakeRefused) as raised:
            await connected(uri_of(server), headers=headers)
    assert raised.value.status == 401
    assert raised.value.response.headers["www-authenticate"] == CHALLENGE


async def test_two_headers_are_refused(hook: Any) -> None:
    pair = ("Authorization", basic("ann:p:ss wörd"))
    async with anyws.open_server(who, "127.0.0.1", 0, on_request=hook) as server:
        with pytest.raises(anyws.HandshakeRefused) as raised:
            await connected(uri_of(server), headers=[pair, pair])
    assert raised.value.status == 401


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (basic("user:"), ("user", "")),
        (basic(":password"), ("", "password")),
        (basic("a:b:c"), ("a", "b:c")),
        (basic("u:p").replace("Basic ", "bAsIC   "), ("u", "p")),
        (build_authorization_basic("Aladdin", "open sesame"), ("Aladdin", "open sesame")),  # RFC 7617, 2
        ("Basic dGVzdDoxMjPCow==", ("test", "123£")),  # RFC 7617, 2.1
        (basic("a\0:b"), None),
        (basic("a:b\x7f"), None),
        ("Basic" + "A" * 10000, None),
    ],
)
def test_the_contents_of_the_header(header: str, expected: tuple[str, str] | None) -> None:
    assert parse_basic(header) == expected


async def test_the_standard_library_s_client_understands_the_challenge() -> None:
    hook = anyws.basic_auth("the circle", credentials=CREDENTIALS)
    passwords = urllib.request.HTTPPasswordMgrWithDefaultRealm()

    def get(url: str) -> int:
        passwords.add_password("the circle", url, "ann", CREDENTIALS["ann"])
        opener = urllib.request.build_opener(urllib.request.HTTPBasicAuthHandler(passwords))
        try:
            opener.open(url)
        except urllib.error.HTTPError as error:
            with error:
                return error.code
        raise AssertionError("not reached")

    async with anyws.open_server(who, "127.0.0.1", 0, on_request=hook) as server:
        # It is authenticated, and then told that there is only WebSocket.
        assert await anyio.to_thread.run_sync(get, uri_of(server, scheme="http")) == 426


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"realm": "r"}, TypeError, "either credentials or check"),
        ({"realm": "r", "credentials": {}, "check": ann_only}, TypeError, "either credentials or check"),
        (
            {"realm": "r", "credentials": ("ann", "x")},
            TypeError,
            "credentials must map user names to passwords, not be tuple",
        ),
        ({"realm": "r", "check": "x"}, TypeError, "check must be callable, not str"),
        ({"realm": "a\nb", "credentials": {}}, ValueError, "WWW-Authenticate"),
        ({"realm": "wörld", "credentials": {}}, ValueError, "outside ASCII"),
    ],
)
def test_wrong_arguments(arguments: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        anyws.basic_auth(**arguments)


@pytest.mark.parametrize("user", ["ann", "nobody"])
async def test_a_password_is_compared_in_constant_time(user: str, monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[int, int]] = []

    def compare_digest(one: bytes, other: bytes) -> bool:
        compared.append((len(one), len(other)))
        return one == other

    hook = anyws.basic_auth("r", credentials=CREDENTIALS)
    monkeypatch.setattr("anyws._server.authentication.hmac.compare_digest", compare_digest)
    request = anyws.Request(target="/", headers=anyws.Headers({"Authorization": basic(f"{user}:wrong")}))
    answer = hook(request)
    assert inspect.isawaitable(answer)
    response = await answer
    assert response is not None
    assert response.status == 401
    assert compared == [(64, 64)]  # once, also for a user that there is not, and whatever the lengths


async def test_a_check_that_raises_is_500() -> None:
    hook = anyws.basic_auth("r", check=lambda user, password: bool(1 / 0))
    async with anyws.open_server(who, "127.0.0.1", 0, on_request=hook) as server:
        with pytest.raises(anyws.HandshakeRefused) as raised:
            await connected(uri_of(server), headers={"Authorization": basic("a:b")})
    assert raised.value.status == 500
