"""Which server has a topic: the only one, the primary that sentinels name, or one of a cluster."""

from __future__ import annotations

import dataclasses
import functools

import anyio
from anyio.abc import TaskGroup, TaskStatus

from anyws.exceptions import EngineUnavailable
from anyws.topics.history import History

from .connection import shown
from .link import ask
from .scripts import TopicKeys, slot_of
from .settings import Address, Settings
from .shard import Shard, Told

__all__ = ["Cluster", "Places", "Single", "places_of"]

_REFRESH_INTERVAL = 0.5
"""How often a cluster is asked who has which slot while a server is missing, in seconds."""


class Single:
    """All topics are on one server.

    Args:
        settings: how to connect.
        history: what a topic keeps.
        told: whom the server tells what.
    """

    def __init__(self, settings: Settings, history: History | None, told: Told) -> None:
        self._settings = settings
        self._sentinels = list(settings.addresses)
        self._shard = Shard(self._find, settings, history, told)

    async def run(self, *, task_status: TaskStatus[EngineUnavailable | None]) -> None:
        """Stay connected until cancelled; give up if the first attempt fails."""
        await self._shard.run(must_connect=True, task_status=task_status)

    def shard_of(self, keys: TopicKeys) -> Shard:
        """Return the server."""
        return self._shard

    async def refresh(self) -> None:
        """Do nothing: topics do not move."""

    async def _find(self) -> Address:
        if self._settings.kind != "sentinel":
            return self._settings.addresses[0]
        failures: list[str] = []
        for sentinel in list(self._sentinels):
            try:
                found = await _ask_sentinel(sentinel, self._settings)
            except EngineUnavailable as exc:
                failures.append(str(exc))
            else:
                self._sentinels.remove(sentinel)  # ask the one that responds first
                self._sentinels.insert(0, sentinel)
                return found
        raise EngineUnavailable(f"no sentinel named the primary of {self._settings.service!r}: {'; '.join(failures)}")


async def _ask_sentinel(sentinel: Address, settings: Settings) -> Address:
    own = dataclasses.replace(
        settings,
        service="",
        db=0,
        username=settings.sentinel_username,
        password=settings.sentinel_password,
        credentials=None,
    )
    reply = await ask(sentinel, own, b"SENTINEL", b"GET-MASTER-ADDR-BY-NAME", settings.service.encode())
    match reply:
        case [bytes() as host, bytes() as port]:
            return host.decode(), int(port)
        case _:
            raise EngineUnavailable(f"{shown(sentinel)} does not watch {settings.service!r}")


class Cluster:
    """The topics are spread over the primaries of a cluster.

    Args:
        settings: how to connect.
        history: what a topic keeps.
        told: whom the servers tell what.
    """

    def __init__(self, settings: Settings, history: History | None, told: Told) -> None:
        self._settings = settings
        self._history = history
        self._told = told
        self._shards: dict[Address, tuple[Shard, anyio.CancelScope]] = {}
        self._addresses: list[Address | None] = [None] * 16384  # by slot
        self._refreshing = anyio.Lock()
        self._refreshed = 0
        self._tasks: TaskGroup | None = None

    async def run(self, *, task_status: TaskStatus[EngineUnavailable | None]) -> None:
        """Stay connected to all primaries until cancelled; give up if the first attempt fails."""
        async with anyio.create_task_group() as self._tasks:
            failure: EngineUnavailable | None = None
            try:
                await self._refresh(must_connect=True)
            except EngineUnavailable as exc:
                failure = exc
                self._tasks.cancel_scope.cancel()
            task_status.started(failure)
            while True:
                await anyio.sleep(_REFRESH_INTERVAL)
                if not all(shard.is_up for shard, _ in self._shards.values()):
                    try:
                        await self.refresh()
                    except EngineUnavailable:
                        pass

    def shard_of(self, keys: TopicKeys) -> Shard:
        """Return the server that has a topic.

        Raises:
            EngineUnavailable: no server has it.
        """
        address = self._addresses[slot_of(keys.meta)]
        if address is None or address not in self._shards:
            raise EngineUnavailable(f"no server of the cluster has slot {slot_of(keys.meta)}; nothing was sent")
        return self._shards[address][0]

    async def refresh(self) -> None:
        """Ask the cluster who has which slot. Callers at the same time share the answer.

        Raises:
            EngineUnavailable: no server knows.
        """
        seen = self._refreshed
        async with self._refreshing:
            if self._refreshed == seen:
                await self._refresh(must_connect=False)

    async def _refresh(self, *, must_connect: bool) -> None:
        addresses = await self._ask()
        self._refreshed += 1
        self._addresses = addresses
        current = {address for address in addresses if address is not None}
        for address in set(self._shards) - current:
            shard, scope = self._shards.pop(address)
            scope.cancel()
            self._told.gone(shard)
        for address in current - set(self._shards):
            await self._add(address, must_connect)

    async def _add(self, address: Address, must_connect: bool) -> None:
        assert self._tasks is not None
        scope = anyio.CancelScope()
        shard = Shard(functools.partial(_known, address), self._settings, self._history, self._told)

        async def run(*, task_status: TaskStatus[EngineUnavailable | None]) -> None:
            with scope:
                await shard.run(must_connect=must_connect, task_status=task_status)

        self._shards[address] = (shard, scope)
        if must_connect:
            failure: EngineUnavailable | None = await self._tasks.start(run)
            if failure is not None:
                raise failure
        else:
            self._told.lost(shard, EngineUnavailable(f"the cluster has a new server, {shown(address)}"))
            self._tasks.start_soon(functools.partial(run, task_status=anyio.TASK_STATUS_IGNORED))

    async def _ask(self) -> list[Address | None]:
        failures: list[str] = []
        for address in dict.fromkeys([*self._shards, *self._settings.addresses]):
            try:
                return _slots(await ask(address, self._settings, b"CLUSTER", b"SLOTS"), address)
            except EngineUnavailable as exc:
                failures.append(str(exc))
        raise EngineUnavailable(f"no server of the cluster responded: {'; '.join(failures)}")


Places = Single | Cluster


def places_of(settings: Settings, history: History | None, told: Told) -> Places:
    """Return where topics are, as the settings say."""
    return (Cluster if settings.kind == "cluster" else Single)(settings, history, told)


async def _known(address: Address) -> Address:
    return address


def _slots(reply: object, asked: Address) -> list[Address | None]:
    """Return the address for each slot. A server that does not know its own host is the one that we have asked."""
    addresses: list[Address | None] = [None] * 16384
    for entry in reply if isinstance(reply, list) else []:
        match entry:
            case [int() as first, int() as last, [host, int() as port, *_], *_]:
                name = host.decode() if isinstance(host, bytes) and host not in (b"", b"?") else asked[0]
                addresses[first : last + 1] = [(name, port)] * (last + 1 - first)
            case _:
                raise EngineUnavailable(f"{shown(asked)} returned malformed slots: {entry!r:.60}")
    if not any(addresses):
        raise EngineUnavailable(f"{shown(asked)} returned no slots; has the cluster been created?")
    return addresses
