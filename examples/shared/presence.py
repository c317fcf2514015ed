"""Who is present, in all processes that share topics."""

import json
import time
import uuid
from collections.abc import Awaitable, Callable, Iterable

import anyio
from anyio.abc import TaskStatus

import anyws

__all__ = ["Presence"]


class Presence:
    """Keeps a list of the names that are present, in all processes.

    Each process announces its own names when they change, and every few seconds. The names of a process that has not
    announced any for three times as long are removed: the process has crashed, or cannot be reached.

    Args:
        topics: the topics that the processes share.
        topic: the topic of the announcements.
        changed: called when the names of other processes have changed.
        interval: seconds between announcements.
    """

    def __init__(
        self, topics: anyws.Topics, topic: str, changed: Callable[[], Awaitable[None]], interval: float = 5
    ) -> None:
        self.topics, self.topic, self.changed, self.interval = topics, topic, changed, interval
        self.process = uuid.uuid4().hex
        self.here: list[str] = []
        self.elsewhere: dict[str, tuple[float, list[str]]] = {}  # process: when it expires, and its names
        self.due = anyio.Event()

    def names(self) -> list[str]:
        """Return all names, sorted."""
        elsewhere = [name for _, names in self.elsewhere.values() for name in names]
        return sorted({*self.here, *elsewhere})

    def set(self, names: Iterable[str]) -> None:
        """Say who is present in this process."""
        self.here = list(names)
        self.due.set()

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Announce and listen until cancelled. It has started when it listens."""
        async with anyio.create_task_group() as tasks:
            await tasks.start(self.listen)
            task_status.started()
            try:
                await self.announce_regularly()
            finally:
                with anyio.move_on_after(1, shield=True):
                    self.here = []
                    await self.announce()

    async def announce_regularly(self) -> None:
        await self.announce(ask=True)
        while True:
            with anyio.move_on_after(self.interval):
                await self.due.wait()
            self.due = anyio.Event()
            await self.announce()
            await self.update({process: it for process, it in self.elsewhere.items() if it[0] > time.monotonic()})

    async def announce(self, *, ask: bool = False) -> None:
        said = {"process": self.process, "names": self.here, "ask": ask}
        try:
            await self.topics.publish(self.topic, json.dumps(said))
        except anyws.EngineUnavailable:
            pass  # the next announcement says the same

    async def listen(self, *, task_status: TaskStatus[None]) -> None:
        has_started = False
        while True:
            try:
                async with self.topics.subscribe(self.topic) as announcements:
                    if not has_started:
                        task_status.started()
                    has_started = True
                    async for published in announcements:
                        await self.heard(json.loads(published.message))
            except anyws.MessagesMissed:
                self.due.set()  # announcements are repeated
            except anyws.EngineUnavailable:
                await anyio.sleep(self.interval)

    async def heard(self, said: dict[str, object]) -> None:
        if said["process"] == self.process:
            return
        if said["ask"]:
            self.due.set()
        expires = time.monotonic() + 3 * self.interval
        await self.update({**self.elsewhere, said["process"]: (expires, said["names"])})  # type: ignore[dict-item]

    async def update(self, elsewhere: dict[str, tuple[float, list[str]]]) -> None:
        before = self.names()
        self.elsewhere = elsewhere
        if self.names() != before:
            await self.changed()
