"""The ``message_handler`` of the callback API."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable

import anyio

from anyws._cancellation import refusing_stray_cancellation
from anyws.exceptions import ConnectionClosed

from ._hooks import count_arguments
from ._socket import Backpressure, Socket

__all__ = ["MessageHandler", "handle_messages"]


class MessageHandler:
    """Calls a ``message_handler``, from wherever a message is read: a task is only needed for what must be awaited.

    Args:
        hook: the user's callable, sync or async, which may accept a message and the socket.

    Raises:
        TypeError: the hook requires other arguments.
    """

    def __init__(self, hook: Callable[..., object]) -> None:
        self._hook = hook
        self._count = count_arguments(hook, "message_handler", ("message", "socket"))

    def for_socket(
        self, socket: Socket, failures: list[BaseException]
    ) -> Callable[[str | bytes], Awaitable[None] | None]:
        """Return a function that passes a message to the hook.

        It returns None once the hook is done, and otherwise what a task must await. It raises what the hook raises, and
        adds it to ``failures``.
        """
        hook, count = self._hook, self._count

        def handle(message: str | bytes) -> Awaitable[None] | None:
            try:
                result = hook(message, socket) if count == 2 else hook(message) if count else hook()
            except BaseException as exc:
                failures.append(exc)
                raise
            # What most hooks return is found out first: isawaitable() costs as much as sending a message.
            if result is None or (type(result) is Backpressure and result.is_over):
                return None
            return result if inspect.isawaitable(result) else None

        return handle


async def handle_messages(socket: Socket, handler: MessageHandler | None) -> None:
    """Pass each message to the handler until the connection ends, which is not an error here."""
    failures: list[BaseException] = []  # of the hook: an EndOfStream may also be that of another stream
    function = _drop if handler is None else handler.for_socket(socket, failures)
    while True:
        try:
            result = await socket.deliver(function)
        except BaseException as exc:
            if exc in failures:
                result = _raise(exc)
            elif isinstance(exc, anyio.EndOfStream | anyio.BrokenResourceError):
                return
            else:
                raise
        try:
            with refusing_stray_cancellation("message_handler"):
                await result
        except ConnectionClosed:
            # Replying to a peer that has just disconnected is not an error of the handler.
            if socket.close_code is None:
                raise
            return


def _drop(_: str | bytes) -> None:
    """Drop a message that nobody handles."""


async def _raise(exc: BaseException) -> None:
    raise exc
