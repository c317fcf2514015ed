"""anyws, with its callback API and sync hooks."""

from __future__ import annotations

import contextlib

import anyio

import anyws
from anyws.callbacks import Socket

from .driver import Progress, parse, start


class Conversation:
    """Sends a message for each echo."""

    def __init__(self) -> None:
        self.outstanding = 0
        self.is_done = anyio.Event()

    def begin(self, socket: Socket) -> None:
        """Send the first messages."""
        self.is_done = anyio.Event()
        self.outstanding = options.in_flight
        for _ in range(options.in_flight):
            socket.message_send(options.message)

    def message_handler(self, _: str | bytes, socket: Socket) -> None:
        """Send the next message."""
        if progress.continues():
            socket.message_send(options.message)
        else:
            self.outstanding -= 1
            if not self.outstanding:
                self.is_done.set()


async def main() -> None:
    """Open the connections, and run until the end of the input."""
    async with contextlib.AsyncExitStack() as stack:
        conversations: list[tuple[Conversation, Socket]] = []
        for _ in range(options.connections):
            conversation = Conversation()
            socket = await stack.enter_async_context(
                anyws.client_connect(
                    message_handler=conversation.message_handler,
                    socket_options={"host": "127.0.0.1", "port": options.port},
                    secure=False,
                )
            )
            conversations.append((conversation, socket))
        while progress.wait():
            for conversation, socket in conversations:
                conversation.begin(socket)
            for conversation, _ in conversations:
                await conversation.is_done.wait()
            progress.report()


if __name__ == "__main__":
    options, progress = parse("asyncio", "uvloop", "trio"), Progress()
    start(main, options)
