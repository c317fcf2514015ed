"""What attacks cost a server: ``python -m benchmarks.attacks [--loop LOOP] [NAME ...]``.

Each attack gets a server of its own in another process: an echo with all defaults, and compression where an attack
needs it. Each ends by itself. Printed is a table in Markdown: what was sent, by how much the server's memory grew at
its peak, its CPU time, and how it ended. Somebody else must be served afterwards. Linux only. See docs/security.md.
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
_PATIENCE = 1.0  # seconds without progress, after which a server counts as one that holds us back
_BACKLOG, _PAUSE = 64, 0.05  # beyond its backlog, a listening socket lets clients wait for a second
_TIME_LIMIT = 15  # seconds for one answer
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
    """What an attacker has seen.

    Attributes:
        sent: bytes that the server, or the systems between, took.
        how: what was sent, in words.
        end: the status, the close code, or what else the server did.
    """

    sent: int
    how: str
    end: str


class Attacker:
    """A connection to the server, with a plain socket.

    Args:
        port: where the server listens.
        request: what to send first; by default an opening handshake.
    """

    def __init__(self, port: int, request: bytes = _REQUEST + b"\r\n") -> None:
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._socket.settimeout(_PATIENCE)
        self._received = bytearray()
        self.sent = 0
        self.is_held_back = False
        if request:
            self.send([request])

    def send(self, pieces: Iterable[bytes]) -> None:
        """Send, until all is sent, or the server does not take more, or has gone."""
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
        """Return the code of the server's Close; what comes before it is read."""
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

    def go(self) -> None:
        """End the connection."""
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
    """Return a frame, its masking key zero; its length may be a lie."""
    size = len(payload) if length is None else length
    if size < 126:
        head = bytes([first, 0x80 | size])
    elif size < 65536:
        head = bytes([first, 0xFE]) + size.to_bytes(2, "big")
    else:
        head = bytes([first, 0xFF]) + size.to_bytes(8, "big")
    return head + bytes(4) + payload


def deflated(size: int) -> bytes:
    """Return so many zeros, compressed."""
    compressor = zlib.compressobj(9, zlib.DEFLATED, -15)
    return (compressor.compress(bytes(size)) + compressor.flush(zlib.Z_SYNC_FLUSH))[:-4]


# -- the attacks -------------------------------------------------------------------------------------------------------


def frames(
    how: str, pieces: Iterable[bytes], *, compress: bool = False, reads: bool = True
) -> Callable[[int], Outcome]:
    """Return an attack of frames."""

    def attack(port: int) -> Outcome:
        attacker = Attacker(port, _REQUEST + (_OFFER if compress else b"") + b"\r\n")
        if attacker.read_head() != "101":
            raise RuntimeError("no opening handshake")
        attacker.sent = 0
        attacker.send(pieces)
        end = "held back" if attacker.is_held_back else attacker.close_code() if reads else "continues"
        attacker.go()
        return Outcome(attacker.sent, how, end)

    return attack


def requests(how: str, data: bytes, count: int) -> Callable[[int], Outcome]:
    """Return an attack of so many requests, one after the other."""

    def attack(port: int) -> Outcome:
        sent, ends = 0, set()
        for _ in range(count):
            attacker = Attacker(port, data)
            ends.add(attacker.read_head())
            sent += attacker.sent
            attacker.go()
        return Outcome(sent, how, ", ".join(sorted(ends)))

    return attack


def silent(how: str, data: bytes, count: int) -> Callable[[int], Outcome]:
    """Return an attack of so many connections at once that never finish their request."""

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
            attacker.go()
        return Outcome(len(data) * count, how, ", ".join(f"{number} x {end}" for end, number in sorted(ends.items())))

    return attack


def fragments(payload: bytes, count: int) -> Iterator[bytes]:
    """Yield a message that does not end."""
    yield frame(_TEXT, payload)
    for _ in range(count // 1000):
        yield frame(_CONTINUATION, payload) * 1000


def bomb(size: int, count: int = 1) -> list[bytes]:
    """Return a compressed message of zeros, in so many fragments."""
    payload = deflated(size)
    step = -(-len(payload) // count)
    parts = [payload[start : start + step] for start in range(0, len(payload), step)]
    firsts = [_BINARY | _RSV1, *[_CONTINUATION] * (len(parts) - 1)]
    firsts[-1] |= _FIN
    return [b"".join(map(frame, firsts, parts))]


@dataclass(frozen=True, slots=True)
class Attack:
    """An attack with its name; ``compress`` says whether the server's compression is on."""

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
    Attack("connection storm", silent("2,000 halves of a request", _REQUEST, 2000)),
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
        frames("20,000 messages of 8", [frame(0xC2, b"\x03\x00" * 8) * 1000] * 20, compress=True, reads=False),
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
    """A line of the table: memory in KiB, CPU time in seconds."""

    attack: Attack
    outcome: Outcome
    memory: int
    cpu: float


def peak(pid: int) -> int:
    """Return the most memory that a process has had, in KiB."""
    found = re.search(r"^VmHWM:\s+(\d+)", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1])


def cpu_time(pid: int) -> float:
    """Return the CPU time that a process has taken, in seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICK


def serves(port: int) -> bool:
    """Say whether somebody else gets an echo."""
    other = Attacker(port)
    if other.read_head() != "101":
        return False
    other.send([frame(_FIN | _TEXT, b"hello"), frame(_FIN | _CLOSE, b"\x03\xe8")])
    code = other.close_code()
    other.go()
    return code == "1000"


def run(attack: Attack, loop: str) -> Row:
    """Start a server, attack it, and end it."""
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
                outcome = Outcome(outcome.sent, outcome.how, f"{outcome.end}; and serves nobody any more")
            return Row(attack, outcome, peak(server.pid) - memory, cpu_time(server.pid) - cpu)
        finally:
            server.kill()


def table(rows: list[Row]) -> Iterator[str]:
    """Yield the lines of a table in Markdown."""
    yield "| Attack | Sent | Bytes | Memory at the peak, MiB | CPU time, s | End |"
    yield "|---|---|---:|---:|---:|---|"
    for row in rows:
        sent = row.outcome
        memory, cpu = f"+{row.memory / 1024:.1f}", f"{row.cpu:.2f}"
        yield f"| {row.attack.name} | {sent.how} | {sent.sent:,} | {memory} | {cpu} | {sent.end} |"


def main() -> None:
    """Run the attacks that are named, or all."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.attacks", description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--loop", choices=["asyncio", "uvloop", "trio"], default="asyncio", help="what the server runs on"
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="an attack; by default all")
    arguments = parser.parse_args()
    chosen = [attack for attack in ATTACKS if not arguments.names or attack.name in arguments.names]
    with contextlib.suppress(KeyboardInterrupt):
        print(*table([run(attack, arguments.loop) for attack in chosen]), sep="\n")


if __name__ == "__main__":
    main()
