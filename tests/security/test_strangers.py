"""Clients of other protocols are rejected with one log line, and other connections are not affected."""

from __future__ import annotations

import logging
import ssl
from typing import Any

import pytest

import anyws
from tests.peers import echo

from .attacker import answer_to, asking, attacker, check_serves

HELLO = bytes.fromhex("16030100c8010000c403035b90aa3c")  # the beginning of a ClientHello
STRANGERS = [
    pytest.param(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"HTTP/1.1 505 ", id="http-2-preface"),
    pytest.param(HELLO, b"HTTP/1.1 400 ", id="tls"),
    pytest.param(b"SSH-2.0-OpenSSH_9.6\r\n\r\n", b"HTTP/1.1 400 ", id="ssh"),
    pytest.param(b"\x03\x00\x00\x13\x0e\xe0\x00\x00", b"HTTP/1.1 400 ", id="rdp"),
    pytest.param(b"OPTIONS sip:nm SIP/2.0\r\nVia: SIP/2.0/TCP nm\r\n\r\n", b"HTTP/1.1 400 ", id="sip"),
    pytest.param(b"CONNECT evil.example:25 HTTP/1.1\r\nHost: evil.example\r\n\r\n", b"HTTP/1.1 405 ", id="proxy"),
    pytest.param(b"GET http://evil.example/ HTTP/1.1\r\nHost: a\r\n\r\n", b"HTTP/1.1 426 ", id="absolute-target"),
    pytest.param(asking("\xe9: x"), b"HTTP/1.1 400 ", id="non-ascii-name"),
    pytest.param(asking("Origin: http://\xe9"), b"HTTP/1.1 403 ", id="non-ascii-origin"),
    pytest.param(asking("Sec-WebSocket-Protocol: \xe9"), b"HTTP/1.1 400 ", id="non-ascii-subprotocol"),
    pytest.param(asking("Sec-WebSocket-Extensions: \xe9"), b"HTTP/1.1 400 ", id="non-ascii-extension"),
    pytest.param(asking("X: " + "x" * 16384), b"HTTP/1.1 431 ", id="huge-header"),
    pytest.param(b"GET / HTTP/1.1\r\n" + b"X" * 1_000_000, b"HTTP/1.1 431 ", id="endless-header"),
    pytest.param(asking(*["X: y"] * 200), b"HTTP/1.1 431 ", id="many-headers"),
    pytest.param(b"\r\n" * 20_000, b"HTTP/1.1 400 ", id="empty-lines"),
]


@pytest.mark.parametrize(("said", "answer"), STRANGERS)
async def test_other_protocols_are_rejected(said: bytes, answer: bytes, caplog: pytest.LogCaptureFixture) -> None:
    """Scanners send this to any port; in other servers, tracebacks filled the logs (websockets 1399, aiohttp 5345)."""
    caplog.set_level(logging.INFO, "anyws")
    async with anyws.open_server(echo, "127.0.0.1", 0) as server:
        got = await answer_to(server, said)
        # With much unread, the system may end the connection by a reset.
        assert got.startswith(answer) or (not got and len(said) > 65536)
        assert len(got) < 1000
        await check_serves(server)
    (record,) = caplog.records
    assert (record.levelno, record.exc_info) == (logging.INFO, None)
    assert record.message.isprintable()
    assert len(record.message) < 500


@pytest.mark.parametrize("said", [HELLO, b"\x16\x03\x01\x00\x01\xff", b"GET / HTTP/1.1\r\n\r\n", b"\x80" * 70_000])
async def test_other_protocols_on_a_tls_port(
    said: bytes,
    server_ssl_context: ssl.SSLContext,
    client_ssl_context: ssl.SSLContext,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Plain HTTP, half of a ClientHello, and garbage."""
    caplog.set_level(logging.INFO, "anyws")
    async with anyws.open_server(echo, "127.0.0.1", 0, ssl_context=server_ssl_context) as server:
        async with attacker(server) as peer:
            await peer.stream.send(said)
        await check_serves(server, ssl_context=client_ssl_context)
    (record,) = caplog.records
    assert (record.levelno, record.exc_info) == (logging.INFO, None)
    assert record.message.isprintable()


@pytest.mark.parametrize("value", ["\xe9\xa9", "\x80\xff", "\u00a0"])
async def test_a_header_value_outside_ascii_is_accepted(value: str) -> None:
    """In other servers this caused a traceback (websockets 1676); here the value is decoded as Latin-1."""
    seen: list[str] = []

    def on_request(request: anyws.Request) -> None:
        seen.append(request.headers["x-name"])

    async with anyws.open_server(echo, "127.0.0.1", 0, on_request=on_request) as server, attacker(server) as peer:
        assert (await peer.open(asking(f"X-Name: a{value}b"))).startswith(b"HTTP/1.1 101 ")
    assert seen == [f"a{value}b"]


@pytest.mark.parametrize("head", ["\x1b[2J", "\x07", "\x7f", "\x01"])
async def test_control_characters_in_a_header_are_refused(head: str) -> None:
    """RFC 9110, section 5.5. In a log, they could control the terminal (CWE-150)."""
    hook: list[Any] = []
    async with anyws.open_server(echo, "127.0.0.1", 0, on_request=hook.append) as server:
        assert (await answer_to(server, asking(f"X: a{head}b"))).startswith(b"HTTP/1.1 400 ")
    assert not hook
