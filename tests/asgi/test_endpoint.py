"""A handler mounted in an ASGI server: what it sees and does, on each server and event loop."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import anyio
import pytest
from anyio.abc import SocketAttribute

import anyws
from anyws.asgi import endpoint
from anyws.routing import Router

from .hosting import HOSTS, Place


@pytest.fixture(scope="module", params=list(HOSTS.values()), ids=list(HOSTS))
def place(request: pytest.FixtureRequest) -> Place:
    """Each server on each event loop."""
    chosen: Place = request.param
    return chosen


@pytest.fixture(scope="module")
def anyio_backend(place: Place) -> tuple[str, dict[str, Any]]:
    """Run the test on the event loop of the server."""
    return place.backend


class Recorder:
    """A handler that keeps what happens in it."""

    def __init__(self, act: Callable[[anyws.WebSocket], Awaitable[object]]) -> None:
        self._act = act
        self.websocket: anyws.WebSocket | None = None
        self.raised: BaseException | None = None
        self.ended = anyio.Event()

    async def __call__(self, websocket: anyws.WebSocket) -> None:
        self.websocket = websocket
        try:
            await self._act(websocket)
        except BaseException as exc:
            self.raised = exc
            raise
        finally:
            self.ended.set()


async def echo(websocket: anyws.WebSocket) -> None:
    async for message in websocket:
        await websocket.send(message)


async def refusal(uri: str, **options: Any) -> anyws.Response:
    with pytest.raises(anyws.HandshakeRefused) as raised:
        async with anyws.connect(uri, **options):
            pass
    return raised.value.response


async def test_messages_come_back(place: Place) -> None:
    async with place.host(endpoint(echo)) as host, anyws.connect(host.uri, compression=True) as websocket:
        for message in ("text", b"binary", "", b"", "é" * 10_000, b"\0" * 300_000):
            await websocket.send(message)
            assert await websocket.receive() == message


async def test_the_handler_sees_the_request(place: Place) -> None:
    seen: dict[str, Any] = {}

    async def handler(websocket: anyws.WebSocket) -> None:
        request = websocket.request
        seen.update(
            path=request.path,
            raw_path=request.raw_path,
            token=request.query.get("token"),
            header=request.headers["x-name"],
            is_websocket=request.is_websocket,
            scope=request.state["scope"]["type"],
            remote=websocket.remote_address,
            local=websocket.local_address,
            subprotocol=websocket.subprotocol,
            state=websocket.state,
            kind=isinstance(websocket, anyws.WebSocket),
        )
        await websocket.send("seen")

    app = endpoint(handler, subprotocols=["v1", "v2"], headers={"X-Of": "endpoint"})
    async with place.host(app) as host:
        uri = f"{host.uri}/a%2Fb/%C3%A9?token=%20x"
        async with anyws.connect(uri, subprotocols=["v2"], headers={"X-Name": "ann"}) as websocket:
            await websocket.receive()
            assert websocket.subprotocol == "v2"
            assert websocket.response.headers["x-of"] == "endpoint"
            ours, theirs = websocket.local_address, websocket.remote_address
    assert seen == {
        "path": "/a/b/é",
        "raw_path": "/a%2Fb/%C3%A9",
        "token": " x",
        "header": "ann",
        "is_websocket": True,
        "scope": "websocket",
        "remote": ours,
        "local": theirs,
        "subprotocol": "v2",
        "state": anyws.State.OPEN,
        "kind": True,
    }


async def test_a_handler_that_returns_closes_with_1000(place: Place) -> None:
    async def handler(websocket: anyws.WebSocket) -> None:
        await websocket.send("bye")

    async with place.host(endpoint(handler)) as host, anyws.connect(host.uri) as websocket:
        assert [message async for message in websocket] == ["bye"]
        assert websocket.close_code == 1000


async def test_a_handler_that_fails_closes_with_1011_and_is_logged(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    async def handler(websocket: anyws.WebSocket) -> None:
        raise LookupError("the matter of the test")

    async with place.host(endpoint(handler)) as host, anyws.connect(host.uri) as websocket:
        with pytest.raises(anyws.ConnectionClosedError) as raised:
            await websocket.receive()
        assert raised.value.code == 1011
    (record,) = [each for each in caplog.records if each.name == "anyws.server" and each.levelno == logging.ERROR]
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], LookupError)
    assert "the handler failed" in record.getMessage()


async def test_a_handler_closes_with_a_code_and_a_reason(place: Place) -> None:
    async def handler(websocket: anyws.WebSocket) -> None:
        await websocket.send("last")
        await websocket.aclose(4001, "enough")
        with pytest.raises(anyws.ConnectionClosedLocally):
            await websocket.send("too late")
        with pytest.raises(anyws.ConnectionClosed):
            await websocket.receive()

    recorder = Recorder(handler)
    async with place.host(endpoint(recorder)) as host, anyws.connect(host.uri) as websocket:
        assert await websocket.receive() == "last"
        with pytest.raises(anyws.ConnectionClosedError) as raised:
            await websocket.receive()
        assert (raised.value.code, raised.value.reason) == (4001, "enough")
        await recorder.ended.wait()
    assert recorder.raised is None


async def test_the_end_of_the_client_is_reported(place: Place) -> None:
    """Hypercorn reports every end as 1006."""
    recorder = Recorder(lambda websocket: websocket.receive())
    async with place.host(endpoint(recorder)) as host:
        async with anyws.connect(host.uri) as websocket:
            await websocket.aclose(4000, "bye")
        await recorder.ended.wait()
    assert isinstance(recorder.raised, anyws.ConnectionClosedError)
    assert recorder.websocket is not None
    code = recorder.websocket.close_code
    assert (recorder.raised.code, code) == ((1006, 1006) if place.is_hypercorn else (4000, 4000))
    if not place.is_hypercorn:
        assert (recorder.raised.reason, recorder.websocket.close_reason) == ("bye", "bye")


async def test_a_normal_closure_ends_the_iteration(place: Place) -> None:
    recorder = Recorder(echo)
    async with place.host(endpoint(recorder)) as host:
        async with anyws.connect(host.uri) as websocket:
            await websocket.send("x")
            await websocket.receive()
        await recorder.ended.wait()
    if place.is_hypercorn:
        assert isinstance(recorder.raised, anyws.ConnectionClosedError)
    else:
        assert recorder.raised is None


async def test_a_handler_that_only_sends_learns_of_the_end(place: Place) -> None:
    async def handler(websocket: anyws.WebSocket) -> None:
        while True:
            await websocket.send("tick")

    recorder = Recorder(handler)
    async with place.host(endpoint(recorder)) as host:
        async with anyws.connect(host.uri) as websocket:
            await websocket.receive()
        await recorder.ended.wait()
    assert isinstance(recorder.raised, anyws.ConnectionClosedError)


async def test_messages_are_sent_without_waiting(place: Place) -> None:
    async def handler(websocket: anyws.WebSocket) -> None:
        for number in range(10):
            websocket.send_nowait(str(number))
        await websocket.drain()
        await websocket.send(anyws.PreparedMessage("prepared"))

    async with place.host(endpoint(handler)) as host, anyws.connect(host.uri) as websocket:
        assert [message async for message in websocket] == [*map(str, range(10)), "prepared"]


async def test_an_iterable_arrives_as_one_message(place: Place) -> None:
    async def parts(*values: Any) -> AsyncIterator[Any]:
        for value in values:
            yield value

    async def handler(websocket: anyws.WebSocket) -> None:
        await websocket.send(parts("a", "", "é"))
        await websocket.send(parts(b"a", bytearray(b"b")))
        await websocket.send(parts())

    async with place.host(endpoint(handler)) as host, anyws.connect(host.uri) as websocket:
        assert [message async for message in websocket] == ["aé", b"ab"]


async def test_a_message_of_the_wrong_kind_is_rejected(place: Place) -> None:
    recorder = Recorder(lambda websocket: websocket.receive_text())
    async with place.host(endpoint(recorder)) as host, anyws.connect(host.uri) as websocket:
        await websocket.send(b"binary")
        with pytest.raises(anyws.ConnectionClosedError) as raised:
            await websocket.receive()
        assert raised.value.code == 1003
        await recorder.ended.wait()
    assert isinstance(recorder.raised, anyws.ConnectionClosedError)
    assert isinstance(recorder.raised.__cause__, anyws.UnsupportedData)


async def test_a_message_above_the_limit_is_rejected(place: Place) -> None:
    recorder = Recorder(echo)
    app = endpoint(recorder, max_message_size=10)
    async with place.host(app) as host, anyws.connect(host.uri) as websocket:
        await websocket.send("é" * 5)
        assert await websocket.receive() == "é" * 5
        await websocket.send("é" * 6)
        with pytest.raises(anyws.ConnectionClosedError) as raised:
            await websocket.receive()
        assert raised.value.code == 1009
        await recorder.ended.wait()
    assert isinstance(recorder.raised, anyws.ConnectionClosedError)
    assert isinstance(recorder.raised.__cause__, anyws.LimitExceeded)


async def test_a_hook_decides(place: Place) -> None:
    async def hook(request: anyws.Request) -> anyws.Response | None:
        if request.headers.get("authorization") == "secret":
            request.state["user"] = "ann"
            return None
        return anyws.Response(401, {"X-Why": "no token"}, "who are you?\n")

    async def handler(websocket: anyws.WebSocket) -> None:
        await websocket.send(websocket.request.state["user"])

    async with place.host(endpoint(handler, on_request=hook)) as host:
        response = await refusal(host.uri)
        assert (response.status, response.body) == (401, b"who are you?\n")
        assert response.headers["x-why"] == "no token"
        async with anyws.connect(host.uri, headers={"Authorization": "secret"}) as websocket:
            assert await websocket.receive() == "ann"


async def test_a_hook_that_fails_is_500(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    def hook(request: anyws.Request) -> None:
        raise LookupError("the matter of the test")

    async with place.host(endpoint(echo, on_request=hook)) as host:
        assert (await refusal(host.uri)).status == 500
    assert any("a hook raised an exception" in record.getMessage() for record in caplog.records)


async def test_pages_of_other_origins_are_refused(place: Place) -> None:
    async with place.host(endpoint(echo)) as host:
        assert (await refusal(host.uri, origin="https://evil.example")).status == 403
        async with anyws.connect(host.uri, origin=host.uri.replace("ws:", "http:")) as websocket:
            await websocket.send("x")
            assert await websocket.receive() == "x"
    app = endpoint(echo, origins=["https://app.example"])
    async with place.host(app) as host, anyws.connect(host.uri, origin="https://app.example"):
        pass


async def test_a_router_serves_by_path(place: Place) -> None:
    router = Router()

    @router.route("/rooms/<int:room>")
    async def chat(websocket: anyws.WebSocket, room: int) -> None:
        await websocket.send(f"room {room + 1}")

    async with place.host(endpoint(router)) as host:
        async with anyws.connect(f"{host.uri}/rooms/41") as websocket:
            assert await websocket.receive() == "room 42"
        assert (await refusal(f"{host.uri}/other")).status == 404


async def test_a_router_below_a_mount_of_starlette(place: Place) -> None:
    starlette = pytest.importorskip("starlette.applications")
    from starlette.routing import Mount, WebSocketRoute

    router = Router()

    @router.route("/rooms/<name>")
    async def chat(websocket: anyws.WebSocket, name: str) -> None:
        await websocket.send(f"{websocket.request.path} {name}")

    async def of_route(websocket: anyws.WebSocket) -> None:
        await websocket.send(websocket.request.state["scope"]["path_params"]["name"])

    routes = [Mount("/live", endpoint(router)), WebSocketRoute("/one/{name}", endpoint(of_route))]
    async with place.host(starlette.Starlette(routes=routes)) as host:
        async with anyws.connect(f"{host.uri}/live/rooms/a%20b") as websocket:
            assert await websocket.receive() == "/rooms/a b a b"
        async with anyws.connect(f"{host.uri}/one/two") as websocket:
            assert await websocket.receive() == "two"


async def test_a_mount_of_fastapi_and_its_middleware(place: Place) -> None:
    fastapi = pytest.importorskip("fastapi")
    from starlette.routing import WebSocketRoute

    app = fastapi.FastAPI(routes=[WebSocketRoute("/echo", endpoint(echo))])

    async def authenticated(scope: Any, receive: Any, send: Any) -> None:
        scope["user"] = "ann"
        await app(scope, receive, send)

    async def whoami(websocket: anyws.WebSocket) -> None:
        await websocket.send(websocket.request.state["scope"]["user"])

    app.mount("/who", endpoint(whoami))
    async with place.host(authenticated) as host:
        async with anyws.connect(f"{host.uri}/echo") as websocket:
            await websocket.send("x")
            assert await websocket.receive() == "x"
        async with anyws.connect(f"{host.uri}/who/") as websocket:
            assert await websocket.receive() == "ann"


@pytest.mark.filterwarnings("default")  # those of Django are its own matter
async def test_a_route_of_django_channels(place: Place) -> None:
    routing = pytest.importorskip("channels.routing")
    from django.urls import path

    from .django_settings import configure

    configure()

    async def chat(websocket: anyws.WebSocket) -> None:
        name = websocket.request.state["scope"]["url_route"]["kwargs"]["name"]
        await websocket.send(f"{websocket.request.path} {name} {await websocket.receive_text()}")

    urls = routing.URLRouter([path("chat/<name>", endpoint(chat, subprotocols=["chat.v1"]))])
    async with (
        place.host(routing.ProtocolTypeRouter({"websocket": urls})) as host,
        anyws.connect(f"{host.uri}/chat/room", subprotocols=["chat.v1"]) as websocket,
    ):
        await websocket.send("hello")
        assert await websocket.receive() == "/chat/room room hello"
        assert websocket.subprotocol == "chat.v1"


async def test_what_the_server_owns(place: Place) -> None:
    async def handler(websocket: anyws.WebSocket) -> None:
        with pytest.raises(NotImplementedError, match="run the application with 'uvicorn --ws"):
            await websocket.ping()
        with pytest.raises(NotImplementedError, match="pong"):
            websocket.pong()
        with pytest.raises(NotImplementedError, match="use receive"):
            websocket.receive_stream()
        with pytest.raises(NotImplementedError, match="fragment_size"):
            await websocket.send("x", fragment_size=1)
        with pytest.raises(NotImplementedError, match="compress"):
            websocket.send_nowait("x", compress=False)
        with pytest.raises(NotImplementedError, match="broadcast"):
            await anyws.broadcast([websocket], "x")
        async with anyws.open_topics() as topics:
            with pytest.raises(NotImplementedError, match="topics"):
                async with topics.forward(websocket, "news"):
                    pass

    if place.has_anyws:
        pytest.skip("here, anyws is the server")
    recorder = Recorder(handler)
    async with place.host(endpoint(recorder)) as host, anyws.connect(host.uri) as websocket:
        assert [message async for message in websocket] == []
    assert recorder.raised is None


async def test_with_anyws_in_uvicorn_nothing_is_missing(place: Place) -> None:
    async def handler(websocket: anyws.WebSocket) -> None:
        assert await websocket.ping() >= 0
        await anyws.broadcast([websocket], "x")
        await websocket.send("y", fragment_size=1, compress=False)
        async with anyws.open_topics() as topics, topics.forward(websocket, "news"):
            await topics.publish("news", "z")
            assert [piece async for piece in websocket.receive_stream()] == ["done"]

    if not place.has_anyws:
        pytest.skip("here, another library is the server")
    recorder = Recorder(handler)
    async with place.host(endpoint(recorder)) as host, anyws.connect(host.uri) as websocket:
        assert [await websocket.receive() for _ in range(3)] == ["x", "y", "z"]
        await websocket.send("done")
        await recorder.ended.wait()
    assert recorder.raised is None


async def test_the_addresses_remain_after_the_end(place: Place) -> None:
    recorder = Recorder(echo)
    async with place.host(endpoint(recorder)) as host:
        async with anyws.connect(host.uri) as websocket:
            ours = websocket.extra(SocketAttribute.local_address)
        await recorder.ended.wait()
    assert recorder.websocket is not None
    assert recorder.websocket.extra(SocketAttribute.remote_address) == ours
    assert "<anyws.WebSocket server '/' clos" in repr(recorder.websocket)
