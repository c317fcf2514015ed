"""A page in Chromium talks to our server, which has served the page as well; over ws and over wss."""

from __future__ import annotations

import json
import logging
import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

import anyws

from .browser import browser_command, browser_environment, needs_chromium

PAGE = Path(__file__).with_name("page.html").read_bytes()

pytestmark = needs_chromium

# What the page sees: see page.html.
EXPECTED = {
    "texts": [True] * 4,
    "buffers": dict.fromkeys(["0", "125", "126", "65535", "65536", "1048576"], True),
    "blob": True,
    "fragments": ["Grüße ✓", [0, 1, 2, 255]],
    "ping": "pong",
    "subprotocol": ["chat.v1", "chat.v2"],
    "closedByServer": [
        {"code": 1000, "reason": "", "wasClean": True},
        {"code": 1000, "reason": "bye", "wasClean": True},
        {"code": 1001, "reason": "gone", "wasClean": True},
        {"code": 4321, "reason": "tschüß", "wasClean": True},
        {"code": 1005, "reason": "", "wasClean": True},
    ],
    # A browser says what the server answered: the same code and reason.
    "closedByPage": [
        {"code": 1005, "reason": "", "wasClean": True},
        {"code": 1000, "reason": "done", "wasClean": True},
        {"code": 4321, "reason": "tschüß", "wasClean": True},
    ],
    "refused": {"event": "error", "code": 1006, "reason": "", "wasClean": False},
    "foreign": {"event": "error", "code": 1006, "reason": "", "wasClean": False},
}

# What the server sees of connections that the page has closed.
EXPECTED_CLOSES = {
    "/echo?close-undefined": (1005, ""),
    "/echo?close-1000": (1000, "done"),
    "/echo?close-4321": (4321, "tschüß"),
    "/report": (1001, ""),  # the page went away
}


def answer(request: anyws.Request) -> anyws.Response | None:
    if request.path == "/refused":
        return anyws.Response(403, body="not today\n")
    if "upgrade" in request.headers:
        return None
    if request.path == "/":
        return anyws.Response(200, {"Content-Type": "text/html; charset=utf-8"}, PAGE)
    return anyws.Response(404, body="no such page\n")


async def pieces_of(message: list[Any]) -> AsyncIterator[Any]:
    for piece in message:
        yield piece


class Site:
    """What serves the page, and talks to it.

    Attributes:
        closes: for each request target the Close that was received, once the handler has ended.
        next_page: where the page goes when it has reported.
        report: what the page saw.
        left: set when the page has gone there.
    """

    def __init__(self) -> None:
        self.closes: dict[str, tuple[int | None, str | None]] = {}
        self.next_page = ""
        self.report: Any = None
        self.left = anyio.Event()

    async def handle(self, websocket: anyws.WebSocket) -> None:
        try:
            await self.talk(websocket)
            async for message in websocket:
                await websocket.send(message)
        except anyws.ConnectionClosed:
            pass
        self.closes[websocket.request.target] = (websocket.close_code, websocket.close_reason)
        if websocket.request.path == "/report":
            self.left.set()

    async def talk(self, websocket: anyws.WebSocket) -> None:
        match websocket.request.path:
            case "/fragments":
                await websocket.send(pieces_of(["Grü", "", "ße ", "✓"]))
                await websocket.send(pieces_of([b"\0\1", b"", b"\2\xff"]))
            case "/ping":
                assert await websocket.ping(b"are you there?") > 0
                await websocket.send("pong")
            case "/close":
                code, reason = json.loads(await websocket.receive())
                await websocket.aclose(code, reason)
            case "/report":
                self.report = json.loads(await websocket.receive())
                await websocket.send(self.next_page)

    @asynccontextmanager
    async def open(self, ssl_context: ssl.SSLContext | None = None) -> AsyncIterator[str]:
        """Serve in the background; give the address of the page."""
        async with anyws.open_server(
            self.handle,
            "127.0.0.1",
            0,
            on_request=answer,
            subprotocols=["chat.v2", "chat.v1"],
            ssl_context=ssl_context,
        ) as server:
            yield f"{'http' if ssl_context is None else 'https'}://127.0.0.1:{server.addresses[0][1]}/"


@asynccontextmanager
async def run_browser(page: str, profile: Path) -> AsyncIterator[None]:
    """Show a page in a browser without a window."""
    async with await anyio.open_process(
        browser_command(profile, page),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=browser_environment(profile),
    ) as process:
        try:
            yield
        finally:
            process.terminate()


async def test_browser(tmp_path: Path, server_ssl_context: ssl.SSLContext, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "anyws.server")
    plain, secure = Site(), Site()
    async with plain.open() as page, secure.open(server_ssl_context) as secure_page:
        plain.next_page, secure.next_page = secure_page, f"{page}last"
        async with run_browser(page, tmp_path):
            await plain.left.wait()
            await secure.left.wait()
    for site in (plain, secure):
        assert site.report == EXPECTED
        assert site.closes | EXPECTED_CLOSES == site.closes
    refusals = [record.message for record in caplog.records if "is not allowed" in record.message]
    assert len(refusals) == 2
