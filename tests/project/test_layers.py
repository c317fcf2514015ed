"""The one rule of the architecture: a module imports only from rooms below its own, and from files listed above it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]

# The order in which to read the package. A package stands behind the modules that it re-exports.
ORDER = [
    "anyws._version",
    "anyws._names",
    "anyws.protocol.headers",
    "anyws.protocol.query",
    "anyws.protocol.http11",
    "anyws.protocol.errors",
    "anyws.protocol.closing",
    "anyws.protocol._pure",
    "anyws.protocol._queues",
    "anyws.protocol._speedups",
    "anyws.protocol.speedups",
    "anyws.protocol.frames",
    "anyws.protocol.extensions",
    "anyws.protocol.default_zlib",
    "anyws.protocol.inflater",
    "anyws.protocol.deflater",
    "anyws.protocol.deflate",
    "anyws.protocol.negotiation",
    "anyws.protocol.messages",
    "anyws.protocol.masking",
    "anyws.protocol.outbox",
    "anyws.protocol.connection",
    "anyws.protocol.keys",
    "anyws.protocol.hosts",
    "anyws.protocol.uri",
    "anyws.protocol.subprotocols",
    "anyws.protocol.origins",
    "anyws.protocol.terms",
    "anyws.protocol.usual_heads",
    "anyws.protocol.exchange",
    "anyws.protocol.credentials",
    "anyws.protocol.proxy",
    "anyws.protocol.client_handshake",
    "anyws.protocol.server_handshake",
    "anyws.protocol",
    "anyws._synonyms",
    "anyws._checking",
    "anyws.exceptions",
    "anyws._event_loops",
    "anyws._cancellation",
    "anyws._background_task",
    "anyws._blocks",
    "anyws._deadlines",
    "anyws._slices",
    "anyws._signals",
    "anyws._logs",
    "anyws._transport",
    "anyws._transport.stream",
    "anyws._transport.trio_streams",
    "anyws._transport.given_streams",
    "anyws._transport.turns",
    "anyws._transport.connecting",
    "anyws._transport.acceptor",
    "anyws._transport.resets",
    "anyws._transport.listening",
    "anyws._transport.tls",
    "anyws._transport.certificate",
    "anyws._transport.ending",
    "anyws._transport.securing",
    "anyws._connection",
    "anyws._connection.rate_limit",
    "anyws._connection.options",
    "anyws._connection.wakeup",
    "anyws._connection.pings",
    "anyws._connection.keepalive",
    "anyws._connection.intake",
    "anyws._connection.limited_intake",
    "anyws._connection.plain_path",
    "anyws._connection.pumps.background",
    "anyws._connection.pumps.pump",
    "anyws._connection.pumps.writing",
    "anyws._connection.pumps.sockets",
    "anyws._connection.pumps.streams",
    "anyws._connection.pumps.closed",
    "anyws._connection.pumps.signals",
    "anyws._connection.pumps.callbacks",
    "anyws._connection.pumps.transport_stream",
    "anyws._connection.pumps.transports",
    "anyws._connection.pumps.waiting",
    "anyws._connection.pumps",
    "anyws._connection.life",
    "anyws._connection.ending",
    "anyws._connection.expiry",
    "anyws._connection.lifecycle",
    "anyws._connection.link",
    "anyws._connection.sending",
    "anyws._connection.receiving",
    "anyws._connection.coroutines",
    "anyws._connection.peers_names",
    "anyws._connection.websocket",
    "anyws._connection.establish",
    "anyws._connection.broadcast",
    "anyws._client",
    "anyws._client.authorization",
    "anyws._client.dates",
    "anyws._client.cookie_jars",
    "anyws._client.cookies",
    "anyws._client.outages",
    "anyws._client.options",
    "anyws._client.reconnect_options",
    "anyws._client.handshakes",
    "anyws._client.socks",
    "anyws._client.proxies",
    "anyws._client.redirects",
    "anyws._client.opening",
    "anyws._client.connect",
    "anyws._client.backoff",
    "anyws._client.reconnecting",
    "anyws._server",
    "anyws._server.options",
    "anyws._server.connection_limits",
    "anyws._server.virtual_hosts",
    "anyws._server.opening",
    "anyws._server.accept",
    "anyws._server.accept_failures",
    "anyws._server.addresses",
    "anyws._server.cohorts",
    "anyws._server.statistics",
    "anyws._server.server",
    "anyws._server.stopping",
    "anyws._server.handlers",
    "anyws._server.serve",
    "anyws._server.run",
    "anyws._server.systemd",
    "anyws._server.certificate_reload",
    "anyws._server.authentication",
    "anyws._server.health_check",
    "anyws.routing",
    "anyws.topics.engine",
    "anyws.topics.history",
    "anyws.topics.payloads",
    "anyws.topics.published",
    "anyws.topics.followers",
    "anyws.topics.feed",
    "anyws.topics.arrivals",
    "anyws.topics.reads",
    "anyws.topics.catch_up",
    "anyws.topics.delivery",
    "anyws.topics.repairs",
    "anyws.topics.closes",
    "anyws.topics.forwarder",
    "anyws.topics.forwarding",
    "anyws.topics.inbox",
    "anyws.topics.subscription",
    "anyws.topics.following",
    "anyws.topics.service",
    "anyws.topics.topics",
    "anyws.topics.store",
    "anyws.topics.local",
    "anyws.topics._redis",
    "anyws.topics._redis.settings",
    "anyws.topics._redis.protocol",
    "anyws.topics._redis.connection",
    "anyws.topics._redis.link",
    "anyws.topics._redis.scripts",
    "anyws.topics._redis.shard",
    "anyws.topics._redis.places",
    "anyws.topics.redis",
    "anyws.topics.opening",
    "anyws.topics",
    "anyws.callbacks._addresses",
    "anyws.callbacks._hooks",
    "anyws.callbacks._certificates",
    "anyws.callbacks._options",
    "anyws.callbacks._socket",
    "anyws.callbacks._messages",
    "anyws.callbacks._client_connect",
    "anyws.callbacks._server",
    "anyws.callbacks",
    "anyws.asgi._link",
    "anyws.asgi._conversation",
    "anyws.asgi._scope",
    "anyws.asgi._options",
    "anyws.asgi._requests",
    "anyws.asgi._channel",
    "anyws.asgi._websocket",
    "anyws.asgi._endpoint",
    "anyws.asgi",
    "anyws.uvicorn",
    "anyws",
    "anyws.testing._failures",
    "anyws.testing._own_task",
    "anyws.testing._streams",
    "anyws.testing._scripted",
    "anyws.testing._connections",
    "anyws.testing._engines",
    "anyws.testing._fixtures",
    "anyws.testing",
    "anyws._cli",
    "anyws._cli.notes",
    "anyws._cli.printing",
    "anyws._cli.exit_status",
    "anyws._cli.files",
    "anyws._cli.arguments",
    "anyws._cli.backends",
    "anyws._cli.interrupts",
    "anyws._cli.stopping",
    "anyws._cli.framing",
    "anyws._cli.reading",
    "anyws._cli.commands",
    "anyws._cli.formatting",
    "anyws._cli.history",
    "anyws._cli.screen",
    "anyws._cli.editing",
    "anyws._cli.conversation",
    "anyws._cli.target_options",
    "anyws._cli.target",
    "anyws._cli.opening",
    "anyws._cli.replay",
    "anyws._cli.reconnecting",
    "anyws._cli.connect",
    "anyws._cli.statistics",
    "anyws._cli.ping",
    "anyws._cli.progress",
    "anyws._cli.load_generator",
    "anyws._cli.load",
    "anyws._cli.handlers",
    "anyws._cli.topic",
    "anyws._cli.handler_options",
    "anyws._cli.certificates",
    "anyws._cli.watching",
    "anyws._cli.processes",
    "anyws._cli.workers",
    "anyws._cli.serve",
    "anyws._cli.examples",
    "anyws._cli.demo",
    "anyws._cli.completion_scripts",
    "anyws._cli.completion",
    "anyws._cli.parser",
    "anyws.__main__",
]

# Only here may an import stand inside a function: a module, and what it may import there. These are optional packages,
# and modules that take long to load and that few programs use.
OPTIONAL = {
    "anyws._checking": {"difflib"},
    "anyws._client.cookies": {"anyws"},
    "anyws._client.proxies": {"anyws", "urllib"},
    "anyws._server.accept": {"email"},
    "anyws._transport.given_streams": {"anyws"},  # what imports trio
    "anyws.protocol.hosts": {"idna"},
    "anyws._cli": {"rich", "trustme", "watchfiles"},
    "anyws._cli.connect": {"anyws"},  # its line editor, which imports optional packages
    "anyws._connection.pumps": {"anyws"},
}

# The core knows neither I/O nor time.
NOT_IN_PROTOCOL = {"anyio", "asyncio", "logging", "socket", "ssl", "time", "trio"}


@dataclass(frozen=True)
class Import:
    """One imported module, by its absolute name, and where."""

    module: str
    line: int
    target: str
    in_function: bool

    def __str__(self) -> str:
        return f"{self.module}:{self.line} imports {self.target}"


def find_modules() -> dict[str, Path]:
    """Map the name of each module of the package to its source; an extension module counts."""
    modules = {}
    for path in sorted((ROOT / "anyws").rglob("*")):
        if path.suffix in {".py", ".c"}:
            parts = path.relative_to(ROOT).with_suffix("").parts
            modules[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return modules


MODULES = find_modules()


def imported_names(node: ast.Import | ast.ImportFrom, package: str) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
        return
    base = node.module or ""
    if node.level:
        parents = package.split(".")
        parents = parents[: len(parents) - node.level + 1]
        base = ".".join([*parents, base] if base else parents)
    for alias in node.names:
        submodule = f"{base}.{alias.name}"
        yield submodule if submodule in MODULES else base


def find_imports(module: str, path: Path) -> list[Import]:
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    found: list[Import] = []

    def visit(node: ast.AST, in_function: bool) -> None:
        if isinstance(node, ast.Import | ast.ImportFrom):
            for target in imported_names(node, package):
                found.append(Import(module, node.lineno, target, in_function))
        in_function = in_function or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        for child in ast.iter_child_nodes(node):
            visit(child, in_function)

    visit(ast.parse(path.read_bytes()), in_function=False)
    return found


IMPORTS = [found for module, path in MODULES.items() if path.suffix == ".py" for found in find_imports(module, path)]


def is_within(module: str, package: str) -> bool:
    return module == package or module.startswith(f"{package}.")


def check_none(violations: list[Import]) -> None:
    assert not violations, "\n".join(map(str, violations))


def test_every_module_is_listed_once() -> None:
    assert sorted(ORDER) == sorted(MODULES)


def test_modules_import_only_from_above() -> None:
    place = {module: number for number, module in enumerate(ORDER)}
    check_none(
        [
            found
            for found in IMPORTS
            if is_within(found.target, "anyws")
            and not place.get(found.target, len(ORDER)) < place.get(found.module, -1)
        ]
    )


def test_no_import_stands_in_a_function() -> None:
    def is_optional(found: Import) -> bool:
        return any(
            is_within(found.module, module) and found.target.partition(".")[0] in packages
            for module, packages in OPTIONAL.items()
        )

    check_none([found for found in IMPORTS if found.in_function and not is_optional(found)])


def test_protocol_is_free_of_io() -> None:
    check_none(
        [
            found
            for found in IMPORTS
            if is_within(found.module, "anyws.protocol")
            and (
                found.target.partition(".")[0] in NOT_IN_PROTOCOL
                or (is_within(found.target, "anyws") and not is_within(found.target, "anyws.protocol"))
            )
        ]
    )


def test_only_the_pumps_and_two_others_know_an_event_loop() -> None:
    check_none(
        [
            found
            for found in IMPORTS
            if found.target.partition(".")[0] in {"asyncio", "trio"}
            and not is_within(found.module, "anyws._connection.pumps")
            and found.module
            not in ("anyws._event_loops", "anyws._transport.resets", "anyws._transport.trio_streams", "anyws.uvicorn")
        ]
    )
