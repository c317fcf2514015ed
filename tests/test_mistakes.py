"""What a mistake is told: what was given, what was expected, and what to do. One row for each mistake."""

from __future__ import annotations

import dataclasses
import functools
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any

import anyio
import pytest

import anyws
from anyws import _synonyms
from anyws._synonyms import METHODS, advice_for, option_for
from anyws.testing import memory_stream_pair, websocket_pair

from .peers import echo

wrong: Any = anyws  # a type checker finds most of these mistakes

URI = "ws://127.0.0.1:1/"  # never connected to

CONNECT = "use `async with anyws.connect(...) as websocket`"
RECONNECTING = "use `async for connection in anyws.reconnecting(...)`"


async def awaited(made: Any) -> None:
    await made


async def in_async_with(made: Any) -> None:
    async with made:
        pass


async def in_async_for(made: Any) -> None:
    async for _ in made:
        pass


async def in_with(made: Any) -> None:
    with made:
        pass


async def in_for(made: Any) -> None:
    for _ in made:
        pass


async def used(made: Any) -> None:
    made.send("hello")


@pytest.mark.parametrize(
    ("use", "made", "message"),
    [
        (awaited, anyws.connect(URI), f"connect() cannot be awaited: {CONNECT}"),
        (in_with, anyws.connect(URI), f"connect() cannot be used in a plain `with`: {CONNECT}"),
        (in_for, anyws.connect(URI), f"connect() cannot be used in a plain `for`: {CONNECT}"),
        (
            in_async_for,
            anyws.connect(URI),
            f"connect() cannot be used in `async for`: {CONNECT}; to reconnect, {RECONNECTING}",
        ),
        (used, anyws.connect(URI), f"connect() has no attribute 'send': {CONNECT}"),
        (awaited, anyws.open_server(echo), "use `async with anyws.open_server(...) as server`"),
        (in_async_for, anyws.open_server(echo), "use `async with anyws.open_server(...) as server`"),
        (awaited, anyws.accept(memory_stream_pair()[0]), "use `async with anyws.accept(stream) as websocket`"),
        (awaited, anyws.client_connect(), "use `async with anyws.client_connect(...) as socket`"),
        (awaited, anyws.server(), "use `async with anyws.server(...) as server`"),
        (awaited, anyws.reconnecting(URI), f"reconnecting() cannot be awaited: {RECONNECTING}"),
        (in_async_with, anyws.reconnecting(URI), f"reconnecting() cannot be used in `async with`: {RECONNECTING}"),
        (in_with, anyws.reconnecting(URI), RECONNECTING),
        (in_for, anyws.reconnecting(URI), RECONNECTING),
        (used, anyws.reconnecting(URI), f"reconnecting() has no attribute 'send': {RECONNECTING}"),
    ],
)
async def test_blocks_show_their_use(use: Callable[[Any], Awaitable[None]], made: Any, message: str) -> None:
    with pytest.raises((TypeError, AttributeError)) as raised:
        await use(made)
    assert message in str(raised.value)


async def test_a_connection_of_reconnecting_is_entered() -> None:
    async for connection in anyws.reconnecting(URI):
        with pytest.raises(AttributeError, match="no attribute 'send': use `async with connection as websocket`"):
            await used(connection)
        break


async def test_a_block_is_entered_once() -> None:
    opened = anyws.open_server(echo, "127.0.0.1", 0)
    async with opened:
        pass
    with pytest.raises(RuntimeError, match=r"this open_server\(\) was entered before: call it again"):
        await in_async_with(opened)
    assert not hasattr(opened, "__deepcopy__")  # Python looks for such methods


def test_classes_that_are_not_created_directly() -> None:
    with pytest.raises(TypeError, match=r"a WebSocket comes from `async with anyws\.connect\("):
        wrong.WebSocket("ws://example.com")
    with pytest.raises(TypeError, match=r"a Server comes from `async with anyws\.open_server\("):
        wrong.Server(echo, "127.0.0.1", 8765)


async def test_the_callback_api_takes_no_handler() -> None:
    for arguments in ((echo,), (echo, "127.0.0.1", 0)):
        with pytest.raises(TypeError, match=r"server\(\) is the callback API: to serve a handler, use open_server\("):
            await in_async_with(wrong.server(*arguments))


async def told_by(call: Callable[[], Any]) -> str:
    """Return the message of the error that a call or its block raises."""
    with pytest.raises((TypeError, ValueError, OSError)) as raised:
        await in_async_with(call())
    return str(raised.value)


HEADERS = "headers must be a mapping or (name, value) pairs"
SECURE = "expected ws, wss, http, https, ws+unix or wss+unix"


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("127.0.0.1:8765", "'127.0.0.1:8765' has no scheme; did you mean 'ws://127.0.0.1:8765'?"),
        ("localhost", "'localhost' has no scheme; did you mean 'ws://localhost'?"),
        ("example.com/chat", "'example.com/chat' has no scheme; did you mean 'ws://example.com/chat'?"),
        ("", f"the URI has no scheme: {SECURE}"),
        ("/chat", f"the URI has no scheme: {SECURE}"),
        ("ftp://example.com/", f"scheme 'ftp' is not supported: {SECURE}"),
        ("wss:/example.com", "'wss:/example.com' has no host: expected wss://host"),
        ("ws:///chat", "'ws:///chat' has no host: expected ws://host"),
        ("ws://h/#x", "the URI must not contain a fragment; write %23 for a literal number sign"),
        ("ws://h/a b", "the URI contains a space at position 8; percent-encode it (%20)"),
        ("ws://h:99999/", "invalid port 99999: expected 1 to 65535"),
        ("ws://h:0/", "invalid port 0: expected 1 to 65535"),
        ("ws://h:abc/", "invalid port: expected 1 to 65535"),
        ("ws://a..b/", "host 'a..b' has an empty label"),
        (b"ws://h/", "the URI must be a str, not bytes"),
        (None, "the URI must be a str, not NoneType"),
        (8765, "the URI must be a str, not int"),
    ],
)
async def test_uris(uri: Any, message: str) -> None:
    assert message in await told_by(lambda: wrong.connect(uri))


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("headers", ["X: 1"], f"{HEADERS}, got 'X...'"),
        ("headers", [("a", "b", "c")], f"{HEADERS}, got tuple of 3"),
        ("headers", [5], f"{HEADERS}, got int"),
        ("headers", "X: 1", "option headers must be Mapping[str, str] or Iterable[tuple[str, str]], not str"),
        ("headers", {"X": 1}, "header X: the value must be a str, not int"),
        ("headers", {5: "X"}, "a header name must be a str, not int"),
        ("headers", {"X": "a\nb"}, "header X: the value contains a forbidden character"),
        ("headers", {"a b": "c"}, "header name 'a...' is not a token"),
        ("headers", {"Upgrade": "h2c"}, "header Upgrade cannot be set: the opening handshake sets it"),
        ("auth", ("ann",), "auth must be (user, password) or a bearer token, not tuple of (str)"),
        ("auth", ("ann", 5), "auth must be (user, password) or a bearer token, not tuple of (str, int)"),
        ("auth", 5, "option auth must be tuple[str, str] or str or a callable or None, not int"),
        ("cookies", "a=b", "option cookies must be Mapping"),
        ("cookies", {"a b": "c"}, "cookie name 'a b' is not a token"),
        ("subprotocols", "chat", "option subprotocols must be Sequence[str], not str"),
        ("subprotocols", [5], "subprotocols[0] must be a str, not int"),
        ("subprotocols", ["a b"], "subprotocols[0] is not a token: it must not contain spaces, commas, = or /"),
        ("extensions", ["x"], "an extension must be an anyws.Extension, not str"),
        ("origin", 5, "option origin must be str or None, not int (5)"),
        ("user_agent", 5, "option user_agent must be str or None, not int (5)"),
        ("user_agent", "a\nb", "header User-Agent: the value contains a forbidden character"),
        ("open_timeout", 0, "option open_timeout is 0: expected a number above 0, or None"),
        ("open_timeout", "5", "option open_timeout must be float or None, not str ('5')"),
        ("open_timeout", False, "option open_timeout must be float or None, not bool (False); pass None to disable it"),
        ("proxy", False, "not bool; pass None to disable it"),
        ("proxy", "ftp://p", "proxy scheme 'ftp' is not supported: expected http, https"),
        ("compression", "zip", "Literal['memory', 'default', 'ratio', 'speed'] or PerMessageDeflate or None, not str"),
        ("max_message_size", "1MB", "option max_message_size must be int or None, not str ('1MB')"),
        ("max_redirects", -1, "option max_redirects is -1: expected 0 or more"),
        ("ssl_context", True, "option ssl_context must be SSLContext or None, not bool (True)"),
        ("ssl_context", ssl.create_default_context(), "the URI does not use TLS: expected wss:// or https://"),
        ("ssl_context", ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), "is a server context (PROTOCOL_TLS_SERVER)"),
        ("stream", 5, "option stream must be ByteStream or TrioStream or socket or None, not int (5)"),
        ("local_port", 5, "option local_port needs local_host"),
        ("server_hostname", "", "option server_hostname: '' has an empty label"),
    ],
)
async def test_options_of_a_client(option: str, value: Any, message: str) -> None:
    assert message in await told_by(lambda: wrong.connect(URI, **{option: value}))


async def without_argument() -> None:
    pass


async def with_two_arguments(websocket: object, path: str) -> None:
    pass


async def with_yield(websocket: object) -> AsyncIterator[int]:
    yield 5


def not_async(websocket: object) -> None:
    pass


@pytest.mark.parametrize(
    ("handler", "message"),
    [
        ("echo", "the handler must be an async function, not str"),
        (None, "the handler must be an async function, not NoneType"),
        (without_argument, "the handler without_argument must accept one argument, the connection: too many"),
        (with_two_arguments, "must accept one argument, the connection: missing a required argument: 'path'"),
        (with_yield, "the handler with_yield must be an async function, but is a generator: it contains yield"),
        (not_async, "the handler not_async must be an async function"),
    ],
)
async def test_handlers(handler: Any, message: str) -> None:
    assert message in await told_by(lambda: wrong.open_server(handler, "127.0.0.1", 0))


async def test_a_handler_that_is_called() -> None:
    message = "the handler must be an async function, not a coroutine: pass echo, not echo(...)"
    assert message in await told_by(lambda: wrong.open_server(echo(wrong), "127.0.0.1", 0))


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("on_request", 5, "option on_request must be a callable or a sequence of callables or None, not int (5)"),
        ("on_request", [5], "option on_request contains int, expected callables"),
        ("on_request", without_argument, "option on_request: without_argument must accept one argument, the request"),
        ("on_request", [with_two_arguments], "option on_request: with_two_arguments must accept one argument"),
        ("origins", "https://a.example", "option origins must be Sequence[str] or None, not str ('https://a.example')"),
        ("origins", [5], "option origins contains int, expected str"),
        ("origins", ["https://a.example/"], "which cannot match any request: expected 'https://a.example'"),
        ("origins", ["a.example"], "which cannot match any request: expected 'https://a.example'"),
        ("origins", ["https://*.example"], "use '*' alone for any origin"),
        ("allowed_hosts", ["*"], "list each name; without this option any name is allowed"),
        ("allowed_hosts", [5], "option allowed_hosts contains int, expected str"),
        ("subprotocols", "chat", "option subprotocols must be Sequence[str] or a callable, not str ('chat')"),
        ("extensions", [5], "an extension must be an anyws.Extension, not int"),
        ("max_connections", 0, "option max_connections is 0: expected a number above 0, or None"),
        ("backlog", "x", "option backlog must be int, not str ('x')"),
        ("path", "/tmp/a.sock", "path (a unix socket) cannot be given together with host"),
        ("listeners", [], "listeners cannot be given together with host or path"),
        ("stop_signals", [0], "option stop_signals contains 0: expected signals, such as signal.SIGTERM"),
        ("ssl_context", ssl.create_default_context(), "is a client context (PROTOCOL_TLS_CLIENT)"),
        ("ssl_context", ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), "has no certificate: load one with"),
    ],
)
async def test_options_of_a_server(option: str, value: Any, message: str) -> None:
    assert message in await told_by(lambda: wrong.open_server(echo, "127.0.0.1", 0, **{option: value}))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((8765,), "the host must be a str or None, not int (8765); the port is the next argument"),
        ((b"127.0.0.1", 0), "the host must be a str or None, not bytes"),
        (("127.0.0.1", "8765"), "the port must be an int, not str ('8765')"),
        (("127.0.0.1", 99999), "invalid port 99999: expected 1 to 65535, or 0 for any free port"),
        (("no.such.invalid", 0), "no.such.invalid"),
    ],
)
async def test_addresses_of_a_server(arguments: Any, message: str) -> None:
    assert message in await told_by(lambda: wrong.open_server(echo, *arguments))


async def test_paths_of_unix_sockets(tmp_path: Path) -> None:
    (tmp_path / "a file").touch()
    for name, message in [("no/a.sock", "No such file or directory: "), ("a file", "exists and is not a socket: ")]:
        path = str(tmp_path / name)
        assert f"{message}{path}" in await told_by(functools.partial(wrong.open_server, echo, path=path))
    assert "No such file" in await told_by(lambda: wrong.connect(f"ws+unix:{tmp_path}/b.sock"))


@pytest.mark.parametrize(
    ("name", "client", "server"),
    [
        ("ssl", "ssl_context", "ssl_context"),
        ("tls", "ssl_context", "ssl_context"),
        ("verify", "ssl_context", "ssl_context"),
        ("certfile", "ssl_context", "ssl_context"),
        ("max_size", "max_message_size", "max_message_size"),
        ("maxPayload", "max_message_size", "max_message_size"),
        ("ws_max_size", "max_message_size", "max_message_size"),
        ("max_queue", "receive_buffer", "receive_buffer"),
        ("message_queue_size", "receive_buffer", "receive_buffer"),
        ("read_limit", "receive_buffer", "receive_buffer"),
        ("write_limit", "send_buffer", "send_buffer"),
        ("heartbeat", "ping_interval", "ping_interval"),
        ("pingInterval", "ping_interval", "ping_interval"),
        ("connect_timeout", "open_timeout", "open_timeout"),
        ("timeout", "open_timeout", "open_timeout"),
        ("perMessageDeflate", "compression", "compression"),
        ("compress", "compression", "compression"),
        ("extra_headers", "headers", "headers"),
        ("additional_headers", "headers", "headers"),
        ("protocols", "subprotocols", "subprotocols"),
        ("sock", "stream", "listeners"),
        ("uds", "connect to 'ws+unix:/the/socket:/resource'", "path"),
        ("unix", "connect to 'ws+unix:/the/socket:/resource'", "path"),
        ("token", "auth", None),
        ("user_agent_header", "user_agent", None),
        ("followRedirects", "max_redirects", None),
        ("origins", "origin", None),
        ("origin", None, "origins"),
        ("process_request", None, "on_request"),
        ("select_subprotocol", None, "subprotocols"),
        ("limit_concurrency", None, "max_connections"),
        ("handler_nursery", None, "start the server in your nursery: `await nursery.start(anyws.serve, ...)`"),
        ("logger", "configure the loggers 'anyws.client'", "configure the loggers 'anyws.client'"),
        ("retries", "to reconnect, use anyws.reconnecting(), which has the option on_disconnect", None),
        ("process_exception", "to reconnect, use anyws.reconnecting()", None),
        ("on_disconnect", "to reconnect, use anyws.reconnecting()", None),
        ("on_message", "receive messages with `async for message in websocket`", "receive messages with `async for"),
    ],
)
async def test_options_of_other_libraries(name: str, client: str | None, server: str | None) -> None:
    if client is not None:
        told = await told_by(lambda: wrong.connect(URI, **{name: 1}))
        assert told.startswith(f"connect() has no option {name}")
        assert told.endswith((f"; did you mean {client}?", f": {client}")) or f": {client}" in told
    if server is not None:
        told = await told_by(lambda: wrong.open_server(echo, **{name: 1}))
        assert told.startswith(f"open_server() has no option {name}")
        assert told.endswith(f"; did you mean {server}?") or f": {server}" in told


@pytest.mark.parametrize("name", ["retries", "process_exception", "max_retries"])
def test_options_of_other_reconnecting_clients(name: str) -> None:
    with pytest.raises(TypeError, match=f"reconnecting.. has no option {name}; did you mean on_disconnect"):
        wrong.reconnecting(URI, **{name: 3})


def test_every_synonym_leads_somewhere() -> None:

    ours = {
        field.name for options in (anyws.ReconnectOptions, anyws.RunOptions) for field in dataclasses.fields(options)
    }
    for name, options in _synonyms._OPTIONS.items():
        assert {*options} <= ours, name
        assert option_for(name, ours) is not None
    assert advice_for("no such option") is None
    for ours_of_a_connection in METHODS.values():
        name = ours_of_a_connection.partition("(")[0].partition(".")[0]
        assert hasattr(anyws.WebSocket, name) or name in ("request", "response", "json"), ours_of_a_connection


def fragments(*given: Any) -> AsyncGenerator[Any, None]:
    async def generate() -> AsyncGenerator[Any, None]:
        for each in given:
            yield each

    return generate()


EXPECTED = "expected str, bytes or an async iterable of either"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda ws: ws.send({}), f"cannot send dict: {EXPECTED}; for JSON, send json.dumps(...)"),
        (lambda ws: ws.send([]), f"cannot send list: {EXPECTED}; for JSON, send json.dumps(...)"),
        (lambda ws: ws.send(None), f"cannot send NoneType: {EXPECTED}"),
        (lambda ws: ws.send(5), f"cannot send int: {EXPECTED}"),
        (lambda ws: ws.send(iter("ab")), "cannot send str_ascii_iterator: "),
        (lambda ws: ws.send("x", fragment_size=0), "fragment_size is 0: expected at least 1, or None"),
        (lambda ws: ws.send("x", fragment_size="1"), "fragment_size must be an int or None, not str"),
        (lambda ws: ws.ping("hey"), "the payload of a Ping must be bytes, not str"),
        (lambda ws: ws.ping(5), "the payload of a Ping must be bytes, not int"),
        (lambda ws: ws.ping(b"x" * 126), "PING payload of 126 bytes, expected at most 125"),
        (lambda ws: ws.aclose(1005), "close code 1005 cannot be sent: expected 1000-1003, 1007-1014 or 3000-4999"),
        (lambda ws: ws.aclose("bye"), "a close code must be an int, not str; a reason is the second argument"),
        (lambda ws: ws.aclose(1000, 5), "a close reason must be a str, not int"),
        (lambda ws: wrong.broadcast(ws, "x"), "expects an iterable of connections; for one, use `await websocket.send"),
        (lambda ws: wrong.broadcast("x", [ws]), "broadcast() expects the connections first, and then the message"),
        (lambda ws: wrong.broadcast(["x"], "x"), "broadcast() expects WebSocket objects, not str"),
        (lambda ws: wrong.broadcast([ws], {}), "cannot send dict"),
        (lambda ws: wrong.broadcast([ws], "x", slow="skip"), "slow is 'skip': expected 'wait', 'drop', 'disconnect'"),
    ],
)
async def test_calls_of_a_connection(call: Callable[[Any], Awaitable[None]], message: str) -> None:
    async with websocket_pair() as (client, server):
        with pytest.raises((TypeError, ValueError)) as raised:
            await call(client)
        assert message.replace("str_ascii_iterator", type(iter("ab")).__name__) in str(raised.value)
        await client.send("still open")
        assert await server.receive() == "still open"


async def test_calls_without_waiting() -> None:
    async with websocket_pair() as (client, _), aclosing(fragments("a")) as given:
        wrong_client: Any = client
        with pytest.raises(TypeError, match=r"either; only send.. accepts an async iterable"):
            wrong_client.send_nowait(given)
        with pytest.raises(TypeError, match="the payload of a Pong must be bytes, not str"):
            wrong_client.pong("x")


@pytest.mark.parametrize(
    ("name", "ours"),
    [
        ("recv", "receive()"),
        ("get_message", "receive()"),
        ("close", "aclose()"),
        ("send_json", "send(json.dumps(...))"),
        ("send_text", "send()"),
        ("send_str", "send()"),
        ("receive_json", "json.loads(await websocket.receive_text())"),
        ("receive_str", "receive_text()"),
        ("closed", "state"),
        ("remote", "remote_address"),
        ("path", "request.path"),
        ("query_params", "request.query"),
    ],
)
async def test_methods_of_other_libraries(name: str, ours: str) -> None:
    async with websocket_pair() as (client, _):
        assert not hasattr(client, name)
        with pytest.raises(AttributeError) as raised:
            getattr(client, name)
        assert str(raised.value) == f"'WebSocket' object has no attribute {name!r}; use {ours}"
        with pytest.raises(AttributeError, match=r"'WebSocket' object has no attribute 'xyzzy'$"):
            getattr(client, "xyzzy")  # noqa: B009


async def test_two_tasks_that_receive() -> None:
    async with websocket_pair() as (client, server), anyio.create_task_group() as tasks:
        tasks.start_soon(server.receive)
        await anyio.wait_all_tasks_blocked()
        with pytest.raises(anyws.BusyResourceError, match="Another task is already receiving") as raised:
            await server.receive()
        assert "let one task receive, and pass the messages on" in raised.value.__notes__[0]
        await client.send("for the first")


@pytest.mark.parametrize(
    ("arguments", "keywords", "message"),
    [
        ((200, "hello"), {}, f"{HEADERS}, not str; pass a body as the argument body"),
        ((200, 5), {}, f"{HEADERS}, not int"),
        ((200, ["a"]), {}, f"{HEADERS}, got 'a'"),
        ((200, {"X": 1}), {}, "header X: the value must be a str, not int"),
        (("200",), {}, "the status must be an int, not str"),
        ((99,), {}, "invalid status 99: expected 100 to 999"),
        ((200,), {"body": {}}, "the body must be str or bytes, not dict"),
        ((200,), {"reason": 5}, "the reason must be a str, not int"),
    ],
)
def test_responses(arguments: Any, keywords: Any, message: str) -> None:
    with pytest.raises((TypeError, ValueError)) as raised:
        anyws.Response(*arguments, **keywords)
    assert message in str(raised.value)


@pytest.mark.parametrize(
    ("hook", "message"),
    [
        (anyws.health_check, "health_check() expects a path, not Request: call it, on_request=anyws.health_check()"),
        (
            anyws.basic_auth,
            "basic_auth() expects the name of a realm, not Request: call it, on_request=",
        ),
        (lambda request: 5, "on_request returned int, expected an anyws.Response or None"),
    ],
)
async def test_hooks_that_return_something_else(hook: Any, message: str, caplog: pytest.LogCaptureFixture) -> None:
    async with anyws.open_server(echo, "127.0.0.1", 0, on_request=hook) as server:
        with pytest.raises(anyws.HandshakeRefused, match="the server responded with 500 Internal Server Error"):
            await in_async_with(anyws.connect(server.uri))
    assert message in caplog.text


async def closed_by(handler: Any, use: Callable[[anyws.WebSocket], Awaitable[object]], **options: Any) -> str:
    """Return what a client is told when the connection is closed."""
    async with (
        anyws.open_server(handler, "127.0.0.1", 0) as server,
        anyws.connect(server.uri, **options) as websocket,
    ):
        with pytest.raises(anyws.ConnectionClosed) as raised:
            await use(websocket)
    return str(raised.value)


async def test_closes_are_told_in_words() -> None:
    async def fail(_: anyws.WebSocket) -> None:
        raise RuntimeError

    async def log_out(websocket: anyws.WebSocket) -> None:
        await websocket.aclose(4001, "logged out")

    async def send_much(websocket: anyws.WebSocket) -> None:
        await websocket.send("too much")
        await websocket.wait_closed()

    async def send_late(websocket: anyws.WebSocket) -> None:
        await websocket.aclose()
        await websocket.send("late")

    def receive(websocket: anyws.WebSocket) -> Awaitable[object]:
        return websocket.receive()

    assert await closed_by(fail, receive) == "closed by the peer: 1011 (internal error)"
    assert await closed_by(log_out, receive) == "closed by the peer: 4001 (logged out)"
    assert "1009 (max_message_size is 2, received 8)" in await closed_by(send_much, receive, max_message_size=2)
    assert await closed_by(echo, send_late) == "cannot send: this side has closed the connection (1000)"


async def test_names_of_peers_slow_down_no_other_attribute() -> None:
    """A ``__getattr__`` would: Python then looks up every attribute of the class in a slower way."""
    async with websocket_pair() as (websocket, _):
        assert not hasattr(anyws.WebSocket, "__getattr__")
        assert not hasattr(websocket, "recv")
        assert "recv" not in dir(websocket)
        assert "receive" in dir(websocket)
