"""Plain HTTP answers with the files of a page: a hook for ``on_request``."""

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
# The page loads and runs what comes from here only, and connects to here only.
SAFE = {
    "Content-Security-Policy": "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-cache",
}


def pages(*folders: Path, websocket: str = "/ws") -> Callable[[anyws.Request], anyws.Response | None]:
    """Return a hook that answers with the files of some folders; ``index.html`` is ``/``.

    The files are read now: no request names a file of the disk.

    Args:
        folders: where the files are; subfolders are left out.
        websocket: the one path where WebSocket is served.
    """
    answers = {
        "/" if file.name == "index.html" else f"/{file.name}": anyws.Response(
            200, {"Content-Type": CONTENT_TYPES[file.suffix], **SAFE}, file.read_bytes()
        )
        for folder in folders
        for file in folder.iterdir()
        if file.suffix in CONTENT_TYPES
    }
    not_found = anyws.Response(404, body="there is no such page\n")

    def answer(request: anyws.Request) -> anyws.Response | None:
        if request.path == websocket:
            return None
        return not_found if request.asks_for_websocket else answers.get(request.path, not_found)

    return answer
