"""anyws and each of the other libraries understand one another, as client and as server, on each event loop."""

from __future__ import annotations

import dataclasses
import importlib.util
import random
import shutil
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, get_args

import anyio
import pytest
import trustme
from anyio.streams.tls import TLSAttribute

import anyws
from anyws import PerMessageDeflate

from .meeting import Meeting, Side, new_path
from .peer import Peer, run_peer

HERE = Path(__file__).parent

# The script of each peer, and the module that it needs.
PYTHON_PEERS = {
    "websockets_asyncio": "websockets.asyncio",
    "websockets_trio": "websockets.trio",
    "aiohttp_asyncio": "aiohttp",
    "trio_websocket_trio": "trio_websocket",
    "wsproto_trio": "wsproto",
}

TEXTS = ["", "hello", "Grüße, 世界, \N{GRINNING FACE}, \0", "é" * 40_000]
SIZES = [0, 125, 126, 65_535, 65_536, 1024 * 1024]
CLOSES = [(1000, ""), (1000, "bye"), (1001, "gone"), (3000, ""), (4321, "tschüß, 再见")]


def command_of(name: str) -> list[str]:
    """Return the command that runs a peer; skip the test if something is missing."""
    if name != "ws":
        module = PYTHON_PEERS[name]
        try:
            found = importlib.util.find_spec(module) is not None
        except ModuleNotFoundError:
            found = False
        if not found:
            pytest.skip(f"{module} is not installed")
        return [sys.executable, "-m", f"{__package__}.peers.{name}"]
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed")
    if not (HERE / "node_modules" / "ws").is_dir():
        pytest.skip("the npm package ws is not installed: npm ci --prefix tests/interop")
    return [node, str(HERE / "peers" / "ws.mjs")]


@pytest.fixture(scope="session")
def certificates(certificate_authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with what a peer needs for TLS."""
    directory = tmp_path_factory.mktemp("certificates")
    certificate = certificate_authority.issue_cert("127.0.0.1")
    certificate.private_key_and_cert_chain_pem.write_to_path(str(directory / "server.pem"))
    certificate_authority.cert_pem.write_to_path(str(directory / "ca.pem"))
    return directory


@pytest.fixture(scope="session", params=[*PYTHON_PEERS, "ws"])
def peer(request: pytest.FixtureRequest, certificates: Path) -> Iterator[Peer]:
    with run_peer([*command_of(request.param), str(certificates)]) as running:
        yield running


@pytest.fixture(params=get_args(Side), ids=lambda side: f"our_{side}")
def meeting(request: pytest.FixtureRequest, peer: Peer, client_ssl_context: Any, server_ssl_context: Any) -> Meeting:
    return Meeting(peer, request.param, client_ssl_context, server_ssl_context)


def random_bytes(size: int) -> bytes:
    return random.Random(size).randbytes(size)


def needs(peer: Peer, what: str) -> None:
    if what in peer.lacks:
        pytest.skip(f"the library lacks this: {what}")


async def test_text(meeting: Meeting) -> None:
    async with meeting.open("text") as met:
        for text in TEXTS:
            await met.websocket.send(text)
            assert await met.websocket.receive() == text


async def test_binary(meeting: Meeting) -> None:
    async with meeting.open("binary") as met:
        for size in SIZES:
            data = random_bytes(size)
            await met.websocket.send(data)
            assert await met.websocket.receive() == data


async def test_many_messages_in_both_directions_at_once(meeting: Meeting) -> None:
    messages: list[str | bytes] = [f"{number}" if number % 2 else random_bytes(number * 10) for number in range(300)]

    async def send() -> None:
        for message in messages:
            await met.websocket.send(message)

    async with meeting.open("many") as met, anyio.create_task_group() as tasks:
        tasks.start_soon(send)
        for message in messages:
            assert await met.websocket.receive() == message


@pytest.mark.parametrize(
    "pieces", [["Grü", "", "ße ", "✓" * 50_000], [b"\0", b"", random_bytes(65_536), b"\xff"]], ids=["text", "binary"]
)
async def test_our_fragments(meeting: Meeting, pieces: list[Any]) -> None:
    """A fragmented message of ours is one message for the peer; a Ping may come between its frames."""

    async def message() -> AsyncIterator[Any]:
        for piece in pieces:
            yield piece
            await met.websocket.ping()

    async with meeting.open("our-fragments") as met:
        await met.websocket.send(message())
        assert await met.websocket.receive() == type(pieces[0])().join(pieces)


@pytest.mark.parametrize(("kind", "joined"), [("text", "Grüße ✓"), ("binary", "Grüße ✓".encode())])
async def test_their_fragments(meeting: Meeting, kind: str, joined: str | bytes) -> None:
    """A fragmented message of the peer is one message for us, received as a whole or piece by piece."""
    needs(meeting.peer, "fragments")
    async with meeting.open("their-fragments") as met:
        for _ in range(2):
            await met.order("fragments", **{kind: ["Grü", "", "ße ", "✓"]})
        assert await met.websocket.receive() == joined
        pieces: list[Any] = [piece async for piece in met.websocket.receive_stream()]
        assert type(joined)().join(pieces) == joined


# What we ask for as either end; the rest is the peer's choice.
COMPRESSIONS = [
    pytest.param(PerMessageDeflate(), id="plain"),
    pytest.param(PerMessageDeflate(server_max_window_bits=10, client_max_window_bits=10), id="window-bits"),
    pytest.param(PerMessageDeflate(server_no_context_takeover=True, client_no_context_takeover=True), id="no-takeover"),
]


@pytest.mark.parametrize("compression", COMPRESSIONS)
async def test_compression(meeting: Meeting, compression: PerMessageDeflate, library: Any) -> None:
    """Messages, empty ones too, and fragments of both sides come through an agreed compression."""
    needs(meeting.peer, "compression")
    compression = dataclasses.replace(compression, zlib=library)

    async def message() -> AsyncIterator[str]:
        for piece in ("Grü", "", "ße ", "✓" * 50_000):
            yield piece

    async with meeting.open("compression", compression=compression) as met:
        assert "permessage-deflate" in met.websocket.response.headers["Sec-WebSocket-Extensions"]
        messages: list[Any] = [
            "",
            "é" * 40_000,
            b"",
            random_bytes(65_536),
            "hello",
            "hello",
            random_bytes(65_536),
            bytes(100_000),
        ]
        for compress in (None, True, False):
            for sent in messages:
                await met.websocket.send(sent, compress=compress)
                assert await met.websocket.receive() == sent
            await met.websocket.send(message(), compress=compress)
            assert await met.websocket.receive() == "Grüße " + "✓" * 50_000
        if "fragments" not in meeting.peer.lacks:
            for _ in range(2):
                await met.order("fragments", text=["Grü", "", "ße ", "✓"])
                assert await met.websocket.receive() == "Grüße ✓"
        assert 0 < await met.websocket.ping() < 10


async def test_our_ping(meeting: Meeting) -> None:
    async with meeting.open("our-ping") as met:
        for payload in (None, b"", b"\0\xff", random_bytes(125)):
            assert 0 < await met.websocket.ping(payload) < 10


async def test_their_ping(meeting: Meeting) -> None:
    """A Ping of the peer is answered by a Pong with the same payload."""
    async with meeting.open("their-ping") as met:
        for payload in ("payload", "p" * 125):
            await met.order("ping", payload=payload)
            assert await met.websocket.receive() == "pong"


@pytest.mark.parametrize(
    ("offered", "agreed"), [(["unknown", "chat.v1"], "chat.v1"), (["chat.v1", "chat.v2"], None), ([], None)]
)
async def test_subprotocol(meeting: Meeting, offered: list[str], agreed: str | None) -> None:
    """Both sides agree; which of several offered ones it is, is the server's choice."""
    async with meeting.open("subprotocol", offered=offered, spoken=["chat.v2", "chat.v1"]) as met:
        subprotocol = met.websocket.subprotocol
        await met.websocket.aclose()
        assert (await met.report())["subprotocol"] == subprotocol
    if agreed is not None or not offered:
        assert subprotocol == agreed
    elif meeting.our_side == "server":
        assert subprotocol == "chat.v2"
    else:
        assert subprotocol in offered


@pytest.mark.parametrize(("code", "reason"), [*CLOSES, (None, "")])
async def test_we_close(meeting: Meeting, code: int | None, reason: str) -> None:
    async with meeting.open("we-close") as met:
        await met.websocket.aclose(code, reason)
        report = await met.report()
        assert (report["code"], report["reason"]) == (code or 1005, reason)
        if "echo of the code" not in met.peer.lacks:
            assert met.websocket.close_code == (code or 1005)
            assert met.websocket.close_reason in ("", reason)
        else:
            assert met.websocket.close_code == 1000
        with pytest.raises(anyio.ClosedResourceError):
            await met.websocket.send("too late")


@pytest.mark.parametrize(("code", "reason"), CLOSES)
async def test_they_close(meeting: Meeting, code: int, reason: str) -> None:
    async with meeting.open("they-close") as met:
        await met.order("close", code=code, reason=reason)
        with pytest.raises(anyws.ConnectionClosed) as caught:
            await met.websocket.receive()
        assert isinstance(caught.value, anyio.EndOfStream if code in (1000, 1001) else anyio.BrokenResourceError)
        assert (caught.value.code, caught.value.reason) == (code, reason)
        assert (met.websocket.close_code, met.websocket.close_reason) == (code, reason)
        assert (await met.report())["code"] == code


@pytest.mark.parametrize("closed_by", ["us", "them"])
async def test_tls(meeting: Meeting, closed_by: str) -> None:
    async with meeting.open("tls", tls=True) as met:
        assert met.websocket.extra(TLSAttribute.tls_version).startswith("TLSv1")
        for message in ("Grüße", random_bytes(1024 * 1024)):
            await met.websocket.send(message)
            assert await met.websocket.receive() == message
        if closed_by == "us":
            await met.websocket.aclose(4000, "done")
            report = await met.report()
            assert (report["code"], report["reason"]) == (4000, "done")
        else:
            await met.order("close", code=4000, reason="done")
            with pytest.raises(anyws.ConnectionClosedError) as caught:
                await met.websocket.receive()
            assert (caught.value.code, caught.value.reason) == (4000, "done")
            assert (await met.report())["code"] == 4000


async def test_they_refuse(peer: Peer) -> None:
    """Our client gets the status and the body of a refusal."""
    with pytest.raises(anyws.HandshakeRefused) as caught:
        async with anyws.connect(peer.uri(new_path("refuse"))):
            pass
    assert caught.value.status == 403
    assert caught.value.response.body == b"not today\n"


async def test_we_refuse(peer: Peer) -> None:
    """The peer's client gets the status and the body of a refusal."""

    async def refuse(request: anyws.Request) -> anyws.Response:
        return anyws.Response(403, body=f"not today, {request.path}\n")

    async def handle(websocket: anyws.WebSocket) -> None:
        pytest.fail("the request was refused")

    path = new_path("refuse")
    async with anyws.open_server(handle, "127.0.0.1", 0, on_request=refuse) as server:
        peer.connect(f"ws://127.0.0.1:{server.addresses[0][1]}{path}")
        report = await peer.report(path)
    assert report["status"] == 403
    if "body of a refusal" not in peer.lacks:
        assert report["body"] == f"not today, {path}\n"
