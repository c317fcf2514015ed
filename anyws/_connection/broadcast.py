"""One message to many connections: `broadcast`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import anyio
from anyio.lowlevel import checkpoint

from anyws.exceptions import ConnectionClosed
from anyws.protocol.closing import CloseCode

from .sending import PreparedMessage, Sendable
from .websocket import WebSocket, link_of

__all__ = ["broadcast"]

_SLOW = ("wait", "drop", "disconnect")


async def broadcast(
    websockets: Iterable[WebSocket],
    message: Sendable,
    *,
    compress: bool = False,
    slow: Literal["wait", "drop", "disconnect"] = "wait",
) -> list[WebSocket]:
    """Send one message to many connections: ``await anyws.broadcast(server.connections, "news")``.

    A server frames the message only once, because its frames are not masked (RFC 6455, section 5.1). A connection whose
    ``send_buffer`` is full never delays the others: they are sent the message first. Connections that are closed, or
    that close in the meantime, are skipped. If cancelled while waiting, the remaining connections do not get the
    message.

    Args:
        websockets: the connections.
        message: the message: `str` as text, bytes as binary.
        compress: whether to compress the message separately for each connection that has agreed on compression. By
            default it is sent uncompressed, which costs next to nothing.
        slow: what to do about a connection whose ``send_buffer`` is full, or which is in the middle of a fragmented
            message: ``"wait"`` for it; ``"drop"`` the message for it; or ``"disconnect"`` it: close it with 1013 (try
            again later), within ``close_timeout``.

    Returns:
        The connections that did not get the message, because they are closed, were disconnected, or were passed over.

    Raises:
        TypeError: the message has the wrong type.
        ValueError: ``slow`` is none of these.
    """
    if slow not in _SLOW:
        raise ValueError(f"slow is {slow!r}: expected {', '.join(map(repr, _SLOW))}")
    prepared = message if isinstance(message, PreparedMessage) else PreparedMessage(message)
    behind: list[WebSocket] = []
    missed: set[WebSocket] = set()
    everybody = list(websockets)
    for websocket in everybody:
        link = link_of(websocket)
        if not compress and link.outbox.put_prepared(prepared.frame):
            link.flush()
            continue
        try:
            websocket.send_nowait(prepared, compress=compress)
        except anyio.WouldBlock:
            behind.append(websocket)
        except ConnectionClosed:
            missed.add(websocket)

    async def wait_for(websocket: WebSocket) -> None:
        try:
            await websocket.send(prepared, compress=compress)
        except ConnectionClosed:
            missed.add(websocket)

    if slow == "wait" and behind:
        async with anyio.create_task_group() as tasks:
            for websocket in behind:
                tasks.start_soon(wait_for, websocket)
    else:
        missed.update(behind)
        if slow == "disconnect":
            for websocket in behind:
                link_of(websocket).begin_close(CloseCode.TRY_AGAIN_LATER, "too slow", discard=True)
        await checkpoint()
    return [websocket for websocket in everybody if websocket in missed]
