"""What docs/comparison.md says of others, checked against those that are installed in the version that it names.

A claim that something is missing is checked too, as far as a name or a signature can tell.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import inspect
import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.cli.commands import ROOT

PAGE = (ROOT / "docs" / "comparison.md").read_text()
NODE_WS = ROOT / "tests" / "interop" / "node_modules" / "ws"


def module(name: str) -> Any:
    return importlib.import_module(name)


def source(name: str) -> str:
    return inspect.getsource(module(name))


def node(file: str) -> str:
    return (NODE_WS / file).read_text()


def parameters(function: Callable[..., object]) -> set[str]:
    return set(inspect.signature(function).parameters)


def stable(distribution: str) -> bool:
    found = importlib.metadata.metadata(distribution).get_all("Classifier") or ()
    return "Development Status :: 5 - Production/Stable" in found


def systems(distribution: str) -> str:
    return " ".join(importlib.metadata.metadata(distribution).get_all("Classifier") or ())


def has_file(distribution: str, pattern: str) -> bool:
    return any(re.search(pattern, str(file)) for file in importlib.metadata.files(distribution) or ())


NODE_FILES = ("lib/websocket.js", "lib/websocket-server.js", "lib/sender.js")


def has_topics(*names: str) -> bool:
    """Say whether something public in these modules is about topics."""
    words = ("topic", "publish", "pubsub", "subscribe")
    return any(
        word in f"{name} {' '.join(dir(value)) if inspect.isclass(value) else ''}".lower()
        for module_name in names
        for name, value in vars(module(module_name)).items()
        if not name.startswith("_")
        for word in words
    )


CLAIMS: dict[str, dict[str, Callable[[], object]]] = {
    "websockets": {
        "stable": lambda: stable("websockets"),
        "blocking": lambda: module("websockets.sync.client").connect,
        "trio": lambda: module("websockets.trio.client").connect,
        "sans-I/O": lambda: module("websockets.server").ServerProtocol,
        "compiled: masking": lambda: has_file("websockets", r"speedups\.\w+"),
        "types": lambda: has_file("websockets", "py.typed"),
        "compression by default": lambda: (
            inspect.signature(module("websockets.asyncio.server").serve).parameters["compression"].default == "deflate"
        ),
        "streaming receive": lambda: module("websockets.asyncio.connection").Connection.recv_streaming,
        "fragment count limit": lambda: module("websockets.exceptions").TooManyFragments,
        "proxies": lambda: all(scheme in source("websockets.proxy") for scheme in ("socks5h", "https", "http")),
        "redirects": lambda: module("websockets.asyncio.client").MAX_REDIRECTS == 10,
        "reconnecting": lambda: module("websockets.asyncio.client").connect.__aiter__,
        "routing": lambda: module("websockets.asyncio.router").route,
        "broadcast": lambda: module("websockets.asyncio.server").broadcast,
        "origins": lambda: "origins" in parameters(module("websockets.asyncio.server").serve),
        "no check of Host": lambda: "doesn't check the ``Host`` header" in source("websockets.server"),
        "no connection limit": lambda: (
            not [name for name in parameters(module("websockets.asyncio.server").serve) if "connections" in name]
        ),
        "graceful shutdown": lambda: "code" in parameters(module("websockets.asyncio.server").Server.close),
        "queue of 16": lambda: (
            inspect.signature(module("websockets.asyncio.client").ClientConnection).parameters["max_queue"].default
            == 16
        ),
        "latency": lambda: "Awaitable[float]" in str(inspect.signature(module("websockets").ClientConnection.ping)),
        "no topics": lambda: not has_topics("websockets", "websockets.asyncio.server", "websockets.asyncio.connection"),
    },
    "trio-websocket": {
        "not stable": lambda: not stable("trio-websocket"),
        "types": lambda: has_file("trio-websocket", "py.typed"),
        "pure": lambda: not has_file("trio-websocket", r"\.(so|pyd|c)$"),
        "no compression": lambda: "deflate" not in source("trio_websocket._impl").lower(),
        "no streaming send": lambda: (
            parameters(module("trio_websocket").WebSocketConnection.send_message) == {"self", "message"}
        ),
        "message size limit": lambda: "max_message_size" in parameters(module("trio_websocket").serve_websocket),
        "queue of 1": lambda: (
            "message_queue_size: int = MESSAGE_QUEUE_SIZE" in source("trio_websocket._impl")
            and module("trio_websocket._impl").MESSAGE_QUEUE_SIZE == 1
        ),
        "rejections": lambda: module("trio_websocket").WebSocketRequest.reject,
        "no latency": lambda: "-> 'None'" in str(inspect.signature(module("trio_websocket").WebSocketConnection.ping)),
        "own streams": lambda: module("trio_websocket").wrap_server_stream,
        "no keepalive": lambda: (
            not [
                name
                for name in parameters(module("trio_websocket").serve_websocket)
                if "ping" in name or "keepalive" in name
            ]
        ),
        "no topics": lambda: not has_topics("trio_websocket"),
    },
    "wsproto": {
        "stable": lambda: stable("wsproto"),
        "pure": lambda: not has_file("wsproto", r"\.(so|pyd|c)$"),
        "types": lambda: has_file("wsproto", "py.typed"),
        "compression": lambda: module("wsproto.extensions").PerMessageDeflate,
        "no message size limit": lambda: "max" not in " ".join(parameters(module("wsproto.connection").Connection)),
        "streaming receive": lambda: "message_finished" in parameters(module("wsproto.events").Message),
        "rejections": lambda: module("wsproto.events").RejectConnection,
    },
    "aiohttp": {
        "stable": lambda: stable("aiohttp"),
        "Windows, macOS": lambda: all(name in systems("aiohttp") for name in ("Windows", "MacOS")),
        "compiled: parsing, masking": lambda: (
            has_file("aiohttp", r"_websocket/mask\.\w+") and has_file("aiohttp", r"_websocket/reader_c\.\w+")
        ),
        "optional": lambda: "NO_EXTENSIONS" in source("aiohttp._websocket.reader"),
        "compression of servers by default": lambda: (
            inspect.signature(module("aiohttp.web").WebSocketResponse).parameters["compress"].default is True
        ),
        "not of clients": lambda: (
            inspect.signature(module("aiohttp").ClientSession._ws_connect).parameters["compress"].default == 0
        ),
        "size": lambda: "max_msg_size" in parameters(module("aiohttp.web").WebSocketResponse),
        "proxies": lambda: "proxy" in parameters(module("aiohttp").ClientSession._ws_connect),
        "keepalive": lambda: "heartbeat" in parameters(module("aiohttp.web").WebSocketResponse),
        "pings are answered by receive()": lambda: (
            "WSMsgType.PING" in inspect.getsource(module("aiohttp.web").WebSocketResponse.receive)
        ),
        "no Origin": lambda: "origin" not in source("aiohttp.web_ws").lower(),
        "no latency": lambda: "-> None" in inspect.getsource(module("aiohttp.web").WebSocketResponse.ping),
        "no topics": lambda: not has_topics("aiohttp", "aiohttp.web"),
    },
    "picows": {
        "stable": lambda: stable("picows"),
        "Windows, macOS": lambda: all(name in systems("picows") for name in ("Windows", "MacOS")),
        "compiled": lambda: has_file("picows", r"picows/picows\.\w+"),
        "compression": lambda: (
            "compression" in parameters(module("picows.websockets.asyncio.client").connect)
            and "compression" not in parameters(module("picows").ws_connect)
        ),
        "size of frames": lambda: "max_frame_size" in parameters(module("picows").ws_connect),
        "message size limit": lambda: "max_size" in parameters(module("picows.websockets.asyncio.client").connect),
        "proxies": lambda: "python_socks" in source("picows.proxy"),
        "redirects": lambda: inspect.signature(module("picows").ws_connect).parameters["max_redirects"].default == 5,
        "reconnecting": lambda: "def __aiter__" in source("picows.websockets.asyncio.client"),
        "no routing": lambda: "NotImplementedError" in source("picows.websockets.asyncio.router"),
        "broadcast": lambda: module("picows.websockets.asyncio.server").broadcast,
        "origins": lambda: "origins" in source("picows.websockets.asyncio.server"),
        "graceful shutdown": lambda: "code: int = 1001" in source("picows.websockets.asyncio.server"),
        "keepalive": lambda: "enable_auto_ping" in parameters(module("picows").ws_create_server),
        "latency": lambda: module("picows").WSTransport.measure_roundtrip_time,
        "no topics": lambda: not has_topics("picows", "picows.websockets.asyncio.server"),
    },
    "ws": {
        "compression: clients by default, servers not": lambda: (
            "perMessageDeflate: true" in node("lib/websocket.js")
            and "perMessageDeflate: false" in node("lib/websocket-server.js")
        ),
        "message size limit, fragment count limit": lambda: (
            "maxFragments: 16 * 1024" in node("lib/websocket-server.js")
        ),
        "streaming send": lambda: re.search(r"options\.fin\b", node("lib/websocket.js") + node("lib/sender.js")),
        "a message is received whole": lambda: "concat(fragments, messageLength)" in node("lib/receiver.js"),
        "redirects, off": lambda: "followRedirects: false" in node("lib/websocket.js"),
        "masking, UTF-8 compiled": lambda: (
            "bufferutil" in node("lib/buffer-util.js") and "utf-8-validate" in node("lib/validation.js")
        ),
        "no keepalive": lambda: "setInterval" not in "".join(path.read_text() for path in NODE_WS.glob("lib/*.js")),
        "no types": lambda: not list(NODE_WS.glob("**/*.d.ts")),
        "plain HTTP responses": lambda: "noServer" in node("lib/websocket-server.js"),
        "no topics": lambda: not re.search(r"publish|subscribe", "".join(map(node, NODE_FILES))),
    },
}


def claims() -> Iterator[Any]:
    for library, facts in CLAIMS.items():
        for claim, holds in facts.items():
            yield pytest.param(library, holds, id=f"{library}: {claim}")


def version_of(library: str) -> str | None:
    if library == "ws":
        return json.loads(node("package.json"))["version"] if NODE_WS.is_dir() else None
    try:
        return importlib.metadata.version(library)
    except importlib.metadata.PackageNotFoundError:
        return None


@pytest.mark.parametrize(("library", "holds"), list(claims()))
def test_what_is_said_of_another_library_holds(library: str, holds: Callable[[], object]) -> None:
    compared = re.search(rf"\b{library} ([\d.]+\d)", PAGE)
    assert compared
    found = version_of(library)
    if found is None or not f"{found}.".startswith(f"{compared[1]}."):
        pytest.skip(f"{library} {compared[1]} is compared, {found or 'none'} is installed")
    assert holds()


def rows(text: str) -> Iterator[dict[str, str]]:
    """Return the rows of all tables, by the names of their columns; the first column has the name ""."""
    head: list[str] | None = None
    for line in text.splitlines():
        if not line.startswith("|"):
            head = None
            continue
        cells = [cell.strip() for cell in line.removeprefix("|").removesuffix("|").split("|")]
        if head is None:
            head = ["", *cells[1:]]
        elif not re.fullmatch(r"[-:|]+", line):
            yield dict(zip(head, cells, strict=True))


@pytest.mark.parametrize("loop", ["asyncio", "trio"])
def test_the_multiples_are_those_of_the_figures(loop: str) -> None:
    figures = (ROOT / "docs" / "performance.md").read_text()
    section = figures[figures.index(f"### On {loop}") :].split("\n#")[0]
    measured = {row[""]: row for row in rows(section)}
    here = list(rows(PAGE[PAGE.index(f"\n| {loop} |") + 1 :].split("\n\n")[0]))
    assert len(here) == 7
    for row in here:
        line = {name: cell.split()[0].replace(",", "") for name, cell in measured[row[""]].items() if name and cell}
        for name, multiple in row.items():
            if name and multiple:
                assert float(multiple) == pytest.approx(
                    float(line[name]) / float(line["anyws"]), rel=0.02, abs=0.006
                ), row[""]
