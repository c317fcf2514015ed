"""Receiving and sending of messages that need no decisions: see `PurePlainPath`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING, Any, Protocol

from anyws.protocol.outbox import Outbox
from anyws.protocol.speedups import MessageQueue, speedups_in_use

__all__ = ["PlainPath", "PurePlainPath"]

_BATCH = 65536  # when this much is queued, it is written immediately


class _Link(Protocol):
    def flush(self) -> None: ...
    def resume_reading(self) -> None: ...


class _Pump(Protocol):
    def on_readable(self) -> None: ...


Decode = Callable[[int, bytes], str | bytes | None]


class _Receiver(Protocol):
    def receive(self) -> Coroutine[Any, Any, str | bytes]: ...
    def next(self) -> Coroutine[Any, Any, str | bytes]: ...


class _Sender(Protocol):
    def send(self, item: Any, fragment_size: int | None, compress: bool | None, /) -> Coroutine[Any, Any, None]: ...


class PurePlainPath:
    """Receives and sends plain messages: whole frames, nothing buffered, nobody waiting, no extension.

    It only looks at flags that others set. Whatever is not plain is done by the receiver, the sender and the pump. The
    compiled twin (`_plain_*.h`) also reads and writes the socket by itself, and needs no coroutine and no frame of
    Python for a plain message; its results and side effects are the same.

    Args:
        inbox: the received messages.
        outbox: the frames to send.
        link: told when there is something to write, or room to read on.
        budget: how many messages a task may receive, or send, before other tasks run.
    """

    __slots__ = ("_encode", "_inbox", "_link", "_outbox", "_pump", "receiver", "sender")

    def __init__(self, inbox: MessageQueue, outbox: Outbox, link: _Link, budget: int, /) -> None:
        self._inbox = inbox
        self._outbox = outbox
        self._link = link
        self._pump: _Pump | None = None
        self._encode: Callable[[str | bytes], None] | None = None
        self.receiver: _Receiver | None = None
        """Receives what is not plain."""
        self.sender: _Sender | None = None
        """Sends what is not plain."""

    def use_extension(self, rsv: int, decode: Decode, encode: Callable[[str | bytes], None], /) -> None:
        """Let an extension transform the messages; without this call, they are framed as they are.

        Args:
            rsv: the reserved bits of the whole messages that ``decode`` restores; 0 if it cannot restore any.
            decode: see `MessageQueue.put_frames`. If it raises, the connection fails.
            encode: transforms a message and puts its frame into the outbox. If it raises, so does the call that sends.
        """
        self._encode = encode

    def attach(
        self,
        pump: _Pump,
        keepalive: object,
        now: Callable[[], float],
        signal: object,
        records: object,
        descriptor: int,
        /,
    ) -> None:
        """Use a socket.

        Args:
            pump: does what is not plain.
            keepalive: its ``last_heard`` is set whenever data arrives.
            now: the clock of the event loop, in seconds.
            signal: what a receiving task waits for; the compiled twin waits only for its own `Signal`.
            records: the TLS layer; None without TLS.
            descriptor: the file descriptor of the socket.
        """
        self._pump = pump

    def detach(self) -> None:
        """Forget the socket, because the connection is over."""
        self._pump = None

    def on_readable(self) -> None:
        """Read once, without waiting, and run the task that waits for a message."""
        if self._pump is not None:
            self._pump.on_readable()

    async def receive(self) -> str | bytes:
        """Wait for the next message; see `WebSocket.receive`."""
        message = self._inbox.take_now()
        if message is None:
            assert self.receiver is not None
            return await self.receiver.receive()
        if self._inbox.is_paused:
            self._link.resume_reading()
        return message

    async def next(self) -> str | bytes:
        """Wait for the next message; stop at a normal closure."""
        message = self._inbox.take_now()
        if message is None:
            assert self.receiver is not None
            return await self.receiver.next()
        if self._inbox.is_paused:
            self._link.resume_reading()
        return message

    async def deliver(self, function: Callable[[str | bytes], Awaitable[None] | None], /) -> Awaitable[None]:
        """Pass each message to a function until it returns something other than None; return that.

        The compiled twin calls the function as soon as a message has been read, without running the task that waits
        here. Raises what the function raises, and what `receive` raises.
        """
        while True:
            result = function(await self.receive())
            if result is not None:
                return result

    def send_now(self, message: object, /) -> bool:
        """Send a message if that is plain; return whether it was sent."""
        if not self._outbox.put_message(message) and not self._put_encoded(message):
            return False
        if not self._outbox.is_flush_due:
            self._link.flush()
        return True

    def _put_encoded(self, message: object) -> bool:
        """Let the extension put a message into the outbox if messages are accepted; return whether it did."""
        outbox = self._outbox
        has_room = outbox.is_open and not outbox.is_reserved and outbox.size < outbox.limit
        if self._encode is None or outbox.is_plain or not has_room or outbox.budget <= 0:
            return False
        if type(message) is not str and type(message) is not bytes:
            return False
        self._encode(message)
        outbox.budget -= 1
        if outbox.size >= _BATCH:
            outbox.is_flush_due = False
        return True

    def send_prepared(self, frame: bytes, /) -> bool:
        """Send a frame that is a whole message if messages are accepted; return whether it was sent."""
        if not self._outbox.put_prepared(frame):
            return False
        self._link.flush()
        return True

    async def send(self, message: object, /) -> None:
        """Send a message with the defaults; see `WebSocket.send`."""
        if not self.send_now(message):
            assert self.sender is not None
            await self.sender.send(message, None, None)


# The names of the coroutines, for example in the warning that one was never awaited.
for _method, _name in (
    (PurePlainPath.receive, "receive"),
    (PurePlainPath.next, "__anext__"),
    (PurePlainPath.deliver, "deliver"),
    (PurePlainPath.send, "send"),
):
    _method.__name__, _method.__qualname__ = _name, f"WebSocket.{_name}"


if TYPE_CHECKING or not speedups_in_use:
    PlainPath = PurePlainPath
else:
    from anyws.protocol._speedups import PlainPath
