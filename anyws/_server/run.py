"""A program that is nothing but a server: `run`."""

from __future__ import annotations

import functools
import logging
from typing import Unpack

import anyio
from anyio.lowlevel import current_token

from anyws._checking import build_options, with_signature_of

from .handlers import Handler
from .options import RunKeywords, RunOptions
from .serve import serve_with
from .server import Server

__all__ = ["run"]

_logger = logging.getLogger("anyws.server")


@with_signature_of(RunOptions)
def run(handler: Handler, host: str | None = None, port: int = 0, **options: Unpack[RunKeywords]) -> None:
    """Start an event loop and serve WebSocket connections, until SIGINT (Ctrl-C) or SIGTERM arrives.

    Example::

        async def echo(websocket: anyws.WebSocket) -> None:
            async for message in websocket:
                await websocket.send(message)

        if __name__ == "__main__":
            anyws.run(echo, "127.0.0.1", 8765)

    The first signal shuts the server down gracefully: connections are closed with 1001, and their handlers have
    ``stop_grace`` to finish. A second signal cancels the handlers. Then this function returns, so the exit status is
    0. The URI is logged at level INFO once the server is listening.

    In a program that already runs an event loop, use `serve` or `open_server`, which have the same options.

    Args:
        handler: see `serve`.
        host: see `serve`.
        port: see `serve`.
        options: keyword arguments, documented in `RunOptions`.

    Raises:
        RuntimeError: an event loop is already running in this thread, or it is not the main thread.
        OSError, TypeError, ValueError: as in `serve`.
    """
    settings = build_options(RunOptions, options, where="run()")
    try:
        current_token()
    except RuntimeError:
        pass
    else:
        raise RuntimeError("run() starts an event loop, but one is already running: use `await anyws.serve(...)`")
    main = functools.partial(serve_with, handler, host, port, settings, task_status=_Listening())
    anyio.run(main, backend=settings.backend, backend_options=dict(settings.backend_options))


class _Listening:
    """Logs that the server is listening."""

    def started(self, value: Server, /) -> None:
        try:
            where: object = value.uri
        except RuntimeError:  # it has listeners of the user, without an address
            where = value
        _logger.info("listening on %s", where)
