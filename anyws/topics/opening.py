"""Opens topics, on the engine that the URL names: `open_topics`."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from importlib import import_module

import anyio

from anyws._background_task import background_task
from anyws._blocks import block

from .engine import Engine
from .history import History
from .local import LocalEngine
from .service import Service
from .topics import Topics

__all__ = ["open_topics"]


@block("open_topics()", "async with anyws.open_topics(...) as topics")
async def open_topics(
    url: str | None = None,
    *,
    history: History | None = None,
    publish_timeout: float = 5,
    reconnect_spread: float = 5,
    engine: Engine | None = None,
) -> AsyncGenerator[Topics, None]:
    """Publish and subscribe: ``async with anyws.open_topics() as topics``.

    Open it before the server, for example ``async with anyws.open_topics() as topics, anyws.open_server(...)``, so that
    it is closed after the server. When the block ends, connections that are still forwarded to are closed with 1012.

    Args:
        url: where the messages go: None for this process only; ``redis://``, ``rediss://``, ``valkey://`` or
            ``valkeys://`` for all processes that are connected to the same server. Sentinels and clusters have URLs as
            well, see `anyws.topics.redis.RedisEngine`.
        history: how many messages of each topic are kept, so that those who missed some can get them; None for none.
        publish_timeout: how long the engine may take to accept a message, to follow topics or to read their history, in
            seconds.
        reconnect_spread: connections that have missed messages, and are closed for it, are closed at random times
            within this many seconds, so that not all clients come back at once. 0 closes them at once.
        engine: an engine of your own instead of a URL; see `anyws.Engine`. It decides on its history itself.

    Raises:
        EngineUnavailable: the engine cannot be reached.
        TypeError: both a URL and an engine were given, or a history for an engine of your own.
        ValueError: the URL is not one of an engine, ``publish_timeout`` is not above 0, or ``reconnect_spread`` is
            negative.
    """
    if publish_timeout <= 0:
        raise ValueError(f"publish_timeout is {publish_timeout}: expected a number of seconds above 0")
    if reconnect_spread < 0:
        raise ValueError(f"reconnect_spread is {reconnect_spread}: expected a number of seconds, or 0")
    engine = _engine(url, history) if engine is None else _checked_engine(engine, url, history)
    service = Service(engine, publish_timeout, reconnect_spread)
    started = anyio.Event()
    async with background_task(lambda: service.run(started)):
        await started.wait()
        yield Topics(service, engine, publish_timeout)


def _checked_engine(engine: Engine, url: str | None, history: History | None) -> Engine:
    if url is not None:
        raise TypeError("open_topics() was given both a URL and an engine: expected one of them")
    if history is not None:
        raise TypeError("history is for engines named by a URL: pass it to your own engine instead")
    return engine


def _engine(url: str | None, history: History | None) -> Engine:
    if history is not None and not isinstance(history, History):
        raise TypeError(f"history must be an anyws.History or None, not {type(history).__name__}")
    if url is None:
        return LocalEngine(history)
    if not isinstance(url, str):
        raise TypeError(f"url must be a str or None, not {type(url).__name__}; for an object, use engine=")
    engine: Engine = import_module(".redis", __package__).RedisEngine(url, history=history)  # loaded only if it is used
    return engine
