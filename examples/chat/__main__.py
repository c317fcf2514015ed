"""A chat in the browser, with the page and its WebSocket on one port.

``python -m examples.chat [HOST] [PORT] [--engine redis://HOST]``: with an engine, any number of processes are one chat.
"""

import json
import time
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
from anyio.abc import TaskStatus

import anyws
from examples.shared.pages import HERE, pages
from examples.shared.presence import Presence
from examples.shared.running import parser, serve_until_stopped

LONGEST_NAME = 24
LONGEST_TEXT = 2000
REMEMBERED = 50  # messages shown to new participants
HISTORY = anyws.History(messages=1000, seconds=300)  # for participants who come back


class Invalid(Exception):
    """A message that the page would not send."""


def parse(message: str | bytes, expected: str, longest: int) -> tuple[str, Any]:
    """Return the text of a message like ``{"type": "say", "say": "hello"}``, and its ``since``."""
    try:
        value: Any = json.loads(message)
        text = value[expected] if value["type"] == expected else None
        since = value.get("since")
    except (ValueError, KeyError, TypeError) as exc:
        raise Invalid(f"expected a message of type {expected}") from exc
    if not isinstance(text, str) or not 0 < len(text.strip()) <= longest:
        raise Invalid(f"expected 1 to {longest} characters")
    return text.strip(), since


def with_position(published: anyws.Published) -> str:
    """Return what the page gets for what was said; it sends the position of the last message when it comes back."""
    return json.dumps({"type": "said", **json.loads(published.message), "position": published.position})


class Chat:
    """The part of a chat that is in this process: its participants, and the latest messages of all."""

    def __init__(self, topics: anyws.Topics) -> None:
        self.topics = topics
        self.people: dict[anyws.WebSocket, str] = {}
        self.said: deque[anyws.Published] = deque(maxlen=REMEMBERED)
        self.presence = Presence(topics, "chat:people", self.tell_people)

    async def remember(self, *, task_status: TaskStatus[None]) -> None:
        """Keep the latest messages until cancelled."""
        has_started = False
        while True:
            try:
                async with self.topics.subscribe("chat") as messages:
                    if not has_started:
                        task_status.started()
                    has_started = True
                    async for published in messages:
                        self.said.append(published)
            except anyws.MessagesMissed:
                self.said.clear()  # show no list with a hole
            except anyws.EngineUnavailable:
                await anyio.sleep(1)

    async def handle(self, websocket: anyws.WebSocket) -> None:
        try:
            wanted, since = parse(await websocket.receive(), "join", LONGEST_NAME)
            self.people[websocket] = self.free_name(wanted)
            self.presence.set(self.people.values())
            try:
                if since is None or not await self.resume(websocket, since):
                    await self.begin(websocket)
            finally:
                del self.people[websocket]
                with anyio.CancelScope(shield=True):
                    await self.people_changed()
        except Invalid as exc:
            await websocket.aclose(anyws.CloseCode.POLICY_VIOLATION, str(exc))
        except anyws.EngineUnavailable:
            await websocket.aclose(anyws.CloseCode.TRY_AGAIN_LATER, "the chat is not available at the moment")

    async def resume(self, websocket: anyws.WebSocket, since: Any) -> bool:
        """Send what somebody has missed, and go on; return False if that is not known any more."""
        async with self.topics.forward(websocket, "chat", since=since, encode=with_position) as forwarding:
            if forwarding.is_continuous:
                await websocket.send(json.dumps({"type": "welcome", "name": self.people[websocket]}))
                await self.talk(websocket)
            return forwarding.is_continuous

    async def begin(self, websocket: anyws.WebSocket) -> None:
        """Send the latest messages, and go on after the last of them."""
        said = list(self.said)
        welcome = {"name": self.people[websocket], "said": [json.loads(with_position(one)) for one in said]}
        await websocket.send(json.dumps({"type": "welcome", **welcome}))
        since = said[-1].position if said else None
        async with self.topics.forward(websocket, "chat", since=since, encode=with_position):
            await self.talk(websocket)

    async def talk(self, websocket: anyws.WebSocket) -> None:
        await self.people_changed()
        async for message in websocket:
            text, _ = parse(message, "say", LONGEST_TEXT)
            said = {"name": self.people[websocket], "text": text, "at": time.time()}
            await self.topics.publish("chat", json.dumps(said))

    def free_name(self, wanted: str) -> str:
        name, number = wanted, 1
        while name in self.presence.names():
            number += 1
            name = f"{wanted} {number}"
        return name

    async def people_changed(self) -> None:
        self.presence.set(self.people.values())
        await self.tell_people()

    async def tell_people(self) -> None:
        message = json.dumps({"type": "people", "names": self.presence.names()})
        await anyws.broadcast(list(self.people), message, slow="disconnect")


@asynccontextmanager
async def open_chat(host: str, port: int, engine: str | None = None) -> AsyncGenerator[anyws.Server, None]:
    """Serve the page on ``/``, and the chat on ``/ws``."""
    hook = pages(HERE, Path(__file__).parent)
    async with anyws.open_topics(engine, history=HISTORY) as topics, anyio.create_task_group() as tasks:
        chat = Chat(topics)
        await tasks.start(chat.remember)
        await tasks.start(chat.presence.run)
        size = 16 * LONGEST_TEXT  # in JSON, a character takes up to 12 bytes
        async with anyws.open_server(chat.handle, host, port, on_request=hook, max_message_size=size) as server:
            yield server
        tasks.cancel_scope.cancel()


async def main(host: str, port: int, engine: str | None) -> None:
    await serve_until_stopped(open_chat(host, port, engine))


if __name__ == "__main__":
    options = parser("A chat in the browser.")
    options.add_argument("--engine", help="URL of a Redis or Valkey server that several processes of the chat share")
    arguments = options.parse_args()
    anyio.run(main, arguments.host, arguments.port, arguments.engine, backend=arguments.backend)
