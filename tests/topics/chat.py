"""A chat over topics: its server, and a client that goes from one process to the next."""

from __future__ import annotations

import itertools
import json
from collections.abc import Awaitable, Callable, Sequence

import anyio

import anyws
from anyws.topics import Position

from .observing import Observer

__all__ = ["Client", "handler"]

_STAY = 2.0  # seconds with one process


def handler(topics: anyws.Topics, topic: str) -> Callable[[anyws.WebSocket], Awaitable[None]]:
    """Return a handler: a client sends the position of its last message, and is sent what follows."""

    async def chat(websocket: anyws.WebSocket) -> None:
        since = json.loads(await websocket.receive())
        try:
            async with topics.forward(websocket, topic, since=since, encode=_with_position) as forwarding:
                hello = {"continuous": forwarding.is_continuous, "position": forwarding.positions[topic]}
                await websocket.send(json.dumps(hello))
                async for _ in websocket:
                    pass
        except anyws.EngineUnavailable:
            await websocket.aclose(1013, "the engine is unavailable")
        except anyws.ConnectionClosed:
            pass

    return chat


def _with_position(published: anyws.Published) -> str:
    return json.dumps([published.position, published.message])


class Client:
    """A client that stays with each process for a while, and goes on where it was.

    Args:
        observer: notes what it gets.
    """

    def __init__(self, observer: Observer) -> None:
        self.visits = 0
        self._observer = observer
        self._hello = False
        self._early: list[tuple[str, str]] = []

    async def run(self, ports: Sequence[int]) -> None:
        """Connect to one process after the other, until cancelled."""
        for port in itertools.cycle(ports):
            self._hello, self._early = False, []
            try:
                async with anyws.connect(f"ws://127.0.0.1:{port}") as websocket:
                    await websocket.send(json.dumps(self._observer.position))
                    with anyio.move_on_after(_STAY):
                        async for message in websocket:
                            self._take(json.loads(message))
            except (OSError, anyws.ConnectionClosed):
                await anyio.sleep(0.1)
            self._take_early()
            self.visits += 1

    def _take(self, message: list[str] | dict[str, str]) -> None:
        if isinstance(message, list) and self._hello:
            self._observer.received(*message)
        elif isinstance(message, list):
            self._early.append((message[0], message[1]))
        else:
            self._hello = True
            self._greeted(message["position"], is_continuous=bool(message["continuous"]))

    def _greeted(self, position: str, *, is_continuous: bool) -> None:
        """Note what came before the greeting: the history, and what was published while the block was entered."""
        at = Position.parse(position)
        ends = [number for number, (each, _) in enumerate(self._early) if _is_after(Position.parse(each), at)]
        begin = ends[0] if ends else len(self._early)
        later, self._early = self._early[begin:], self._early[:begin]
        self._take_early()
        if self._observer.position is None:
            self._observer.begin(position)
        elif not is_continuous:
            self._observer.lost(self._observer.position, position)
        self._early = later
        self._take_early()

    def _take_early(self) -> None:
        for position, text in self._early:
            self._observer.received(position, text)
        self._early = []


def _is_after(position: Position, at: Position) -> bool:
    return position.epoch == at.epoch and position.offset > at.offset
