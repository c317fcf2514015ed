"""The handler of ``anyws serve topic``: a chat over topics."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from importlib import import_module

import anyws
from anyws._connection.websocket import WebSocket

from .exit_status import CommandError, ExitStatus
from .files import file_problem

__all__ = ["DEFAULT_TOPIC", "TopicChat", "engine_url", "open_topic_chat"]

DEFAULT_TOPIC = "chat"
_LONGEST_NAME = 1024  # bytes; a Redis key of three times as many is allowed


def engine_url(text: str) -> str:
    """Return the URL of an engine, also from ``@FILE``, which keeps passwords off the command line.

    Raises:
        CommandError: the file, or a certificate that the URL names, cannot be read.
        ValueError: it is not the URL of an engine.
    """
    url = _first_line(text[1:]) if text.startswith("@") else text
    try:
        import_module("anyws.topics.redis").RedisEngine(url)  # loaded only if it is used
    except OSError as exc:
        raise CommandError(
            ExitStatus.FAILED, f"cannot use the certificates that --engine names: {file_problem(exc)}"
        ) from exc
    return url


def _first_line(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            return file.readline().strip()
    except OSError as exc:
        raise CommandError(ExitStatus.FAILED, f"cannot read {path}: {file_problem(exc)}") from exc


@asynccontextmanager
async def open_topic_chat(url: str | None, *, resumes: bool) -> AsyncGenerator[TopicChat, None]:
    """Open the topics of this process, and give the handler.

    Args:
        url: of the engine; None for this process only.
        resumes: see `TopicChat`.

    Raises:
        EngineUnavailable: the engine cannot be reached.
    """
    async with anyws.open_topics(url, history=anyws.History() if resumes else None) as topics:
        yield TopicChat(topics, resumes=resumes)


class TopicChat:
    """Publishes what a client sends to the topic that its path names, and sends it what is published there.

    Args:
        topics: the topics.
        resumes: whether clients get JSON with positions, and send their last one when they come back.
    """

    def __init__(self, topics: anyws.Topics, *, resumes: bool) -> None:
        self._topics = topics
        self._resumes = resumes

    async def __call__(self, websocket: WebSocket) -> None:
        """Serve one connection."""
        topic = websocket.request.path.removeprefix("/") or DEFAULT_TOPIC
        if len(topic.encode()) > _LONGEST_NAME:
            await websocket.aclose(
                anyws.CloseCode.POLICY_VIOLATION, f"the topic's name is longer than {_LONGEST_NAME} bytes"
            )
            return
        try:
            await (self._resume if self._resumes else self._talk)(websocket, topic)
        except anyws.EngineUnavailable:
            await websocket.aclose(anyws.CloseCode.TRY_AGAIN_LATER, "the engine of topics is unavailable")
        except anyws.ConnectionClosed:
            return

    async def _talk(self, websocket: WebSocket, topic: str) -> None:
        async with self._topics.forward(websocket, topic):
            async for message in websocket:
                await self._topics.publish(topic, message)

    async def _resume(self, websocket: WebSocket, topic: str) -> None:
        try:
            since = json.loads(await websocket.receive())["since"]
        except (ValueError, TypeError, KeyError, RecursionError):
            await websocket.aclose(
                anyws.CloseCode.POLICY_VIOLATION, 'expected {"since": POSITION} or {"since": null} first'
            )
            return
        async with self._topics.forward(websocket, topic, since=since, encode=_with_position) as forwarding:
            if since is None or not forwarding.is_continuous:
                # There is no state but the position. Sent without waiting, it precedes what is published from now on.
                websocket.send_nowait(json.dumps({"state": [], "position": forwarding.positions[topic]}))
            async for message in websocket:
                await self._topics.publish(topic, message)


def _with_position(published: anyws.Published) -> str:
    message = published.message
    data = {"data": message} if isinstance(message, str) else {"base64": base64.b64encode(message).decode()}
    return json.dumps({"topic": published.topic, "position": published.position, **data})
