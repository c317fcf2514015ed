"""Servers for the tests: Redis and Valkey, as far as they are installed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.topics.servers import PROGRAMS, RedisServer, find_program


@pytest.fixture(scope="session", params=PROGRAMS)
def program(request: pytest.FixtureRequest) -> str:
    """The path of each server."""
    name: str = request.param
    path = find_program(name)
    if path is None:
        pytest.skip(f"{name} is not installed")
    return path


@pytest.fixture(scope="session")
def shared_server(program: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A server that all tests use."""
    server = RedisServer(program, tmp_path_factory.mktemp("server"))
    server.start()
    yield server
    server.kill()


@pytest.fixture
def server(shared_server: RedisServer) -> RedisServer:
    """A server that is empty."""
    shared_server.command("FLUSHALL")
    shared_server.command("SCRIPT", "FLUSH")
    return shared_server


@pytest.fixture
def own_server(program: str, tmp_path: Path) -> Iterator[RedisServer]:
    """A server that a test may stop. It stores each write in a log on the disk before it replies."""
    server = RedisServer(program, tmp_path, {"appendonly": "yes", "appendfsync": "always"})
    server.start()
    yield server
    server.kill()


@pytest.fixture
def short_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten the seconds for which a server may be silent."""
    monkeypatch.setattr("anyws.topics._redis.connection.LIMIT", 0.3)
    monkeypatch.setattr("anyws.topics._redis.connection.PING_INTERVAL", 0.2)
    monkeypatch.setattr("anyws.topics._redis.link.CONNECT_LIMIT", 0.25)
