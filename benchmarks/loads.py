"""The loads: what is sent, on how many connections, and how the server is configured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from .generator import frame, request, write_frames
from .load import json_messages

__all__ = ["GROUPS", "LOADS", "UVICORN", "Load", "Setting"]

_MEBIBYTE = 1024 * 1024
_JSON_MESSAGES = 32  # different messages, sent in turn


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """The configuration of a server. Loads with the same setting share one process.

    Attributes:
        tls: whether to use TLS.
        compression: whether to enable permessage-deflate; see `contestants/compression.py` for the parameters.
        max_size: the maximum message size in bytes; None for the default.
        broadcast: whether to send every message to all connections.
    """

    tls: bool = False
    compression: bool = False
    max_size: int | None = None
    broadcast: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """A load.

    Attributes:
        name: the name on the command line.
        title: the title in the table.
        mode: ``echo``, ``fanout`` or ``handshakes`` of `load.c`; ``client``, with the server `serve.c`; ``memory``; or
            ``import``.
        connections: the number of open connections.
        in_flight: the number of messages in flight on each connection.
        size: the size of a message in bytes.
        text: whether messages are text instead of binary.
        json: whether to send different JSON messages in turn; otherwise all messages are the same.
        setting: the configuration of the server.
        sweep: the plot of which this load is a point.
        x: the horizontal position in that plot.
    """

    name: str
    title: str
    mode: str = "echo"
    connections: int = 1
    in_flight: int = 1
    size: int = 64
    text: bool = False
    json: bool = False
    setting: Setting = Setting()
    sweep: str = ""
    x: int = 0

    def write(self, folder: Path) -> tuple[Path, Path, Path]:
        """Write the files for the generator: frames, the same data without WebSocket, and the request."""
        frames, raw, head = (folder / f"{self.name}.{kind}" for kind in ("frames", "raw", "request"))
        messages = self._messages()
        compress = self.setting.compression
        sizes = [-1 if compress else len(message) for message in messages]
        write_frames(frames, [frame(message, compress=compress) for message in messages], sizes)
        write_frames(raw, [bytes(self.size)], [self.size])
        head.write_bytes(request(compress=compress))
        return frames, raw, head

    def _messages(self) -> Sequence[str | bytes]:
        if self.json:
            return json_messages(_JSON_MESSAGES, self.size)
        payload = bytes(97 + number % 26 for number in range(min(self.size, 4096)))
        data = (payload * (self.size // len(payload) + 1))[: self.size]
        return [data.decode() if self.text else data]


_TLS = Setting(tls=True)
_COMPRESSED = Setting(compression=True)
_LARGE = Setting(max_size=32 * _MEBIBYTE)

_ROUND_TRIPS = Load(name="rt64", title="64 B round trip, 32 connections", connections=32, text=True)
_PIPELINED = Load(
    name="pipe64", title="64 B pipelined, 64 in flight, 4 connections", connections=4, in_flight=64, text=True
)
_CORE = [
    replace(_ROUND_TRIPS, name="rt64x1", title="64 B round trip, 1 connection", connections=1),
    _ROUND_TRIPS,
    Load(name="rt4k", title="4 KiB round trip, 8 connections", connections=8, size=4096, text=True),
    _PIPELINED,
    Load(name="64k", title="64 KiB binary, 1 connection", size=65536),
    Load(name="1m", title="1 MiB binary, 1 connection", size=_MEBIBYTE),
    Load(name="64kx4", title="64 KiB binary, 4 connections", connections=4, size=65536),
    Load(name="1mx4", title="1 MiB binary, 4 connections", connections=4, size=_MEBIBYTE),
]
_OVER_TLS = [
    replace(_ROUND_TRIPS, name="tls64x1", title="TLS, 64 B round trip, 1 connection", connections=1, setting=_TLS),
    replace(_ROUND_TRIPS, name="tls64", title="TLS, 64 B round trip, 32 connections", setting=_TLS),
    replace(_PIPELINED, name="tlspipe64", title="TLS, 64 B pipelined, 64 in flight, 4 connections", setting=_TLS),
    Load(name="tls1m", title="TLS, 1 MiB binary, 1 connection", size=_MEBIBYTE, setting=_TLS),
]
_DEFLATE = [
    Load(
        name=f"json{size // 1024}k",
        title=f"permessage-deflate, JSON of {size // 1024} KiB, 8 connections",
        connections=8,
        size=size,
        text=True,
        json=True,
        setting=_COMPRESSED,
    )
    for size in (1024, 4096, 65536)
]
_HANDSHAKES = [
    Load(name="handshakes", title="connect, opening handshake, close; 8 at a time", mode="handshakes", connections=8)
]
_BROADCAST = [
    Load(
        name=name,
        title=f"64 B broadcast to {receivers:,} connections, for each that gets it",
        mode="fanout",
        connections=receivers,
        text=True,
        setting=Setting(broadcast=True),
    )
    for name, receivers in (("broadcast", 1000), ("broadcast10k", 10_000))
]
_CLIENTS = [
    replace(load, name=f"client-{load.name}", title=f"client: {load.title}", mode="client")
    for load in (_ROUND_TRIPS, _PIPELINED, _CORE[2], _CORE[4], _CORE[5])
]
_CONNECTIONS = [
    replace(
        _ROUND_TRIPS,
        name=f"conns{n}",
        title=f"64 B, {n:,} connection{'s' if n > 1 else ''}",
        connections=n,
        sweep="connections",
        x=n,
    )
    for n in (1, 10, 100, 1000, 10_000)
]
_SIZES = [
    Load(name=f"size{size}", title=f"{size:,} B, 1 connection", size=size, setting=_LARGE, sweep="sizes", x=size)
    for size in (2, 128, 1024, 8192, 65536, 524_288, 4 * _MEBIBYTE, 16 * _MEBIBYTE)
]

_MEMORY = [Load(name="memory", title="memory of an idle connection, KiB", mode="memory", connections=1000)]
_IMPORT = [Load(name="import", title="import, milliseconds of CPU time", mode="import")]

GROUPS = {
    "core": _CORE,
    "tls": _OVER_TLS,
    "deflate": _DEFLATE,
    "handshakes": _HANDSHAKES,
    "broadcasts": _BROADCAST,
    "client": _CLIENTS,
    "memory": _MEMORY,
    "import": _IMPORT,
    "connections": _CONNECTIONS[:-1],
    "sizes": _SIZES,
    "crowd": _CONNECTIONS[-1:],
}
LOADS = {load.name: load for group in GROUPS.values() for load in group}
UVICORN = ("rt64x1", "rt64", "pipe64", "broadcast")
"""The loads that show what anyws changes in uvicorn."""
