"""Opening the connection of a command: what it shows, and its errors."""

from __future__ import annotations

import argparse
from typing import Any

import pytest

import anyws
from anyws._cli.exit_status import CommandError, ExitStatus
from anyws._cli.opening import open_target
from anyws._cli.target import Target, read_target
from anyws._cli.target_options import add_target
from tests.harness import free_port
from tests.peers import uri_of


def read(*arguments: str) -> Target:
    parser = argparse.ArgumentParser()
    add_target(parser)
    return read_target(parser, parser.parse_args(arguments))


async def echo(websocket: anyws.WebSocket) -> None:
    async for message in websocket:
        await websocket.send(message)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (OSError("x"), ExitStatus.NOT_CONNECTED),
        (TimeoutError("x"), ExitStatus.NOT_CONNECTED),
        (anyws.HandshakeError("x"), ExitStatus.REFUSED),
        (ImportError("x"), ExitStatus.USAGE),
        (anyws.InvalidURI("uri", "x"), ExitStatus.USAGE),
    ],
)
async def test_connection_errors(error: Exception, status: ExitStatus, monkeypatch: pytest.MonkeyPatch) -> None:
    def connect(uri: str, **options: Any) -> None:
        raise error

    monkeypatch.setattr(anyws, "connect", connect)
    with pytest.raises(CommandError, match="cannot connect to ws://localhost/: x") as failed:
        async with open_target(read("ws://user:secret@localhost/")):
            pass
    assert failed.value.status is status


async def test_the_handshake_is_shown_without_secrets(capsys: pytest.CaptureFixture[str]) -> None:
    async with anyws.open_server(
        echo, "127.0.0.1", 0, subprotocols=["chat"], headers=[("Set-Cookie", "secret")]
    ) as server:
        host, port = server.addresses[0]
        target = read("-s", "chat", "-u", "joe:secret", "-H", "X-Token: secret", f"ws://{host}:{port}/a?secret")
        async with open_target(target, is_verbose=True):
            pass
    out, err = capsys.readouterr()
    assert out == ""
    assert "secret" not in err
    lines = iter(err.splitlines())
    for line in (  # in this order, among others
        f"* connected to {host} port {port}",
        "> GET /a?[hidden] HTTP/1.1",
        f"> Host: {host}:{port}",
        "> Sec-WebSocket-Protocol: chat",
        "> X-Token: [hidden]",
        "> Authorization: [hidden]",
        "< HTTP/1.1 101 Switching Protocols",
        "< Upgrade: websocket",
        "< Sec-WebSocket-Protocol: chat",
        "< Set-Cookie: [hidden]",
    ):
        assert line in lines, err


async def test_the_handshake_of_a_refusal_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    async with anyws.open_server(echo, "127.0.0.1", 0, on_request=lambda request: anyws.Response(404)) as server:
        with pytest.raises(CommandError, match="the server responded with 404 Not Found"):
            async with open_target(read(uri_of(server)), is_verbose=True):
                pass
    err = capsys.readouterr().err
    assert err.startswith("> GET /chat HTTP/1.1\n")
    assert "\n< HTTP/1.1 404 Not Found\n" in err


async def test_nothing_is_shown_by_default(capsys: pytest.CaptureFixture[str]) -> None:
    async with anyws.open_server(echo, "127.0.0.1", 0) as server, open_target(read(uri_of(server))):
        pass
    assert capsys.readouterr() == ("", "")


async def test_redirects_are_followed_if_asked_for() -> None:
    def redirect(request: anyws.Request) -> anyws.Response | None:
        return None if request.path == "/new" else anyws.Response(302, [("Location", "/new")])

    async with anyws.open_server(echo, "127.0.0.1", 0, on_request=redirect) as server:
        async with open_target(read("-L", uri_of(server))) as websocket:
            assert websocket.request.path == "/new"
        problem = "the server responded with 302 Found, to /new; to follow redirects, see --location"
        with pytest.raises(CommandError, match=problem) as failed:
            async with open_target(read(uri_of(server))):
                pass
    assert failed.value.status is ExitStatus.REFUSED


async def test_a_proxy_that_is_down_is_named() -> None:
    proxy = f"http://127.0.0.1:{free_port()}"
    with pytest.raises(CommandError, match=rf"port \d+ \(while connecting to the proxy {proxy}\)$") as failed:
        async with open_target(read("-x", proxy, "ws://192.0.2.1/")):
            pass
    assert failed.value.status is ExitStatus.NOT_CONNECTED


async def test_a_body_is_shown_in_one_line() -> None:
    response = anyws.Response(403, body="not\r\nyou")
    async with anyws.open_server(echo, "127.0.0.1", 0, on_request=lambda request: response) as server:
        with pytest.raises(CommandError, match=r"the server responded with 403 Forbidden: not you$"):
            async with open_target(read(uri_of(server))):
                pass
