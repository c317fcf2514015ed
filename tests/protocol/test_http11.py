"""Requests and responses as values."""

from __future__ import annotations

from typing import Any

import pytest

from anyws.protocol import Headers, Request, Response


@pytest.mark.parametrize(
    ("target", "raw_path", "query"),
    [
        ("/", "/", ""),
        ("/a%2Fb?c=d&e", "/a%2Fb", "c=d&e"),
        ("/a??", "/a", "?"),
        ("//evil.example/a", "//evil.example/a", ""),
        ("//[", "//[", ""),
        ("/a:b/c#d", "/a:b/c#d", ""),
        ("http://a:80/b?c", "/b", "c"),
        ("http://a", "/", ""),
        ("http://a?b", "/", "b"),
        ("/?http://a/b", "/", "http://a/b"),
        ("*", "*", ""),
    ],
)
def test_path_and_query_of_a_target(target: str, raw_path: str, query: str) -> None:
    request = Request(target=target, headers=Headers())
    assert (request.raw_path, request.raw_query) == (raw_path, query)
    assert request.path == raw_path.replace("%2F", "/")


@pytest.mark.parametrize(
    ("raw_path", "path"),
    [
        ("/%61dmin", "/admin"),
        ("/admin%2F", "/admin/"),
        ("/caf%C3%A9%20x", "/café x"),
        ("/%2561dmin", "/%61dmin"),  # once
        ("/%3Fa%23b", "/?a#b"),
        ("/%ff", "/\ufffd"),
        ("/%0d%0a%00", "/\r\n\0"),
        ("/100%", "/100%"),
        ("/%zz", "/%zz"),
        ("/+", "/+"),
    ],
)
def test_a_path_is_decoded_once(raw_path: str, path: str) -> None:
    for target in (raw_path, f"{raw_path}?%61", f"http://a.example{raw_path}"):
        request = Request(target=target, headers=Headers())
        assert (request.path, request.raw_path) == (path, raw_path)


@pytest.mark.parametrize(
    ("target", "header", "host"),
    [
        ("/", "A.Example", "a.example"),
        ("/", "a.example:8080", "a.example"),
        ("/", "[::1]", "[::1]"),
        ("/", "[::1]:80", "[::1]"),
        ("http://b.example:80/", "a.example", "b.example"),
        ("http://me:x@b.example/", "a.example", "b.example"),
        ("/http://b.example/", "a.example", "a.example"),
        ("/", None, ""),
    ],
)
def test_the_host_of_a_request(target: str, header: str | None, host: str) -> None:
    headers = Headers() if header is None else Headers({"Host": header})
    assert Request(target=target, headers=headers).host == host


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        pytest.param({"status": 99}, ValueError, "status 99: expected 100 to 999", id="status-low"),
        pytest.param({"status": 1000}, ValueError, "status 1000: expected", id="status-high"),
        pytest.param({"status": "200"}, TypeError, "the status must be an int, not str", id="status-str"),
        pytest.param({"body": None}, TypeError, "the body must be str or bytes, not NoneType", id="body"),
        pytest.param({"headers": {"a b": "c"}}, ValueError, "not a token", id="header-name"),
        pytest.param({"headers": {"a": "b\r\nc: d"}}, ValueError, "contains a forbidden character", id="header-value"),
        pytest.param({"headers": {1: "b"}}, TypeError, "a header name must be a str, not int", id="header-type"),
        pytest.param({"reason": "a\r\nb: c"}, ValueError, "reason", id="reason-splits-the-response"),
        pytest.param({"reason": "\u20ac"}, ValueError, "reason", id="reason-beyond-latin-1"),
    ],
)
def test_an_invalid_response_is_rejected(arguments: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        Response(**{"status": 200, **arguments})


@pytest.mark.parametrize("status", [100, 999])
def test_the_lowest_and_the_highest_status(status: int) -> None:
    assert Response(status).status == status


@pytest.mark.parametrize(
    ("upgrade", "is_websocket"),
    [(["websocket"], True), (["h2c, WebSocket"], True), (["h2c", "websocket"], True), (["h2c"], False), ([], False)],
)
def test_a_request_asks_for_websocket_if_upgrade_lists_it(upgrade: list[str], is_websocket: bool) -> None:
    headers = Headers([("Upgrade", value) for value in upgrade])
    assert Request(target="/", headers=headers).is_websocket is is_websocket


def test_the_defaults_of_a_response() -> None:
    assert (Response(200).reason, Response(299).reason, Response(200, reason="").reason) == ("OK", "", "")
    assert Response(200, body="\xe9").body == b"\xc3\xa9"
    assert Response(200, body="x").headers["content-type"] == "text/plain; charset=utf-8"
    assert Response(200, {"content-type": "text/html"}, "x").headers.get_all("content-type") == ["text/html"]
    assert "content-type" not in Response(200, body=b"x").headers
