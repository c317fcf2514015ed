"""Proxies that answer late, wrong or not at all, and clients that are cancelled meanwhile."""

from __future__ import annotations

import logging
import ssl
from typing import Any

import anyio
import pytest
from anyio.abc import SocketStream

import anyws
from tests.connection.test_cancellation import cancelled_everywhere
from tests.peers import connected, echo, on_mock_clock, open_sockets, uri_of

from .programs import needs_socks
from .scripted import http_tunnel, read_head, scripted_proxy, socks5_tunnel


async def failure(proxy: str, talk: object, **options: object) -> Exception:
    """Return what comes of a connection through such a proxy; no socket must stay."""
    sockets_before = open_sockets()
    async with scripted_proxy(talk) as port:  # type: ignore[arg-type]
        with pytest.raises((anyws.WebSocketError, OSError)) as raised:
            await connected(
                "ws://server.example/?t0ken",
                proxy=f"{proxy}://me:s3cret@127.0.0.1:{port}",
                **{"open_timeout": 5, **options},
            )
    assert open_sockets() <= sockets_before
    assert "s3cret" not in f"{raised.value!r}{raised.value.__cause__!r}"
    assert "t0ken" not in repr(raised.value)
    return raised.value


ANSWERS = [
    pytest.param(b"", "closed the connection without a response", id="nothing"),
    pytest.param(b"HTTP/1.1 200 Conn", "closed the connection without a response", id="half"),
    pytest.param(b"\x15\x03\x03\x00\x02\x02\x28", "not HTTP", id="tls"),
    pytest.param(b"220 smtp.example ESMTP\r\n\r\n", "sent an invalid response", id="smtp"),
    pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", "sent data after its response", id="body"),
    pytest.param(b"HTTP/1.1 407 No\r\nContent-Length: 3\r\n\r\nwho", "responded with 407 No", id="407"),
    pytest.param(b"HTTP/1.1 502 \xff\x1b[31m\r\n\r\n", "invalid response|responded with 502", id="terminal-codes"),
    pytest.param(b"HTTP/1.1 301 Go\r\nLocation: ws://evil.example/\r\n\r\n", "responded with 301", id="redirect"),
]


@pytest.mark.parametrize(("answer", "problem"), ANSWERS)
async def test_an_answer_that_is_no_tunnel(answer: bytes, problem: str) -> None:
    async def talk(stream: SocketStream) -> None:
        await read_head(stream)
        await stream.send(answer)
        await stream.send_eof()
        await stream.receive()

    raised = await failure("http", talk, max_redirects=5)
    assert isinstance(raised, anyws.ProxyError)
    assert problem in str(raised) or any(each in str(raised) for each in problem.split("|"))
    assert str(raised).isprintable()


async def test_an_endless_head() -> None:
    sent = 0

    async def talk(stream: SocketStream) -> None:
        nonlocal sent
        await stream.send(b"HTTP/1.1 200 OK\r\n")
        while True:
            await stream.send(b"X: y\r\n" * 100)
            sent += 600

    raised = await failure("http", talk)
    assert isinstance(raised, anyws.ProxyError)
    assert "16384 bytes" in str(raised)
    assert sent < 50_000_000


async def test_a_connection_that_is_reset() -> None:
    async def talk(stream: SocketStream) -> None:
        await stream.aclose()  # with the request unread

    raised = await failure("http", talk)
    assert isinstance(raised, anyws.ProxyError)


async def test_a_tunnel_that_ends_at_once() -> None:
    async def talk(stream: SocketStream) -> None:
        await read_head(stream)
        await stream.send(b"HTTP/1.1 200 OK\r\n\r\n")

    raised = await failure("http", talk)
    assert isinstance(raised, anyws.HandshakeError)


SOCKS_ANSWERS = [
    pytest.param([b""], "closed the connection without a response", None, id="nothing"),
    pytest.param([b"\x05"], "closed the connection without a response", None, id="half"),
    pytest.param([b"\x05\xff"], "No acceptable authentication", None, id="no-method"),
    pytest.param([b"HTTP/1.1 400 Bad\r\n\r\n"], "SOCKS version", None, id="http"),
    pytest.param([b"\x05\x02", b"\x01\x01"], "authentication failure", None, id="wrong-password"),
    pytest.param([b"\x05\x00", b"\x05\x02\x00\x01\0\0\0\0\0\0"], "not allowed by ruleset", 2, id="not-allowed"),
    pytest.param([b"\x05\x00", b"\x05\x04\x00\x01\0\0\0\0\0\0"], "Host unreachable", 4, id="unreachable"),
    pytest.param([b"\x05\x00", b"\x05\x00\x00\x03\x01\xff\0\0"], "sent an invalid response", None, id="not-text"),
    pytest.param([b"\x05\x00", b"\x05\x00\x00\x09\0\0\0\0\0\0"], "address type", None, id="strange"),
]


@needs_socks
@pytest.mark.parametrize(("answers", "problem", "status"), SOCKS_ANSWERS)
async def test_an_answer_that_is_no_socks_tunnel(answers: list[bytes], problem: str, status: int | None) -> None:
    async def talk(stream: SocketStream) -> None:
        for answer in answers:
            await stream.receive()
            await stream.send(answer)
        await stream.send_eof()
        await stream.receive()

    raised = await failure("socks5h", talk)
    assert isinstance(raised, anyws.ProxyError)
    assert problem in str(raised)
    assert raised.status == status


@needs_socks
async def test_socks4a_has_the_proxy_look_up_the_name() -> None:
    asked: list[bytes] = []

    async def talk(stream: SocketStream) -> None:
        asked.append(await stream.receive())
        await stream.send(b"\x00\x5b\0\0\0\0\0\0")

    raised = await failure("socks4a", talk)
    assert isinstance(raised, anyws.ProxyError)
    assert raised.status == 0x5B
    assert asked == [b"\x04\x01\x00\x50\x00\x00\x00\x01me\x00server.example\x00"]


@needs_socks
async def test_nothing_behind_the_answer_of_socks_is_lost() -> None:
    """The server's first bytes may come in one segment with the proxy's last."""

    async def talk(stream: SocketStream) -> None:
        await stream.receive()
        await stream.send(b"\x05\x00")
        await stream.receive()
        await stream.send(b"\x05\x00\x00\x01\0\0\0\0\0\0HTTP/1.1 404 Gone\r\nContent-Length: 0\r\n\r\n")
        await read_head(stream)

    raised = await failure("socks5h", talk)
    assert isinstance(raised, anyws.HandshakeRefused)
    assert raised.status == 404


@pytest.mark.parametrize(
    "proxy", ["http", "https", pytest.param("socks5h", marks=needs_socks), pytest.param("socks4a", marks=needs_socks)]
)
@on_mock_clock
async def test_one_deadline_covers_a_silent_proxy(proxy: str) -> None:
    async def talk(stream: SocketStream) -> None:
        await stream.receive()
        await anyio.sleep_forever()

    begun = anyio.current_time()
    raised = await failure(proxy, talk, open_timeout=7)
    assert isinstance(raised, TimeoutError)
    assert f"connecting to server.example through the proxy {proxy}://127.0.0.1:" in str(raised)
    assert str(raised).endswith(" took more than 7 s")
    assert anyio.current_time() - begun == pytest.approx(7, abs=0.01)


@on_mock_clock
async def test_one_deadline_covers_proxy_and_server_together() -> None:
    async def talk(stream: SocketStream) -> None:
        await read_head(stream)
        for byte in b"HTTP/1.1 200 OK\r\n\r\n":
            with anyio.move_on_after(0.25):
                await anyio.sleep_forever()
            await stream.send(bytes([byte]))
        await anyio.sleep_forever()

    begun = anyio.current_time()
    assert isinstance(await failure("http", talk, open_timeout=6), TimeoutError)
    assert anyio.current_time() - begun == pytest.approx(6, abs=0.01)


@pytest.mark.parametrize("kind", ["http", "https", pytest.param("socks5", marks=needs_socks)])
async def test_cancelled_wherever_it_suspends_no_socket_stays(
    kind: str, server_ssl_context: ssl.SSLContext, client_ssl_context: ssl.SSLContext
) -> None:
    """With an https: proxy, TLS to the server goes through TLS to the proxy."""
    sockets_before = open_sockets()
    tls = server_ssl_context if kind == "https" else None
    options: dict[str, Any] = (
        {"proxy_ssl_context": client_ssl_context, "ssl_context": client_ssl_context} if tls else {}
    )
    async with (
        anyws.open_server(echo, "127.0.0.1", 0, ssl_context=tls) as server,
        scripted_proxy(socks5_tunnel if kind == "socks5" else http_tunnel, tls) as port,
    ):
        uri = uri_of(server, scheme="wss" if tls else "ws")
        proxy = f"{kind}://me:s3cret@127.0.0.1:{port}"

        async def client() -> None:
            async with anyws.connect(uri, proxy=proxy, close_timeout=1, **options) as websocket:
                await websocket.send("hello")
                assert await websocket.receive() == "hello"

        listening = open_sockets()
        runs = [ended async for ended in cancelled_everywhere(client)]
        assert len(runs) > 4  # to connect, the proxy, the server, a message, the close
        with anyio.fail_after(5):
            while open_sockets() - listening:  # the other ends, which learn of it
                await anyio.lowlevel.checkpoint()
    assert open_sockets() <= sockets_before


async def test_the_name_is_what_turns_are_taken_for() -> None:
    """RFC 6455, 4.1: where the proxy looks up names, each name is taken for an address of its own."""
    asked: list[bytes] = []
    go_on = anyio.Event()

    async def talk(stream: SocketStream) -> None:
        asked.append((await read_head(stream)).split()[1])
        await go_on.wait()
        await stream.send(b"HTTP/1.1 503 Later\r\nContent-Length: 0\r\n\r\n")

    async with scripted_proxy(talk) as port, anyio.create_task_group() as tasks:

        async def client(name: str) -> None:
            with pytest.raises(anyws.ProxyError):
                await connected(f"ws://{name}.example/", proxy=f"http://127.0.0.1:{port}", max_connecting=1)

        for name in ("a", "a", "b"):
            tasks.start_soon(client, name)
        await anyio.wait_all_tasks_blocked()
        with anyio.move_on_after(0.2):
            while len(asked) < 3:
                await anyio.lowlevel.checkpoint()
        assert sorted(asked) == [b"a.example:80", b"b.example:80"]
        go_on.set()
    assert sorted(asked) == [b"a.example:80", b"a.example:80", b"b.example:80"]


async def test_no_log_line_has_credentials(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with anyws.open_server(echo, "127.0.0.1", 0) as server, scripted_proxy(http_tunnel) as port:
        uri = uri_of(server).replace("//", "//user:passw0rd@")
        async with anyws.connect(uri, proxy=f"http://me:s3cret@127.0.0.1:{port}") as websocket:
            assert websocket.request.headers["authorization"].startswith("Basic ")
            assert "proxy-authorization" not in websocket.request.headers
    assert "s3cret" not in caplog.text
    assert "passw0rd" not in caplog.text


async def test_the_client_with_callbacks_goes_through_it_too(
    server_ssl_context: ssl.SSLContext, client_ssl_context: ssl.SSLContext
) -> None:
    tunnels = 0

    async def tunnel(stream: SocketStream) -> None:
        nonlocal tunnels
        tunnels += 1
        await http_tunnel(stream)

    async with (
        anyws.open_server(echo, "127.0.0.1", 0, ssl_context=server_ssl_context) as server,
        scripted_proxy(tunnel) as port,
    ):
        received = anyio.Event()
        async with anyws.client_connect(
            proxy=f"http://127.0.0.1:{port}",
            ssl_context=client_ssl_context,
            socket_options={"host": "127.0.0.1", "port": server.addresses[0][1]},
            message_handler=lambda message: received.set(),
        ) as socket:
            socket.message_send("hello")
            await received.wait()
    assert tunnels == 1
