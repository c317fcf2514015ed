"""The pytest plugin of anyws: the fixtures `anyws_server` and `anyws_client`.

It is not part of the package `anyws`, so that a test run that does not use the fixtures does not import anyws. The
fixtures work with AnyIO's plugin, pytest-trio and pytest-asyncio: whichever runs the test also runs `_connections()`.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Generator
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from anyws.testing import ClientFactory, ServerFactory
    from anyws.testing._fixtures import Connections

_PREFIX = "_anyws_connections"
_KEY: pytest.StashKey[Connections] = pytest.StashKey()


@pytest.fixture
def anyws_server(_anyws_connections: Connections) -> ServerFactory:
    """Serve a handler until the end of the test.

    ``server = await anyws_server(handler)`` returns the server; a client connects to ``server.uri``.
    """
    return _anyws_connections.serve


@pytest.fixture
def anyws_client(_anyws_connections: Connections) -> ClientFactory:
    """Connect a client that is closed at the end of the test.

    ``websocket = await anyws_client(handler)`` serves the handler as well; a server or a URI is accepted in its place.
    """
    return _anyws_connections.connect


@pytest.fixture
def _anyws_connections(request: pytest.FixtureRequest) -> Any:
    # A plugin handles async fixtures by its own rules, so the test's plugin decides which of our two kinds is used.
    node = request.node
    if "anyio_backend" in request.fixturenames or node.get_closest_marker("trio") is not None:
        return request.getfixturevalue(f"{_PREFIX}_any")
    marker = node.get_closest_marker("asyncio")
    if marker is not None and request.config.pluginmanager.hasplugin("asyncio"):
        default = request.config.getini("asyncio_default_test_loop_scope")
        scope = marker.kwargs.get("loop_scope") or marker.kwargs.get("scope") or default
        return request.getfixturevalue(f"{_PREFIX}_asyncio_{scope}")
    pytest.fail(
        f"the fixtures of anyws need an async test run by AnyIO's plugin, pytest-trio or pytest-asyncio: {node.name} "
        "is not async, or lacks a marker, such as @pytest.mark.anyio",
        pytrace=False,
    )


async def _connections(request: pytest.FixtureRequest) -> AsyncGenerator[Connections, None]:
    from anyws.testing._fixtures import open_connections

    async with open_connections() as connections:
        request.node.stash[_KEY] = connections
        yield connections


_connections_any = pytest.fixture(name=f"{_PREFIX}_any")(_connections)


def pytest_configure(config: pytest.Config) -> None:
    """Define the fixtures for pytest-asyncio, if it is active."""
    if config.pluginmanager.hasplugin("asyncio"):
        config.pluginmanager.register(_for_pytest_asyncio(), "anyws_asyncio")


def _for_pytest_asyncio() -> ModuleType:
    import pytest_asyncio

    def connections_in(scope: Any) -> Callable[..., Any]:
        @pytest_asyncio.fixture(name=f"{_PREFIX}_asyncio_{scope}", loop_scope=scope)
        async def connections(request: pytest.FixtureRequest) -> AsyncGenerator[Connections, None]:
            async for each in _connections(request):
                yield each

        return connections

    fixtures = ModuleType("fixtures of anyws for pytest-asyncio")
    # A fixture runs in the event loop of its scope, and a test in that of its marker: so there is one for each loop.
    for scope in ("function", "class", "module", "package", "session"):
        setattr(fixtures, f"connections_{scope}", connections_in(scope))
    return fixtures


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Fail a test with the exception of its handler, rather than with the closed connection that followed from it."""
    result = None
    try:
        result = yield
    except Exception as exc:
        if (connections := item.stash.get(_KEY, None)) is not None:
            connections.raise_failures(exc)
        raise
    if (connections := item.stash.get(_KEY, None)) is not None:
        connections.raise_failures()
    return result
