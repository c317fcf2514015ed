"""Keeps a connection to a server open: greets the server, and connects again when the connection is lost."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import anyio
from anyio.abc import TaskStatus

from anyws._client.backoff import jittered_delay
from anyws.exceptions import EngineUnavailable

from .connection import LOST, Command, Connection, open_stream, shown
from .protocol import ServerError, pack
from .settings import Address, Settings

__all__ = ["Link", "ask"]

CONNECT_LIMIT = 3.0
"""How long an attempt to connect may take, and then the greeting, in seconds. It is short because an attempt that began
before the network came back may not notice; the next one does."""

_INITIAL_DELAY, _MAX_DELAY = 0.05, 1.5  # seconds


class Link:
    """A connection that is opened again when it is lost.

    Args:
        find: returns the address of the server; called for each attempt.
        settings: how to connect.
        on_up: called when a connection has been opened.
        on_down: called with the reason when an open connection has been lost.
        on_message: called with the channel and the payload of each published message.
        drain: awaited after each read.
    """

    def __init__(
        self,
        find: Callable[[], Awaitable[Address]],
        settings: Settings,
        *,
        on_up: Callable[[], None],
        on_down: Callable[[EngineUnavailable], None],
        on_message: Callable[[bytes, bytes], None] | None = None,
        drain: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._find = find
        self._settings = settings
        self._on_up = on_up
        self._on_down = on_down
        self._on_message = on_message
        self._drain = drain
        self._connection: Connection | None = None
        self._failure = EngineUnavailable("the engine is not running")

    @property
    def connection(self) -> Connection:
        """The open connection.

        Raises:
            EngineUnavailable: there is none. The message says why.
        """
        if self._connection is None:
            raise EngineUnavailable(f"{self._failure}; nothing was sent") from self._failure
        return self._connection

    @property
    def is_up(self) -> bool:
        """Whether there is an open connection."""
        return self._connection is not None

    async def run(
        self, *, must_connect: bool, task_status: TaskStatus[EngineUnavailable | None] = anyio.TASK_STATUS_IGNORED
    ) -> None:
        """Connect, and connect again, until cancelled.

        Args:
            must_connect: whether to return if the first attempt fails.
            task_status: is told None once there is a connection, or the error for which this function returns.
        """
        failures = 0
        was_up = False

        def up() -> None:
            nonlocal failures, was_up
            failures = 0
            if not was_up:
                task_status.started(None)
            was_up = True
            self._on_up()

        while True:
            failures += 1
            try:
                self._failure = await self._connect_and_run(up)
            finally:
                self._connection = None
            if must_connect and not was_up:
                task_status.started(self._failure)
                return
            if not failures:
                failures = 1
                self._on_down(self._failure)
            await anyio.sleep(jittered_delay(failures, _INITIAL_DELAY, _MAX_DELAY))

    async def _connect_and_run(self, up: Callable[[], None]) -> EngineUnavailable:
        """Open a connection and use it until it is lost; return why."""
        try:
            connection = await _connect(self._find, self._settings, self._on_message, self._drain)
        except EngineUnavailable as exc:
            return exc

        async def greet() -> None:
            await _greet(connection, self._settings)
            self._connection = connection
            up()

        return await connection.run(greet)


async def ask(address: Address, settings: Settings, *command: bytes) -> object:
    """Send one command over a connection of its own, and return the reply.

    Raises:
        EngineUnavailable: the server did not respond.
    """

    async def find() -> Address:
        return address

    connection = await _connect(find, settings, None, None)
    replies: list[object] = []

    async def greet() -> None:
        await _greet(connection, settings)
        replies.extend(await connection.call(Command(pack(*command))))
        connection.lose(EngineUnavailable("done"))

    failure = await connection.run(greet)
    if not replies:
        raise failure
    if isinstance(replies[0], ServerError):
        raise EngineUnavailable(f"{shown(address)}: {replies[0]}")
    return replies[0]


async def _connect(
    find: Callable[[], Awaitable[Address]],
    settings: Settings,
    on_message: Callable[[bytes, bytes], None] | None,
    drain: Callable[[], Awaitable[None]] | None,
) -> Connection:
    address: Address | None = None
    try:
        with anyio.fail_after(CONNECT_LIMIT):
            address = await find()
            stream = await open_stream(address, settings.ssl_context)
    except EngineUnavailable:
        raise
    except TimeoutError as exc:
        where = "the servers" if address is None else shown(address)
        hint = "; does it use TLS?" if settings.ssl_context is not None else ""
        raise EngineUnavailable(f"{where} did not accept a connection within {CONNECT_LIMIT:g} seconds{hint}") from exc
    except LOST as exc:
        raise EngineUnavailable(f"cannot connect to {shown(address or '')}: {exc}") from exc
    return Connection(stream, address, on_message=on_message, drain=drain)


async def _greet(connection: Connection, settings: Settings) -> None:
    """Log in, select the database, and check that the server can do what we need.

    Raises:
        EngineUnavailable: it cannot.
    """
    hello = [b"HELLO", b"3"]
    username, password = settings.username, settings.password
    try:
        with anyio.fail_after(CONNECT_LIMIT):
            if settings.credentials is not None:
                username, password = await settings.credentials()
            if username or password:
                hello += [b"AUTH", (username or "default").encode(), password.encode()]
            commands = [hello, [b"CLIENT", b"SETNAME", settings.client_name.encode()], [b"INFO"]]
            if settings.db:
                commands.insert(1, [b"SELECT", b"%d" % settings.db])
            replies = await connection.call(*(Command(pack(*command)) for command in commands))
    except TimeoutError:
        raise EngineUnavailable(
            f"{connection} accepted the connection, but did not respond within {CONNECT_LIMIT:g} seconds"
        ) from None
    for command, reply in zip(commands, replies, strict=True):
        if isinstance(reply, ServerError):
            raise EngineUnavailable(f"{connection} rejected {command[0].decode()}: {reply}{_hint(command[0], reply)}")
    _check(connection, settings, _fields(replies[-1]))


def _hint(command: bytes, error: ServerError) -> str:
    if command == b"HELLO" and error.code in ("ERR", "NOPROTO"):
        return "; topics need Redis 6 or later, or Valkey"
    if error.code in ("NOAUTH", "WRONGPASS"):
        return "; give the user name and the password in the URL: redis://USER:PASSWORD@HOST"
    if error.code == "NOPERM":
        return "; the documentation lists the permissions that topics need"
    return ""


def _fields(info: object) -> dict[str, str]:
    text = info.decode(errors="replace") if isinstance(info, bytes) else ""
    return {name: value.strip() for name, _, value in (line.partition(":") for line in text.splitlines())}


def _check(connection: Connection, settings: Settings, fields: dict[str, str]) -> None:
    connection.run_id = fields.get("run_id", "")[:16].encode()
    if fields.get("loading", "0") != "0":
        raise EngineUnavailable(f"{connection} is still loading its data")
    if fields.get("role", "master") != "master":
        raise EngineUnavailable(
            f"{connection} is a replica, expected a primary; name the primary, or use redis+sentinel://"
        )
    is_sentinel = "sentinel" in (fields.get("redis_mode"), fields.get("server_mode"))  # of Redis, of Valkey
    if is_sentinel and (settings.kind != "sentinel" or settings.service):
        raise EngineUnavailable(f"{connection} is a sentinel; did you mean redis+sentinel://HOST:PORT,.../SERVICE?")
    is_cluster = fields.get("cluster_enabled", "0") == "1"
    if is_cluster != (settings.kind == "cluster"):
        raise EngineUnavailable(
            f"{connection} is {'part' if is_cluster else 'not part'} of a cluster; "
            f"did you mean {'redis+cluster://' if is_cluster else 'redis://'}?"
        )
