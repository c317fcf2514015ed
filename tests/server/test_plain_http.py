"""Plain HTTP on the port of the WebSocket server: several hooks, health checks, HEAD, and the end of the connection."""

from __future__ import annotations

import contextlib
import email.utils
import http.client
import ssl
from collections.abc import Callable
from typing import Any

import anyio
import pytest
from anyio.abc import ByteStream

import anyws
import anyws.routing
from anyws.testing import memory_stream_pair, websocket_pair
from tests.peers import REQUEST, StreamPeer, connected, echo, on_mock_clock, uri_of

from .test_responses import PLAIN, answer_to


async def ask(server: anyws.Server, method: str, path: str) -> tuple[int, dict[str, str], bytes]:
    """Ask with the client of the standard library; it checks that the connection ends where it is said to."""

    def run() -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection(*server.addresses[0][:2])
        try:
            connection.request(method, path)
            response = connection.getresponse()
            body = response.read()
            assert connection.sock is None  # as the answer said Connection: close
            return response.status, {name.lower(): value for name, value in response.getheaders()}, body
        finally:
            connection.close()

    return await anyio.to_thread.run_sync(run)


# -- several hooks -----------------------------------------------------------------------------------------------------


def noting(name: str, answer: anyws.Response | None = None) -> Callable[[anyws.Request], anyws.Response | None]:
    def hook(request: anyws.Request) -> anyws.Response | None:
        request.state.setdefault("asked", []).append(name)
        return answer

    return hook


async def later(request: anyws.Request) -> None:
    await anyio.lowlevel.checkpoint()
    request.state["asked"].append("later")


async def test_hooks_are_called_in_their_order() -> None:
    hooks = (noting("first"), later, noting("last"))
    async with websocket_pair(server_options={"on_request": hooks}) as (_client, server):
        assert server.request.state["asked"] == ["first", "later", "last"]


async def test_the_first_response_wins() -> None:
    seen: list[anyws.Request] = []
    hooks = [seen.append, noting("first"), noting("second", anyws.Response(404)), noting("third")]
    with pytest.raises(anyws.HandshakeRefused) as raised:
        async with websocket_pair(server_options={"on_request": hooks}):
            pytest.fail("refused")
    assert raised.value.status == 404
    assert seen[0].state["asked"] == ["first", "second"]


async def test_no_hooks() -> None:
    async with websocket_pair(server_options={"on_request": []}) as (client, server):
        await client.send("hello")
        assert await server.receive() == "hello"


@pytest.mark.parametrize(
    ("on_request", "error"),
    [
        ([noting("first"), None], "option on_request contains NoneType, expected callables"),
        ("hook", "option on_request must be a callable or a sequence of callables or None, not str"),
        (5, "option on_request must be a callable or a sequence of callables or None, not int"),
    ],
)
async def test_invalid_hooks(on_request: Any, error: str) -> None:
    with pytest.raises(TypeError, match=error):
        await anyws.serve(echo, "127.0.0.1", on_request=on_request)


async def test_the_callback_server_accepts_several_hooks() -> None:
    hooks = [anyws.health_check(), anyws.basic_auth("r", credentials={"ann": "x"})]
    async with anyws.server(
        {"secure": False, "listener_options": {"host": "127.0.0.1", "port": 0}, "on_request": hooks}
    ) as server:
        assert (await ask(server, "GET", "/healthz"))[0] == 200
        with pytest.raises(anyws.HandshakeRefused) as raised:
            await connected(uri_of(server))
        assert raised.value.status == 401
        await connected(uri_of(server).replace("//", "//ann:x@"))


class Hall:
    """A handler with a hook of its own."""

    async def __call__(self, websocket: anyws.WebSocket) -> None:
        await websocket.send(" ".join(websocket.request.state["asked"]))

    def on_request(self, request: anyws.Request) -> anyws.Response | None:
        request.state.setdefault("asked", []).append("hall")
        return None


@pytest.mark.parametrize(
    ("on_request", "asked"),
    [(None, "hall"), (noting("first"), "first hall"), ([noting("first"), noting("second")], "first second hall")],
)
async def test_the_hook_of_a_handler_comes_last(on_request: Any, asked: str) -> None:
    async with (
        anyws.open_server(Hall(), "127.0.0.1", 0, on_request=on_request) as server,
        anyws.connect(uri_of(server)) as websocket,
    ):
        assert await websocket.receive() == asked


# -- health checks -----------------------------------------------------------------------------------------------------


def raising() -> bool:
    raise LookupError


async def well() -> bool:
    return True


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(
    ("check", "status", "body"),
    [
        (None, 200, b"ok\n"),
        (lambda: True, 200, b"ok\n"),
        (well, 200, b"ok\n"),
        (lambda: False, 503, b"unhealthy\n"),
        (raising, 500, b"internal error\n"),
    ],
)
async def test_a_health_check(check: Any, status: int, body: bytes, method: str) -> None:
    async with anyws.open_server(echo, "127.0.0.1", 0, on_request=anyws.health_check("/up", check)) as server:
        answered, headers, received = await ask(server, method, "/up?from=balancer")
        assert answered == status
        assert received == (b"" if method == "HEAD" else body)
        assert headers["content-length"] == str(len(body))  # as of the GET: RFC 9110, 8.6
        assert headers["connection"] == "close"
        assert headers.get("cache-control") == (None if status == 500 else "no-store")
        assert (await ask(server, method, "/up/"))[0] == 426
        await connected(uri_of(server, "/up"))  # that path is for WebSocket as before


def test_the_path_of_a_health_check_begins_with_a_slash() -> None:
    with pytest.raises(ValueError, match="begin with a slash"):
        anyws.health_check("healthz")


# -- HEAD, and the end of the connection -------------------------------------------------------------------------------


async def test_head_without_a_hook_is_426() -> None:
    async with anyws.open_server(echo, "127.0.0.1", 0) as server:
        answer = await answer_to(server, b"HEAD / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 426 ")
    assert answer.endswith(b"\r\n\r\n")


@pytest.mark.parametrize(
    ("method", "head", "allowed"),
    [
        ("HEAD", REQUEST, b"GET"),  # of WebSocket: RFC 6455, 4.1
        ("POST", REQUEST, b"GET"),
        ("POST", b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", b"GET, HEAD"),
        ("OPTIONS", b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", b"GET, HEAD"),
    ],
)
async def test_other_methods_get_405_with_allow(method: str, head: bytes, allowed: bytes) -> None:
    def never(request: anyws.Request) -> None:
        pytest.fail("not asked")

    async with anyws.open_server(echo, "127.0.0.1", 0, on_request=never) as server:
        answer = await answer_to(server, head.replace(b"GET", method.encode(), 1))
    assert answer.startswith(b"HTTP/1.1 405 ")
    assert b"\r\nAllow: %b\r\n" % allowed in answer


async def test_a_second_request_gets_no_response() -> None:
    request = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: keep-alive\r\n\r\n"
    hook = noting("", anyws.Response(200, body="once"))
    async with anyws.open_server(echo, "127.0.0.1", 0, on_request=hook) as server:
        answer = await answer_to(server, request * 2)
    assert answer.count(b"HTTP/1.1") == answer.count(b"once") == 1
    assert b"\r\nConnection: close\r\n" in answer


@pytest.mark.parametrize(
    ("given", "status"),
    [
        ({"Connection": "close"}, 200),
        ({"Connection": "X-Hop, close"}, 200),
        ({"Connection": "keep-alive"}, 500),
    ],
)
async def test_a_response_cannot_keep_the_connection_alive(given: dict[str, str], status: int) -> None:
    hook = noting("", anyws.Response(200, given, "ok"))
    async with anyws.open_server(echo, "127.0.0.1", 0, on_request=hook) as server:
        assert (await ask(server, "GET", "/"))[0] == status


@pytest.mark.parametrize("status", [204, 304])
async def test_a_response_without_a_body(status: int) -> None:
    hook = noting("", anyws.Response(status, body=b"not sent"))
    async with anyws.open_server(echo, "127.0.0.1", 0, on_request=hook) as server:
        answered, headers, body = await ask(server, "GET", "/")
    assert (answered, body) == (status, b"")
    assert "content-length" not in headers


async def test_responses_have_a_date() -> None:
    given = "Sun, 06 Nov 1994 08:49:37 GMT"
    async with anyws.open_server(echo, "127.0.0.1", 0) as server:
        date = email.utils.parsedate_to_datetime((await ask(server, "GET", "/"))[1]["date"])
        assert date.tzinfo is not None
        assert date.year > 2000
    hook = noting("", anyws.Response(200, {"Date": given}))
    async with anyws.open_server(echo, "127.0.0.1", 0, on_request=hook) as server:
        assert (await ask(server, "GET", "/"))[1]["date"] == given


# -- a client that reads slowly ----------------------------------------------------------------------------------------


PAGE = bytes(20_000_000)  # more than the system takes for a client that does not read


def page(request: anyws.Request) -> anyws.Response:
    return anyws.Response(200, body=PAGE)


@pytest.mark.parametrize("tls", [False, True], ids=["tcp", "tls"])
async def test_a_slow_reader_gets_the_whole_response(
    tls: bool, server_ssl_context: ssl.SSLContext, client_ssl_context: ssl.SSLContext
) -> None:
    context = server_ssl_context if tls else None
    async with anyws.open_server(
        echo, "127.0.0.1", 0, on_request=page, open_timeout=0.5, close_timeout=20, ssl_context=context
    ) as server:
        stream: ByteStream
        host, port = server.addresses[0][:2]
        if tls:
            stream = await anyio.connect_tcp(host, port, ssl_context=client_ssl_context, tls_hostname="localhost")
        else:
            stream = await anyio.connect_tcp(host, port)
        async with stream:
            await stream.send(PLAIN)
            await anyio.sleep(0.7)  # longer than open_timeout
            answer = await StreamPeer(stream, "server").rest()
    assert len(answer.partition(b"\r\n\r\n")[2]) == len(PAGE)


@on_mock_clock
async def test_a_response_is_written_for_as_long_as_the_client_reads_some_of_it() -> None:
    near, far = memory_stream_pair(20_000)

    received = bytearray()

    async def read() -> None:
        async with near:
            await near.send(PLAIN)
            while True:
                await anyio.sleep(4)
                try:
                    received.extend(await near.receive(20_000))
                except anyio.EndOfStream:
                    return

    begun = anyio.current_time()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(read)
        with pytest.raises(anyws.HandshakeRefused):
            async with anyws.accept(far, on_request=lambda _: anyws.Response(200, body=bytes(200_000))):
                pytest.fail("refused")
    assert received.endswith(bytes(200_000))
    assert anyio.current_time() - begun >= 40  # open_timeout is 5 s, close_timeout 10 s


@on_mock_clock
async def test_a_client_that_reads_nothing_of_a_response_is_dropped_after_close_timeout() -> None:
    near, far = memory_stream_pair(1000)
    async with near:
        await near.send(PLAIN)
        begun = anyio.current_time()
        with pytest.raises(TimeoutError, match="the client read nothing of the response for 7 s"):
            async with anyws.accept(far, on_request=page, close_timeout=7):
                pytest.fail("refused")
        assert anyio.current_time() - begun == 7


# -- HTTP/1.0 ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("head", [b"GET /healthz HTTP/1.0\r\n\r\n", b"OPTIONS / HTTP/1.0\r\n\r\n"])
async def test_a_health_check_of_an_old_balancer(
    head: bytes, tls: bool, server_ssl_context: ssl.SSLContext, client_ssl_context: ssl.SSLContext
) -> None:
    """As HAProxy's httpchk asks by default, nginx before 1.29.7, and ab."""
    options: dict[str, Any] = {"ssl_context": server_ssl_context} if tls else {}
    async with anyws.open_server(echo, "127.0.0.1", 0, on_request=anyws.health_check(), **options) as server:
        host, port = server.addresses[0][:2]
        secured: dict[str, Any] = {"ssl_context": client_ssl_context, "tls_hostname": host} if tls else {}
        async with await anyio.connect_tcp(host, port, **secured) as stream:
            await stream.send(head)
            answer = b""
            with contextlib.suppress(anyio.EndOfStream):
                while True:
                    answer += await stream.receive()
    answered, _, body = answer.partition(b"\r\n\r\n")
    assert answered.startswith(b"HTTP/1.1 200 " if b"healthz" in head else b"HTTP/1.1 405 ")
    assert b"\r\nConnection: close" in answered
    assert (body == b"ok\n") is (b"healthz" in head)


async def test_hooks_and_routers_work_without_a_host() -> None:
    router = anyws.routing.Router()
    router.route("/chat")(echo)
    router.route("/chat", host="a.example")(echo)
    async with anyws.open_server(router, "127.0.0.1", 0, origins=["https://a.example"]) as server:
        answer = await answer_to(server, b"GET /nothing HTTP/1.0\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 404 ")
        answer = await answer_to(server, b"GET /chat HTTP/1.0\r\nOrigin: https://b.example\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 426 ")
