"""picows, with its core API (callbacks)."""

from __future__ import annotations

import asyncio
import importlib
from typing import Any

from .driver import Progress, parse, start

picows: Any = importlib.import_module("picows")  # not installed for type checkers


class Conversation(picows.WSListener):  # type: ignore[misc]
    """Sends a message for each echo."""

    def __init__(self) -> None:
        super().__init__()
        self.outstanding = 0
        self.is_done: asyncio.Future[None]

    def on_ws_connected(self, transport: Any) -> None:
        """Store the transport."""
        self.transport = transport

    def begin(self) -> asyncio.Future[None]:
        """Send the first messages."""
        self.is_done = asyncio.get_running_loop().create_future()
        for _ in range(options.in_flight):
            self.transport.send(kind, message)
        self.outstanding = options.in_flight
        return self.is_done

    def on_ws_frame(self, transport: Any, frame: Any) -> None:
        """Send the next message."""
        frame.get_payload_as_utf8_text() if options.text else frame.get_payload_as_bytes()  # as other libraries do
        if progress.continues():
            transport.send(kind, message)
        else:
            self.outstanding -= 1
            if not self.outstanding:
                self.is_done.set_result(None)


async def main() -> None:
    """Open the connections, and run until the end of the input."""
    listeners = [(await picows.ws_connect(Conversation, options.uri))[1] for _ in range(options.connections)]
    while progress.wait():
        await asyncio.gather(*[each.begin() for each in listeners])
        progress.report()
    for each in listeners:
        each.transport.disconnect()


if __name__ == "__main__":
    options, progress = parse("asyncio", "uvloop"), Progress()
    kind = picows.WSMsgType.TEXT if options.text else picows.WSMsgType.BINARY
    message = options.message.encode() if options.text else options.message
    start(main, options)
