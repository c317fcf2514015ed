"""Options: what a wrong one is told, and that types, keywords and help agree."""

from __future__ import annotations

import dataclasses
import inspect
import pydoc
import re
import ssl
import typing
from collections.abc import Callable
from typing import Any

import pytest

import anyws
import anyws.asgi
from anyws._checking import build_options, merged
from anyws._client.options import ConnectKeywords
from anyws._client.reconnect_options import ReconnectKeywords
from anyws._server.options import AcceptKeywords, RunKeywords, ServeKeywords
from anyws.asgi._options import EndpointKeywords
from anyws.callbacks._options import ClientConnectKeywords, ServerKeywords
from anyws.testing import local_server


@pytest.mark.parametrize(
    ("options", "keywords"),
    [
        (anyws.ClientOptions, ConnectKeywords),
        (anyws.ReconnectOptions, ReconnectKeywords),
        (anyws.AcceptOptions, AcceptKeywords),
        (anyws.ServerOptions, ServeKeywords),
        (anyws.RunOptions, RunKeywords),
        (anyws.asgi.EndpointOptions, EndpointKeywords),
        (anyws.callbacks.ClientConnectOptions, ClientConnectKeywords),
        (anyws.callbacks.SocketServerOptions, ServerKeywords),
    ],
)
def test_the_keywords_are_the_fields(options: Any, keywords: type) -> None:
    assert typing.get_type_hints(keywords) == {field.name: field.type for field in dataclasses.fields(options)}


@pytest.mark.parametrize(
    ("function", "options"),
    [
        (anyws.connect, anyws.ClientOptions),
        (anyws.reconnecting, anyws.ReconnectOptions),
        (anyws.accept, anyws.AcceptOptions),
        (anyws.serve, anyws.ServerOptions),
        (anyws.run, anyws.RunOptions),
        (anyws.open_server, anyws.ServerOptions),
        (anyws.client_connect, anyws.callbacks.ClientConnectOptions),
        (anyws.server, anyws.callbacks.SocketServerOptions),
    ],
)
def test_help_shows_every_option_with_its_default(function: Callable[..., object], options: Any) -> None:
    parameters = inspect.signature(function).parameters
    assert all(parameter.kind is not parameter.VAR_KEYWORD for parameter in parameters.values())
    for field in dataclasses.fields(options):
        assert parameters[field.name].kind is inspect.Parameter.KEYWORD_ONLY
        if field.default is not dataclasses.MISSING:
            assert parameters[field.name].default == field.default
    assert parameters["close_timeout"].default == 10
    assert parameters["ping_interval"].default == 20


@pytest.mark.parametrize(
    ("function", "options"),
    [
        (anyws.connect, anyws.ClientOptions),
        (anyws.accept, anyws.AcceptOptions),
        (anyws.serve, anyws.ServerOptions),
        (anyws.run, anyws.RunOptions),
        (anyws.open_server, anyws.ServerOptions),
        (anyws.client_connect, anyws.callbacks.ClientConnectOptions),
        (anyws.server, anyws.callbacks.SocketServerOptions),
        (local_server, anyws.ServerOptions),
        (anyws.reconnecting, anyws.ReconnectOptions),
    ],
)
def test_help_alone_explains_every_option(function: Callable[..., object], options: Any) -> None:
    text = pydoc.plain(pydoc.render_doc(function))
    _rest, _heading, explained = text.partition("    Options:\n")
    for field in dataclasses.fields(options):
        found = re.search(rf"^ {{8}}{field.name} \(.+?, default\s+.+?\):\s+(.+)", explained, re.MULTILINE)
        assert found, field.name
        assert found[1] != "None"


def test_help_says_what_is_returned() -> None:
    returned: dict[Callable[..., object], str] = {
        anyws.connect: "AbstractAsyncContextManager[WebSocket]",
        anyws.open_server: "AbstractAsyncContextManager[Server]",
        anyws.serve: "None",
    }
    for function, annotation in returned.items():
        assert inspect.signature(function).return_annotation == annotation


def test_help_takes_the_meaning_from_the_last_class_that_has_one() -> None:
    document = anyws.server.__doc__ or ""
    assert "backlog (int, default 511): how many connections may wait to be accepted. 511, as in Node.\n" in document
    assert document.count("    backlog (") == 1


@pytest.mark.parametrize("options", [anyws.ReconnectOptions, anyws.RunOptions])
def test_every_option_is_documented(options: type) -> None:
    documented = "".join(inspect.cleandoc(base.__doc__ or "") for base in options.__mro__)
    for field in dataclasses.fields(options):
        assert f"    {field.name}: " in documented


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"pingInterval": 5}, "has no option pingInterval; did you mean ping_"),
        ({"max_size": 5}, "has no option max_size; did you mean max_"),
        ({"ssl": None}, "has no option ssl"),
        ({"close-timeout": 5}, "did you mean close_timeout"),
        ({"xyzzy": 5}, "has no option xyzzy; known options: auth, "),
    ],
)
def test_an_unknown_option_names_the_nearest(given: dict[str, object], message: str) -> None:
    with pytest.raises(TypeError) as raised:
        build_options(anyws.ClientOptions, given, where="connect()")
    assert message in str(raised.value)
    assert str(raised.value).startswith("connect() ")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"close_timeout": "5"}, "connect(): option close_timeout must be float or None, not str ('5')"),
        ({"close_timeout": True}, "option close_timeout must be float or None, not bool"),
        ({"receive_buffer": 1.5}, "option receive_buffer must be int, not float"),
        ({"receive_buffer": None}, "option receive_buffer must be int, not NoneType"),
        ({"ssl_context": True}, "option ssl_context must be SSLContext or None, not bool"),
        ({"masking": 0}, "option masking must be bool, not int"),
        ({"subprotocols": "chat"}, "option subprotocols must be Sequence[str], not str"),
        ({"subprotocols": b"chat"}, "option subprotocols must be Sequence[str], not bytes"),
        ({"origin": 5}, "option origin must be str or None, not int"),
        ({"stream": "tcp"}, "option stream must be ByteStream or TrioStream or socket or None, not str"),
        ({"headers": 5}, "option headers must be"),
        ({"origin": ["x" * 100]}, "not list (['" + "x" * 35 + "...)"),
    ],
)
def test_a_wrong_type_says_what_was_expected(given: dict[str, object], message: str) -> None:
    with pytest.raises(TypeError) as raised:
        build_options(anyws.ClientOptions, given, where="connect()")
    assert message in str(raised.value)


def test_a_callable_is_expected() -> None:
    message = "option on_request must be a callable or a sequence of callables or None, not int"
    with pytest.raises(TypeError, match=message):
        build_options(anyws.ServerOptions, {"on_request": 5}, where="serve()")


@pytest.mark.parametrize(
    "given",
    [
        {"close_timeout": 5},
        {"close_timeout": None},
        {"close_timeout": float("inf")},
        {"ssl_context": ssl.create_default_context()},
        {"subprotocols": ("a", "b")},
        {"headers": {"a": "b"}},
        {"headers": [("a", "b")]},
        {"max_message_size": 2**40},
    ],
)
def test_right_types(given: dict[str, Any]) -> None:
    options = build_options(anyws.ClientOptions, given, where="connect()")
    ((name, value),) = given.items()
    if name != "headers":
        assert getattr(options, name) == value


@pytest.mark.parametrize(
    "name",
    [
        "close_timeout",
        "ping_interval",
        "ping_timeout",
        "idle_timeout",
        "max_lifetime",
        "max_message_size",
        "max_frame_size",
        "max_fragments",
        "receive_buffer",
        "send_buffer",
        "open_timeout",
        "backlog",
        "max_connections",
        "max_head_bytes",
        "max_headers",
    ],
)
@pytest.mark.parametrize("value", [0, -1])
def test_ranges(name: str, value: int) -> None:
    with pytest.raises(ValueError, match=f"option {name} is {value}: expected a number above 0"):
        build_options(anyws.ServerOptions, {name: value}, where="serve()")


@pytest.mark.parametrize("name", ["close_timeout", "ping_interval", "open_timeout"])
def test_not_a_number(name: str) -> None:
    with pytest.raises(ValueError, match=name):
        build_options(anyws.ServerOptions, {name: float("nan")}, where="serve()")


def test_options_are_values() -> None:
    assert anyws.ClientOptions(origin="a") == anyws.ClientOptions(origin="a")
    with pytest.raises(dataclasses.FrozenInstanceError):
        anyws.ClientOptions().origin = "b"  # type: ignore[misc]


def test_merged() -> None:
    assert merged(None, {"a": 1}, "server()") == {"a": 1}
    assert merged({"b": 2}, {"a": 1}, "server()") == {"a": 1, "b": 2}
    with pytest.raises(TypeError, match="option a was given twice"):
        merged({"a": 2}, {"a": 1}, "server()")
    with pytest.raises(TypeError, match="options must be a mapping, not list"):
        merged([("a", 2)], {}, "server()")  # type: ignore[arg-type]
