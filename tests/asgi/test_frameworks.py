"""Small programs of FastAPI, Starlette and Django Channels: authentication, a subprotocol, a refusal, a broadcast."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import anyio
import pytest

import anyws
from anyws.asgi import websocket_of

from .serving import App, serving

pytestmark = pytest.mark.filterwarnings("default")  # those of the frameworks are their own matter

TOKEN = [("Authorization", "Bearer secret")]
PROTOCOLS = ["chat.v2", "chat.v1"]


def fastapi_app() -> App:
    fastapi = pytest.importorskip("fastapi")
    app = fastapi.FastAPI()
    everybody: set[anyws.WebSocket] = set()

    async def user_of(websocket: Any) -> str:
        if websocket.headers.get("authorization") != "Bearer secret":
            raise fastapi.WebSocketException(code=1008)
        return "Ann"

    user_of.__annotations__["websocket"] = fastapi.WebSocket

    async def chat(websocket: Any, user: str = fastapi.Depends(user_of)) -> None:
        await websocket.accept(subprotocol="chat.v1")
        connection = websocket_of(websocket.scope)
        assert connection is websocket_of(websocket)
        everybody.add(connection)
        try:
            async for text in websocket.iter_text():
                await anyws.broadcast(everybody, f"{user}: {text}")
        finally:
            everybody.discard(connection)

    chat.__annotations__["websocket"] = fastapi.WebSocket
    app.websocket("/chat")(chat)
    return cast(App, app)


def starlette_app() -> App:
    pytest.importorskip("starlette")
    from starlette.applications import Starlette
    from starlette.authentication import AuthCredentials, AuthenticationBackend, SimpleUser, requires
    from starlette.middleware import Middleware
    from starlette.middleware.authentication import AuthenticationMiddleware
    from starlette.routing import WebSocketRoute
    from starlette.websockets import WebSocket

    everybody: set[anyws.WebSocket] = set()

    class Backend(AuthenticationBackend):
        async def authenticate(self, conn: Any) -> tuple[AuthCredentials, SimpleUser] | None:
            if conn.headers.get("authorization") != "Bearer secret":
                return None
            return AuthCredentials(["authenticated"]), SimpleUser("Ann")

    @requires("authenticated")
    async def chat(websocket: WebSocket) -> None:
        await websocket.accept(subprotocol="chat.v1")
        everybody.add(websocket_of(websocket.scope))
        async for text in websocket.iter_text():
            await anyws.broadcast(everybody, f"{websocket.user.display_name}: {text}")

    middleware = [Middleware(AuthenticationMiddleware, backend=Backend())]
    return cast(App, Starlette(routes=[WebSocketRoute("/chat", chat)], middleware=middleware))


def channels_app() -> App:
    pytest.importorskip("channels")
    from .django_settings import configure

    configure()
    from channels.generic.websocket import AsyncWebsocketConsumer
    from channels.routing import ProtocolTypeRouter, URLRouter
    from django.urls import path

    class Chat(AsyncWebsocketConsumer):  # type: ignore[misc]
        groups = ("everybody",)

        async def connect(self) -> None:
            if (b"authorization", b"Bearer secret") not in self.scope["headers"]:
                await self.close()
                return
            await self.accept("chat.v1")

        async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
            await self.channel_layer.group_send("everybody", {"type": "chat.message", "text": f"Ann: {text_data}"})

        async def chat_message(self, event: dict[str, str]) -> None:
            await self.send(event["text"])

    return cast(App, ProtocolTypeRouter({"websocket": URLRouter([path("chat", Chat.as_asgi())])}))


@pytest.fixture(params=[fastapi_app, starlette_app, channels_app])
def app(request: pytest.FixtureRequest) -> App:
    create: Callable[[], App] = request.param
    return create()


async def test_a_chat(app: App) -> None:
    async with serving(app) as served:
        uri = f"{served.uri}/chat"
        with pytest.raises(anyws.HandshakeRefused) as raised:
            async with anyws.connect(uri, subprotocols=PROTOCOLS):
                pass
        assert raised.value.status == 403
        async with (
            anyws.connect(uri, headers=TOKEN, subprotocols=PROTOCOLS) as one,
            anyws.connect(uri, headers=TOKEN, subprotocols=PROTOCOLS) as two,
        ):
            assert one.subprotocol == two.subprotocol == "chat.v1"
            await one.send("hello")
            assert [await one.receive(), await two.receive()] == ["Ann: hello"] * 2
            await two.send("welcome")
            assert [await one.receive(), await two.receive()] == ["Ann: welcome"] * 2


async def test_the_denial_response_of_starlette() -> None:
    from starlette.responses import JSONResponse
    from starlette.websockets import WebSocket

    async def app(scope: Any, receive: Any, send: Any) -> None:
        websocket = WebSocket(scope, receive, send)
        await websocket.send_denial_response(JSONResponse({"detail": "no"}, 401))

    async with serving(app) as served:
        with pytest.raises(anyws.HandshakeRefused) as raised:
            async with anyws.connect(served.uri):
                pass
    response = raised.value.response
    assert (response.status, response.body) == (401, b'{"detail":"no"}')
    assert response.headers["content-type"] == "application/json"


async def test_a_disconnect_ends_an_iteration_of_starlette() -> None:
    from starlette.websockets import WebSocket, WebSocketDisconnect

    ends: list[int] = []
    ended = anyio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        websocket = WebSocket(scope, receive, send)
        await websocket.accept()
        try:
            while True:
                await websocket.receive_json()
        except WebSocketDisconnect as exc:
            ends.append(exc.code)
        ended.set()

    async with serving(app) as served:
        async with anyws.connect(served.uri) as websocket:
            await websocket.send("[]")
            await websocket.aclose(4000)
        await ended.wait()
    assert ends == [4000]
