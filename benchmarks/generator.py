"""Compiles and runs the load generator `load.c`."""

from __future__ import annotations

import array
import base64
import hashlib
import os
import shutil
import subprocess
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from .cpu import Usage, usage

__all__ = ["NoGenerator", "Outcome", "compiled", "frame", "generator", "request"]

_TIME_LIMIT = 120  # seconds
_MASKING_KEY = bytes.fromhex("37fa213d")  # RFC 6455, section 5.7
_TEXT, _BINARY, _FIN, _RSV1 = 1, 2, 0x80, 0x40


class NoGenerator(Exception):
    """The load generator is unavailable. The message says why."""


def compiled(name: str, cache: Path, *, tls: bool = False) -> Path:
    """Compile a C file of this folder, once per version of it and of the headers, and return the program.

    Raises:
        NoGenerator: there is no compiler, or OpenSSL is missing.
    """
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        raise NoGenerator("no C compiler was found")
    source = Path(__file__).with_name(name)
    headers = sorted(source.parent.glob("*.h"))
    digest = hashlib.sha256(b"".join(file.read_bytes() for file in (source, *headers))).hexdigest()[:16]
    program = cache / f"{source.stem}-{digest}{'-tls' if tls else ''}"
    if not program.exists():
        cache.mkdir(parents=True, exist_ok=True)
        command = [compiler, "-O2", "-o", f"{program}.new", *(["-DWITH_TLS"] if tls else []), str(source)]
        command += ["-pthread", *(["-lssl", "-lcrypto"] if tls else [])]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        if done.returncode:
            missing = "openssl/ssl.h" in done.stderr or "-lssl" in done.stderr
            raise NoGenerator("the OpenSSL headers or libraries were not found" if missing else done.stderr)
        os.replace(f"{program}.new", program)
    return program


def frame(payload: str | bytes, *, compress: bool = False) -> bytes:
    """Return a masked frame with a complete message, if compressed without context (RFC 7692, section 7.2.1)."""
    opcode = _TEXT if isinstance(payload, str) else _BINARY
    data = payload.encode() if isinstance(payload, str) else payload
    if compress:
        compressor = zlib.compressobj(6, zlib.DEFLATED, -12)
        data = (compressor.compress(data) + compressor.flush(zlib.Z_SYNC_FLUSH))[:-4]
    size = len(data)
    key = int.from_bytes((_MASKING_KEY * (size // 4 + 1))[:size], "big")
    masked = (int.from_bytes(data, "big") ^ key).to_bytes(size, "big")
    if size < 126:
        length = bytes([0x80 | size])
    elif size < 65536:
        length = b"\xfe" + size.to_bytes(2, "big")
    else:
        length = b"\xff" + size.to_bytes(8, "big")
    return bytes([_FIN | (_RSV1 if compress else 0) | opcode]) + length + _MASKING_KEY + masked


def request(*, compress: bool) -> bytes:
    """Return the request of an opening handshake."""
    key = base64.b64encode(bytes(range(16)))
    offer = b"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n" if compress else b""
    return (
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: " + key + b"\r\nSec-WebSocket-Version: 13\r\n" + offer + b"\r\n"
    )


def write_frames(path: Path, frames: Sequence[bytes], answers: Sequence[int]) -> None:
    """Write the file FRAMES of `load.c`.

    Args:
        path: the file.
        frames: the frames to send, in turn.
        answers: the payload size of the response to each frame; -1 if unknown.
    """
    numbers = [len(frames)]
    for each, answer in zip(frames, answers, strict=True):
        numbers += [len(each), answer]
    path.write_bytes(array.array("i", numbers).tobytes() + b"".join(frames))


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The result of one measurement by the generator.

    Attributes:
        messages: the number of responses.
        seconds: the time from the first message to the last response.
        latencies: the percentiles 50, 99 and 99.9, in microseconds.
        pings: the percentiles 50 and 99 and the maximum of the latencies of Pings on another connection, in
            microseconds; nan if none were sent.
        generator: the CPU use of the generator.
    """

    messages: int
    seconds: float
    latencies: tuple[float, float, float]
    pings: tuple[float, float, float]
    generator: Usage


class Generator:
    """A running generator with open connections."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def run(self) -> Outcome:
        """Run the load to the end."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        before = usage(self._process.pid)
        self._process.stdin.write("go\n")
        self._process.stdin.flush()
        fields = self._process.stdout.readline().split()
        if len(fields) != 8:
            raise RuntimeError("the load generator failed")
        p50, p99, p999, *pings = map(float, fields[2:])
        return Outcome(
            messages=int(fields[0]),
            seconds=float(fields[1]),
            latencies=(p50, p99, p999),
            pings=(pings[0], pings[1], pings[2]),
            generator=usage(self._process.pid) - before,
        )


@contextmanager
def generator(command: Sequence[str], core: int | None) -> Iterator[Generator]:
    """Start a generator on a core, and open its connections. They are closed at the end of the block."""
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            if core is not None:
                os.sched_setaffinity(process.pid, {core})
            if process.stdout.readline() != "ready\n":
                raise RuntimeError("the load generator could not open its connections")
            yield Generator(process)
            process.communicate(timeout=_TIME_LIMIT)
        finally:
            process.kill()
