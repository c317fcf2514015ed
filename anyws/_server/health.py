"""Whether the server is well: health checks over plain HTTP, as a request hook."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable

from anyws.protocol.http11 import Request, Response

from .options import RequestHook

__all__ = ["health_check"]

_NOT_STORED = [("Cache-Control", "no-store")]  # RFC 9111, 5.2.2.5: each question is to reach us


def health_check(path: str = "/healthz", check: Callable[[], bool | Awaitable[bool]] | None = None) -> RequestHook:
    """Return a hook for ``on_request`` that answers GET and HEAD of a path: 200, or 503 where something is wrong.

    Requests for WebSocket, and for other paths, go on. Where hooks authenticate, let this one come before them. A
    server that stops or has ``max_connections`` responds with 503 automatically.

    Args:
        path: the path, without percent-encoding, as ``request.path``.
        check: a sync or async callable that says whether all is well; where it raises, the answer is 500, and it is
            logged. None: it is well while it answers.

    Raises:
        ValueError: the path does not begin with a slash.
    """
    if not path.startswith("/"):
        raise ValueError(f"path {path!r} does not begin with a slash")

    async def answer(request: Request) -> Response | None:
        if request.path != path or request.asks_for_websocket:
            return None
        is_well = True if check is None else check()
        if inspect.isawaitable(is_well):
            is_well = await is_well
        return Response(200, _NOT_STORED, "ok\n") if is_well else Response(503, _NOT_STORED, "not well\n")

    return answer
