"""The pytest plugin with each plugin that runs async tests, as its users run them: in a pytest of their own."""

from __future__ import annotations

import importlib.util
import re
from dataclasses import dataclass

import pytest

pytest_plugins = ["pytester"]


@dataclass(frozen=True, kw_only=True)
class Plugin:
    """A plugin that runs async tests."""

    name: str
    ini: str = ""
    needs: str = "anyio"
    runs: int = 1  # how often it runs each test
    mark: str | None = None
    fixture: str = "@pytest.fixture"

    def file(self, source: str) -> str:
        mark = "" if self.mark is None else f"pytestmark = pytest.mark.{self.mark}\n"
        # Each test and fixture is the first thing in a paragraph.
        return f"import anyio, anyws, pytest\n{mark}{source.replace('@fixture', self.fixture)}"


STRICT_FIXTURE = "import pytest_asyncio\n\n@pytest_asyncio.fixture"
PLUGINS = [
    Plugin(name="anyio", mark="anyio", runs=2),
    Plugin(name="anyio-auto", ini="anyio_mode = auto", runs=2),
    Plugin(name="trio", needs="pytest_trio", mark="trio"),
    Plugin(name="trio-mode", needs="pytest_trio", ini="trio_mode = true"),
    Plugin(name="asyncio-strict", needs="pytest_asyncio", mark="asyncio", fixture=STRICT_FIXTURE),
    Plugin(name="asyncio-auto", needs="pytest_asyncio", ini="asyncio_mode = auto"),
    Plugin(
        name="asyncio-module",
        needs="pytest_asyncio",
        mark="asyncio(loop_scope='module')",
        fixture=f"{STRICT_FIXTURE}(loop_scope='module')",
    ),
    Plugin(
        name="asyncio-session",
        needs="pytest_asyncio",
        ini="asyncio_mode = auto\nasyncio_default_test_loop_scope = session",
        fixture="@__import__('pytest_asyncio').fixture(loop_scope='session')",
    ),
]

HANDLERS = """
async def echo(websocket):
    async for message in websocket:
        await websocket.send(message)

async def fail(websocket):
    message = await websocket.receive()
    raise LookupError(f"from the handler: {message}")

def fail_hook(request):
    raise LookupError("from the hook")
"""


@pytest.fixture(params=PLUGINS, ids=lambda plugin: plugin.name)
def plugin(request: pytest.FixtureRequest) -> Plugin:
    """Each plugin, in each mode."""
    chosen: Plugin = request.param
    if importlib.util.find_spec(chosen.needs) is None:
        pytest.skip(f"{chosen.needs} is not installed")
    return chosen


def run(pytester: pytest.Pytester, plugin: Plugin, source: str, *options: str) -> pytest.RunResult:
    """Run the source as a file of tests, with this plugin alone."""
    ini = plugin.ini
    if plugin.needs == "pytest_asyncio":
        ini += "\nasyncio_default_fixture_loop_scope = function"
    pytester.makeini(f"[pytest]\nfilterwarnings = error\n{ini}\n")
    pytester.makepyfile(plugin.file(source))
    others = {"anyio", "pytest_trio", "pytest_asyncio"} - {plugin.needs}
    blocked = [option for other in others for option in ("-p", f"no:{other.removeprefix('pytest_')}")]
    return pytester.runpytest_subprocess("-p", "no:cacheprovider", *blocked, *options)


PASSING = """
from anyws.testing import connect_to_handler, local_server, scripted_peer, scripted_server, websocket_pair

async def test_a_client_of_a_handler(anyws_client):
    websocket = await anyws_client(echo)
    await websocket.send("hello")
    assert await websocket.receive() == "hello"

async def test_two_clients_of_a_server(anyws_server, anyws_client):
    server = await anyws_server(echo, subprotocols=["chat"])
    one = await anyws_client(server, subprotocols=["chat"])
    other = await anyws_client(server.uri)
    assert (one.subprotocol, other.subprotocol) == ("chat", None)
    assert len(server.connections) == 2

async def test_a_client_opened_within_a_time_limit(anyws_client):
    with anyio.fail_after(30):
        websocket = await anyws_client(echo)
    await websocket.send("hello")
    assert await websocket.receive() == "hello"

async def test_a_client_whose_opening_is_cancelled(anyws_server, anyws_client):
    async def wait(request):
        scope.cancel()
        await anyio.sleep_forever()

    server = await anyws_server(echo, on_request=wait)
    with anyio.CancelScope() as scope:
        await anyws_client(server)
    assert scope.cancelled_caught

async def test_errors_of_opening(anyws_server, anyws_client):
    server = await anyws_server(echo, on_request=lambda request: anyws.Response(401))
    with pytest.raises(anyws.HandshakeRefused, match="401"):
        await anyws_client(server)
    await server.aclose()
    with pytest.raises(OSError):
        await anyws_client(server)
    with pytest.raises(TypeError, match="anyws_server.*no_option"):
        await anyws_server(echo, no_option=1)
    with pytest.raises(TypeError, match="anyws_client.. got int: expected a handler, a server or a URI"):
        await anyws_client(8765)

@fixture
async def server(anyws_server):
    return await anyws_server(echo, max_message_size=10)

async def test_a_server_of_a_fixture(server, anyws_client):
    websocket = await anyws_client(server)
    await websocket.send("x" * 11)
    with pytest.raises(anyws.ConnectionClosedError, match="1009"):
        await websocket.receive()

@fixture
async def client(anyws_client, server):
    websocket = await anyws_client(server)
    yield websocket
    await websocket.send("still open")
    assert await websocket.receive() == "still open"

async def test_a_client_of_a_fixture(client):
    await client.send("hello")
    assert await client.receive() == "hello"

@fixture
async def uri():
    async with local_server(echo) as uri:
        yield uri

async def test_a_block_in_a_fixture(uri):
    async with anyws.connect(uri) as websocket:
        await websocket.send("hello")
        assert await websocket.receive() == "hello"

@fixture
async def others():
    async with connect_to_handler(echo) as websocket, websocket_pair() as pair, scripted_peer(), scripted_server():
        yield websocket, *pair

async def test_other_blocks_in_a_fixture(others):
    websocket, client, server = others
    await websocket.send("hello")
    assert await websocket.receive() == "hello"
    await client.send("hello")
    assert await server.receive() == "hello"
"""

FAILING = """
async def test_the_client_sees_a_closed_connection(anyws_client):
    websocket = await anyws_client(fail)
    await websocket.send("1")
    await websocket.receive()

async def test_the_client_does_not_care(anyws_client):
    websocket = await anyws_client(fail)
    await websocket.send("2")
    await websocket.wait_closed()

async def test_a_hook(anyws_server, anyws_client):
    server = await anyws_server(echo, on_request=fail_hook)
    await anyws_client(server)

async def test_another_error(anyws_client):
    websocket = await anyws_client(fail)
    await websocket.send("3")
    await websocket.wait_closed()
    assert websocket.close_code == 1000

async def test_the_handler_fails_at_the_end(anyws_client):
    async def fail_late(websocket):
        async for _ in websocket:
            pass
        raise LookupError("after the test")

    await anyws_client(fail_late)
"""


def test_fixtures_serve_and_connect(pytester: pytest.Pytester, plugin: Plugin) -> None:
    result = run(pytester, plugin, HANDLERS + PASSING)
    result.assert_outcomes(passed=PASSING.count("async def test_") * plugin.runs)


def test_errors_of_handlers_and_hooks_fail_the_test(pytester: pytest.Pytester, plugin: Plugin) -> None:
    result = run(pytester, plugin, HANDLERS + FAILING, "-v")
    for test in (
        "test_the_client_sees_a_closed_connection",
        "test_the_client_does_not_care",
        "test_a_hook",
        "test_another_error",
    ):
        result.stdout.fnmatch_lines([f"*::{test}* FAILED*"])
    # pytest-trio finishes fixtures within the test, the others after it.
    ending = "FAILED" if plugin.needs == "pytest_trio" else "ERROR"
    result.stdout.fnmatch_lines([f"*::test_the_handler_fails_at_the_end* {ending}*"])
    for error in (
        "LookupError: from the handler: 1",
        "LookupError: from the handler: 2",
        "LookupError: from the hook",
        "assert 1011 == 1000",
        "LookupError: from the handler: 3",
        "LookupError: after the test",
    ):
        assert re.search(rf"^[E |]+ (\w+: )?{error}", result.stdout.str(), re.MULTILINE), error


def test_a_test_that_is_not_async_is_told_what_it_needs(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_it(anyws_client):\n    pass\n")
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider", "-p", "no:asyncio")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        ["*the fixtures of anyws need an async test run by AnyIO's plugin*test_it is not async*"]
    )


def test_a_run_without_the_fixtures_does_not_import_anyws(pytester: pytest.Pytester) -> None:
    check = "'pytest_anyws' in sys.modules and 'anyws' not in sys.modules"
    pytester.makepyfile(f"import sys\ndef test_it():\n    assert {check}\n")
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider")
    result.assert_outcomes(passed=1)


def test_the_fixtures_are_listed(pytester: pytest.Pytester) -> None:
    result = pytester.runpytest_subprocess("--fixtures", "-p", "no:cacheprovider")
    result.stdout.fnmatch_lines(["anyws_server*", "*Serve a handler until*", "anyws_client*", "*Connect a client*"])
