"""The other end of the connection, which sends the bytes of a case and records the responses."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from functools import partial

import anyio
from anyio.abc import ByteStream, SocketAttribute, SocketListener, SocketStream

from .case import Case, Role
from .frames import TEXT, Frame
from .transcript import PROBE, Transcript

__all__ = ["listening", "run_case"]

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, section 1.3


@asynccontextmanager
async def listening() -> AsyncGenerator[tuple[SocketListener, str], None]:
    """Listen for clients. Yields the listener, and the URI for the clients."""
    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listeners:
        (listener,) = listeners.listeners
        assert isinstance(listener, SocketListener)
        yield listener, f"ws://127.0.0.1:{listener.extra(SocketAttribute.local_port)}/"


async def run_case(stream: SocketStream, case: Case, role: Role, *, idle_timeout: float = 1.5) -> str:
    """Run a case against a library, and return the outcome.

    Args:
        stream: a new connection to the library.
        case: the case to run.
        role: the role of the library.
        idle_timeout: seconds of silence after which the library counts as waiting.
    """
    transcript = Transcript(case)
    read = partial(_read, stream, transcript, idle_timeout)
    async with stream:
        if role == "server":
            await _send(stream, case.request())
            await read(until=lambda: bool(transcript.head))
            if transcript.is_refused or case.shows_agreement:
                return transcript.outcome
            await _send(stream, _frames_of(case, from_client=True))
        else:
            await read(until=lambda: bool(transcript.head))
            response = case.response(_accept_value(transcript.head))
            await _send(stream, response + _frames_of(case, from_client=False))
        await read(until=lambda: transcript.is_probed or transcript.close_payload is not None)
        if transcript.close_payload is not None:
            await _send_eof(stream)
            await read(until=lambda: False)
    return transcript.outcome


async def _send(stream: ByteStream, data: bytes) -> None:
    try:
        await stream.send(data)
    except anyio.BrokenResourceError:  # there may be a rejection to read
        pass


async def _send_eof(stream: SocketStream) -> None:
    try:
        await stream.send_eof()
    except OSError:  # the library has already closed
        pass


async def _read(stream: ByteStream, transcript: Transcript, idle_timeout: float, *, until: Callable[[], bool]) -> None:
    """Read until a condition holds, the stream ends, or the library is silent."""
    while not (transcript.is_ended or until()):
        data = None
        with anyio.move_on_after(idle_timeout):
            try:
                data = await stream.receive()
            except (anyio.EndOfStream, anyio.BrokenResourceError):
                transcript.is_ended = True
                return
        if data is None:
            return
        transcript.receive_data(data)


def _frames_of(case: Case, *, from_client: bool) -> bytes:
    frames = case.frames
    if not case.is_unfinished and case.close is None:
        frames += (Frame(opcode=TEXT, payload=PROBE),)
    return b"".join(frame.serialize(from_client=from_client) for frame in frames)


def _accept_value(request: bytes) -> bytes:
    """Return the ``Sec-WebSocket-Accept`` for a request (RFC 6455, section 4.2.2)."""
    for line in request.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"sec-websocket-key":
            return base64.b64encode(hashlib.sha1(value.strip() + _GUID).digest())
    return b""
