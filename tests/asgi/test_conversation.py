"""What an application receives and sends, as the ASGI specification has it."""

from __future__ import annotations

import logging
from typing import Any

import anyio
import pytest
from anyio.abc import SocketAttribute
from anyio.lowlevel import checkpoint
from uvicorn.protocols.utils import ClientDisconnected

import anyws
from anyws._connection.websocket import link_of
from anyws.asgi import websocket_of
from tests.peers import CLOSE, CONTINUATION, REQUEST, TEXT, StreamPeer, close_payload, frame_bytes

from .serving import Receive, Scope, Send, Served, echo, serving

ACCEPT = {"type": "websocket.accept"}
CLOSED = {"type": "websocket.close"}
START: dict[str, Any] = {"type": "websocket.http.response.start", "status": 418, "headers": []}
BODY: dict[str, Any] = {"type": "websocket.http.response.body", "body": b"tea"}
LOST = {"type": "websocket.disconnect", "code": 1006}


class Recorder:
    """An application that accepts, and keeps all that it receives."""

    def __init__(self) -> None:
        self.received: list[dict[str, Any]] = []
        self.ended = anyio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.received.append(await receive())
        await send(ACCEPT)
        while self.received[-1]["type"] != "websocket.disconnect":
            self.received.append(await receive())
        self.ended.set()


class Scripted:
    """An application that sends messages one after another, and keeps the exception that ends it."""

    def __init__(self, *messages: dict[str, Any]) -> None:
        self.messages = messages
        self.raised: Exception | None = None
        self.scope: Scope = {}
        self.ended = anyio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scope = scope
        await receive()
        try:
            for message in self.messages:
                await send(message)
        except Exception as exc:
            self.raised = exc
            raise
        finally:
            self.ended.set()


async def refusal(served: Served, **options: Any) -> anyws.Response:
    """Connect, and return the response that refuses."""
    with pytest.raises(anyws.HandshakeRefused) as raised:
        async with anyws.connect(served.uri, **options):
            pass
    return raised.value.response


@pytest.mark.parametrize("http", ["h11", "httptools"])
async def test_messages_of_both_types_come_back(http: str) -> None:
    async with serving(echo, http=http) as served, anyws.connect(served.uri, compression=True) as websocket:
        for message in ("text", b"binary", "", b"", "é" * 100_000, b"\0" * 100_000):
            await websocket.send(message)
            assert await websocket.receive() == message


@pytest.mark.parametrize("http", ["h11", "httptools"])
async def test_the_scope_describes_the_request(http: str) -> None:
    app = Scripted(ACCEPT)
    async with serving(app, http=http, root_path="/root") as served:
        headers = [("X-Name", "abra\xe3o"), ("X-Name", "two")]
        uri = f"{served.uri}/a%2Fb/%C3%A9?c=%20d"
        async with anyws.connect(uri, headers=headers, subprotocols=["v1", "v2"]) as websocket:
            await websocket.wait_closed()
            local = websocket.extra(SocketAttribute.local_address)
        scope = app.scope
        assert scope["type"] == "websocket"
        assert scope["asgi"] == {"version": "3.0", "spec_version": "2.4"}
        assert (scope["http_version"], scope["scheme"]) == ("1.1", "ws")
        assert (scope["server"], scope["client"]) == (("127.0.0.1", served.port), local)
        assert (scope["root_path"], scope["path"]) == ("/root", "/root/a/b/é")
        assert (scope["raw_path"], scope["query_string"]) == (b"/root/a%2Fb/%C3%A9", b"c=%20d")
        assert [value for name, value in scope["headers"] if name == b"x-name"] == [b"abra\xe3o", b"two"]
        assert scope["subprotocols"] == ["v1", "v2"]
        assert scope["state"] == {}
        assert scope["extensions"]["websocket.http.response"] == {}


async def test_the_application_chooses_the_subprotocol_and_adds_headers() -> None:
    headers = [(b"Server", b"mine"), (b"set-cookie", b"a=b"), (b"set-cookie", b"c=d")]
    app = Scripted({**ACCEPT, "subprotocol": "v2", "headers": headers})
    async with serving(app) as served, anyws.connect(served.uri, subprotocols=["v1", "v2"]) as websocket:
        assert websocket.subprotocol == "v2"
        found = websocket.response.headers
        assert found.get_all("server") == ["uvicorn", "mine"]
        assert found.get_all("set-cookie") == ["a=b", "c=d"]
        assert len(found.get_all("date")) == 1


@pytest.mark.parametrize(
    ("accept", "problem"),
    [
        ({"subprotocol": "v3"}, "subprotocol 'v3' was selected, but is not one of the 2 offered"),
        ({"headers": [(b"connection", b"close")]}, "only the opening handshake may set it|set by"),
        ({"headers": [(b"x", b"a\r\nb: c")]}, "forbidden character"),
    ],
)
async def test_an_invalid_acceptance_raises_and_the_client_gets_500(accept: dict[str, Any], problem: str) -> None:
    app = Scripted({**ACCEPT, **accept})
    async with serving(app) as served:
        response = await refusal(served, subprotocols=["v1", "v2"])
    assert (response.status, response.body) == (500, b"Internal Server Error")
    assert isinstance(app.raised, ValueError), app.raised


async def test_a_close_before_the_acceptance_is_403(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "uvicorn.error")
    async with serving(Scripted(CLOSED)) as served:
        response = await refusal(served)
    assert (response.status, response.body) == (403, b"")
    assert response.headers["server"] == "uvicorn"
    assert any(record.getMessage().endswith('- "WebSocket /" 403') for record in caplog.records)


@pytest.mark.parametrize("parts", [[b"tea"], [b"t", b"", b"ea"]])
async def test_a_denial_response(parts: list[bytes], caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "uvicorn.error")
    *first, last = parts
    headers = [(b"content-type", b"text/x"), (b"server", b"mine")]
    more = [{**BODY, "body": part, "more_body": True} for part in first]
    async with serving(Scripted({**START, "headers": headers}, *more, {**BODY, "body": last})) as served:
        response = await refusal(served)
    assert (response.status, response.body) == (418, b"tea")
    assert response.headers.get_all("server") == ["mine"]
    assert (response.headers["content-type"], response.headers["content-length"]) == ("text/x", "3")
    assert any(record.getMessage().endswith('- "WebSocket /" 418') for record in caplog.records)


@pytest.mark.parametrize(
    ("messages", "status", "body"),
    [
        ([START], 418, b""),
        ([START, {**BODY, "more_body": True}], 418, b"tea"),
        ([{**START, "headers": [(b"content-length", b"5")]}], 500, b"Internal Server Error"),
        ([{**START, "headers": [(b"content-length", b"5")]}, BODY], 500, b"Internal Server Error"),
        ([{**START, "headers": [(b"bad name", b"")]}, BODY], 500, b"Internal Server Error"),
        ([], 500, b"Internal Server Error"),
    ],
)
async def test_an_application_that_does_not_complete_its_response(
    messages: list[dict[str, Any]], status: int, body: bytes
) -> None:
    async with serving(Scripted(*messages)) as served:
        response = await refusal(served)
    assert (response.status, response.body) == (status, body)


FIRST = "Expected ASGI message 'websocket.accept', 'websocket.close' or 'websocket.http.response.start' but got"
NEXT = "Expected ASGI message 'websocket.send' or 'websocket.close', but got"
AFTER = "Unexpected ASGI message 'websocket.send', after sending 'websocket.close'."
SEND: dict[str, Any] = {"type": "websocket.send", "text": "x"}


@pytest.mark.parametrize(
    ("messages", "problem"),
    [
        ([SEND], f"{FIRST} 'websocket.send'."),
        ([BODY], f"{FIRST} 'websocket.http.response.body'."),
        ([ACCEPT, ACCEPT], f"{NEXT} 'websocket.accept'."),
        ([ACCEPT, START], f"{NEXT} 'websocket.http.response.start'."),
        ([ACCEPT, CLOSED, SEND], AFTER),
        ([CLOSED, SEND], AFTER),
        ([START, ACCEPT], "Expected ASGI message 'websocket.http.response.body' but got 'websocket.accept'."),
        ([START, BODY, SEND], AFTER),
        ([{**START, "status": 700}], "Invalid HTTP status code '700' in response: expected 200 to 599."),
        ([ACCEPT, {"type": "websocket.send"}], "ASGI message 'websocket.send' has neither 'bytes' nor 'text'."),
    ],
)
async def test_messages_out_of_order_raise(messages: list[dict[str, Any]], problem: str) -> None:
    app = Scripted(*messages)
    async with serving(app) as served:
        try:
            async with anyws.connect(served.uri) as websocket:
                await websocket.wait_closed()
        except anyws.HandshakeRefused:
            pass
        await app.ended.wait()
    assert isinstance(app.raised, RuntimeError)
    assert str(app.raised) == problem


async def test_an_invalid_close_code_raises() -> None:
    app = Scripted(ACCEPT, {**CLOSED, "code": 1006})
    async with serving(app) as served, anyws.connect(served.uri) as websocket:
        await websocket.wait_closed()
    assert isinstance(app.raised, ValueError)


@pytest.mark.parametrize(
    ("frames", "disconnect"),
    [
        ([(CLOSE, close_payload(4000, "bye"))], {"code": 4000, "reason": "bye"}),
        ([(CLOSE, b"")], {"code": 1005, "reason": ""}),
        ([(CONTINUATION, b"x")], {"code": 1002}),
        ([(TEXT, b"\xff")], {"code": 1007}),
        ([(TEXT, b"x" * 200)], {"code": 1009}),
        ([(TEXT, b"read before the end"), (CLOSE, close_payload(1000, ""))], {"code": 1000, "reason": ""}),
    ],
)
async def test_the_application_learns_how_the_connection_ended(
    frames: list[tuple[int, bytes]], disconnect: dict[str, Any]
) -> None:
    app = Recorder()
    async with serving(app, ws_max_size=100) as served, served.peer() as peer:
        for frame in frames:
            await peer.send(*frame)
        await app.ended.wait()
        while (await peer.frame()).opcode != CLOSE:
            pass
        await peer.rest()
    assert app.received[-1].items() >= {"type": "websocket.disconnect", **disconnect}.items()
    assert [each.get("text") for each in app.received[1:-1]] == [p.decode() for _, p in frames[:-1]]


async def test_a_loss_without_a_close_is_1006() -> None:
    app = Recorder()
    async with serving(app) as served:
        async with served.peer():
            pass
        await app.ended.wait()
    assert app.received[-1] == LOST


async def test_the_own_close_is_reported_after_what_has_arrived_before() -> None:
    received: list[dict[str, Any]] = []
    ended = anyio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send(ACCEPT)
        received.append(await receive())
        await send({**CLOSED, "code": 4001, "reason": "enough"})
        received.extend([await receive(), await receive(), await receive()])
        ended.set()

    one, two = (frame_bytes(TEXT, text, masked=True) for text in (b"one", b"two"))
    async with serving(app) as served, served.peer() as peer:
        await peer.stream.send(one + two)
        assert (await peer.frame()).payload == close_payload(4001, "enough")
        await peer.send(TEXT, b"dropped, because the application has closed")
        await peer.send(CLOSE, close_payload(4001, "enough"))
        await ended.wait()
        assert await peer.rest() == b""
    disconnect = {"type": "websocket.disconnect", "code": 4001, "reason": "enough"}
    assert [each.get("text") for each in received[:2]] == ["one", "two"]
    assert received[2:] == [disconnect, disconnect]


async def test_a_client_that_ignores_the_close_is_aborted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("anyws.uvicorn.Protocol.close_timeout", 0.05)
    async with serving(Scripted(ACCEPT, CLOSED)) as served, served.peer() as peer:
        assert (await peer.frame()).opcode == CLOSE
        assert await peer.rest() == b""


@pytest.mark.parametrize("failing", [True, False])
async def test_an_application_that_returns_ends_the_connection(failing: bool, caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send(ACCEPT)
        await send({"type": "websocket.send", "text": "x" * 100_000})
        if failing:
            raise RuntimeError("a fault of the application")

    async with serving(app) as served, served.peer() as peer:
        assert len((await peer.frame()).payload) == 100_000  # what was sent arrives
        assert await peer.rest() == b""
    assert ("a fault of the application" in caplog.text) == failing


async def test_what_an_application_returns_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> int:
        await receive()
        await send(ACCEPT)
        return 123

    async with serving(app) as served, served.peer() as peer:
        await peer.rest()
    assert "ASGI callable should return None, but returned '123'." in caplog.text


async def test_sending_to_a_client_that_is_gone_raises_an_os_error() -> None:
    raised: list[OSError] = []
    ended = anyio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send(ACCEPT)
        assert (await receive())["type"] == "websocket.disconnect"
        for message in (SEND, CLOSED):
            try:
                await send(message)
            except OSError as exc:
                raised.append(exc)
        ended.set()
        await send(SEND)  # not caught: that is no error of the application

    async with serving(app) as served:
        async with served.peer() as peer:
            await peer.send(CLOSE)
            await peer.rest()
        await ended.wait()
    assert [type(exc).__name__ for exc in raised] == ["ClientDisconnected"] * 2


async def test_a_client_that_is_lost_before_the_acceptance() -> None:
    received: list[dict[str, Any]] = []
    begun, ended = anyio.Event(), anyio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        received.append(await receive())
        begun.set()
        received.append(await receive())
        with pytest.raises(ClientDisconnected):
            await send(ACCEPT)
        ended.set()

    async with serving(app) as served:
        async with await anyio.connect_tcp("127.0.0.1", served.port) as stream:
            await stream.send(REQUEST)
            await begun.wait()
        await ended.wait()
    assert received == [{"type": "websocket.connect"}, LOST]


async def test_frames_that_arrive_before_the_acceptance_are_kept() -> None:
    going = anyio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await going.wait()
        await echo(scope, receive, send)

    sent = [b"early", b"x" * 200_000]  # more than is kept: the rest waits in the network
    async with serving(app) as served, await anyio.connect_tcp("127.0.0.1", served.port) as stream:
        await stream.send(REQUEST)
        while not served.protocols:
            await checkpoint()
        (protocol,) = served.protocols
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(stream.send, b"".join(frame_bytes(TEXT, payload, masked=True) for payload in sent))
            while protocol.transport.is_reading():
                await checkpoint()
            going.set()
            peer = StreamPeer(stream, "server")
            await peer.read_head()
            assert [(await peer.frame()).payload for _ in sent] == sent


async def test_several_tasks_may_receive() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send(ACCEPT)

        async def answer() -> None:
            message = await receive()
            await send({"type": "websocket.send", "text": message.get("text", "end")})

        async with anyio.create_task_group() as tasks:
            for _ in range(3):
                tasks.start_soon(answer)

    async with serving(app) as served, anyws.connect(served.uri) as websocket:
        answers = set()
        for text in ("a", "b", "c"):
            await websocket.send(text)
            answers.add(await websocket.receive())
        assert answers == {"a", "b", "c"}


async def test_a_cancelled_receive_loses_nothing() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send(ACCEPT)
        with anyio.move_on_after(0):
            await receive()
        await send({"type": "websocket.send", "text": "cancelled"})
        await send({"type": "websocket.send", "text": (await receive())["text"]})
        await receive()

    async with serving(app) as served, anyws.connect(served.uri) as websocket:
        assert await websocket.receive() == "cancelled"
        await websocket.send("kept")
        assert await websocket.receive() == "kept"


async def test_a_send_waits_for_a_slow_client_and_can_be_cancelled() -> None:
    counts: list[int] = []
    waiting, ended = anyio.Event(), anyio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send(ACCEPT)
        with anyio.CancelScope() as scope_:
            async with anyio.create_task_group() as tasks:

                async def watch() -> None:
                    while (count := len(counts)) == 0 or link_of(websocket_of(scope)).has_room:
                        await checkpoint()
                    assert count == len(counts)
                    waiting.set()
                    scope_.cancel()

                tasks.start_soon(watch)
                while True:
                    await send({"type": "websocket.send", "bytes": bytes([len(counts) % 256]) * 65536})
                    counts.append(1)
        await receive()
        ended.set()

    async with serving(app) as served, served.peer() as peer:
        await waiting.wait()
        for number in range(len(counts)):
            assert (await peer.frame()).payload == bytes([number % 256]) * 65536
        await peer.send(CLOSE)
        assert (await peer.frame()).opcode == CLOSE  # nothing of the message that was cancelled
        await ended.wait()
