"""A process of the long run: a chat server, a publisher, a subscription and a client.

It prints the port of its server once it is ready, and then reads from stdin: at the first line, which has the ports of
all processes, it begins to publish; at the second it stops, and prints ``stopped``; at the third it waits until the
subscription and the client have received the end, reports as JSON and ends.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from typing import Any

import anyio
from anyio import to_thread

import anyws

from .chat import Client, handler
from .observing import END, Observer

TOPIC = "long run"
HISTORY = anyws.History(messages=20_000, seconds=300)


class Worker:
    """One process."""

    def __init__(self, number: int, topics: anyws.Topics) -> None:
        self._number = number
        self._topics = topics
        self._subscription = Observer()
        self._visitor = Observer()
        self._client = Client(self._visitor)
        self._accepted: dict[str, str] = {}
        self._refused: list[str] = []
        self._slowest = 0.0
        self._interruptions = 0

    async def run(self, pause: float) -> dict[str, Any]:
        """Work as the lines on stdin say; return the report."""
        async with (
            anyws.open_server(handler(self._topics, TOPIC), "127.0.0.1", 0) as server,
            anyio.create_task_group() as tasks,
        ):
            await tasks.start(self._subscribe)
            print(server.addresses[0][1], flush=True)
            ports: list[int] = json.loads(await to_thread.run_sync(sys.stdin.readline))
            tasks.start_soon(self._client.run, ports[self._number :] + ports[: self._number])
            tasks.start_soon(self._watch)
            async with anyio.create_task_group() as publishing:
                publishing.start_soon(self._publish_all, pause)
                await to_thread.run_sync(sys.stdin.readline)
                publishing.cancel_scope.cancel()
            print("stopped", flush=True)
            await to_thread.run_sync(sys.stdin.readline)
            await self._end()
            tasks.cancel_scope.cancel()
        return {
            "accepted": self._accepted,
            "refused": self._refused,
            "slowest": self._slowest,
            "interruptions": self._interruptions,
            "observed": {"subscription": self._subscription.events, "client": self._visitor.events},
        }

    async def _publish(self, text: str) -> None:
        self._refused.append(text)  # until it is accepted; a cancelled call may have published it
        began = anyio.current_time()
        try:
            self._accepted[await self._topics.publish(TOPIC, text)] = text
            self._refused.pop()
        except anyws.EngineUnavailable:
            pass
        self._slowest = max(self._slowest, anyio.current_time() - began)

    async def _publish_all(self, pause: float) -> None:
        number = 0
        while True:
            number += 1
            await self._publish(f"{self._number}:{number}")
            await anyio.sleep(pause)

    async def _end(self) -> None:
        """Publish ends until the observers have one of them, and so all that was published before."""
        number = 0
        while not all(
            any(text.startswith(f"{END} {self._number}") for text in observer.texts)
            for observer in (self._subscription, self._visitor)
        ):
            number += 1
            await self._publish(f"{END} {self._number}:{number}")
            await anyio.sleep(0.5)

    async def _subscribe(self, *, task_status: anyio.abc.TaskStatus[None]) -> None:
        """Receive all, and go on after what is missing."""
        observer = self._subscription
        observer.begin(await self._topics.publish(TOPIC, f"{END} before the beginning of {self._number}"))
        task_status.started()
        while True:
            try:
                async with self._topics.subscribe(TOPIC, since=observer.position, buffer=2**24) as messages:
                    async for published in messages:
                        observer.received(published.position, str(published.message))
            except anyws.MessagesMissed as exc:
                observer.lost(exc.last, exc.new)
            except anyws.EngineUnavailable:
                await anyio.sleep(0.1)

    async def _watch(self) -> None:
        """Count how often the status changes."""
        status = "connected"
        while True:
            await anyio.sleep(0.05)
            before, status = status, self._topics.status
            self._interruptions += before == "connected" != status


async def work(number: int, url: str, pause: float) -> None:
    """Run a process, and print its report."""
    async with anyws.open_topics(url, history=HISTORY) as topics:
        report = await Worker(number, topics).run(pause)
    print(json.dumps(report), flush=True)


def main() -> None:
    """Run a process of the long run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("number", type=int)
    parser.add_argument("url")
    parser.add_argument("--backend", default="asyncio", choices=["asyncio", "trio", "uvloop"])
    parser.add_argument("--pause", type=float, default=0.005, help="seconds between two messages (0.005)")
    arguments = parser.parse_args()
    logging.getLogger("anyws.topics").setLevel(logging.ERROR)  # each interruption is a warning
    is_uvloop = arguments.backend == "uvloop"
    anyio.run(
        work,
        arguments.number,
        arguments.url,
        arguments.pause,
        backend="asyncio" if is_uvloop else arguments.backend,
        backend_options={"use_uvloop": True} if is_uvloop else {},
    )


if __name__ == "__main__":
    main()
