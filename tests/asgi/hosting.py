"""ASGI servers of all kinds, in the event loop of the test."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, cast

import anyio
import hypercorn.asyncio
import hypercorn.trio
from hypercorn.config import Config

from .serving import App, serving

__all__ = ["HOSTS", "Host", "Place", "hosting"]


class Host(Protocol):
    """A running server."""

    @property
    def uri(self) -> str:
        """The address, for clients."""
        ...


@dataclass(frozen=True)
class Place:
    """A server and the event loop that it runs on."""

    server: str
    backend: tuple[str, dict[str, Any]]

    @property
    def has_anyws(self) -> bool:
        """Whether connections are those of anyws."""
        return self.server == "uvicorn-anyws"

    @property
    def is_hypercorn(self) -> bool:
        """Whether it is Hypercorn, which does not pass on the code and reason of the client's Close."""
        return self.server == "hypercorn"

    def host(self, app: App) -> AbstractAsyncContextManager[Host]:
        """Serve an application for the duration of a block."""
        if self.is_hypercorn:
            return hosting(app, self.backend[0])
        return serving(app, ws={"uvicorn-anyws": "anyws.uvicorn:Protocol"}.get(self.server, self.server))


_ASYNCIO, _UVLOOP = ("asyncio", {"debug": False}), ("asyncio", {"debug": False, "use_uvloop": True})
_ON_UVICORN = [Place(server, loop) for server in ("auto", "wsproto", "uvicorn-anyws") for loop in (_ASYNCIO, _UVLOOP)]
HOSTS = {
    f"{place.server}-{'uvloop' if place.backend[1].get('use_uvloop') else place.backend[0]}": place
    for place in (
        *_ON_UVICORN,
        Place("hypercorn", _ASYNCIO),
        Place("hypercorn", _UVLOOP),
        Place("hypercorn", ("trio", {})),
    )
}
"""Each server on each event loop that it supports; ``auto`` is uvicorn's default."""


@dataclass(frozen=True)
class _Hypercorn:
    uri: str


@asynccontextmanager
async def hosting(app: App, backend: str) -> AsyncIterator[Host]:
    """Serve an application with Hypercorn for the duration of a block."""
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    config = Config()
    config.bind = [f"fd://{listener.detach()}"]  # Hypercorn closes it
    config.errorlog = None
    ended = anyio.Event()
    module: Any = hypercorn.trio if backend == "trio" else hypercorn.asyncio
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(partial(module.serve, cast(Any, app), config, shutdown_trigger=ended.wait))
        try:
            yield _Hypercorn(f"ws://127.0.0.1:{port}")
        finally:
            ended.set()
