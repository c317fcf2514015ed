"""Headers of the response 101 for each connection, and subprotocol selectors that refuse."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import pytest

import anyws
from tests.peers import echo


def session(request: anyws.Request) -> list[tuple[str, str]]:
    return [("Set-Cookie", f"session={request.state['user']}; HttpOnly"), ("Set-Cookie", f"path={request.path}")]


async def log_in(request: anyws.Request) -> anyws.Response | None:
    request.state["user"] = request.headers.get("x-user", "nobody")
    return anyws.Response(403) if request.path == "/closed" else None


async def test_headers_may_depend_on_the_request() -> None:
    async with anyws.open_server(echo, "127.0.0.1", 0, on_request=log_in, headers=session) as server:
        for user in ("ann", "bob"):
            async with anyws.connect(f"{server.uri}{user}", headers={"X-User": user}) as websocket:
                cookies = [
                    value for name, value in websocket.response.headers.multi_items() if name.lower() == "set-cookie"
                ]
                assert cookies == [f"session={user}; HttpOnly", f"path=/{user}"]


async def test_headers_are_called_only_for_accepted_connections() -> None:
    calls: list[str] = []

    def count(request: anyws.Request) -> dict[str, str]:
        calls.append(request.path)
        return {}

    async with anyws.open_server(
        echo, "127.0.0.1", 0, on_request=log_in, headers=count, subprotocols=only_chat
    ) as server:
        for path in ("closed", "open"):
            with pytest.raises(anyws.HandshakeRefused):
                async with anyws.connect(f"{server.uri}{path}", subprotocols=["mqtt"]):
                    pass
        async with anyws.connect(f"{server.uri}open", subprotocols=["chat"]):
            pass
    assert calls == ["/open"]


async def wrong(request: anyws.Request) -> dict[str, str]:
    return {}


@pytest.mark.parametrize(
    ("hook", "problem"),
    [
        (wrong, "option headers cannot be async: use on_request"),
        (lambda request: {"Upgrade": "h2c"}, "Upgrade"),
        (lambda request: {"X": "a\r\nb"}, "X"),
        (lambda request: 1 / 0, "division"),
    ],
)
async def test_a_failure_is_logged_and_refuses_with_500(
    hook: Any, problem: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR, "anyws")
    async with anyws.open_server(echo, "127.0.0.1", 0, headers=hook) as server:
        with pytest.raises(anyws.HandshakeRefused) as raised:
            async with anyws.connect(server.uri):
                pass
    assert raised.value.status == 500
    assert problem in caplog.text


def only_chat(offered: Sequence[str]) -> str | anyws.Response:
    return "chat" if "chat" in offered else anyws.Response(400, body="speak chat\n")


async def test_a_selector_of_subprotocols_can_refuse() -> None:
    async with anyws.open_server(echo, "127.0.0.1", 0, subprotocols=only_chat) as server:
        with pytest.raises(anyws.HandshakeRefused) as raised:
            async with anyws.connect(server.uri, subprotocols=["mqtt"]):
                pass
        assert (raised.value.status, raised.value.response.body) == (400, b"speak chat\n")
        async with anyws.connect(server.uri, subprotocols=["mqtt", "chat"]) as websocket:
            assert websocket.subprotocol == "chat"
        assert server.statistics.refused == {400: 1}


async def test_a_selector_cannot_refuse_with_101() -> None:
    async with anyws.open_server(echo, "127.0.0.1", 0, subprotocols=lambda offered: anyws.Response(101)) as server:
        with pytest.raises(anyws.HandshakeRefused) as raised:
            async with anyws.connect(server.uri, subprotocols=["chat"]):
                pass
    assert raised.value.status == 500


def test_wrong_hooks_are_found_at_start() -> None:
    with pytest.raises(TypeError, match=r"option headers:.* must accept one argument, the request"):
        anyws.ServerOptions(headers=lambda: {})  # type: ignore[misc, arg-type]
