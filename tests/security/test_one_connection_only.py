"""An error in one connection ends only this connection and is logged; `serve` never raises it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import anyio
import pytest
import sniffio
from anyio.abc import Listener, SocketAttribute, TaskGroup

import anyws
from tests.peers import REQUEST, TEXT, Frame, Peer, StreamPeer, Wire, echo, frame_bytes

from .attacker import asking, attacker, check_serves

Handler = Callable[[anyws.WebSocket], Any]


class Fault(Exception):
    """An unexpected error in one connection."""


def fail(*_: object) -> Any:
    raise Fault


# -- what the application brings ---------------------------------------------------------------------------------------


class Codec(anyws.Codec):
    """Fails for each message that it transforms."""

    rsv = 0x20

    def encode(self, payload: bytes, *, first: bool, fin: bool, compress: bool | None) -> tuple[bytes, bool]:
        if payload == b"fail":
            raise Fault
        return payload, False

    def decode(self, payload: bytes, *, fin: bool, limit: int | None) -> bytes:
        raise Fault


class Extension(anyws.Extension):
    """Accepts ``fault``; fails for an offer with a parameter."""

    name = "fault"

    def offers(self) -> Sequence[anyws.ExtensionOffer]:
        return [anyws.ExtensionOffer("fault")]

    def accept(self, offer: anyws.ExtensionOffer) -> tuple[anyws.ExtensionOffer, anyws.Codec]:
        if offer.parameters:
            raise Fault
        return offer, Codec()

    def create_codec(self, answer: anyws.ExtensionOffer) -> anyws.Codec:
        return Codec()


AGREED = asking("Sec-WebSocket-Extensions: fault")
MASKED_RSV2 = b"\xa1\x81\0\0\0\0x"
FAIL = frame_bytes(TEXT, b"fail", masked=True)


async def echo_or_fail(websocket: anyws.WebSocket) -> None:
    """Echo messages until one of them asks for an error."""
    async for message in websocket:
        if message == "fail" and "fault" not in websocket.response.headers.get("sec-websocket-extensions", ""):
            raise Fault
        await websocket.send(message)


async def group_fails(websocket: anyws.WebSocket) -> None:
    """Fail in a task that the handler has started."""
    async for message in websocket:
        async with anyio.create_task_group() as tasks:
            if message == "fail":
                tasks.start_soon(fail)
        await websocket.send(message)


def fails_at(path: str) -> Callable[[anyws.Request], None]:
    """Return a request hook that fails for this path."""
    return lambda request: fail() if request.path == path else None


def subprotocols(offered: Sequence[str]) -> None:
    """Select no subprotocol, or fail."""
    if "fail" in offered:
        raise Fault


FAULTS = [
    pytest.param(echo_or_fail, {}, [REQUEST, FAIL], id="handler"),
    pytest.param(echo_or_fail, {}, [REQUEST + FAIL], id="handler-at-once"),
    pytest.param(group_fails, {}, [REQUEST, FAIL], id="task-of-a-handler"),
    pytest.param(echo, {"on_request": fails_at("/no")}, [REQUEST.replace(b"/chat", b"/no")], id="on_request"),
    pytest.param(
        echo, {"subprotocols": subprotocols}, [asking("Sec-WebSocket-Protocol: fail")], id="choice-of-a-subprotocol"
    ),
    pytest.param(
        echo, {"extensions": [Extension()]}, [asking("Sec-WebSocket-Extensions: fault; x")], id="accept-of-an-extension"
    ),
    pytest.param(echo, {"extensions": [Extension()]}, [AGREED, MASKED_RSV2], id="decode-of-a-codec"),
    pytest.param(
        # The core is CLOSED without a Close, and so the server waits for as long as it may.
        *(echo_or_fail, {"extensions": [Extension()], "close_timeout": 0.1}, [AGREED, FAIL]),
        id="encode-of-a-codec",
    ),
    pytest.param(echo, {"extensions": [Extension()]}, [AGREED + MASKED_RSV2], id="decode-of-a-codec-at-once"),
]


async def until_closed(peer: StreamPeer, pieces: Sequence[bytes]) -> None:
    """Send a request and more data; wait for a Close or the end, and disconnect."""
    first, *others = pieces
    await peer.stream.send(first)
    head = await peer.read_head()
    for piece in others:
        await peer.stream.send(piece)
    if head.startswith(b"HTTP/1.1 101 "):
        try:
            assert (await peer.frame()).close_code is not None
        except (anyio.EndOfStream, anyio.BrokenResourceError):
            pass
    await peer.stream.aclose()


@pytest.mark.parametrize(("handler", "options", "pieces"), FAULTS)
async def test_an_error_in_the_application(
    handler: Callable[[anyws.WebSocket], Any],
    options: dict[str, Any],
    pieces: list[bytes],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.ERROR, "anyws")
    async with (
        anyws.open_server(handler, "127.0.0.1", 0, **options) as server,
        attacker(server) as before,
        attacker(server) as bad,
    ):
        await before.open()
        await until_closed(bad, pieces)
        await check_serves(server)
        await before.send(TEXT, b"still there?")
        assert await before.frame() == Frame(TEXT, b"still there?")
    assert all(record.exc_info is not None for record in caplog.records)
    assert "Fault" in caplog.text


async def test_a_handler_that_raises_a_stray_cancelled_error() -> None:
    """On asyncio, awaiting a cancelled task raises its `CancelledError` although the calling task is not cancelled."""

    async def handler(websocket: anyws.WebSocket) -> None:
        async for message in websocket:
            if message == "fail":
                cancelled = asyncio.get_running_loop().create_future()
                cancelled.cancel()
                await cancelled
            await websocket.send(message)

    if sniffio.current_async_library() != "asyncio":
        pytest.skip("only on asyncio")
    async with (
        anyws.open_server(handler, "127.0.0.1", 0) as server,
        attacker(server) as before,
        attacker(server) as bad,
    ):
        await before.open()
        await until_closed(bad, [REQUEST, FAIL])
        await check_serves(server)
        await before.send(TEXT, b"still there?")
        assert await before.frame() == Frame(TEXT, b"still there?")


# -- a stream and a listener of the user's -----------------------------------------------------------------------------


class Faulty(Wire):
    """A stream that fails in one of its methods."""

    where: str = ""

    async def receive(self, max_bytes: int = 65536) -> bytes:
        return fail() if self.where == "receive" else await super().receive(max_bytes)

    async def send(self, item: bytes) -> None:
        await (fail() if self.where == "send" else super().send(item))

    async def aclose(self) -> None:
        await super().aclose()
        if self.where in ("receive", "send", "aclose"):
            raise Fault

    @property
    def extra_attributes(self) -> Mapping[Any, Callable[[], Any]]:
        attributes = {"address": ("a name", 1), "address-fails": None}
        if self.where not in attributes:
            return {}
        address = attributes[self.where]
        return {SocketAttribute.remote_address: lambda: address or fail()}


class Streams(Listener[Any]):
    """A listener that accepts given streams."""

    def __init__(self, *streams: Wire) -> None:
        self._streams = streams

    async def serve(self, handler: Callable[[Any], Any], task_group: TaskGroup | None = None) -> None:
        assert task_group is not None
        for stream in self._streams:
            task_group.start_soon(handler, stream)
        await anyio.sleep_forever()

    async def aclose(self) -> None:
        pass


@pytest.mark.parametrize(
    "where",
    [
        "receive",
        "send",
        "aclose",
        pytest.param("address"),
        pytest.param("address-fails"),
    ],
)
async def test_an_error_in_a_stream(where: str, caplog: pytest.LogCaptureFixture) -> None:
    bad, good = Peer("server"), Peer("server")
    bad.stream.__class__ = Faulty
    bad.stream.where = where  # type: ignore[attr-defined]
    async with anyws.open_server(echo, listeners=[Streams(bad.stream, good.stream)]):
        bad.send_close()
        bad.send_eof()
        await anyio.wait_all_tasks_blocked()
        good.send(TEXT, b"still there?")
        assert await good.frame() == Frame(TEXT, b"still there?")
        good.send_close()
        good.send_eof()
        await good.end()
    assert {record.levelno for record in caplog.records} <= {logging.ERROR}
