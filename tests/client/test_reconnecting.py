"""`reconnecting`: how long it waits, which failures are fatal, and that nothing outlives the loop."""

from __future__ import annotations

import logging
import random
import ssl
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import anyio
import pytest
from anyio.abc import SocketStream

import anyws
import anyws.testing
from anyws._client.backoff import jittered_delay, retry_after
from anyws._client.reconnecting import is_fatal
from anyws.protocol.exchange import HeadEnded
from tests.connection.test_cancellation import cancelled_everywhere
from tests.harness import free_port
from tests.peers import echo, on_mock_clock, open_sockets, scripted_server, uri_of
from tests.proxies.scripted import scripted_proxy

QUICK: dict[str, Any] = {"initial_delay": 0.001, "max_delay": 0.002}
"""For event loops without a mock clock."""


class Endings:
    """A handler that ends each connection in the next of some ways."""

    def __init__(self, *endings: int | str) -> None:
        self.endings = list(endings)
        self.closed: list[int | None] = []

    async def __call__(self, websocket: anyws.WebSocket) -> None:
        ending = self.endings.pop(0) if self.endings else "stay"
        await websocket.send("hello")
        if isinstance(ending, int):
            await websocket.aclose(ending)
        elif ending == "cut":
            websocket._link.abort()
        await websocket.wait_closed()
        self.closed.append(websocket.close_code)


def serving(handler: Any, **options: Any) -> Any:
    return anyws.open_server(handler, "127.0.0.1", 0, **options)


# -- the loop ----------------------------------------------------------------------------------------------------------


async def test_it_reconnects_after_each_kind_of_end() -> None:
    count = 0
    handler = Endings(1000, 1001, 1011, 1012, 1013, 4000, "cut")
    async with serving(handler) as server:
        async for connection in anyws.reconnecting(uri_of(server), **QUICK):
            async with connection as websocket:
                count += 1
                async for message in websocket:
                    assert message == "hello"
                    if count == 8:
                        break
                if count == 8:
                    break
    assert count == 8


async def test_a_break_in_the_block_closes_at_once() -> None:
    handler = Endings()
    sockets_before, tasks_before = open_sockets(), len(anyio.get_running_tasks())
    async with serving(handler) as server:
        await anyio.wait_all_tasks_blocked()
        tasks = len(anyio.get_running_tasks())
        async for connection in anyws.reconnecting(uri_of(server)):
            async with connection as websocket:
                break
        assert websocket.close_code == 1000  # has been waited for
        while len(anyio.get_running_tasks()) > tasks:  # the server's, which learns of it
            await anyio.lowlevel.checkpoint()
    assert handler.closed == [1000]
    assert open_sockets() <= sockets_before
    assert len(anyio.get_running_tasks()) == tasks_before


async def test_a_break_after_the_block_does_not_wait() -> None:
    outages: list[anyws.Outage] = []
    async with serving(echo) as server:
        with anyio.fail_after(4):
            async for connection in anyws.reconnecting(
                uri_of(server), initial_delay=1000, max_delay=1000, on_disconnect=outages.append
            ):
                async with connection as websocket:
                    await websocket.send("hello")
                break
    assert not outages


async def test_a_return_closes_at_once() -> None:
    handler = Endings()

    async def first_message(uri: str) -> str | bytes:
        async for connection in anyws.reconnecting(uri):
            async with connection as websocket:
                return await websocket.receive()
        raise AssertionError("the loop has ended")

    async with serving(handler) as server:
        assert await first_message(uri_of(server)) == "hello"
        while not handler.closed:
            await anyio.lowlevel.checkpoint()
    assert handler.closed == [1000]


async def test_an_exception_propagates_unchanged() -> None:
    handler = Endings()
    error = LookupError("mine")
    async with serving(handler) as server:
        with pytest.raises(LookupError) as raised:
            async for connection in anyws.reconnecting(uri_of(server)):
                async with connection:
                    raise error
        assert raised.value is error
        while not handler.closed:
            await anyio.lowlevel.checkpoint()
    assert handler.closed == [1011]


async def test_an_os_error_in_the_block_is_not_a_connection_error() -> None:
    async with serving(echo) as server:
        with pytest.raises(FileNotFoundError):
            async for connection in anyws.reconnecting(uri_of(server)):
                async with connection:
                    raise FileNotFoundError("mine")


async def test_a_cancellation_closes_at_once() -> None:
    handler = Endings()
    async with serving(handler) as server:
        with anyio.CancelScope() as scope:
            async for connection in anyws.reconnecting(uri_of(server)):
                async with connection:
                    scope.cancel()
                    await anyio.sleep_forever()
        assert scope.cancelled_caught
        while not handler.closed:
            await anyio.lowlevel.checkpoint()
    assert handler.closed == [1001]


async def test_cancellation_at_any_point_leaves_no_resources() -> None:
    sockets_before = open_sockets()
    async with serving(echo) as server:

        async def client() -> None:
            count = 0
            async for connection in anyws.reconnecting(uri_of(server), close_timeout=1, **QUICK):
                async with connection as websocket:
                    await websocket.send("hello")
                    assert await websocket.receive() == "hello"
                    count += 1
                    if count == 2:
                        break

        listening = open_sockets()
        runs = [ended async for ended in cancelled_everywhere(client)]
        assert len(runs) > 10
        with anyio.fail_after(5):
            while open_sockets() - listening:  # the server's, which learns of it
                await anyio.lowlevel.checkpoint()
    assert open_sockets() <= sockets_before


async def test_an_exception_group_of_closed_connections_is_a_closed_connection() -> None:
    count = 0
    async with serving(Endings("cut", "cut")) as server:
        async for connection in anyws.reconnecting(uri_of(server), **QUICK):
            async with connection as websocket:
                count += 1
                if count == 3:
                    break
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(websocket.ping)
                    while True:
                        await websocket.receive()
    assert count == 3


async def test_an_exception_group_with_another_error_propagates() -> None:
    async def fail(websocket: anyws.WebSocket) -> None:
        try:
            await websocket.wait_closed()
        finally:
            raise LookupError("mine")

    async with serving(Endings("cut")) as server:
        with pytest.raises(ExceptionGroup) as raised:
            async for connection in anyws.reconnecting(uri_of(server), **QUICK):
                async with connection as websocket, anyio.create_task_group() as tasks:
                    tasks.start_soon(fail, websocket)
                    while True:
                        await websocket.receive()
    assert any(isinstance(each, LookupError) for each in raised.value.exceptions)


async def test_the_end_of_another_connection_propagates() -> None:
    async with serving(Endings("stay", "cut")) as server:
        with pytest.raises(anyws.ConnectionClosedError):
            async for connection in anyws.reconnecting(uri_of(server), **QUICK):
                async with connection as websocket, anyws.connect(uri_of(server)) as other:
                    assert await other.receive() == "hello"
                    await other.receive()
        assert websocket.close_code is not None


async def test_it_retries_until_the_server_is_available() -> None:
    port = free_port()
    outages: list[anyws.Outage] = []
    begin = anyio.Event()

    def observe(outage: anyws.Outage) -> None:
        outages.append(outage)
        if len(outages) == 3:
            begin.set()

    async def serve() -> None:
        await begin.wait()
        await anyws.serve(echo, "127.0.0.1", port)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(serve)
        async for connection in anyws.reconnecting(f"ws://127.0.0.1:{port}/", on_disconnect=observe, **QUICK):
            async with connection as websocket:
                await websocket.send("hello")
                assert await websocket.receive() == "hello"
                break
        tasks.cancel_scope.cancel()
    assert len(outages) >= 3
    assert [outage.attempt for outage in outages] == list(range(1, len(outages) + 1))
    assert all(isinstance(outage.exception, ConnectionRefusedError) for outage in outages)
    assert all(outage.duration is None and not outage.is_fatal for outage in outages)


async def test_an_auth_callable_is_called_for_each_attempt() -> None:
    tokens = iter(["old", "older", "new"])

    def check(request: anyws.Request) -> anyws.Response | None:
        return None if request.headers["authorization"] == "Bearer new" else anyws.Response(401)

    async with serving(echo, on_request=check) as server:
        async for connection in anyws.reconnecting(
            uri_of(server),
            auth=lambda: next(tokens),
            on_disconnect=lambda outage: getattr(outage.exception, "status", None) == 401 or None,
            **QUICK,
        ):
            async with connection as websocket:
                assert websocket.request.headers["authorization"] == "Bearer new"
                break


# -- time --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def longest_jitter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(random, "uniform", lambda low, high: high)


def test_jitter_is_full() -> None:
    for failures, bound in [(1, 5), (2, 10), (3, 20), (4, 40), (5, 60), (6, 60), (10_000, 60)]:
        delays = [jittered_delay(failures, 5, 60) for _ in range(500)]
        assert 0 <= min(delays) < bound * 0.05
        assert bound * 0.95 < max(delays) <= bound


@pytest.mark.usefixtures("longest_jitter")
@on_mock_clock
async def test_the_delays_double_and_are_reset_by_a_long_connection() -> None:
    begun: list[float] = []
    lives = [0, 0, 0, 0, 0, 0, 59, 61, 0, 0]
    async with serving(echo) as server:
        async for connection in anyws.reconnecting(uri_of(server)):
            async with connection:
                begun.append(anyio.current_time())
                if len(begun) > len(lives):
                    break
                with anyio.move_on_after(lives[len(begun) - 1]):
                    await anyio.sleep_forever()
    waited = [round(later - earlier - life) for earlier, later, life in zip(begun, begun[1:], lives, strict=False)]
    assert waited == [5, 10, 20, 40, 60, 60, 60, 5, 10, 20]


@pytest.mark.usefixtures("longest_jitter")
@pytest.mark.parametrize(
    ("status", "headers", "waited"),
    [
        (503, {"Retry-After": "120"}, 125),
        (429, {"Retry-After": "120"}, 125),
        (503, {"Retry-After": "0"}, 5),
        (503, {"Retry-After": "soon"}, 5),
        (503, {"Retry-After": "-1"}, 5),
        (503, {"Retry-After": "Mon, 01 Jan 99999999999 00:00:00 GMT"}, 5),
        (503, {}, 5),
        (500, {"Retry-After": "120"}, 5),
    ],
)
@on_mock_clock
async def test_retry_after(status: int, headers: dict[str, str], waited: float) -> None:
    begun = anyio.current_time()
    answers = [anyws.Response(status, headers)]
    async with serving(echo, on_request=lambda _: answers.pop() if answers else None) as server:
        with anyio.move_on_after(waited - 0.5) as early:
            async for connection in anyws.reconnecting(uri_of(server)):
                async with connection:
                    pass
        assert early.cancelled_caught
        answers.append(anyws.Response(status, headers))
        begun = anyio.current_time()
        async for connection in anyws.reconnecting(uri_of(server)):
            async with connection:
                break
    assert anyio.current_time() - begun == pytest.approx(waited, abs=0.5)


def test_retry_after_is_bounded() -> None:
    assert retry_after(anyws.Response(503, {"Retry-After": "9" * 400})) == 86400


@pytest.mark.parametrize(
    "value",
    [
        "",
        "\xb2",
        "Mon",
        "Mon, 01 Jan 99999999999 00:00:00 GMT",
        "Mon, 01 Jan 2024 00:00:00 +99999999999999999999",
        "Mon, 01 Jan 0001 00:00:00 +2300",
        "Mon, 99999999999999999999 Jan 2024 00:00:00 GMT",
        "Mon, 01 Jan 2024 99999999999999999999:00:00 GMT",
        "Mon, 32 Jan 2099 25:61:61 GMT",
    ],
)
def test_an_invalid_retry_after(value: str) -> None:
    assert retry_after(anyws.Response(503, {"Retry-After": value})) == 0


@pytest.mark.parametrize("minutes", [-5, 0, 10, 10**6])
def test_retry_after_as_a_date(minutes: int) -> None:
    date = format_datetime(datetime.now(UTC) + timedelta(minutes=minutes), usegmt=True)
    expected = min(max(0, minutes * 60), 86400)
    assert retry_after(anyws.Response(503, {"Retry-After": date})) == pytest.approx(expected, abs=2)


@pytest.mark.usefixtures("longest_jitter")
@on_mock_clock
async def test_retry_after_of_a_proxy() -> None:
    async def talk(stream: SocketStream) -> None:
        await stream.receive()
        await stream.send(b"HTTP/1.1 503 Busy\r\nRetry-After: 30\r\nContent-Length: 0\r\n\r\n")

    delays: list[float] = []

    def observe(outage: anyws.Outage) -> bool:
        delays.append(outage.delay)
        return len(delays) < 2

    async with scripted_proxy(talk) as port:
        with pytest.raises(anyws.ProxyError):
            async for connection in anyws.reconnecting(
                "ws://a.example/", proxy=f"http://127.0.0.1:{port}", on_disconnect=observe
            ):
                async with connection:
                    raise AssertionError("there is a connection")
    assert delays == [35, 40]


# -- what is fatal -----------------------------------------------------------------------------------------------------


def caused(exc: Exception, cause: Exception) -> Exception:
    exc.__cause__ = cause
    return exc


def closed(code: int | None) -> anyws.ConnectionClosed:
    received = None if code is None else anyws.Close(code, "")
    return anyws.ConnectionClosedError(received=received, sent=None)


def refused(status: int) -> anyws.HandshakeRefused:
    return anyws.HandshakeRefused("no", response=anyws.Response(status))


def proxy_error(status: int | None, *, socks: bool = False) -> anyws.ProxyError:
    response = None if socks or status is None else anyws.Response(status)
    return anyws.ProxyError("http://p", "no", status=status, response=response)


FATAL = [
    *(refused(status) for status in (200, 301, 400, 401, 403, 404, 405, 410, 426, 501)),
    *(proxy_error(status) for status in (400, 401, 403, 407, None)),
    *(proxy_error(status, socks=True) for status in (2, 7, 8, 0x5C, 0x5D)),
    *(closed(code) for code in (1002, 1003, 1007, 1008, 1009, 1010, 3000, 3003)),
    caused(closed(None), anyws.LimitExceeded("max_message_size", 1, 2)),
    anyws.RedirectError("no", chain=(), response=anyws.Response(302)),
    anyws.HandshakeError("no"),
    caused(anyws.HandshakeError("no"), ValueError()),
    ssl.SSLCertVerificationError("no"),
    anyws.InvalidURI("ws:", "no"),
]

TEMPORARY = [
    *(refused(status) for status in (408, 425, 429, 500, 502, 503, 504)),
    *(proxy_error(status) for status in (429, 500, 502, 503, 504)),
    *(proxy_error(status, socks=True) for status in (1, 3, 4, 5, 6, 0x5B)),
    *(closed(code) for code in (1000, 1001, 1005, 1011, 1012, 1013, 1014, 3001, 4000, 4999, None)),
    caused(anyws.HandshakeError("lost"), anyio.BrokenResourceError()),
    caused(anyws.HandshakeError("lost"), HeadEnded("closed")),
    caused(proxy_error(None), HeadEnded("closed")),
    caused(proxy_error(None), anyio.EndOfStream()),
    ConnectionRefusedError(),
    TimeoutError(),
    OSError("Name or service not known"),
    ssl.SSLEOFError(),
]


@pytest.mark.parametrize("exc", FATAL, ids=repr)
def test_fatal(exc: Exception) -> None:
    assert is_fatal(exc)


@pytest.mark.parametrize("exc", TEMPORARY, ids=repr)
def test_temporary(exc: Exception) -> None:
    assert not is_fatal(exc)


async def attempts_at(uri: str, **options: Any) -> tuple[int, Exception]:
    """Return how many attempts there were until what exception."""
    outages: list[anyws.Outage] = []

    def observe(outage: anyws.Outage) -> bool | None:
        outages.append(outage)
        return False if len(outages) == 3 else None

    with pytest.raises((anyws.WebSocketError, OSError)) as raised:
        async for connection in anyws.reconnecting(uri, on_disconnect=observe, **QUICK, **options):
            async with connection as websocket:
                await websocket.receive()
                await websocket.receive()
    assert outages[-1].exception is raised.value
    return len(outages), raised.value


@pytest.mark.parametrize(("status", "count"), [(401, 1), (404, 1), (503, 3)])
async def test_statuses(status: int, count: int) -> None:
    async with serving(echo, on_request=lambda _: anyws.Response(status)) as server:
        attempts, exc = await attempts_at(uri_of(server))
    assert attempts == count
    assert isinstance(exc, anyws.HandshakeRefused)


@pytest.mark.parametrize(("code", "count"), [(1008, 1), (1011, 3)])
async def test_close_codes(code: int, count: int) -> None:
    async with serving(Endings(code, code, code)) as server:
        attempts, exc = await attempts_at(uri_of(server))
    assert attempts == count
    assert isinstance(exc, anyws.ConnectionClosedError)


async def test_a_message_that_is_too_large() -> None:
    async with serving(Endings()) as server:
        attempts, exc = await attempts_at(uri_of(server), max_message_size=1)
    assert attempts == 1
    assert isinstance(exc.__cause__, anyws.LimitExceeded)


@pytest.mark.parametrize(("answer", "count"), [(b"", 3), (b"HTTP/1.1 101 Swi", 3), (b"220 smtp\r\n\r\n", 1)])
async def test_answers(answer: bytes, count: int) -> None:
    async with scripted_server(lambda _: answer) as uri:
        attempts, exc = await attempts_at(uri)
    assert attempts == count
    assert isinstance(exc, anyws.HandshakeError)


async def test_certificates(server_ssl_context: ssl.SSLContext) -> None:
    async with serving(echo, ssl_context=server_ssl_context) as server:
        attempts, exc = await attempts_at(uri_of(server, scheme="wss"))
    assert attempts == 1
    assert isinstance(exc, ssl.SSLCertVerificationError)


# -- the hook ----------------------------------------------------------------------------------------------------------


async def test_the_hook_gets_the_duration_of_the_connection() -> None:
    outages: list[anyws.Outage] = []

    async def observe(outage: anyws.Outage) -> None:
        await anyio.lowlevel.checkpoint()
        outages.append(outage)

    async with serving(Endings("cut", 1000)) as server:
        async for connection in anyws.reconnecting(uri_of(server), on_disconnect=observe, **QUICK):
            async with connection as websocket:
                if len(outages) == 2:
                    break
                async for _ in websocket:
                    pass
    broken, ended = outages
    assert isinstance(broken.exception, anyws.ConnectionClosedError)
    assert ended.exception is None
    assert (broken.attempt, ended.attempt) == (1, 2)
    assert all(outage.duration is not None and 0 <= outage.duration < 5 for outage in outages)
    assert all(0 <= outage.delay <= 0.002 and not outage.is_fatal for outage in outages)


async def test_the_hook_ends_the_loop() -> None:
    count = 0
    async with serving(echo) as server:
        async for connection in anyws.reconnecting(
            uri_of(server), on_disconnect=lambda outage: outage.attempt < 3, **QUICK
        ):
            async with connection:
                count += 1
    assert count == 3


async def test_an_exception_in_the_hook_propagates() -> None:
    def fail(outage: anyws.Outage) -> None:
        raise LookupError("mine")

    with pytest.raises(LookupError):
        async for connection in anyws.reconnecting(f"ws://127.0.0.1:{free_port()}/", on_disconnect=fail):
            async with connection:
                raise AssertionError("there is a connection")


# -- options and logs --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("uri", "options", "exception"),
    [
        ("ftp://a/", {}, anyws.InvalidURI),
        ("ws://a/", {"initial_delay": 0}, ValueError),
        ("ws://a/", {"max_delay": -1}, ValueError),
        ("ws://a/", {"reset_after": None}, TypeError),
        ("ws://a/", {"on_disconnect": 5}, TypeError),
        ("ws://a/", {"nonsense": 5}, TypeError),
        ("ws://a/", {"stream": anyws.testing.memory_stream_pair()[0]}, ValueError),
    ],
)
def test_invalid_arguments_raise_immediately(uri: str, options: Any, exception: type[Exception]) -> None:
    with pytest.raises(exception):
        anyws.reconnecting(uri, **options)


async def test_logging(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "anyws.client")
    uri = f"ws://me:s3cret@127.0.0.1:{free_port()}/?t0ken"
    with pytest.raises(ConnectionRefusedError):
        async for connection in anyws.reconnecting(uri, on_disconnect=lambda outage: outage.attempt < 3, **QUICK):
            async with connection:
                raise AssertionError("there is a connection")
    lines = [record.getMessage() for record in caplog.records if "reconnecting" in record.getMessage()]
    assert len(lines) == 2
    assert lines[0].startswith("[127.0.0.1:")
    assert "reconnecting in 0.0 s (ConnectionRefusedError: " in lines[0]
    assert "s3cret" not in caplog.text
    assert "t0ken" not in caplog.text
