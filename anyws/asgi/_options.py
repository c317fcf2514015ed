"""Options of `endpoint`, and where to set what the ASGI server decides."""

# No `from __future__ import annotations`: the annotations are the types that options are checked against.

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypedDict

from anyws._checking import build_options, check_positive
from anyws._server.options import DecidesOnRequests, RequestHook
from anyws._synonyms import option_for
from anyws.protocol.headers import HeadersLike
from anyws.protocol.subprotocols import SubprotocolSelector
from anyws.protocol.terms import check_response_headers

__all__ = ["EndpointKeywords", "EndpointOptions", "checked_options"]


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointOptions(DecidesOnRequests):
    """Options of `endpoint`. Times are in seconds, sizes in bytes; None disables a limit.

    Attributes:
        subprotocols: the subprotocols that the handler supports, in order of preference: the first one that the client
            offers is agreed on. Or a callable that receives the offered ones and returns one of them, None, or an
            `anyws.Response` to send instead.
        headers: additional headers of the response that accepts: a mapping, or (name, value) pairs.
        on_request: a sync or async callable that receives the `Request` before the connection is accepted. Return None
            to accept it, or an `anyws.Response` to send instead. It is also called for GET and HEAD requests that do
            not ask for WebSocket. Or a sequence of such callables, called in order until one returns a response.
        origins: the origins whose pages may connect, as in `anyws.serve`. None: only pages from the host and port in
            ``Host``. ``*``: any origin.
        allowed_hosts: the host names, without a port, that are accepted in ``Host`` if the request has an ``Origin``.
            None: every name, because an ASGI server is usually behind a proxy.
        max_message_size: maximum size of a message. A larger one that arrives is rejected with 1009, in addition to the
            limit of the ASGI server. A larger one that is sent as an async iterable is not sent. 1 MiB, as in
            `anyws.serve`.
        receive_buffer: how much memory messages may take that the handler has not received yet. When it is full,
            messages stay in the ASGI server, which has limits of its own. 64 KiB.
        send_buffer: how much memory messages may take that the ASGI server has not accepted yet. When it is full,
            ``send()`` waits. One more message may exceed it. 64 KiB.
        close_timeout: how long a close waits while the ASGI server accepts none of the messages before it. 10 s.
    """

    subprotocols: Sequence[str] | SubprotocolSelector = ()
    headers: HeadersLike = field(default=(), repr=False)
    on_request: RequestHook | Sequence[RequestHook] | None = None
    origins: Sequence[str] | None = None
    allowed_hosts: Sequence[str] | None = None
    max_message_size: int | None = 1024 * 1024
    receive_buffer: int = 65536
    send_buffer: int = 65536
    close_timeout: float | None = 10

    def __post_init__(self) -> None:
        check_positive(self, "max_message_size", "receive_buffer", "send_buffer", "close_timeout")
        object.__setattr__(self, "headers", check_response_headers(self.headers))
        self._check_decisions()


class EndpointKeywords(TypedDict, total=False):
    """The keywords of `endpoint`: see `EndpointOptions`."""

    subprotocols: Sequence[str] | SubprotocolSelector
    headers: HeadersLike
    on_request: RequestHook | Sequence[RequestHook] | None
    origins: Sequence[str] | None
    allowed_hosts: Sequence[str] | None
    max_message_size: int | None
    receive_buffer: int
    send_buffer: int
    close_timeout: float | None


_ITS_LIMITS = "its own limits apply"
_ITS_SOCKET = "it accepts the connections"
# The options of `anyws.serve` that only the ASGI server can have, and what to do instead.
_OF_THE_SERVER = {
    "accept_unmasked": "it reads the frames",
    "backlog": _ITS_SOCKET,
    "compression": "uvicorn has --ws-per-message-deflate",
    "extensions": "it reads and writes the frames",
    "host": _ITS_SOCKET,
    "idle_timeout": "use anyio.move_on_after() around receive()",
    "listeners": _ITS_SOCKET,
    "max_connections": "uvicorn has --limit-concurrency",
    "max_connections_per_address": _ITS_SOCKET,
    "max_fragments": _ITS_LIMITS,
    "max_frame_size": _ITS_LIMITS,
    "max_handshakes": _ITS_SOCKET,
    "max_head_bytes": "uvicorn has --h11-max-incomplete-event-size, Hypercorn has h11_max_incomplete_size",
    "max_headers": _ITS_LIMITS,
    "max_lifetime": "use anyio.move_on_after() in the handler",
    "open_timeout": "limit a slow hook with anyio.fail_after() in the hook",
    "path": _ITS_SOCKET,
    "ping_interval": "uvicorn has --ws-ping-interval, Hypercorn has websocket_ping_interval",
    "ping_timeout": "uvicorn has --ws-ping-timeout",
    "port": _ITS_SOCKET,
    "rate_limit": "it reads the frames; count the messages in the handler",
    "reuse_port": _ITS_SOCKET,
    "ssl_context": "uvicorn has --ssl-certfile and --ssl-keyfile, Hypercorn has certfile and keyfile",
    "stop_grace": "uvicorn has --timeout-graceful-shutdown, Hypercorn has graceful_timeout",
    "stop_signals": "it shuts down on its own signals",
    "write_timeout": "use anyio.fail_after() around send()",
}


def checked_options(given: Mapping[str, object]) -> EndpointOptions:
    """Check the keywords of `endpoint`.

    Raises:
        TypeError: an option is unknown or has the wrong type, or only the ASGI server can have it.
        ValueError: an option has an invalid value.
    """
    for name in given:
        if name not in EndpointKeywords.__annotations__ and option_for(name, EndpointKeywords.__annotations__) is None:
            owned = name if name in _OF_THE_SERVER else option_for(name, _OF_THE_SERVER)
            if owned is not None:
                raise TypeError(
                    f"endpoint() has no option {name}: that is up to the ASGI server; {_OF_THE_SERVER[owned]}"
                )
    return build_options(EndpointOptions, given, where="endpoint()")
