"""The chat and the dashboard in Chromium, which our own client drives by the DevTools protocol.

With ``ANYWS_SCREENSHOTS=docs/_static`` the pictures of the documentation are taken anew.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import anyio
import pytest

import anyws
from examples.chat.__main__ import open_chat
from examples.dashboard.__main__ import open_dashboard
from tests.cli.commands import LIMIT, Process, start
from tests.interop.browser import Tab, needs_chromium, open_tab, with_devtools
from tests.peers import uri_of
from tests.topics.servers import RedisServer, find_program

from .test_docs import blocks_of

# What would run, load or show something if it were taken for HTML.
HOSTILE = "<img src=/nowhere onerror='document.title=`taken over`'><script>alert(1)</script> & \"quotes\""
OPEN = "document.querySelector('#state').dataset.state === 'open'"


@pytest.fixture(scope="module")
def devtools(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The DevTools protocol of one browser for all these tests."""
    with with_devtools(tmp_path_factory.mktemp("chromium")) as uri:
        yield uri


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Where screenshots go."""
    return Path(os.environ.get("ANYWS_SCREENSHOTS", tmp_path))


async def take_pictures(tab: Tab, folder: Path, name: str, height: int) -> None:
    """Take a picture in light and in dark; they must differ."""
    files = [folder / f"{name}-{colours}.png" for colours in ("light", "dark")]
    for file, colours in zip(files, ("light", "dark"), strict=True):
        await tab.screenshot(file, colours=colours, height=height)
        assert file.read_bytes().startswith(b"\x89PNG\r\n")
    assert files[0].read_bytes() != files[1].read_bytes()


async def received(websocket: anyws.WebSocket, kind: str) -> dict[str, Any]:
    """Receive until a message of this type comes."""
    while True:
        message: dict[str, Any] = json.loads(await websocket.receive())
        if message["type"] == kind:
            return message


# -- chat --------------------------------------------------------------------------------------------------------------


@needs_chromium
async def test_chat_in_the_browser(devtools: str, pictures: Path) -> None:
    async with (
        open_chat("127.0.0.1", 0) as server,
        open_tab(devtools) as tab,
        anyws.connect(uri_of(server, "/ws")) as grace,
    ):
        await grace.send(json.dumps({"type": "join", "join": "Grace"}))
        await grace.send(json.dumps({"type": "say", "say": "Good morning! The new build is on the test machine."}))
        assert (await received(grace, "said"))["name"] == "Grace"

        await tab.show(uri_of(server, "/", scheme="http"))
        await tab.fill("#name", "Ada")
        await tab.click("#join button")
        await tab.wait_for("document.querySelectorAll('#said li').length === 1")
        assert await tab.text("#state") == "connected"

        await tab.fill("#text", "Thank you. Does it still take a minute to start?")
        await tab.click("#send")
        assert (await received(grace, "said"))["text"] == "Thank you. Does it still take a minute to start?"
        for text in ("No, that is mended.", "Four seconds now."):
            await grace.send(json.dumps({"type": "say", "say": text}))
        await tab.wait_for("document.querySelectorAll('#said li').length === 4")
        await take_pictures(tab, pictures, "chat", 520)

        await grace.send(json.dumps({"type": "say", "say": HOSTILE}))
        await tab.wait_for("document.querySelectorAll('#said li').length === 5")
        shown = "[...document.querySelectorAll('#said p')].map((p) => p.textContent)"
        assert (await tab.evaluate(shown))[4] == HOSTILE
        assert await tab.evaluate("document.querySelectorAll('#said img, #said script').length") == 0
        assert await tab.evaluate("document.title") == "Chat"
        assert await tab.evaluate("[...document.querySelectorAll('#people li')].map((p) => p.innerText)") == [
            "A\nAda (you)",
            "G\nGrace",
        ]
        assert tab.problems == []


@needs_chromium
async def test_chat_connects_again(devtools: str) -> None:
    async with open_tab(devtools) as tab:
        async with open_chat("127.0.0.1", 0) as server:
            port = server.addresses[0][1]
            await tab.show(uri_of(server, "/", scheme="http"))
            await tab.fill("#name", "Ada")
            await tab.click("#join button")
            await tab.wait_for("!document.querySelector('#send').disabled")
            await tab.fill("#text", "half a sen")
        # The server has gone: what was being written stays, and nothing can be sent.
        await tab.wait_for("document.querySelector('#state').dataset.state === 'waiting'")
        assert (await tab.text("#state")).startswith("offline, reconnecting in ")
        assert await tab.evaluate("document.querySelector('#send').disabled")
        async with open_chat("127.0.0.1", port) as server:
            await tab.click("#state")  # or wait
            await tab.wait_for("!document.querySelector('#send').disabled")
            assert await tab.text("#state") == "connected"
            assert len(server.connections) == 1
            await tab.fill("#text", "tence")
            await tab.click("#send")
            await tab.wait_for("document.querySelector('#said p')?.textContent === 'half a sentence'")


@pytest.mark.parametrize(
    "message",
    [
        "",
        "hello",
        b"hello",
        "[]",
        "null",
        '{"type": "join"}',
        '{"type": "join", "join": ""}',
        '{"type": "join", "join": " "}',
        '{"type": "join", "join": 7}',
        '{"type": "say", "say": "first join"}',
        json.dumps({"type": "join", "join": "x" * 25}),
    ],
)
async def test_chat_refuses_what_its_page_does_not_send(message: str | bytes) -> None:
    async with open_chat("127.0.0.1", 0) as server, anyws.connect(uri_of(server, "/ws")) as websocket:
        await websocket.send(message)
        with pytest.raises(anyws.ConnectionClosedError) as raised:
            await websocket.receive()
        assert raised.value.code == 1008


async def test_chat_tells_names_apart() -> None:
    async with open_chat("127.0.0.1", 0) as server:
        uri = uri_of(server, "/ws")
        async with anyws.connect(uri) as one:
            await one.send(json.dumps({"type": "join", "join": "Ada"}))
            assert (await received(one, "people"))["names"] == ["Ada"]
            async with anyws.connect(uri) as other:
                await other.send(json.dumps({"type": "join", "join": " Ada "}))
                assert (await received(other, "welcome"))["name"] == "Ada 2"
                assert (await received(one, "people"))["names"] == ["Ada", "Ada 2"]
            assert (await received(one, "people"))["names"] == ["Ada"]


async def join(tab: Tab, uri: str, name: str) -> None:
    await tab.show(uri.removesuffix("ws"))
    await tab.fill("#name", name)
    await tab.click("#join button")
    await tab.wait_for("!document.querySelector('#send').disabled")


async def say(tab: Tab, text: str) -> None:
    await tab.fill("#text", text)
    await tab.click("#send")
    await tab.wait_for(f"[...document.querySelectorAll('#said p')].at(-1)?.textContent === {json.dumps(text)}")


def chat_process(engine: RedisServer, port: int, backend: str) -> AbstractContextManager[Process]:
    command = [sys.executable, "-W", "error", "-m", "examples.chat", "127.0.0.1", port]
    return start([*command, "--engine", engine.url, "--backend", backend])


@needs_chromium
async def test_processes_with_an_engine_are_one_chat_and_pages_resume_in_any_of_them(
    devtools: str, tmp_path: Path
) -> None:
    program = find_program("redis-server")
    if program is None:
        pytest.skip("redis-server is not installed")
    engine = RedisServer(program, tmp_path)
    shown = "[...document.querySelectorAll('#said p')].map((p) => p.textContent).join()"
    people = "[...document.querySelectorAll('#people li')].map((p) => p.innerText.slice(2)).join()"
    engine.start()
    try:
        async with open_tab(devtools) as ada, open_tab(devtools) as grace:
            with chat_process(engine, 0, "trio") as other:
                with chat_process(engine, 0, "asyncio") as one:
                    uri = one.expect_line("open http://").removeprefix("open ")
                    await join(ada, uri, "Ada")
                    await join(grace, other.expect_line("open http://").removeprefix("open "), "Grace")
                    await ada.wait_for(f"{people} === 'Ada (you),Grace'")
                    await grace.wait_for(f"{people} === 'Ada,Grace (you)'")
                    await say(ada, "hello")
                    await grace.wait_for(f"{shown} === 'hello'")
                    await ada.evaluate("document.querySelector('#said li').id = 'kept'")
                    assert one.stop(signal.SIGTERM) == (0, "", "")
                await grace.wait_for(f"{people} === 'Grace (you)'")
                for text in ("missed", "also missed"):
                    await say(grace, text)
                # This process has not received what Ada has missed: the history has it.
                with chat_process(engine, int(uri.rstrip("/").split(":")[-1]), "trio") as third:
                    third.expect_line("open http://")
                    await ada.evaluate("document.querySelector('#state').click()")  # or wait
                    await ada.wait_for(f"{shown} === 'hello,missed,also missed'")
                    assert await ada.evaluate("document.querySelector('#said li').id") == "kept"
                    await ada.wait_for(f"{people} === 'Ada (you),Grace'")
                    await say(ada, "back again")
                    await grace.wait_for(f"{shown} === 'hello,missed,also missed,back again'")
                    assert third.stop(signal.SIGTERM) == (0, "", "")
                assert other.stop(signal.SIGTERM) == (0, "", "")
    finally:
        engine.kill()


# -- dashboard ---------------------------------------------------------------------------------------------------------


@needs_chromium
async def test_dashboard_in_the_browser(devtools: str, pictures: Path) -> None:
    async with open_dashboard("127.0.0.1", 0, interval=0.03) as server:
        uri = uri_of(server, "/ws")
        async with open_tab(devtools) as tab, anyws.connect(uri, headers={"User-Agent": "thermometer/1.0"}) as other:
            await tab.show(uri_of(server, "/", scheme="http"))
            await tab.wait_for(OPEN)
            await tab.wait_for("document.querySelectorAll('#clients tr').length === 2")
            await tab.click("#load")
            counts = "[...document.querySelectorAll('#clients tr')].map((row) => row.cells[3].textContent)"
            await tab.wait_for(f"({counts}).includes('1,000')")
            await tab.wait_for("document.querySelector('[data-field=connections] output').textContent === '2'")
            await tab.wait_for("document.querySelector('[data-field=rate] .line').getAttribute('d')?.length > 1500")
            await take_pictures(tab, pictures, "dashboard", 670)

            async with anyws.connect(uri, headers={"User-Agent": HOSTILE}):
                await tab.wait_for("document.querySelectorAll('#clients tr').length === 3")
                rows = "[...document.querySelectorAll('#clients tr')].map((row) => row.cells[1].textContent)"
                assert HOSTILE in await tab.evaluate(rows)
                assert await tab.evaluate("document.querySelectorAll('td *').length") == 0
            assert tab.problems == []

            history = json.loads(await other.receive())
            assert history["type"] == "history"
            assert {"at", "cpu", "lag", "rate", "connections"} == set((await received(other, "sample"))["sample"])
            await other.send("echo this")
            assert (await received(other, "echo"))["echo"] == "echo this"


@needs_chromium
async def test_dashboard_connects_again(devtools: str) -> None:
    async with open_tab(devtools) as tab:
        async with open_dashboard("127.0.0.1", 0, interval=0.03) as server:
            port = server.addresses[0][1]
            await tab.show(uri_of(server, "/", scheme="http"))
            await tab.wait_for(OPEN)
        await tab.wait_for("document.querySelector('#state').dataset.state === 'waiting'")
        assert await tab.evaluate("document.body.classList.contains('stale')")
        async with open_dashboard("127.0.0.1", port, interval=0.03):
            await tab.wait_for(OPEN)  # by itself
            await tab.wait_for("!document.body.classList.contains('stale')")


# -- what both have in common ------------------------------------------------------------------------------------------


@needs_chromium
async def test_delays_double_up_to_a_minute(devtools: str) -> None:
    script = """import("/reconnecting.js").then(({ Reconnecting }) => new Promise((resolve) => {
        const delays = [];
        const state = (name) => {
            if (name !== "waiting") return;
            if (delays.push(connection.delay) === 9) resolve(delays);
            else setTimeout(() => connection.retry());
        };
        const connection = new Reconnecting("/nowhere", { state });
    }))"""
    async with open_chat("127.0.0.1", 0) as server, open_tab(devtools) as tab:
        await tab.show(uri_of(server, "/", scheme="http"))
        assert await tab.evaluate(script) == [1, 2, 4, 8, 16, 32, 60, 60, 60]


@needs_chromium
async def test_a_page_that_is_wrong_does_not_try_again(devtools: str) -> None:
    script = """import("/reconnecting.js").then(({ Reconnecting }) => new Promise((resolve) => {
        const states = [];
        const state = (name) => {
            states.push(name);
            if (name === "ended" || name === "waiting") resolve(states);
        };
        const connection = new Reconnecting("/ws", { state, open: () => connection.send("what?") });
    }))"""
    async with open_chat("127.0.0.1", 0) as server, open_tab(devtools) as tab:
        await tab.show(uri_of(server, "/", scheme="http"))
        assert await tab.evaluate(script) == ["connecting", "open", "ended"]


@needs_chromium
async def test_the_page_of_the_documentation(devtools: str) -> None:
    (block,) = blocks_of("integrations/browser.md")
    names: dict[str, Any] = {}
    exec(block.removesuffix("anyio.run(main)\n"), names)
    async with (
        anyws.open_server(names["echo"], "127.0.0.1", 0, on_request=names["page"]) as server,
        open_tab(devtools) as tab,
    ):
        await tab.show(uri_of(server, "/", scheme="http"))
        await tab.wait_for("document.querySelector('#said').textContent === 'hello'")


@pytest.mark.parametrize("opened", [open_chat, open_dashboard])
async def test_other_paths(opened: Any) -> None:
    async with opened("127.0.0.1", 0) as server:
        for path in ("/", "/page.css", "/../__main__.py", "/chat"):
            with pytest.raises(anyws.HandshakeRefused) as refused:
                async with anyws.connect(uri_of(server, path)):
                    pass
            assert refused.value.status == 404
        with pytest.raises(anyws.HandshakeRefused) as refused:
            async with anyws.connect(uri_of(server, "/ws"), origin="https://elsewhere.example"):
                pass
        assert refused.value.status == 403


@pytest.mark.parametrize("name", ["chat", "dashboard"])
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_as_a_command(name: str, backend: str) -> None:
    async def talk(port: int) -> None:
        with anyio.fail_after(LIMIT):
            async with anyws.connect(f"ws://127.0.0.1:{port}/ws") as websocket:
                assert await websocket.ping() > 0

    command = [sys.executable, "-W", "error", "-m", f"examples.{name}", "127.0.0.1", 0, "--backend", backend]
    with start(command) as process:
        port = int(process.expect_line("open http://127.0.0.1:").rstrip("/").split(":")[-1])
        anyio.run(talk, port, backend=backend)
        assert process.stop(signal.SIGTERM) == (0, "", "")
