"""Whatever an engine does, each follower gets a sequence without holes, or is told. Faults in any order."""

from __future__ import annotations

import contextlib
import functools
import itertools
from dataclasses import dataclass, field
from typing import Any, Literal

import anyio
import pytest
from anyio.lowlevel import checkpoint
from hypothesis import example, given, settings, strategies as st

import anyws
from anyws.testing import FaultyEngine, websocket_pair
from anyws.topics import Position

TOPICS = ("a", "b")
END = "that is all"


def with_position(published: anyws.Published) -> str:
    return f"{published.topic} {published.position} {published.message!s}"


@dataclass
class Seen:
    """What one block has got.

    Attributes:
        start: where each topic stood when it began.
        got: the positions received of each topic.
        told: whether it was told that something is missing.
        ended: the topics of which it has got the end.
        has_left: whether the block was left.
        published_before: what was published before that, and may still be on its way to the client.
    """

    gap: Literal["close", "continue"]
    start: dict[str, Position]
    got: dict[str, list[Position]] = field(default_factory=lambda: {topic: [] for topic in TOPICS})
    told: bool = False
    ended: set[str] = field(default_factory=set)
    has_left: bool = False
    published_before: set[tuple[str, int]] = field(default_factory=set)

    def note(self, topic: str, position: str, message: str) -> None:
        assert (topic, Position.parse(position).offset) in self.published_before or not self.has_left
        self.got[topic].append(Position.parse(position))
        if message == END:
            self.ended.add(topic)

    @property
    def is_done(self) -> bool:
        return self.has_left or (self.told and self.gap == "close") or self.ended == {*self.start}


class System:
    """Two processes on one engine; the first one has connections and faults."""

    def __init__(self, stack: contextlib.AsyncExitStack, tasks: Any) -> None:
        self.stack = stack
        self.tasks = tasks
        self.truth: dict[str, list[Position]] = {topic: [] for topic in TOPICS}
        self.seen: list[Seen] = []
        self.open: list[tuple[contextlib.AsyncExitStack, Seen]] = []
        self.numbers = 0
        self.lives: dict[str, list[tuple[str, Position]]] = {topic: [] for topic in TOPICS}
        """The epochs that had a successor with their data, and where that begins."""

    async def start(self, history: anyws.History | None) -> None:
        self.engine = FaultyEngine(history)
        other = FaultyEngine(beside=self.engine)
        self.topics = await self.stack.enter_async_context(anyws.open_topics(engine=self.engine, reconnect_spread=0))
        self.others = await self.stack.enter_async_context(anyws.open_topics(engine=other))

    async def publish(self, topic: str, *, remote: bool) -> None:
        self.numbers += 1
        try:
            position = await (self.others if remote else self.topics).publish(topic, str(self.numbers))
        except anyws.EngineUnavailable:
            assert not remote
        else:
            self.truth[topic].append(Position.parse(position))

    async def forward(self, gap: Literal["close", "continue"], *, resume: bool) -> None:
        stack = contextlib.AsyncExitStack()
        client, server = await self.stack.enter_async_context(websocket_pair())
        before = next((seen for seen in reversed(self.seen) if resume and len(seen.start) == len(TOPICS)), None)
        since = {topic: last_of(before, topic) for topic in before.start} if before else None
        try:
            forwarding = await stack.enter_async_context(
                self.topics.forward(server, *TOPICS, since=since, encode=with_position, gap=gap)
            )
        except anyws.EngineUnavailable:
            return
        if since is not None and forwarding.is_continuous:
            start = {topic: Position.parse(since[topic]) for topic in TOPICS}
        else:
            start = {topic: Position.parse(position) for topic, position in forwarding.positions.items()}
        seen = Seen(gap, start)
        self.seen.append(seen)
        self.open.append((stack, seen))

        async def read() -> None:
            try:
                async for message in client:
                    topic, position, text = str(message).split(" ", 2)
                    seen.note(topic, position, text)
            except anyws.ConnectionClosedError as exc:
                seen.told = exc.code == 1012 and gap == "close"

        async def watch() -> None:
            while not seen.has_left:
                seen.told = seen.told or (gap == "continue" and not forwarding.is_continuous)
                await checkpoint()

        seen.told = since is not None and not forwarding.is_continuous  # a part of the topics may have been sent more
        self.tasks.start_soon(read)
        self.tasks.start_soon(watch)

    async def subscribe(self) -> None:
        stack = contextlib.AsyncExitStack()
        try:
            subscription = await stack.enter_async_context(self.topics.subscribe("a"))
        except anyws.EngineUnavailable:
            return
        seen = Seen("close", {})
        self.open.append((stack, seen))

        async def read() -> None:
            try:
                async for published in subscription:
                    assert isinstance(published.message, str)
                    if not seen.start:
                        first = Position.parse(published.position)
                        seen.start["a"] = Position(first.epoch, first.offset - 1)
                    seen.note("a", published.position, published.message)
            except anyws.MessagesMissed:
                seen.told = True
            except anyio.ClosedResourceError:
                pass

        self.tasks.start_soon(read)
        self.seen.append(seen)

    async def leave(self) -> None:
        if self.open:
            stack, seen = self.open.pop(0)
            seen.has_left = True
            seen.published_before = {(topic, position.offset) for topic in TOPICS for position in self.truth[topic]}
            await stack.aclose()

    async def finish(self) -> None:
        """Let the faults end, and wait until everybody has got all, or knows better."""
        self.engine.thaw()
        self.engine.restart()
        self.engine._dropping = 0
        await self.check()
        while not all(seen.is_done for seen in self.seen):
            for topic in TOPICS:
                self.truth[topic].append(Position.parse(await self.others.publish(topic, END)))
            await pause()
        for seen in self.seen:
            for topic in seen.start:
                self.compare(seen, topic)

    async def recover(self, lost: int) -> None:
        """Restart with data that lacks the latest messages."""
        self.engine.die()
        former = {topic: found.position for topic, found in self.engine._store._topics.items()}
        self.engine.restart(lost=lost)
        for topic, found in self.engine._store._topics.items():
            self.lives[topic].append((former[topic].epoch, found.position))

    def is_next(self, topic: str, before: Position, after: Position) -> bool:
        """Return whether nothing lies between two positions, also if the topic has begun another epoch meanwhile."""
        while before.epoch != after.epoch:
            begin = next((new for former, new in self.lives[topic] if former == before.epoch), None)
            if begin is None or before.offset > begin.offset:
                return False
            before = Position(begin.epoch, before.offset)
        return after.offset == before.offset + 1

    def published_at(self, topic: str, position: Position) -> Position:
        """Return the position at which a message was published; later epochs have it under the same number."""
        for former, begin in reversed(self.lives[topic]):
            if begin.epoch == position.epoch and position.offset <= begin.offset:
                position = Position(former, position.offset)
        return position

    async def check(self) -> None:
        """Do what happens every few seconds."""
        self.topics._service.following.check_soon()

    def compare(self, seen: Seen, topic: str) -> None:
        truth = self.truth[topic]
        got = [self.published_at(topic, position) for position in seen.got[topic]]
        assert sorted(set(got), key=truth.index) == got, "in order, and each once"
        if not seen.told:
            known = [seen.start[topic], *seen.got[topic]]
            for before, after in itertools.pairwise(known):
                assert self.is_next(topic, before, after)


def last_of(seen: Seen, topic: str) -> str:
    return str(seen.got[topic][-1] if seen.got[topic] else seen.start[topic])


COMMANDS: dict[str, Any] = {
    "publish a": lambda system: system.publish("a", remote=False),
    "publish b": lambda system: system.publish("b", remote=False),
    "others publish a": lambda system: system.publish("a", remote=True),
    "others publish b": lambda system: system.publish("b", remote=True),
    "forward": lambda system: system.forward("close", resume=False),
    "forward and go on": lambda system: system.forward("continue", resume=False),
    "come back": lambda system: system.forward("close", resume=True),
    "subscribe": lambda system: system.subscribe(),
    "leave": lambda system: system.leave(),
    "drop": lambda system: system.engine.drop(),
    "double": lambda system: system.engine.double(),
    "delay": lambda system: system.engine.delay(),
    "deliver": lambda system: system.engine.deliver(),
    "die": lambda system: system.engine.die(),
    "restart": lambda system: system.engine.restart(),
    "forget": lambda system: forget(system.engine),
    "recover": lambda system: system.recover(0),
    "recover less": lambda system: system.recover(1),
    "check": lambda system: system.check(),
    "pause": lambda system: pause(),
}


def forget(engine: FaultyEngine) -> None:
    engine.die()
    engine.restart(forget=True)


async def pause() -> None:
    for _ in range(20):
        await checkpoint()


async def play(commands: list[str], history: anyws.History | None) -> None:
    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks, contextlib.AsyncExitStack() as stack:
            system = System(stack, tasks)
            await system.start(history)
            for command in commands:
                awaitable = COMMANDS[command](system)
                if awaitable is not None:
                    await awaitable
            await system.finish()
            while system.open:
                await system.leave()
            tasks.cancel_scope.cancel()


@pytest.mark.parametrize("history", [None, anyws.History(messages=4), anyws.History()], ids=["none", "short", "long"])
@pytest.mark.parametrize("loop", ["asyncio", "uvloop", "trio"])
@settings(max_examples=25)
@given(commands=st.lists(st.sampled_from(sorted(COMMANDS)), max_size=40))
@example(commands=["forward", "publish a", "drop", "publish a", "publish a", "come back", "die", "others publish a"])
def test_any_faults_in_any_order(commands: list[str], loop: str, history: anyws.History | None) -> None:
    run = functools.partial(play, commands, history)
    if loop == "trio":
        anyio.run(run, backend="trio")
    else:
        anyio.run(run, backend_options={"use_uvloop": loop == "uvloop"})
