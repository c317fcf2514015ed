"""A browser that we did not write: Chromium without a window, also told by its DevTools protocol what to do."""

from __future__ import annotations

import base64
import itertools
import json
import os
import shutil
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

import anyws

__all__ = ["CHROMIUM", "Tab", "browser_command", "browser_environment", "needs_chromium", "open_tab", "with_devtools"]

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
LIMIT = 30  # seconds, for what should take two

needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")


def browser_command(profile: Path, *arguments: str) -> list[str]:
    """Return the command that starts Chromium without a window."""
    assert CHROMIUM is not None
    return [
        CHROMIUM,
        "--headless",
        "--no-sandbox",  # it does not run as root otherwise, as in a container; it sees our pages only
        "--disable-gpu",
        "--disable-quic",
        "--disable-back-forward-cache",  # a page that is left is gone, and its connections with it
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-dev-shm-usage",  # a container may have little of it
        "--disable-sync",
        "--ignore-certificate-errors",
        "--no-first-run",
        f"--user-data-dir={profile}",
        *arguments,
    ]


def browser_environment(profile: Path) -> dict[str, str]:
    """Return an environment in which it leaves the user's files alone."""
    return {**os.environ, "HOME": str(profile)}


@contextmanager
def with_devtools(profile: Path) -> Iterator[str]:
    """Run Chromium beside a block; give the WebSocket URI of its DevTools protocol."""
    command = browser_command(profile, "--remote-debugging-port=0", "--hide-scrollbars", "about:blank")
    quiet: Any = dict.fromkeys(["stdin", "stdout", "stderr"], subprocess.DEVNULL)
    with subprocess.Popen(command, env=browser_environment(profile), **quiet) as process:
        try:
            yield _devtools_uri(process, profile / "DevToolsActivePort")
        finally:
            process.terminate()


def _devtools_uri(process: subprocess.Popen[bytes], told: Path) -> str:
    """Wait for the file in which Chromium tells its port; there is no other way to learn it."""
    until = time.monotonic() + LIMIT
    while time.monotonic() < until and process.poll() is None:
        lines = told.read_text().splitlines() if told.exists() else []
        if len(lines) == 2:
            port, path = lines
            return f"ws://127.0.0.1:{port}{path}"
        time.sleep(0.02)
    raise AssertionError("Chromium does not tell its port")


class Tab:
    """A tab of the browser, in a profile of its own.

    Attributes:
        problems: what went wrong in the page: exceptions and what it logged as an error.
    """

    def __init__(self, websocket: anyws.WebSocket) -> None:
        self.problems: list[str] = []
        self._websocket = websocket
        self._session: dict[str, str] = {}
        self._numbers = itertools.count(1)

    async def command(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a command of the DevTools protocol, and wait for what it returns."""
        number = next(self._numbers)
        await self._websocket.send(
            json.dumps({"id": number, "method": method, "params": parameters, **self._session}),
        )
        while True:
            message = json.loads(await self._websocket.receive())
            if message.get("id") == number:
                assert "error" not in message, (method, message["error"])
                result: dict[str, Any] = message["result"]
                return result
            self._take_notice(message)

    def _take_notice(self, event: dict[str, Any]) -> None:
        match event["method"]:
            case "Runtime.exceptionThrown":
                self.problems.append(str(event["params"]["exceptionDetails"]))
            case "Log.entryAdded" if event["params"]["entry"]["level"] == "error":
                self.problems.append(event["params"]["entry"]["text"])

    async def open(self) -> None:
        """Open the tab."""
        context = await self.command("Target.createBrowserContext", disposeOnDetach=True)
        target = await self.command("Target.createTarget", url="about:blank", **context)
        self._session = await self.command("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        for domain in ("Page", "Runtime", "Log"):
            await self.command(f"{domain}.enable")

    async def show(self, uri: str) -> None:
        """Go to a page, and wait until it is there."""
        assert "errorText" not in await self.command("Page.navigate", url=uri)
        await self.wait_for("document.readyState === 'complete' && location.protocol !== 'about:'")

    async def evaluate(self, expression: str) -> Any:
        """Return the value of an expression in JavaScript; a promise is awaited."""
        result = await self.command(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True, userGesture=True
        )
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    async def wait_for(self, condition: str) -> None:
        """Wait until an expression in JavaScript is true."""
        await self.evaluate(
            "new Promise((resolve) => {"
            f"const look = () => ({condition}) ? resolve() : setTimeout(look, 10);"
            "look(); })"
        )

    async def fill(self, selector: str, text: str) -> None:
        """Type a text into an input field."""
        await self.evaluate(f"document.querySelector({json.dumps(selector)}).focus()")
        await self.command("Input.insertText", text=text)

    async def click(self, selector: str) -> None:
        """Click on an element."""
        await self.evaluate(f"document.querySelector({json.dumps(selector)}).click()")

    async def text(self, selector: str) -> str:
        """Return the visible text of an element."""
        return str(await self.evaluate(f"document.querySelector({json.dumps(selector)}).innerText"))

    async def screenshot(self, file: Path, *, colours: str, width: int = 1000, height: int = 640) -> None:
        """Take a picture of the page, in ``light`` or ``dark``, as PNG."""
        feature = {"name": "prefers-color-scheme", "value": colours}
        await self.command("Emulation.setEmulatedMedia", features=[feature])
        await self.command(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False
        )
        picture = await self.command("Page.captureScreenshot", format="png")
        await anyio.Path(file).write_bytes(base64.b64decode(picture["data"]))


@asynccontextmanager
async def open_tab(devtools: str) -> AsyncIterator[Tab]:
    """Open a tab beside a block; our own client speaks to the browser."""
    async with anyws.connect(devtools, max_message_size=None, ping_interval=None) as websocket:
        tab = Tab(websocket)
        with anyio.fail_after(LIMIT):
            await tab.open()
        yield tab
