"""A `PlainPath` over a real socket, with a link, a pump, a receiver and a sender that record what is asked of them."""

from __future__ import annotations

import contextvars
import errno
import os
import socket
from collections.abc import Callable, Coroutine, Generator, Iterator
from contextlib import contextmanager
from typing import Any

import anyio
import pytest

from anyws._connection.plain_path import PurePlainPath
from anyws._connection.pumps.signals import PureSignal
from anyws.protocol import _queues
from tests.frames import frame_bytes
from tests.twins import compiled_twin

__all__ = ["BUDGET", "COMPILED", "Driver", "Rig", "both_paths", "compiled_only", "frame", "open_rig"]

COMPILED = compiled_twin()
BUDGET = 4
"""How many messages a task may receive before others run; 64 in the library."""

compiled_only = pytest.mark.skipif(COMPILED is None, reason="the extension is not built")
both_paths = pytest.mark.parametrize("kind", ["pure", pytest.param("compiled", marks=compiled_only)])
"""For a test that takes a ``kind`` of path."""


def frame(message: str | bytes, **options: Any) -> bytes:
    """Return a message in one frame, as a client sends it."""
    text = isinstance(message, str)
    payload = message.encode() if isinstance(message, str) else message
    return frame_bytes(1 if text else 2, payload, **{"masked": True, **options})


class HandLoop:
    """An event loop that runs what was scheduled when a test says so."""

    def __init__(self) -> None:
        self._scheduled: list[Callable[[], object]] = []

    def call_soon(self, callback: Callable[..., object], *arguments: object, context: contextvars.Context) -> None:
        self._scheduled.append(lambda: context.run(callback, *arguments))

    def run(self) -> None:
        while self._scheduled:
            self._scheduled.pop(0)()


class Driver:
    """A task: awaits a coroutine, and waits for signals as an asyncio task does.

    Attributes:
        outcome: what the coroutine has returned or raised, as a list of at most one.
    """

    def __init__(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        self.outcome: list[Any] = []
        self._coroutine = coroutine
        self._context = contextvars.copy_context()
        self._waits_for: Any = None
        self._cancelled: BaseException | None = None
        self._context.run(self._step)

    def cancel(self) -> None:
        """Raise an exception in the coroutine in the next iteration of the loop, or at its next step."""
        if self._waits_for is None or not self._waits_for.cancel():
            self._cancelled = InterruptedError()

    def _wake(self, signal: Any) -> None:
        self._waits_for = None
        try:
            signal.result()
        except BaseException as exc:
            self._cancelled = exc
        self._step()

    def _step(self) -> None:
        try:
            if self._cancelled is not None:
                cancelled, self._cancelled = self._cancelled, None
                signal = self._coroutine.throw(cancelled)
            else:
                signal = self._coroutine.send(None)
        except StopIteration as stop:
            self.outcome.append(stop.value)
        except BaseException as exc:
            self.outcome.append(exc)
            if isinstance(exc, KeyboardInterrupt):
                raise
        else:
            signal._asyncio_future_blocking = False
            self._waits_for = signal
            signal.add_done_callback(self._wake, context=self._context)


class _Yield:
    """Lets other tasks run once: a set signal that yields."""

    def __init__(self, signal: Any) -> None:
        self._signal = signal

    def __await__(self) -> Generator[Any]:
        self._signal._asyncio_future_blocking = True
        self._signal.set()
        yield self._signal


class Rig:
    """The path and what is around it; ``calls`` has what the path has left to others.

    Args:
        kind: ``pure`` or ``compiled``.
        loop: the event loop.
        masking_key: the key of each frame that is sent; None to send unmasked.
        records: the TLS layer.
        limit: the memory for received messages.
        extension: whether an extension transforms the messages; see `decode` and `encode`.
    """

    def __init__(
        self,
        kind: str,
        *,
        loop: Any = None,
        masking_key: bytes | None = None,
        records: Any = None,
        limit: int = 1 << 20,
        extension: bool = False,
    ) -> None:
        twin: Any = _queues if kind == "pure" else COMPILED
        self.is_pure = kind == "pure"
        self.loop: Any = HandLoop() if loop is None else loop
        self.calls: list[Any] = []
        self.errors: list[BaseException] = []
        self.heard = 0
        self.last_heard: float = 0
        self.ours, self.peer = socket.socketpair()
        self.ours.setblocking(False)
        self.peer.setblocking(False)
        self.inbox = twin.MessageQueue(True, 100_000)
        self.inbox.limit = limit
        self.outbox = twin.FrameQueue(None if masking_key is None else lambda: masking_key)
        new_signal: Any = PureSignal if kind == "pure" else twin.Signal
        self.signal: Any = new_signal(self.loop)
        self.path: Any = (PurePlainPath if kind == "pure" else twin.PlainPath)(self.inbox, self.outbox, self, BUDGET)
        self.path.receiver = self.path.sender = self
        self.extension = extension
        if extension:
            self.outbox.is_plain = False
            self.path.use_extension(0x40, self.decode, self.encode)
        self.records = records
        self.inbox.budget = self.outbox.budget = BUDGET
        self.outbox.is_direct = True
        self.when_fed: Callable[[], object] = lambda: None
        self.path.attach(self, self, self.now, self.signal, records, self.ours.fileno())

    # -- the keepalive and the clock

    def now(self) -> float:
        self.heard += 1
        return 5.0

    # -- the extension

    def decode(self, opcode: int, payload: bytes) -> str | bytes | None:
        """Restore a reversed message; return None for a violation, which starts with "!", and raise for a "?"."""
        if payload[:1] == b"!":
            return None
        if payload[:1] == b"?":
            raise LookupError
        return payload[::-1].decode(errors="replace") if opcode == 1 else payload[::-1]

    def encode(self, message: str | bytes) -> None:
        """Reverse a message that is not empty, and raise for a "?"."""
        payload = message.encode() if isinstance(message, str) else message
        if payload[:1] == b"?":
            raise LookupError
        opcode = 1 if isinstance(message, str) else 2
        self.outbox.put_frame((0xC0 if payload else 0x80) | opcode, payload[::-1])

    # -- the link

    def flush(self) -> None:
        """Write what is queued, unless there are messages to answer; also a method of the pump."""
        self.calls.append("flush")
        if not len(self.inbox):
            self.write()

    def write(self) -> None:
        for buffer in self.outbox.take():
            self.write_rest(b"", buffer, 0, 0, again=True)

    def resume_reading(self) -> None:
        self.calls.append("resume_reading")
        self.inbox.is_paused = False

    def fail_internally(self, exc: BaseException) -> None:
        self.calls.append("fail_internally")
        self.errors.append(exc)
        self.end()

    def end(self) -> None:
        """End the connection."""
        self.path.detach()
        self.inbox.is_open = self.inbox.is_on_fast_path = self.outbox.is_open = False
        self.signal.set()

    # -- the pump

    def on_readable(self) -> None:
        """Read as the pump does; only the pure twin has everything read here."""
        if not self.is_pure:
            self.calls.append("on_readable")
        try:
            data = self.ours.recv(122880)
        except BlockingIOError:
            return
        except OSError as exc:
            self.reading_failed(exc.errno or 0)
            return
        if not data:
            self.reading_ended()
            return
        try:
            self.now()
            self.last_heard = 5.0
            if self.records is not None:
                data = self.records.decrypt(data)
            fast = self.inbox.is_on_fast_path and self.inbox.is_open
            decoder = (0x40, self.decode) if self.extension else ()
            position = self.inbox.put_frames(data, *decoder) if fast else 0
            is_quiet = self.records is None or self.records.is_quiet
            if position < len(data) or not is_quiet:
                (self.feed if self.records is None else self.feed_decrypted)(data[position:])
        except Exception as exc:
            self.fail_internally(exc)
        if len(self.inbox):
            self.signal.set_now()

    def feed(self, data: bytes) -> None:
        self.calls.append(("feed", data))
        self.when_fed()
        if not self.is_pure and len(self.inbox):
            self.signal.set_now()

    def feed_decrypted(self, data: bytes) -> None:
        self.calls.append(("feed_decrypted", data))
        self.when_fed()
        if not self.is_pure and len(self.inbox):
            self.signal.set_now()

    def reading_ended(self) -> None:
        self.calls.append("reading_ended")
        self.end()

    def reading_failed(self, error: int) -> None:
        self.calls.append(("reading_failed", errno.errorcode[error]))
        self.end()

    def write_rest(self, header: bytes, payload: bytes, written: int, error: int, *, again: bool = False) -> None:
        """Remember what was not written; a real pump writes it later."""
        rest = (header + payload)[written:]
        if error:
            self.calls.append(("lost", os.strerror(error)))
            self.outbox.is_direct = self.outbox.is_open = False
        elif again:
            written = self.ours.send(rest)
            assert written == len(rest)
            self.outbox.sent += written
        else:
            self.calls.append(("write_rest", rest))
            self.outbox.is_direct = False

    def writing_failed(self, exc: BaseException) -> None:
        self.calls.append("writing_failed")
        self.errors.append(exc)

    # -- the receiver and the sender

    async def receive(self) -> str | bytes:
        self.calls.append("receive")
        if self.outbox.is_flush_due and not len(self.inbox):
            self.flush()
        if self.inbox.is_receiving:
            raise anyio.BusyResourceError("receiving from")
        self.inbox.is_receiving = True
        try:
            if self.inbox.budget <= 0:
                self.inbox.budget = self.outbox.budget = BUDGET
                await _Yield(self.signal)
            while not len(self.inbox):
                if not self.inbox.is_open:
                    raise anyio.EndOfStream
                self.inbox.receiver_waits = True
                self.inbox.budget = self.outbox.budget = BUDGET
                if self.inbox.is_paused:
                    self.resume_reading()
                if self.outbox.is_flush_due:
                    self.flush()
                await self.signal.wait()
                self.inbox.budget = self.outbox.budget = BUDGET
            self.inbox.budget -= 1
            message: str | bytes = self.inbox.take()
            if self.inbox.is_paused:
                self.resume_reading()
            return message
        finally:
            self.inbox.is_receiving = self.inbox.receiver_waits = False

    async def next(self) -> str | bytes:
        try:
            return await self.receive()
        except anyio.EndOfStream:
            raise StopAsyncIteration from None

    async def send(self, message: Any, fragment_size: None, compress: None) -> None:
        self.calls.append(("send", message))
        if self.outbox.budget <= 0:
            self.outbox.budget = BUDGET
            await _Yield(self.signal)
        if not isinstance(message, str | bytes):
            raise TypeError("neither str nor bytes")
        self.path.send_now(message)

    # -- what a test does

    def arrive(self, data: bytes) -> None:
        """Let bytes arrive, as the event loop does."""
        self.peer.sendall(data)
        self.path.on_readable()

    def written(self) -> bytes:
        """Return what has been written to the socket."""
        try:
            return self.peer.recv(1 << 20)
        except BlockingIOError:
            return b""

    def state(self) -> dict[str, Any]:
        """Return the flags of both queues."""
        names: tuple[str, ...] = ("is_open", "is_receiving", "is_reserved", "receiver_waits", "is_paused")
        inbox = {"length": len(self.inbox), **{name: getattr(self.inbox, name) for name in names}}
        names = ("is_open", "is_direct", "is_flush_due", "size", "sent")
        return {"inbox": inbox, "outbox": {name: getattr(self.outbox, name) for name in names}}

    def close(self) -> None:
        self.path.detach()
        self.ours.close()
        self.peer.close()


@contextmanager
def open_rig(kind: str, **options: Any) -> Iterator[Rig]:
    """Close the sockets at the end."""
    rig = Rig(kind, **options)
    try:
        yield rig
    finally:
        rig.close()
