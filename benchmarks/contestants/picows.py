"""picows, with its core API: callbacks. This API does not compress."""

from __future__ import annotations

import importlib
from typing import Any, ClassVar

from .arguments import Arguments, announce, run_on_asyncio

picows: Any = importlib.import_module("picows")  # not installed for type checkers


class Echo(picows.WSListener):  # type: ignore[misc]
    """Echoes every message."""

    def on_ws_frame(self, transport: Any, frame: Any) -> None:
        """Echo a frame."""
        if frame.msg_type == picows.WSMsgType.CLOSE:
            transport.send_close(frame.get_close_code(), frame.get_close_message())
            transport.disconnect()
        else:
            transport.send(frame.msg_type, frame.get_payload_as_memoryview())


class Broadcast(picows.WSListener):  # type: ignore[misc]
    """Sends every message to all connections; picows has no function for this."""

    everybody: ClassVar[set[Any]] = set()

    def on_ws_connected(self, transport: Any) -> None:
        """Add the connection."""
        self.everybody.add(transport)

    def on_ws_disconnected(self, transport: Any) -> None:
        """Remove the connection."""
        self.everybody.discard(transport)

    def on_ws_frame(self, transport: Any, frame: Any) -> None:
        """Send a frame to all connections."""
        if frame.msg_type == picows.WSMsgType.CLOSE:
            transport.send_close(frame.get_close_code(), frame.get_close_message())
            transport.disconnect()
        else:
            payload = frame.get_payload_as_bytes()
            for each in self.everybody:
                each.send(frame.msg_type, payload)


async def main(arguments: Arguments) -> None:
    """Serve on a free port of 127.0.0.1."""
    listener = Broadcast if arguments.broadcast else Echo
    limit = {} if arguments.max_size is None else {"max_frame_size": arguments.max_size}
    server = await picows.ws_create_server(lambda _: listener(), "127.0.0.1", 0, ssl=arguments.ssl_context, **limit)
    announce(server.sockets[0].getsockname()[1])
    await server.serve_forever()


if __name__ == "__main__":
    run_on_asyncio(main, Arguments.parse(loops=("asyncio", "uvloop"), compressions=()))
