"""trio-websocket."""

from __future__ import annotations

from trio_websocket import WebSocketConnection, open_websocket_url

from .driver import Run, parse, start

if __name__ == "__main__":
    options = parse("trio")
    run = Run(
        options,
        lambda: open_websocket_url(options.uri),
        WebSocketConnection.send_message,
        WebSocketConnection.get_message,
    )
    start(run, options)
