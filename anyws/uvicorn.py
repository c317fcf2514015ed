"""anyws as the WebSocket implementation of uvicorn: ``uvicorn --ws anyws.uvicorn:Protocol app:app``."""

from __future__ import annotations

import asyncio
import logging
from typing import Any, cast
from weakref import WeakKeyDictionary

from anyws._connection.options import ConnectionOptions
from anyws._connection.pumps import Background, TransportStream
from anyws._connection.pumps.transports import TransportPump
from anyws.asgi._conversation import Conversation, Phase
from anyws.asgi._scope import EXTENSION
from anyws.protocol.deflate import PerMessageDeflate
from anyws.protocol.errors import HandshakeRefused
from anyws.protocol.http11 import Request
from anyws.protocol.server_handshake import ServerHandshake, begin_handshake
from anyws.protocol.terms import ServerTerms

_OLDEST = (0, 53)

try:
    import uvicorn
except ModuleNotFoundError as _exc:
    raise ImportError("anyws.uvicorn requires uvicorn: pip install 'anyio-websocket[uvicorn]'") from _exc
if tuple(map(int, uvicorn.__version__.split(".")[:2])) < _OLDEST:
    raise ImportError(
        f"uvicorn {uvicorn.__version__} is installed, but anyws.uvicorn requires uvicorn "
        f"{'.'.join(map(str, _OLDEST))} or later: pip install --upgrade uvicorn"
    )

from uvicorn.config import Config  # noqa: E402
from uvicorn.logging import TRACE_LOG_LEVEL  # noqa: E402
from uvicorn.protocols.utils import (  # noqa: E402
    ClientDisconnected,
    get_client_addr,
    get_local_addr,
    get_path_with_query_string,
    get_remote_addr,
    is_ssl,
)
from uvicorn.server import ServerState  # noqa: E402

__all__ = ["Protocol"]

# The deflate parameters of uvicorn's own implementations: a window of 4 KiB, and a small compressor.
_DEFLATE = PerMessageDeflate(server_max_window_bits=12, client_max_window_bits=12, mem_level=5)
_NO_COMPRESSION, _COMPRESSION = (
    # uvicorn has parsed and limited the head already; the application checks the origin.
    ServerTerms(
        subprotocols=(),
        extensions=extensions,
        origins=["*"],
        allowed_hosts=None,
        max_head_bytes=1024 * 1024,
        max_headers=1000,
    )
    for extensions in ((), (_DEFLATE,))
)

_backgrounds: WeakKeyDictionary[ServerState, Background] = WeakKeyDictionary()
"""Where the timers of the connections of each server run."""


class Protocol(asyncio.Protocol):
    """One WebSocket connection of a uvicorn server. uvicorn creates it; pass the class to uvicorn.

    The settings ``ws_max_size``, ``ws_ping_interval``, ``ws_ping_timeout`` and ``ws_per_message_deflate`` of uvicorn
    apply. A Ping is only sent if the client was silent for the interval, and any data from the client counts as its
    response. ``ws_max_queue`` has no effect, as with uvicorn's default: messages that the application has not received
    yet may use 64 KiB, then TCP slows the client down.

    Args:
        config: the configuration of the server.
        server_state: what the connections of the server share.
        app_state: the state of the lifespan, of which each scope gets a copy.

    Attributes:
        close_timeout: how long a client may take to respond to a Close, in seconds; then the connection is aborted.
        transport: the transport of the connection.
    """

    disconnected = ClientDisconnected
    close_timeout: float = 10.0

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        if not config.loaded:
            config.load()
        self.transport: asyncio.Transport
        self._config = config
        self._server_state = server_state
        self._app_state = app_state
        self._loop = _loop or asyncio.get_running_loop()
        self._logger = logging.getLogger("uvicorn.error")
        self._handshake: ServerHandshake = begin_handshake(
            _COMPRESSION if config.ws_per_message_deflate else _NO_COMPRESSION
        )
        self._scope: Any = None  # of the application, once the request has arrived
        self._conversation: Conversation | None = None  # once the request has arrived
        self._pump: TransportPump | None = None  # once the application has accepted

    # -- called by the transport, and by uvicorn's HTTP protocol -------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin with the opening handshake."""
        self.transport = cast(asyncio.Transport, transport)
        self._server_state.connections.add(cast(Any, self))
        self._trace("WebSocket connection made")

    def data_received(self, data: bytes) -> None:
        """Process bytes from the client."""
        if self._pump is not None:
            self._pump.data_received(data)
        elif self._conversation is not None:
            self._conversation.receive_early(data)
        elif not self.transport.is_closing():
            self._receive_request(data)

    def eof_received(self) -> None:
        """Process the end of the client's side. The transport then closes itself."""
        if self._pump is not None:
            self._pump.eof_received()

    def pause_writing(self) -> None:
        """Accept no more messages for now, because the client reads too slowly."""
        if self._pump is not None:
            self._pump.pause_writing()

    def resume_writing(self) -> None:
        """Accept messages again."""
        if self._pump is not None:
            self._pump.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the application that the connection is lost."""
        self._server_state.connections.discard(cast(Any, self))
        self._trace("WebSocket connection lost")
        if self._pump is not None:
            self._pump.connection_lost(exc)
        elif self._conversation is not None:
            self._conversation.lost()

    def shutdown(self) -> None:
        """Close the connection because the server shuts down: with 1012, or with 500 in the opening handshake."""
        if self._conversation is not None:
            self._conversation.shut_down()
        else:
            self.transport.close()

    @property
    def close_timer(self) -> object | None:
        """Something other than None while ``close_timeout`` is running, as in uvicorn's own protocols."""
        link = None if self._conversation is None else self._conversation.link
        return link if link is not None and link.awaits_close else None

    # -- the opening handshake -----------------------------------------------------------------------------------------

    def _receive_request(self, data: bytes) -> None:
        handshake = self._handshake
        try:
            request = handshake.receive_data(data)
            if request is not None and not request.is_websocket:
                handshake.accept()  # raises
        except HandshakeRefused as exc:
            self.transport.write(handshake.data_to_send(exc.response))
            self.transport.close()
            return
        if request is not None:
            self._start_application(request)

    def _start_application(self, request: Request) -> None:
        background = _backgrounds.get(self._server_state)
        if background is None:
            background = _backgrounds[self._server_state] = Background(None, self._loop)
        stream = TransportStream(self.transport)
        conversation = Conversation(self, stream, self._handshake, self._options(), background)
        self._conversation = conversation
        self._scope = self._new_scope(request)
        self._scope["extensions"][EXTENSION] = {"get": lambda: conversation.websocket, "limit": conversation.limit}
        task = self._loop.create_task(self._run(conversation))
        self._server_state.tasks.add(task)
        task.add_done_callback(self._server_state.tasks.discard)

    def _options(self) -> ConnectionOptions:
        config = self._config
        return ConnectionOptions(
            max_message_size=config.ws_max_size,
            ping_interval=config.ws_ping_interval or None,  # to uvicorn, 0 means never
            ping_timeout=config.ws_ping_timeout or None,
            close_timeout=self.close_timeout,
        )

    def _new_scope(self, request: Request) -> dict[str, Any]:
        root_path = self._config.root_path
        raw_path, _, query = request.target.partition("?")
        return {
            "type": "websocket",
            "asgi": {"version": self._config.asgi_version, "spec_version": "2.4"},
            "http_version": "1.1",
            "scheme": "wss" if is_ssl(self.transport) else "ws",
            "server": get_local_addr(self.transport),
            "client": get_remote_addr(self.transport),
            "root_path": root_path,
            "path": root_path + request.path,
            "raw_path": (root_path + raw_path).encode("ascii"),
            "query_string": query.encode("ascii"),
            "headers": [
                (name.lower().encode("ascii"), value.encode("latin-1")) for name, value in request.headers.multi_items()
            ],
            "subprotocols": list(self._handshake.offered_subprotocols),
            "state": self._app_state.copy(),
            "extensions": {"websocket.http.response": {}},
        }

    async def _run(self, conversation: Conversation) -> None:
        """Run the application. As uvicorn does, log what it raises, even if that is its cancellation."""
        try:
            application: Any = self._config.loaded_app
            result = await application(self._scope, conversation.receive, conversation.send)
        except ClientDisconnected:
            pass
        except BaseException:
            self._logger.exception("Exception in ASGI application\n")
        else:
            if conversation.phase in (Phase.CONNECTING, Phase.RESPONDING) and not self.transport.is_closing():
                self._logger.error("ASGI callable returned without completing handshake.")
            elif result is not None:
                self._logger.error("ASGI callable should return None, but returned '%s'.", result)
        conversation.finish()

    # -- for the conversation ------------------------------------------------------------------------------------------

    @property
    def default_headers(self) -> list[tuple[bytes, bytes]]:
        """The headers of every response: by default, ``Date`` and ``Server``."""
        return self._server_state.default_headers

    def accepted(self, pump: TransportPump) -> None:
        """Log that the application has accepted, and let the pump process what arrives."""
        self._pump = pump
        self._log("[accepted]")

    def refused(self, status: int) -> None:
        """Log that the application has refused."""
        self._log(str(status))

    def _log(self, outcome: str) -> None:
        address, target = get_client_addr(self._scope), get_path_with_query_string(self._scope)
        self._logger.info(f'%s - "WebSocket %s" {outcome}', address, target)

    def _trace(self, event: str) -> None:
        if self._logger.level <= TRACE_LOG_LEVEL:
            client = get_remote_addr(self.transport)
            prefix = f"{client[0]}:{client[1]} - " if client else ""
            self._logger.log(TRACE_LOG_LEVEL, "%s%s", prefix, event)
