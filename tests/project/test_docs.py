"""Pages of the documentation that are more than the sum of their code blocks."""

from __future__ import annotations

import functools
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import anyws
import anyws.asgi
import anyws.callbacks
import anyws.protocol
import anyws.routing
import anyws.testing
import anyws.topics
import anyws.topics.redis
from tests.cli.commands import ROOT, start
from tests.interop.browser import needs_chromium, open_tab, with_devtools
from tests.peers import uri_of
from tests.topics.servers import RedisServer, find_program


def blocks_of(page: str) -> list[str]:
    """Return the Python blocks of a page."""
    text = (ROOT / "docs" / page).read_text()
    return re.findall(r"^```python\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


def run_tests(source: str, tmp_path: Path) -> None:
    """Run a page's tests as a user does; each must pass on asyncio and on trio."""
    (tmp_path / "test_page.py").write_text(source)
    names = re.findall(r"^async def (test_\w+)", source, re.MULTILINE)
    options = ["-v", "-W", "error", "-p", "no:cacheprovider", "--rootdir", tmp_path]
    # Without a configuration, pytest-asyncio warns about itself.
    command = [sys.executable, "-m", "pytest", *options, "-p", "no:asyncio", "-p", "no:trio"]
    with start([*command, tmp_path], cwd=tmp_path) as process:
        status, out, err = process.finish()
    assert (status, err) == (0, ""), out
    assert names
    for name in names:
        for backend in ("asyncio", "trio"):
            assert re.search(rf"::{name}\[{backend}\b.*\] PASSED", out), (name, backend)


def test_the_page_on_testing_is_a_file_of_tests(tmp_path: Path) -> None:
    source = "\n".join(blocks_of("testing.md"))
    assert source.count("\nasync def test_") > 10
    run_tests(source, tmp_path)


def test_the_chat_of_the_tutorial_passes_its_tests(tmp_path: Path) -> None:
    *program, tests = blocks_of("chat.md")
    assert "from chat import" in tests
    (tmp_path / "chat.py").write_text("\n\n".join(program))
    run_tests(tests, tmp_path)


@pytest.fixture(scope="module")
def devtools(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The DevTools protocol of a browser."""
    with with_devtools(tmp_path_factory.mktemp("chromium")) as uri:
        yield uri


@needs_chromium
async def test_the_page_of_the_chat_works_in_a_browser(devtools: str) -> None:
    *program, _tests = blocks_of("chat.md")
    chat: dict[str, Any] = {"__name__": "chat"}
    exec("\n".join(program), chat)
    async with (
        anyws.open_server(chat["make_handler"](), "127.0.0.1", 0, on_request=chat["serve_page"]) as server,
        anyws.connect(uri_of(server)) as ann,
        open_tab(devtools) as tab,
    ):
        await ann.send("Ann")
        assert await ann.receive() == "Ann joined"

        await tab.show(uri_of(server, scheme="http"))
        await tab.wait_for("socket.readyState === WebSocket.OPEN")
        for text, said in [("Bob", "Bob joined"), ("<b>hello</b>", "Bob: <b>hello</b>")]:
            await tab.fill("input", text)
            await tab.evaluate("document.querySelector('form').requestSubmit()")
            assert await ann.receive() == said
        await ann.send("welcome")
        lines = "Array.from(document.querySelectorAll('#said li'), (line) => line.textContent).join()"
        await tab.wait_for(f"{lines} === 'Bob joined,Bob: <b>hello</b>,Ann: welcome'")
        assert tab.problems == []


@needs_chromium
async def test_the_page_resumes_in_a_browser(devtools: str) -> None:
    (block,) = blocks_of("resuming.md")
    names: dict[str, Any] = {}
    exec(block.removesuffix("anyio.run(main)\n"), names)
    (script,) = re.findall(
        r"^```javascript\n(.*?)^```$", (ROOT / "docs" / "resuming.md").read_text(), re.DOTALL | re.MULTILINE
    )
    page = f"<!doctype html><meta charset=utf-8><link rel=icon href=data:,><ul id=news></ul><script>{script}</script>"

    def respond(request: anyws.Request) -> anyws.Response | None:
        return None if request.is_websocket else anyws.Response(200, {"Content-Type": "text/html"}, page)

    shown = "Array.from(document.querySelectorAll('#news li'), (item) => item.textContent).join()"
    async with open_tab(devtools) as tab:
        async with anyws.open_topics(history=anyws.History()) as topics:
            feed = functools.partial(names["feed"], topics)
            async with anyws.open_server(feed, "127.0.0.1", 0, on_request=respond) as server:
                port = server.port
                await tab.show(uri_of(server, scheme="http"))
                await tab.wait_for(f"{shown} === 'from your database'")
                await topics.publish("news", "one")
                await tab.wait_for(f"{shown} === 'from your database,one'")
            for text in ("two", "three"):
                await topics.publish("news", text)
            async with anyws.open_server(feed, "127.0.0.1", port, on_request=respond):
                await tab.wait_for(f"{shown} === 'from your database,one,two,three'")
                await topics.publish("news", "four")
                await tab.wait_for(f"{shown} === 'from your database,one,two,three,four'")
        # These topics have begun a new life: the page gets the state.
        async with anyws.open_topics(history=anyws.History()) as topics:
            feed = functools.partial(names["feed"], topics)
            async with anyws.open_server(feed, "127.0.0.1", port, on_request=respond):
                await tab.wait_for(f"{shown} === 'from your database'")


def test_the_program_on_scaling_out_runs_over_an_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = find_program("redis-server")
    if program is None:
        pytest.skip("redis-server is not installed")
    engine = RedisServer(program, tmp_path)
    engine.start()
    try:
        monkeypatch.setenv("ENGINE", engine.url)
        (block,) = blocks_of("scaling.md")
        exec(block, {})
        assert "anyws:{room:1}:meta" in engine.command("KEYS", "*", whole=True)
    finally:
        engine.kill()


REFERENCE = "".join(page.read_text() for page in sorted((ROOT / "docs" / "reference").glob("*.md")))


MODULES = [anyws, anyws.asgi, anyws.callbacks, anyws.protocol, anyws.routing, anyws.testing]
MODULES += [anyws.topics, anyws.topics.redis]


@pytest.mark.parametrize("module", MODULES)
def test_the_reference_has_every_public_name_once(module: ModuleType) -> None:
    public = getattr(module, "__all__", [name for name, value in vars(module).items() if is_public(name, value)])
    assert public
    for name in public:
        entries = re.findall(rf"^\.\. auto\w+:: (?:anyws|{module.__name__})\.{name}\b(?!\.)", REFERENCE, re.MULTILINE)
        entries += re.findall(rf"^\.\. py:data:: {name}$", REFERENCE, re.MULTILINE)
        assert len(entries) == 1, (name, entries)


def is_public(name: str, value: object) -> bool:
    """Say whether a package means to show a name: not its modules, nor what it imports from elsewhere."""
    return not name.startswith("_") and not isinstance(value, ModuleType)
