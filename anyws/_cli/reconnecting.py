"""``anyws connect --reconnect``: one conversation over several connections."""

from __future__ import annotations

import dataclasses

import anyio

import anyws

from .conversation import Conversation, ConversationOptions
from .exit_status import ExitStatus
from .opening import CONNECT_ERRORS, connect_error, show_failed_handshake, show_handshake
from .replay import Replay
from .screen import Screen
from .stopping import Stop
from .target import Target

__all__ = ["ReconnectingConversation"]

_INITIAL_DELAY = 1.0  # seconds; a user is waiting


class ReconnectingConversation:
    """Converses, and reconnects when the connection ends, until our side ends the conversation."""

    def __init__(
        self,
        target: Target,
        screen: Screen,
        source: Replay | None,
        options: ConversationOptions,
        *,
        is_verbose: bool,
    ) -> None:
        """Create the conversation.

        Args:
            target: the server.
            screen: shows the messages.
            source: the messages to send; None to send nothing.
            options: see `ConversationOptions`; the count and the timeout are for all connections together.
            is_verbose: whether to show the handshakes.
        """
        self._target = target
        self._screen = screen
        self._source = source
        self._options = options
        self._is_verbose = is_verbose
        self._is_connected = False
        self._status = ExitStatus.FAILED

    async def run(self, stop: Stop) -> ExitStatus:
        """Run until our side ends the conversation or the server rejects it; return the exit status.

        Raises:
            CommandError: connecting failed, and would fail again.
        """
        deadline = anyio.current_time() + self._options.timeout
        failure: Exception | None = None
        async with anyio.create_task_group() as tasks:

            async def end_after_timeout() -> None:
                await anyio.sleep_until(deadline)
                if not self._is_connected:  # otherwise, the conversation ends itself
                    self._screen.note(f"anyws: timed out after {self._options.timeout:g} s")
                    self._status = ExitStatus.TIMED_OUT
                    tasks.cancel_scope.cancel()

            tasks.start_soon(end_after_timeout)
            try:
                await self._converse(stop, deadline)
            except anyws.ConnectionClosed:
                pass  # shown by the conversation; reconnecting would end in the same way
            except CONNECT_ERRORS as exc:
                failure = exc
            tasks.cancel_scope.cancel()
        if failure is not None:
            raise connect_error(self._target, failure) from failure
        return self._status

    async def _converse(self, stop: Stop, deadline: float) -> None:
        remaining = self._options.count
        async for connection in anyws.reconnecting(
            self._target.uri, initial_delay=_INITIAL_DELAY, on_disconnect=self._show_outage, **self._target.options
        ):
            async with connection as websocket:
                if self._is_verbose:
                    show_handshake(websocket)
                self._screen.note(self._target.connected_text(websocket.subprotocol))
                if self._source is not None:
                    self._source.rewind()
                options = dataclasses.replace(
                    self._options, count=remaining, timeout=max(0, deadline - anyio.current_time())
                )
                conversation = Conversation(websocket, self._screen, self._source, options)
                self._is_connected = True
                self._status = await conversation.run(stop)
                self._is_connected = False
                if conversation.is_over or conversation.end is None:
                    return
                remaining = conversation.remaining
                raise conversation.end  # reconnecting() decides by it

    def _show_outage(self, outage: anyws.Outage) -> None:
        exc = outage.exception
        if self._is_verbose and isinstance(exc, anyws.HandshakeError):
            show_failed_handshake(exc)
        if outage.is_fatal:
            return
        if exc is not None and not isinstance(exc, anyws.ConnectionClosed):  # a closed connection has been shown
            self._screen.note(f"anyws: {connect_error(self._target, exc)}")
        self._screen.note(f"reconnecting in {outage.delay:.1f} s")
