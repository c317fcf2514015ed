"""A process of the long run: publishes numbers, receives those of all, and reports both as JSON.

It prints ``ready`` once it receives. Then it reads from stdin: at the first line it begins to publish, at the second it
stops and prints ``stopped``, at the third it catches up, reports and ends.
"""

from __future__ import annotations

import argparse
import json
import sys

import anyio
from anyio import to_thread

from anyws.exceptions import EngineUnavailable
from anyws.topics.engine import Position
from anyws.topics.history import History
from anyws.topics.redis import RedisEngine

from .listeners import Follower

TOPIC = "long run"


class Worker:
    """One process."""

    def __init__(self, number: int, url: str) -> None:
        self._number = number
        self._engine = RedisEngine(url, history=History(messages=20_000, seconds=300))
        self._follower = Follower(self._engine, TOPIC)
        self._accepted: list[str] = []
        self._refused = 0

    async def run(self, pause: float) -> None:
        """Work as the lines on stdin say."""
        async with anyio.create_task_group() as tasks:
            await tasks.start(self._engine.run, self._follower)
            tasks.start_soon(self._follower.run)
            await self._follower.following.wait()
            print("ready", flush=True)
            await to_thread.run_sync(sys.stdin.readline)
            async with anyio.create_task_group() as publishing:
                publishing.start_soon(self._publish, pause)
                await to_thread.run_sync(sys.stdin.readline)
                publishing.cancel_scope.cancel()
            print("stopped", flush=True)
            await to_thread.run_sync(sys.stdin.readline)
            await self._catch_up()
            tasks.cancel_scope.cancel()
        report = {
            "accepted": self._accepted,
            "refused": self._refused,
            "received": [payload.decode() for payload in self._follower.received],
            "losses": self._follower.losses,
            "interruptions": self._follower.events.count("interrupted"),
        }
        print(json.dumps(report), flush=True)

    async def _publish(self, pause: float) -> None:
        number = 0
        while True:
            number += 1
            text = f"{self._number}:{number}"
            try:
                await self._engine.publish(TOPIC, text.encode())
            except EngineUnavailable:
                self._refused += 1
            else:
                self._accepted.append(text)
            await anyio.sleep(pause)

    async def _catch_up(self) -> None:
        while True:
            try:
                (now,) = await self._engine.follow([TOPIC])
            except EngineUnavailable:
                await anyio.sleep(0.1)
                continue
            if self._is_at(now):
                return
            with anyio.move_on_after(6):  # the follower checks every 5 seconds
                await self._follower.wait_until(lambda now=now: self._is_at(now))  # type: ignore[misc]

    def _is_at(self, now: Position) -> bool:
        return self._follower.position is not None and self._follower.position.offset >= now.offset


def main() -> None:
    """Run a process of the long run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("number", type=int)
    parser.add_argument("url")
    parser.add_argument("--backend", default="asyncio")
    parser.add_argument("--pause", type=float, default=0.005, help="seconds between two messages (0.005)")
    arguments = parser.parse_args()
    anyio.run(Worker(arguments.number, arguments.url).run, arguments.pause, backend=arguments.backend)


if __name__ == "__main__":
    main()
