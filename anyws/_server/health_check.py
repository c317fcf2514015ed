"""Health checks over plain HTTP, as a request hook."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable

from anyws.protocol.http11 import Request, Response

from .options import RequestHook

__all__ = ["health_check"]

_NO_STORE = [("Cache-Control", "no-store")]  # RFC 9111, section 5.2.2.5: every check must reach the server


def health_check(path: str = "/healthz", check: Callable[[], bool | Awaitable[bool]] | None = None) -> RequestHook:
    """Return a hook for ``on_request`` that responds to GET and HEAD of a path: 200 if healthy, otherwise 503.

    WebSocket requests and requests for other paths are passed on. Place this hook before hooks that authenticate. A
    server that is shutting down or at ``max_connections`` responds with 503 automatically.

    Args:
        path: the path, without percent-encoding, as in ``request.path``.
        check: a sync or async callable that returns whether the server is healthy. If it raises, the response is 500,
            and the exception is logged. None: the server is healthy as long as it responds.

    Raises:
        TypeError: the path is not a `str`.
        ValueError: the path does not begin with a slash.
    """
    if not isinstance(path, str):
        hint = ": call it, on_request=anyws.health_check()" if isinstance(path, Request) else ""
        raise TypeError(f"health_check() expects a path, not {type(path).__name__}{hint}")
    if not path.startswith("/"):
        raise ValueError(f"path {path!r} does not begin with a slash")

    async def answer(request: Request) -> Response | None:
        if request.path != path or request.is_websocket:
            return None
        is_healthy = True if check is None else check()
        if inspect.isawaitable(is_healthy):
            is_healthy = await is_healthy
        return Response(200, _NO_STORE, "ok\n") if is_healthy else Response(503, _NO_STORE, "unhealthy\n")

    return answer
