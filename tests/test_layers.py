"""The one rule of the architecture: a module imports only from modules listed above it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent

# The order in which to read the package. A package stands behind the modules that it re-exports.
ORDER = [
    "anyws._version",
    "anyws.protocol.headers",
    "anyws.protocol.http11",
    "anyws.protocol.errors",
    "anyws.protocol.closing",
    "anyws.protocol._pure",
    "anyws.protocol._queues",
    "anyws.protocol._speedups",
    "anyws.protocol.speedups",
    "anyws.protocol.frames",
    "anyws.protocol.extensions",
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
    "anyws.protocol.exchange",
    "anyws.protocol.credentials",
    "anyws.protocol.proxy",
    "anyws.protocol.client_handshake",
    "anyws.protocol.server_handshake",
    "anyws.protocol",
    "anyws.blocks",
    "anyws.checking",
    "anyws.exceptions",
    "anyws.cancelling",
    "anyws.authorization",
    "anyws.dates",
    "anyws.cookies",
    "anyws.outages",
    "anyws.options",
    "anyws.transport.stream",
    "anyws.transport.turns",
    "anyws.transport.connecting",
    "anyws.transport.arrivals",
    "anyws.transport.resets",
    "anyws.transport.listening",
    "anyws.transport.tls",
    "anyws.transport.certificate",
    "anyws.transport.ending",
    "anyws.transport.securing",
    "anyws.transport",
    "anyws.answers",
    "anyws.logs",
    "anyws.wakeup",
    "anyws.pings",
    "anyws.keepalive",
    "anyws.pumps.background",
    "anyws.pumps.pump",
    "anyws.pumps.streams",
    "anyws.pumps.closed",
    "anyws.pumps.signals",
    "anyws.pumps.callbacks",
    "anyws.pumps.waiting",
    "anyws.pumps",
    "anyws.life",
    "anyws.link",
    "anyws.sending",
    "anyws.receiving",
    "anyws.beside",
    "anyws.websocket",
    "anyws.broadcasting",
    "anyws.deadlines",
    "anyws.socks",
    "anyws.proxies",
    "anyws.redirects",
    "anyws.opening",
    "anyws.client",
    "anyws.backoff",
    "anyws.reconnection",
    "anyws.admission",
    "anyws.hosts",
    "anyws.accepting",
    "anyws.accept_failures",
    "anyws.servers",
    "anyws.serving",
    "anyws.activation",
    "anyws.renewal",
    "anyws.authentication",
    "anyws.health",
    "anyws.routing",
    "anyws.addresses",
    "anyws.hooks",
    "anyws.certificates",
    "anyws.callback_options",
    "anyws.sockets",
    "anyws.callback_client",
    "anyws.callback_server",
    "anyws",
    "anyws.memory",
    "anyws.scripted",
    "anyws.testing",
    "anyws.cli",
    "anyws.cli.notes",
    "anyws.cli.statuses",
    "anyws.cli.arguments",
    "anyws.cli.backends",
    "anyws.cli.interrupts",
    "anyws.cli.stopping",
    "anyws.cli.framing",
    "anyws.cli.reading",
    "anyws.cli.commands",
    "anyws.cli.looks",
    "anyws.cli.history",
    "anyws.cli.screen",
    "anyws.cli.editing",
    "anyws.cli.conversation",
    "anyws.cli.target",
    "anyws.cli.connect",
    "anyws.cli.statistics",
    "anyws.cli.ping",
    "anyws.cli.progress",
    "anyws.cli.loading",
    "anyws.cli.load",
    "anyws.cli.handlers",
    "anyws.cli.certificates",
    "anyws.cli.watching",
    "anyws.cli.processes",
    "anyws.cli.workers",
    "anyws.cli.serve",
    "anyws.cli.scenes",
    "anyws.cli.demo",
    "anyws.cli.parser",
    "anyws.__main__",
]

# Only here may an import stand inside a function: a module, and the optional packages it may import there.
OPTIONAL = {
    "anyws.cli": {"rich", "trustme", "watchfiles"},
    "anyws.cli.connect": {"anyws"},  # its line editor, which imports optional packages
    "anyws.pumps": {"anyws"},
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


def test_only_the_pumps_and_cancelling_know_an_event_loop() -> None:
    check_none(
        [
            found
            for found in IMPORTS
            if found.target.partition(".")[0] in {"asyncio", "trio"}
            and not is_within(found.module, "anyws.pumps")
            and found.module not in ("anyws.cancelling", "anyws.transport.resets")
        ]
    )
