"""Measure what attacks cost a server: ``python -m benchmarks.attacks [--loop LOOP] [NAME ...]``.

Each attack runs against a new echo server in a separate process, with default options, and with compression if the
attack needs it. The output is a table in Markdown: what was sent, the growth of the server's peak memory, its CPU time,
and how the attack ended. After each attack, another client must still be served. Linux only. See docs/security.md.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import socket
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

_ROOT = Path(__file__).parent.parent
_TICK = os.sysconf("SC_CLK_TCK")
_STALL_TIMEOUT = 1.0  # seconds without progress after which the server counts as holding the attacker back
_BACKLOG, _PAUSE = 64, 0.05  # clients beyond the backlog of a listening socket wait for a second
_TIME_LIMIT = 15  # seconds for one response
_REQUEST = (
    b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
)
_OFFER = b"Sec-WebSocket-Extensions: permessage-deflate; client_no_context_takeover\r\n"
_FIN, _RSV1 = 0x80, 0x40
_CONTINUATION, _TEXT, _BINARY, _CLOSE, _PING = 0, 1, 2, 8, 9
_MEBIBYTE = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of an attack.

    Attributes:
        sent: the number of bytes that the server, or the operating system, accepted.
        how: a description of what was sent.
        end: the status, the close code, or what else the server did.
    """

    sent: int
    how: str
    end: str


class Attacker:
    """A connection to the server over a plain socket.

    Args:
        port: the port of the server.
        request: the first bytes to send; by default an opening handshake.
    """

    def __init__(self, port: int, request: bytes = _REQUEST + b"\r\n") -> None:
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._socket.settimeout(_STALL_TIMEOUT)
        self._received = bytearray()
        self.sent = 0
        self.is_held_back = False
        if request:
            self.send([request])

    def send(self, pieces: Iterable[bytes]) -> None:
        """Send until everything is sent, the server accepts no more, or the connection is lost."""
        for piece in pieces:
            rest = memoryview(piece)
            while rest:
                try:
                    count = self._socket.send(rest)
                except TimeoutError:
                    self.is_held_back = True
                    return
                except OSError:
                    return
                self.sent += count
                rest = rest[count:]

    def read_head(self) -> str:
        """Return the status of the response; ``aborted`` if there is none."""
        while b"\r\n\r\n" not in self._received and self._receive():
            pass
        head, _, rest = bytes(self._received).partition(b"\r\n\r\n")
        self._received[:] = rest
        return head.split(b" ")[1].decode() if head.startswith(b"HTTP/") else "aborted"

    def close_code(self) -> str:
        """Read up to the server's Close, and return its code."""
        while True:
            while len(self._received) >= 2:
                length, start = self._received[1], 2
                if length > 125:
                    start = 4 if length == 126 else 10
                    length = int.from_bytes(self._received[2:start], "big")
                if len(self._received) < start + length or start > len(self._received):
                    break
                opcode, payload = self._received[0] & 15, bytes(self._received[start : start + length])
                del self._received[: start + length]
                if opcode == _CLOSE:
                    return str(int.from_bytes(payload[:2], "big"))
            if not self._receive():
                return "aborted"

    def disconnect(self) -> None:
        """Close the connection."""
        self._socket.close()

    def _receive(self) -> bool:
        self._socket.settimeout(_TIME_LIMIT)
        try:
            data = self._socket.recv(65536)
        except OSError:
            return False
        self._received += data
        return bool(data)


def frame(first: int, payload: bytes = b"", *, length: int | None = None) -> bytes:
    """Return a frame with a zero masking key. The announced length may be wrong."""
    size = len(payload) if length is None else length
    if size < 126:
        head = bytes([first, 0x80 | size])
    elif size < 65536:
        head = bytes([first, 0xFE]) + size.to_bytes(2, "big")
    else:
        head = bytes([first, 0xFF]) + size.to_bytes(8, "big")
    return head + bytes(4) + payload


def deflated(size: int) -> bytes:
    """Return this many zero bytes, compressed."""
    compressor = zlib.compressobj(9, zlib.DEFLATED, -15)
    return (compressor.compress(bytes(size)) + compressor.flush(zlib.Z_SYNC_FLUSH))[:-4]


# -- the attacks -------------------------------------------------------------------------------------------------------


def frames(
    how: str, pieces: Iterable[bytes], *, compress: bool = False, reads: bool = True
) -> Callable[[int], Outcome]:
    """Return an attack that sends frames."""

    def attack(port: int) -> Outcome:
        attacker = Attacker(port, _REQUEST + (_OFFER if compress else b"") + b"\r\n")
        if attacker.read_head() != "101":
            raise RuntimeError("the opening handshake failed")
        attacker.sent = 0
        attacker.send(pieces)
        end = "held back" if attacker.is_held_back else attacker.close_code() if reads else "continues"
        attacker.disconnect()
        return Outcome(attacker.sent, how, end)

    return attack


def requests(how: str, data: bytes, count: int) -> Callable[[int], Outcome]:
    """Return an attack that sends this many requests, one after another."""

    def attack(port: int) -> Outcome:
        sent, ends = 0, set()
        for _ in range(count):
            attacker = Attacker(port, data)
            ends.add(attacker.read_head())
            sent += attacker.sent
            attacker.disconnect()
        return Outcome(sent, how, ", ".join(sorted(ends)))

    return attack


def silent(how: str, data: bytes, count: int) -> Callable[[int], Outcome]:
    """Return an attack with this many concurrent connections that never complete their request."""

    def attack(port: int) -> Outcome:
        attackers = []
        for number in range(count):
            attackers.append(Attacker(port, data))
            if number % _BACKLOG == 0:
                time.sleep(_PAUSE)
        ends: dict[str, int] = {}
        for attacker in attackers:
            end = attacker.read_head()
            ends[end] = ends.get(end, 0) + 1
            attacker.disconnect()
        return Outcome(len(data) * count, how, ", ".join(f"{number} x {end}" for end, number in sorted(ends.items())))

    return attack


def fragments(payload: bytes, count: int) -> Iterator[bytes]:
    """Yield the fragments of a message that never ends."""
    yield frame(_TEXT, payload)
    for _ in range(count // 1000):
        yield frame(_CONTINUATION, payload) * 1000


def bomb(size: int, count: int = 1) -> list[bytes]:
    """Return a compressed message of zero bytes, in this many fragments."""
    payload = deflated(size)
    step = -(-len(payload) // count)
    parts = [payload[start : start + step] for start in range(0, len(payload), step)]
    firsts = [_BINARY | _RSV1, *[_CONTINUATION] * (len(parts) - 1)]
    firsts[-1] |= _FIN
    return [b"".join(map(frame, firsts, parts))]


@dataclass(frozen=True, slots=True)
class Attack:
    """An attack with its name. ``compress`` says whether the server enables compression."""

    name: str
    run: Callable[[int], Outcome]
    compress: bool = False


def _origin(value: bytes) -> bytes:
    return _REQUEST + b"Origin: " + value + b"\r\n\r\n"


ATTACKS = [
    Attack("not HTTP", requests("1,000 ClientHellos on a plain port", bytes.fromhex("16030100c8010000c40303"), 1000)),
    Attack("foreign origin", requests("1,000 requests", _origin(b"https://evil.example"), 1000)),
    Attack("huge header", requests("100 headers of 1 MB", b"GET / HTTP/1.1\r\nX: " + b"x" * 1_000_000, 100)),
    Attack("many headers", requests("100 heads of 5,000 lines", _REQUEST + b"X: y\r\n" * 5000 + b"\r\n", 100)),
    Attack(
        "slow pattern",
        requests("100 heads of 16 kB", _REQUEST + b"Sec-WebSocket-Extensions: b" + b" " * 15_000 + b"b\r\n\r\n", 100),
    ),
    Attack("silence", silent("1,000 connections without a request", b"", 1000)),
    Attack("connection storm", silent("2,000 incomplete requests", _REQUEST, 2000)),
    Attack("length overflow", frames("a header of 2**63 - 1 bytes", [frame(_FIN | _BINARY, length=2**63 - 1)])),
    Attack(
        "big message", frames("a frame of 64 MiB", [frame(_FIN | _BINARY, length=64 * _MEBIBYTE), bytes(_MEBIBYTE)])
    ),
    Attack(
        "endless message", frames("frames of 64 KiB", [frame(_BINARY if not n else 0, bytes(65536)) for n in range(64)])
    ),
    Attack("tiny fragments", frames("100,000 frames of 1 byte", fragments(b"x", 100_000))),
    Attack("empty fragments", frames("100,000 empty frames", fragments(b"", 100_000))),
    Attack("bomb", frames("64 MiB of zeros", bomb(64 * _MEBIBYTE), compress=True), compress=True),
    Attack(
        "bomb in fragments", frames("64 MiB in 4,000 frames", bomb(64 * _MEBIBYTE, 4000), compress=True), compress=True
    ),
    Attack(
        "many small bombs",
        frames("1,000 messages of 1 MiB, echoes not read", bomb(_MEBIBYTE) * 1000, compress=True, reads=False),
        compress=True,
    ),
    Attack(
        "final blocks",
        frames(
            "20,000 messages with 8 of them", [frame(0xC2, b"\x03\x00" * 8) * 1000] * 20, compress=True, reads=False
        ),
        compress=True,
    ),
    Attack("not agreed", frames("RSV1", [frame(_FIN | _RSV1 | _TEXT, b"x")])),
    Attack("ping flood", frames("400,000 Pings, Pongs not read", [frame(0x89, bytes(125)) * 1000] * 400, reads=False)),
    Attack("slow reader", frames("64 MiB, echoes not read", [frame(0x82, bytes(65536))] * 1024, reads=False)),
    Attack("empty messages", frames("200,000, echoes not read", [frame(0x82) * 1000] * 200, reads=False)),
    Attack("close flood", frames("100,000 Closes", [frame(0x88, b"\x03\xe8") * 1000] * 100)),
]


# -- the server --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the table, with memory in KiB and CPU time in seconds."""

    attack: Attack
    outcome: Outcome
    memory: int
    cpu: float


def peak(pid: int) -> int:
    """Return the peak memory of a process, in KiB."""
    found = re.search(r"^VmHWM:\s+(\d+)", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1])


def cpu_time(pid: int) -> float:
    """Return the CPU time that a process has used, in seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICK


def serves(port: int) -> bool:
    """Return whether another client gets an echo."""
    other = Attacker(port)
    if other.read_head() != "101":
        return False
    other.send([frame(_FIN | _TEXT, b"hello"), frame(_FIN | _CLOSE, b"\x03\xe8")])
    code = other.close_code()
    other.disconnect()
    return code == "1000"


def run(attack: Attack, loop: str) -> Row:
    """Start a server, attack it, and stop it."""
    command = [sys.executable, "-m", "benchmarks.contestants.anyws", "--loop", loop]
    command += ["--compression", "ratio" if attack.compress else "off"]
    with subprocess.Popen(command, cwd=_ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        try:
            port = int(server.stdout.readline().split()[3])
            if not serves(port):
                raise RuntimeError("the server does not serve")
            memory, cpu = peak(server.pid), cpu_time(server.pid)
            outcome = attack.run(port)
            if not serves(port):
                outcome = Outcome(outcome.sent, outcome.how, f"{outcome.end}; no longer serves other clients")
            return Row(attack, outcome, peak(server.pid) - memory, cpu_time(server.pid) - cpu)
        finally:
            server.kill()


def table(rows: list[Row]) -> Iterator[str]:
    """Yield the lines of a table in Markdown."""
    yield "| Attack | Sent | Bytes | Peak memory, MiB | CPU time, s | End |"
    yield "|---|---|---:|---:|---:|---|"
    for row in rows:
        sent = row.outcome
        memory, cpu = f"+{row.memory / 1024:.1f}", f"{row.cpu:.2f}"
        yield f"| {row.attack.name} | {sent.how} | {sent.sent:,} | {memory} | {cpu} | {sent.end} |"


def main() -> None:
    """Run the selected attacks, or all of them."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.attacks", description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--loop",
        choices=["asyncio", "uvloop", "trio"],
        default="asyncio",
        help="event loop of the server (default: %(default)s)",
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="attack to run (default: all)")
    arguments = parser.parse_args()
    chosen = [attack for attack in ATTACKS if not arguments.names or attack.name in arguments.names]
    with contextlib.suppress(KeyboardInterrupt):
        print(*table([run(attack, arguments.loop) for attack in chosen]), sep="\n")


if __name__ == "__main__":
    main()
