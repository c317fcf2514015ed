"""A peer cannot forge log lines or flood the log."""

from __future__ import annotations

import logging

import anyio
import pytest

import anyws
from anyws.protocol import HandshakeRefused, ServerHandshake
from anyws.protocol.errors import in_one_line
from tests.peers import REQUEST, ended, uri_of

from .attacker import asking

FORGED = "bye\n[192.0.2.1:1] the handler failed\r\x1b[2J\x9b2J\u202e\u2028"


async def close_with(reason: str) -> None:
    """Close a connection in a way that the handler does not expect, as a client."""
    over = anyio.Event()

    async def handler(websocket: anyws.WebSocket) -> None:
        try:
            await websocket.receive()
        finally:
            over.set()

    async with anyws.open_server(handler, "127.0.0.1", 0) as server:
        async with anyws.connect(uri_of(server)) as websocket:
            await websocket.aclose(3000, reason)
        await over.wait()


@pytest.mark.parametrize("level", [logging.INFO, logging.DEBUG])
async def test_a_forged_line_in_a_close_reason(level: int, caplog: pytest.LogCaptureFixture) -> None:
    """CWE-117: a close reason of the peer stays within its line and cannot control the terminal."""
    caplog.set_level(level, "anyws")
    await close_with(FORGED)
    assert any("the handler ended with the connection" in record.message for record in caplog.records)
    for record in caplog.records:
        assert record.message.isprintable()


async def test_a_forged_line_in_an_exception(caplog: pytest.LogCaptureFixture) -> None:
    """Applications log exceptions. The attribute of the exception still has the reason unchanged."""

    async def handler(websocket: anyws.WebSocket) -> None:
        await websocket.aclose(3000, FORGED)

    async with anyws.open_server(handler, "127.0.0.1", 0) as server, anyws.connect(uri_of(server)) as websocket:
        closed = await ended(websocket)
    assert str(closed).isprintable()
    assert closed.reason == FORGED


async def test_a_close_reason_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    """A close reason is content, like a message."""
    caplog.set_level(logging.INFO, "anyws")
    await close_with("s3cret")
    assert len(caplog.records) == 1
    assert "s3cret" not in caplog.text


@pytest.mark.parametrize(
    "head",
    [
        REQUEST.replace(b"Version: 13", b"Version: 13\x9b2J"),
        REQUEST.replace(b"Version: 13", b"Version: " + b"8" * 15_000),
        REQUEST.replace(b"GET", b"G" * 15_000),
        asking("Sec-WebSocket-Extensions: " + "a" * 15_000 + "="),
        asking("Sec-WebSocket-Extensions: a; \x9b2J"),
        REQUEST.replace(b"HTTP/1.1", b"HTTP/1.1\x9b2J"),
    ],
)
def test_a_rejection_does_not_repeat_what_the_client_sent(head: bytes) -> None:
    """Neither the log nor the response has terminal codes (including C1 in Latin-1) or kilobytes of the request."""
    with pytest.raises(HandshakeRefused) as raised:
        ServerHandshake().receive_data(head)
    assert str(raised.value).isprintable()
    assert len(str(raised.value)) < 400
    assert raised.value.response.body.rstrip(b"\n").decode().isprintable()


def test_in_one_line() -> None:
    assert in_one_line("Gr\u00fc\u00dfe \U0001f600") == "Gr\u00fc\u00dfe \U0001f600"
    assert in_one_line("a\nb\x1b\u202e") == "a\\nb\\x1b\\u202e"
    assert in_one_line("x" * 1000) == "x" * 300 + "..."
