"""Which engine topics use, and what happens if it does not work."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

import anyws
from anyws.testing import FaultyEngine
from anyws.topics import LocalEngine


async def test_an_engine_that_cannot_connect() -> None:
    engine = FaultyEngine()
    engine.die()
    with pytest.raises(anyws.EngineUnavailable, match="it has died on command"):
        async with anyws.open_topics(engine=engine):
            raise AssertionError("it is not open")


class Broken(LocalEngine):
    """Fails in ways in which no engine should."""

    def __init__(self, *, when: str) -> None:
        super().__init__()
        self.when = when
        self.fail = anyio.Event()

    async def run(self, listener: Any, *, task_status: Any = anyio.TASK_STATUS_IGNORED) -> None:
        if self.when == "never starts":
            return
        task_status.started()
        await self.fail.wait()
        if self.when == "raises":
            raise ZeroDivisionError("a bug")


@pytest.mark.parametrize(
    ("when", "error"), [("never starts", RuntimeError), ("raises", ZeroDivisionError), ("returns", RuntimeError)]
)
async def test_an_engine_with_a_bug_ends_the_block(when: str, error: type[Exception]) -> None:
    engine = Broken(when=when)
    with pytest.raises(error):
        async with anyws.open_topics(engine=engine):
            engine.fail.set()
            await anyio.sleep_forever()


async def test_an_exception_in_the_block_comes_out_as_it_is() -> None:
    with pytest.raises(KeyError):
        async with anyws.open_topics() as topics, topics.subscribe("a"):
            raise KeyError


@pytest.mark.parametrize("method", ["follow", "read", "unfollow"])
async def test_a_method_of_an_engine_with_a_bug(method: str, caplog: pytest.LogCaptureFixture) -> None:
    engine = FaultyEngine(anyws.History())

    async def fail(*_: object) -> Any:
        raise ZeroDivisionError("a bug")

    async with anyws.open_topics(engine=engine) as topics:
        async with topics.subscribe("a"):
            position = await topics.publish("a", "x")
            await topics.publish("a", "y")
            setattr(engine, method, fail)
            if method == "follow":
                with pytest.raises(anyws.EngineUnavailable, match="a bug"):
                    async with topics.subscribe("b"):
                        pass
            elif method == "read":
                async with topics.subscribe("a", since=position) as messages:
                    with pytest.raises(anyws.EngineUnavailable, match="a bug"):
                        await messages.receive()
        await topics.publish("a", "it goes on")
        await anyio.wait_all_tasks_blocked()
    assert ("Traceback" in caplog.text) == (method != "read")


async def test_wrong_use() -> None:
    uses: list[tuple[dict[str, Any], type[Exception], str]] = [
        (
            {"url": "nats://user:secret@host"},
            ValueError,
            "'nats://host' is not the URL of an engine: expected redis://HOST",
        ),
        ({"url": "localhost"}, ValueError, "'localhost' is not the URL of an engine"),
        ({"url": FaultyEngine()}, TypeError, "url must be a str or None, not FaultyEngine; for an object, use engine="),
        ({"url": "redis://a", "engine": FaultyEngine()}, TypeError, "both a URL and an engine"),
        ({"engine": FaultyEngine(), "history": anyws.History()}, TypeError, "pass it to your own engine"),
        ({"history": 100}, TypeError, "an anyws.History or None, not int"),
        ({"publish_timeout": 0}, ValueError, "publish_timeout is 0"),
        ({"reconnect_spread": -1}, ValueError, "reconnect_spread is -1"),
    ]
    for given, error, match in uses:
        with pytest.raises(error, match=match) as raised:
            async with anyws.open_topics(**given):
                pass
        assert "secret" not in str(raised.value)
    for wrong in ({"messages": 0}, {"seconds": -1}):
        with pytest.raises(ValueError, match="expected a number above 0"):
            anyws.History(**wrong)


@pytest.mark.parametrize("scheme", ["redis", "rediss", "valkey", "valkeys", "Redis"])
async def test_a_url_names_an_engine(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[tuple[str, anyws.History | None]] = []

    class RedisEngine(LocalEngine):
        def __init__(self, url: str, *, history: anyws.History | None) -> None:
            super().__init__(history)
            opened.append((url, history))

    monkeypatch.setattr("anyws.topics.redis.RedisEngine", RedisEngine)
    async with anyws.open_topics(f"{scheme}://localhost", history=anyws.History(5)) as topics:
        await topics.publish("a", "x")
    assert opened == [(f"{scheme}://localhost", anyws.History(5))]
