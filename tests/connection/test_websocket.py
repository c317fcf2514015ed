"""Sending and receiving whole messages, pings, the state of a connection."""

from __future__ import annotations

import ssl
from collections.abc import Callable

import anyio
import pytest
from anyio.abc import SocketAttribute
from anyio.streams.tls import TLSAttribute

import anyws
from tests.peers import BINARY, CLOSE, PING, PONG, TEXT, Frame, Meeting, Side, uri_of


@pytest.mark.parametrize(
    ("message", "opcode", "payload"),
    [
        pytest.param("Grüße", TEXT, "Grüße".encode(), id="str"),
        pytest.param("", TEXT, b"", id="empty str"),
        pytest.param(b"\x00\xff", BINARY, b"\x00\xff", id="bytes"),
        pytest.param(b"", BINARY, b"", id="empty bytes"),
        pytest.param(bytearray(b"array"), BINARY, b"array", id="bytearray"),
        pytest.param(memoryview(b"every other")[::2], BINARY, b"eeyohr", id="memoryview"),
        pytest.param(b"x" * 70000, BINARY, b"x" * 70000, id="64-bit length"),
    ],
)
async def test_send(ours: Side, message: str | bytes, opcode: int, payload: bytes, meeting: Meeting) -> None:
    async with meeting(ours) as (websocket, peer):
        await websocket.send(message)
        assert await peer.frame() == Frame(opcode, payload)
        websocket.send_nowait(message)
        assert await peer.frame() == Frame(opcode, payload)


async def test_what_is_sent_is_what_it_was_when_it_was_sent(meeting: Meeting) -> None:
    async with meeting("server") as (websocket, peer):
        peer.stop_reading()
        message = bytearray(b"before")
        await websocket.send(message)
        message[:] = b"after!"
        peer.go_on_reading()
        assert await peer.frame() == Frame(BINARY, b"before")


@pytest.mark.parametrize("message", [None, 5, ["a"], object(), {"a": 1}])
async def test_send_another_type(message: object, meeting: Meeting) -> None:
    async with meeting("client") as (websocket, peer):
        with pytest.raises(TypeError, match=f"cannot send {type(message).__name__}"):
            await websocket.send(message)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match=f"cannot send {type(message).__name__}"):
            websocket.send_nowait(message)  # type: ignore[arg-type]
        await websocket.send("still open")
        assert await peer.frame() == Frame(TEXT, b"still open")


async def test_text_that_is_no_utf_8_is_refused_and_the_connection_goes_on(meeting: Meeting) -> None:
    async with meeting("client") as (websocket, peer):
        with pytest.raises(UnicodeEncodeError):
            await websocket.send("\ud800")
        with pytest.raises(UnicodeEncodeError):
            websocket.send_nowait("\ud800")
        await websocket.send("still open")
        assert await peer.frame() == Frame(TEXT, b"still open")


async def test_receive(ours: Side, meeting: Meeting) -> None:
    async with meeting(ours) as (websocket, peer):
        peer.send(TEXT, "Grüße".encode())
        peer.send(BINARY, b"\x00\xff")
        peer.send(TEXT)
        peer.send(TEXT, b"in ", fin=False)
        peer.send(PING, b"between")
        peer.send(0, b"two", fin=True)
        assert [await websocket.receive() for _ in range(4)] == ["Grüße", b"\x00\xff", "", "in two"]
        assert await peer.frame() == Frame(PONG, b"between")


async def test_receive_byte_by_byte(ours: Side, meeting: Meeting) -> None:
    async with meeting(ours) as (websocket, peer):
        for byte in peer.frame_bytes(TEXT, "Grüße".encode()):
            peer.send_bytes(bytes([byte]))
        assert await websocket.receive() == "Grüße"


async def test_frames_behind_the_head_are_received(ours: Side, meeting: Meeting) -> None:
    trailing = (
        b"\x81\x05Hello" if ours == "client" else b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"
    )  # RFC 6455, 5.7
    async with meeting(ours, trailing=trailing) as (websocket, _):
        assert await websocket.receive() == "Hello"


async def test_a_frame_cut_in_two_by_the_head_is_received(meeting: Meeting) -> None:
    async with meeting("client", trailing=b"\x81\x05He") as (websocket, peer):
        peer.send_bytes(b"llo")
        assert await websocket.receive() == "Hello"


async def test_two_tasks_cannot_receive_at_a_time(meeting: Meeting) -> None:
    async with meeting("client") as (websocket, peer), anyio.create_task_group() as tasks:
        tasks.start_soon(websocket.receive)
        await anyio.wait_all_tasks_blocked()
        with pytest.raises(anyio.BusyResourceError):
            await websocket.receive()
        with pytest.raises(anyio.BusyResourceError):
            await anext(websocket.receive_stream())
        peer.send(TEXT, b"for the first")


async def test_any_task_may_send_while_another_receives(meeting: Meeting) -> None:
    async with meeting("server") as (websocket, peer), anyio.create_task_group() as tasks:
        tasks.start_soon(websocket.receive)
        await anyio.wait_all_tasks_blocked()
        for _ in range(3):
            tasks.start_soon(websocket.send, "x")
        assert [await peer.frame() for _ in range(3)] == [Frame(TEXT, b"x")] * 3
        peer.send(TEXT)


# -- pings -------------------------------------------------------------------------------------------------------------


async def test_pings_are_answered_while_nobody_receives(ours: Side, meeting: Meeting) -> None:
    async with meeting(ours) as (_, peer):
        peer.send(PING, b"are you there?")
        assert await peer.frame() == Frame(PONG, b"are you there?")


async def test_ping_returns_the_latency(ours: Side, meeting: Meeting) -> None:
    latencies: list[float] = []

    async def ping() -> None:
        latencies.append(await websocket.ping())

    async with meeting(ours) as (websocket, peer), anyio.create_task_group() as tasks:
        tasks.start_soon(ping)
        frame = await peer.frame()
        assert frame.opcode == PING
        assert len(frame.payload) == 4
        peer.send(PONG, b"unsolicited")
        await anyio.wait_all_tasks_blocked()
        assert not latencies
        peer.send(PONG, frame.payload)
    assert 0 < latencies[0] < 10


async def test_one_pong_answers_the_pings_before_it(meeting: Meeting) -> None:
    answered: list[bytes] = []

    async def ping(payload: bytes) -> None:
        await websocket.ping(payload)
        answered.append(payload)

    async with meeting("client") as (websocket, peer), anyio.create_task_group() as tasks:
        for payload in (b"1", b"2", b"3"):
            tasks.start_soon(ping, payload)
            await anyio.wait_all_tasks_blocked()
        assert [await peer.frame() for _ in range(3)] == [Frame(PING, payload) for payload in (b"1", b"2", b"3")]
        peer.send(PONG, b"2")
        await anyio.wait_all_tasks_blocked()
        assert sorted(answered) == [b"1", b"2"]
        peer.send(PONG, b"3")


async def test_a_ping_given_up_is_forgotten(meeting: Meeting) -> None:
    async with meeting("client") as (websocket, peer):
        with anyio.move_on_after(0.001):
            await websocket.ping(b"late")
        peer.send(PONG, b"late")
        peer.send(TEXT, b"after")
        assert await websocket.receive() == "after"


async def test_ping_payload(meeting: Meeting) -> None:
    async with meeting("client") as (websocket, peer):
        with pytest.raises(ValueError, match="126 bytes"):
            await websocket.ping(b"x" * 126)
        await websocket.send("nothing was sent")
        assert (await peer.frame()).opcode == TEXT


@pytest.mark.parametrize(
    ("code", "exception"),
    [(1000, anyws.ConnectionClosedOK), (1011, anyws.ConnectionClosedError), (None, anyws.ConnectionClosedOK)],
)
async def test_a_ping_whose_connection_ends(
    code: int | None, exception: type[anyws.ConnectionClosed], meeting: Meeting
) -> None:
    async def ping() -> None:
        with pytest.raises(exception):
            await websocket.ping()

    async with meeting("client") as (websocket, peer), anyio.create_task_group() as tasks:
        tasks.start_soon(ping)
        await peer.frame()
        peer.send_close(code)
        peer.send_eof()
        await websocket.wait_closed()
        with pytest.raises(anyws.ConnectionClosedError):
            await websocket.ping()


# -- state -------------------------------------------------------------------------------------------------------------


async def test_state_and_repr(ours: Side, meeting: Meeting) -> None:
    async with meeting(ours) as (websocket, peer):
        assert repr(websocket) == f"<anyws.WebSocket {ours} '/chat' open>"
        assert (websocket.close_code, websocket.close_reason) == (None, None)
        assert websocket.request.path == "/chat"
        assert websocket.response.status == 101
        assert websocket.subprotocol is None
        await websocket.send_eof()
        assert repr(websocket) == f"<anyws.WebSocket {ours} '/chat' closing>"
        assert (websocket.close_code, websocket.close_reason) == (None, None)
        assert (await peer.frame()).close_code == 1000
        peer.send_close(1000, "bye")
        peer.send_eof()
        await websocket.wait_closed()
        assert repr(websocket) == f"<anyws.WebSocket {ours} '/chat' closed 1000>"
        assert (websocket.close_code, websocket.close_reason) == (1000, "bye")


async def test_repr_has_no_query() -> None:
    async def show(websocket: anyws.WebSocket) -> None:
        await websocket.send(repr(websocket))

    async with (
        anyws.open_server(show, "127.0.0.1", 0) as server,
        anyws.connect(uri_of(server, "/chat?token=secret")) as websocket,
    ):
        assert await websocket.receive() == "<anyws.WebSocket server '/chat' open>"
        assert "secret" not in repr(websocket)


async def test_wait_closed_waits_for_the_end(meeting: Meeting) -> None:
    closed = anyio.Event()

    async def wait() -> None:
        await websocket.wait_closed()
        closed.set()

    async with meeting("client") as (websocket, peer), anyio.create_task_group() as tasks:
        tasks.start_soon(wait)
        await anyio.wait_all_tasks_blocked()
        assert not closed.is_set()
        peer.send_close(1000)
        assert (await peer.frame()).opcode == CLOSE
        await anyio.wait_all_tasks_blocked()
        assert not closed.is_set()  # it is on the server to end TCP
        peer.send_eof()
    assert closed.is_set()


@pytest.mark.parametrize("scheme", ["ws", "wss"])
async def test_attributes_of_the_streams_below(
    scheme: str, server_ssl_context: ssl.SSLContext, client_ssl_context: ssl.SSLContext
) -> None:
    addresses: list[object] = []
    versions: list[str] = []

    async def look(websocket: anyws.WebSocket) -> None:
        addresses.append(websocket.extra(SocketAttribute.remote_address))
        if scheme == "wss":
            versions.append(websocket.extra(TLSAttribute.tls_version))
        await websocket.receive()

    tls = scheme == "wss"
    async with (
        anyws.open_server(look, "127.0.0.1", 0, ssl_context=server_ssl_context if tls else None) as server,
        anyws.connect(uri_of(server, scheme=scheme), ssl_context=client_ssl_context if tls else None) as websocket,
    ):
        await websocket.send("go")
        local: Callable[..., object] = websocket.extra
        ours = local(SocketAttribute.local_address)
        assert websocket.extra(SocketAttribute.remote_address) == server.addresses[0]
        assert websocket.extra(TLSAttribute.tls_version, None) == ("TLSv1.3" if tls else None)
        await websocket.wait_closed()
    assert addresses == [ours]
    assert versions == (["TLSv1.3"] if tls else [])
