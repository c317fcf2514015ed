"""Engines that run beside a block."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

import anyio

from anyws.topics.engine import EngineListener
from anyws.topics.history import History
from anyws.topics.redis import RedisEngine
from tests.topics.listeners import Follower, Recorder

__all__ = ["following", "running"]


@asynccontextmanager
async def running(engine: RedisEngine, listener: EngineListener | None = None) -> AsyncGenerator[RedisEngine, None]:
    """Run an engine beside a block."""
    async with anyio.create_task_group() as tasks:
        await tasks.start(engine.run, Recorder() if listener is None else listener)
        yield engine
        tasks.cancel_scope.cancel()


@asynccontextmanager
async def following(
    url: str,
    topic: str = "news",
    *,
    history: History | None = None,
    check_interval: float = 5,
    make: Callable[..., RedisEngine] = RedisEngine,
) -> AsyncGenerator[tuple[RedisEngine, Follower], None]:
    """Run an engine, and a subscriber of a topic."""
    engine = make(url, history=history)
    follower = Follower(engine, topic)
    async with running(engine, follower), anyio.create_task_group() as tasks:
        tasks.start_soon(follower.run, check_interval)
        await follower.following.wait()
        yield engine, follower
        tasks.cancel_scope.cancel()
