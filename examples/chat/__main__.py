"""A chat in the browser, with the page and its WebSocket on one port: ``python -m examples.chat [HOST] [PORT]``."""

import json
import time
from collections import deque
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import anyio

import anyws
from examples.shared.pages import HERE, pages
from examples.shared.running import parser, serve_until_stopped

LONGEST_NAME = 24
LONGEST_TEXT = 2000
REMEMBERED = 50  # messages shown to new participants


class Invalid(Exception):
    """A message that the page would not send."""


def parse(message: str | bytes, expected: str, longest: int) -> str:
    """Return the text of a message like ``{"type": "say", "say": "hello"}``."""
    try:
        value: Any = json.loads(message)
        text = value[expected] if value["type"] == expected else None
    except (ValueError, KeyError, TypeError) as exc:
        raise Invalid(f"expected a message of type {expected}") from exc
    if not isinstance(text, str) or not 0 < len(text.strip()) <= longest:
        raise Invalid(f"expected 1 to {longest} characters")
    return text.strip()


class Chat:
    """A chat room: its participants and its latest messages."""

    def __init__(self) -> None:
        self.people: dict[anyws.WebSocket, str] = {}
        self.said: deque[dict[str, Any]] = deque(maxlen=REMEMBERED)

    async def handle(self, websocket: anyws.WebSocket) -> None:
        try:
            name = self.free_name(parse(await websocket.receive(), "join", LONGEST_NAME))
            self.people[websocket] = name
            try:
                await websocket.send(json.dumps({"type": "welcome", "name": name, "said": list(self.said)}))
                await self.tell_people()
                async for message in websocket:
                    await self.say(name, parse(message, "say", LONGEST_TEXT))
            finally:
                del self.people[websocket]
                with anyio.CancelScope(shield=True):
                    await self.tell_people()
        except Invalid as exc:
            await websocket.aclose(anyws.CloseCode.POLICY_VIOLATION, str(exc))

    def free_name(self, wanted: str) -> str:
        name, number = wanted, 1
        while name in self.people.values():
            number += 1
            name = f"{wanted} {number}"
        return name

    async def say(self, name: str, text: str) -> None:
        said = {"name": name, "text": text, "at": time.time()}
        self.said.append(said)
        await self.tell({"type": "said", **said})

    async def tell_people(self) -> None:
        await self.tell({"type": "people", "names": sorted(self.people.values())})

    async def tell(self, value: dict[str, Any]) -> None:
        await anyws.broadcast(list(self.people), json.dumps(value), slow="disconnect")


def open_chat(host: str, port: int) -> AbstractAsyncContextManager[anyws.Server]:
    """Serve the page on ``/``, and the chat on ``/ws``."""
    hook = pages(HERE, Path(__file__).parent)
    # In JSON, a character takes up to 12 bytes.
    return anyws.open_server(Chat().handle, host, port, on_request=hook, max_message_size=16 * LONGEST_TEXT)


async def main(host: str, port: int) -> None:
    await serve_until_stopped(open_chat(host, port))


if __name__ == "__main__":
    arguments = parser("A chat in the browser.").parse_args()
    anyio.run(main, arguments.host, arguments.port, backend=arguments.backend)
