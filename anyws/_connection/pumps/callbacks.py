"""The pump for a socket on asyncio and uvloop: the event loop calls it when data has arrived."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from anyws._transport.resets import ResetWatch, watch_resets
from anyws._transport.stream import SocketStream
from anyws._transport.tls import TLSRecords

from .background import Background
from .pump import LinkInterface
from .signals import Signal, clock_of
from .sockets import SocketPump

__all__ = ["CallbackPump"]


class CallbackPump(SocketPump):
    """Registers for reading once, rather than for each wait."""

    __slots__ = (
        "_descriptor",
        "_is_registered",
        "_is_reset",
        "_loop",
        "_resets",
    )

    def __init__(
        self, link: LinkInterface, stream: SocketStream, records: TLSRecords | None, loop: asyncio.AbstractEventLoop
    ) -> None:
        self._loop = loop
        super().__init__(link, stream, records, clock_of(loop))
        self._arrived: Signal = self.new_wakeup()
        # Not the socket: a selector's KeyError for an unknown socket includes its repr(), which costs two syscalls.
        self._descriptor = stream.fileno()
        self._is_registered = False
        self._is_reset = False
        self._resets: ResetWatch | None = None

    @staticmethod
    def is_possible(loop: asyncio.AbstractEventLoop) -> bool:
        """Whether the loop can report that a socket is readable; the default one on Windows cannot."""
        return not isinstance(loop, getattr(asyncio, "ProactorEventLoop", ()))

    def new_wakeup(self) -> Signal:
        """Return the cheapest kind of `Wakeup` on this event loop."""
        return Signal(self._loop)

    def _call_soon(self, callback: Callable[[], None]) -> None:
        assert self._background is not None
        self._background.call_soon(callback)

    def start(self, background: Background) -> None:
        """Start reading and writing."""
        super().start(background)
        if not self._is_closed:
            self._resets = watch_resets(self._loop)
            if self._resets is not None:
                self._resets.add(self._descriptor, self._on_reset)
        self.resume()

    def resume(self) -> None:
        """Read again, if the link now wants to."""
        super().resume()
        if self._is_registered or self._background is None or self._is_closed or self._is_postponed:
            return
        if self._link.may_read():
            self._link.keepalive.last_heard = self.now()
            self._register()

    def _register(self) -> None:
        assert self._background is not None
        self._is_registered = True
        callback = self._on_readable_after_reset if self._is_reset else self._link.path.on_readable
        self._background.call_when_readable(self._descriptor, callback)

    def on_readable(self) -> None:
        """Read once, without waiting, and run the task that waits for a message."""
        if self._has_ended:
            self._discard_input()
        elif self._link.inbox.is_on_fast_path or self._link.may_read():
            self._read()
            self._wake_now()
        else:
            self._stop()

    def _wake_now(self) -> None:
        if self._link.inbox.size or self._link.intake.has_piece:
            self._arrived.set_now()

    def _on_reset(self) -> None:
        self._is_reset = True
        self._register_anew()

    def _on_readable_after_reset(self) -> None:
        """Read and register again: after a reset, the event loop calls only once for each registration."""
        self.on_readable()
        self._register_anew()

    def _register_anew(self) -> None:
        if self._is_registered:
            self._stop()
            self._register()

    def close(self) -> None:
        """Close the stream immediately."""
        if self._resets is not None and not self._is_closed:
            self._resets.remove(self._descriptor)
        super().close()

    def _start_discarding(self) -> None:
        if not self._is_registered:
            self._register()

    def _pause_reading(self) -> None:
        self._stop()

    def _stop(self) -> None:
        if self._is_registered:
            self._is_registered = False
            self._loop.remove_reader(self._descriptor)

    def wait_for_arrival(self) -> Awaitable[None]:
        """Return an awaitable for the receiving task, to await immediately. It may return without a message."""
        if self._link.outbox.is_flush_due:
            self.flush()
        return self._arrived
