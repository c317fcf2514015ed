"""Requests and responses: from the scope of ASGI, and to its messages."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import quote, unquote

from anyws.protocol.headers import Headers
from anyws.protocol.http11 import Request, Response

__all__ = ["Message", "Receive", "Scope", "Send", "encoded", "request_of", "respond"]

# Mappings with names as keys. Each server and framework has its own types for them, and all of these fit here.
Scope = Mapping[str, Any]
Message = Any
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

_SAFE = "/:@!$&'()*+,;=~"  # in a path (RFC 3986, section 3.3)


def request_of(scope: Scope) -> Request:
    """Return the request of a scope. Its path is relative to where the application is mounted (``root_path``).

    ``state["scope"]`` is the scope, with what frameworks have stored there.
    """
    pairs = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]]
    headers = [pair for pair in pairs if not pair[0].startswith(":")]
    is_websocket = scope["type"] == "websocket"
    if is_websocket and not any(name.lower() == "upgrade" for name, _ in headers):
        headers.append(("Upgrade", "websocket"))  # over HTTP/2, the request has none (RFC 8441, section 5)
    query = scope.get("query_string", b"").decode("latin-1")
    return Request(
        target=f"{_path_of(scope)}?{query}" if query else _path_of(scope),
        headers=Headers(headers),
        method="GET" if is_websocket else scope["method"],
        http_version=scope.get("http_version", "1.1"),
        state={"scope": scope},
    )


def _path_of(scope: Scope) -> str:
    """Return the path below the mount point, percent-encoded, and as the client has sent it if that is known."""
    path: str = scope["path"]
    raw = (scope.get("raw_path") or b"").decode("latin-1").partition("?")[0]
    if unquote(raw) != path:  # the server has left it out, or an application has rewritten the path
        raw = quote(path, safe=_SAFE)
    root: str = scope.get("root_path", "").rstrip("/")
    if root and (path == root or path.startswith(f"{root}/")):  # some servers leave it out of the path
        quoted = quote(root, safe=_SAFE)
        raw = raw[len(quoted) :] if raw.startswith(quoted) else quote(path[len(root) :], safe=_SAFE)
    return raw or "/"


async def respond(scope: Scope, send: Send, response: Response) -> None:
    """Send a response to an HTTP request, or to a WebSocket request instead of accepting it.

    A server without the extension for denial responses sends 403.
    """
    is_websocket = scope["type"] == "websocket"
    if is_websocket and "websocket.http.response" not in (scope.get("extensions") or {}):
        await send({"type": "websocket.close"})
        return
    kind = "websocket.http.response" if is_websocket else "http.response"
    headers = encoded(response.headers)
    if "content-length" not in response.headers and response.status not in (204, 304):
        headers.append((b"content-length", str(len(response.body)).encode()))
    body = b"" if scope.get("method") == "HEAD" else response.body
    await send({"type": f"{kind}.start", "status": response.status, "headers": headers})
    await send({"type": f"{kind}.body", "body": body})


def encoded(headers: Headers) -> list[tuple[bytes, bytes]]:
    """Return headers as ASGI has them: bytes, with the names in lower case."""
    return [(name.lower().encode("ascii"), value.encode("latin-1")) for name, value in headers.multi_items()]
