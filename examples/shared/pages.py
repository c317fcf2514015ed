"""Serve the files of a page over plain HTTP: a hook for ``on_request``."""

from collections.abc import Callable
from pathlib import Path

import anyws

__all__ = ["HERE", "pages"]

HERE = Path(__file__).parent
CONTENT_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
# The page may load and run code only from this server, and connect only to this server.
SAFE = {
    "Content-Security-Policy": "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-cache",
}


def pages(*folders: Path, websocket: str = "/ws") -> Callable[[anyws.Request], anyws.Response | None]:
    """Return a hook that serves the files of some folders; ``index.html`` is served as ``/``.

    The files are read immediately, so no request can access the file system.

    Args:
        folders: the folders with the files; subfolders are ignored.
        websocket: the path of the WebSocket.
    """
    responses = {
        "/" if file.name == "index.html" else f"/{file.name}": anyws.Response(
            200, {"Content-Type": CONTENT_TYPES[file.suffix], **SAFE}, file.read_bytes()
        )
        for folder in folders
        for file in folder.iterdir()
        if file.suffix in CONTENT_TYPES
    }
    not_found = anyws.Response(404, body="page not found\n")

    def respond(request: anyws.Request) -> anyws.Response | None:
        if request.path == websocket:
            return None
        return not_found if request.is_websocket else responses.get(request.path, not_found)

    return respond
