"""The examples of the node:websocket proposal that ``anyws demo`` runs: a client and a server, with and without TLS."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

import anyio

import anyws

from .certificates import Certificates

__all__ = ["EXAMPLES", "Example"]

HOST = "127.0.0.1"
_SECONDS = 10  # time limit for one example

_HEAD = "callback_connect(authorization: auth-string, id: id-string, type: type-string)"
_SERVER_OPENS = ["callback_listener(server)", _HEAD, "callback_open(None, socket)"]
_CLIENT_OPENS = ["callback_open(None, socket), subprotocol sub-proto"]


class Log(Protocol):
    """Logs who did something (``client`` or ``server``), what it did, and details that are not checked."""

    def __call__(self, who: str, what: str, more: object = "", /) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One connection between a client and a server.

    Attributes:
        title: the title to print.
        description: what the example demonstrates, to print before it.
        secure: whether to use TLS.
        accept_unmasked: whether the server accepts unmasked frames; the client in the proposal does not mask.
        verify_certificate: whether the client verifies the server's certificate; in the proposal, it does not.
        expected: what client and server should report, in order.
    """

    title: str
    description: str
    secure: bool
    accept_unmasked: bool = True
    verify_certificate: bool = False
    expected: dict[str, list[str]] = field(
        default_factory=lambda: {
            "server": [*_SERVER_OPENS, "message_handler('hello from client')"],
            "client": [*_CLIENT_OPENS, "message_handler('hello from server')", "closed: 1000"],
        }
    )

    async def run(self, log: Log, certificates: Certificates) -> None:
        """Run the client and the server, and report what happens, including errors."""
        try:
            with anyio.fail_after(_SECONDS):
                async with anyws.server(self._server_options(log, certificates)) as server:
                    port = server.addresses[0][1]
                    async with anyws.client_connect(self._client_options(log, certificates, port)) as socket:
                        await socket.wait_closed()
                    log("client", f"closed: {socket.close_code}", socket.close_reason)
        except (OSError, anyws.WebSocketError) as exc:
            log("client", type(exc).__name__, exc)

    def _server_options(self, log: Log, certificates: Certificates) -> dict[str, Any]:
        def callback_connect(
            header_values: anyws.Headers, socket: anyws.callbacks.Socket, ready: anyws.callbacks.Ready
        ) -> None:
            names = ("authorization", "id", "type")
            log("server", f"callback_connect({', '.join(f'{name}: {header_values.get(name)}' for name in names)})")
            ready()

        def message_handler(message: str | bytes, socket: anyws.callbacks.Socket) -> None:
            log("server", f"message_handler({message!r})")
            socket.message_send("hello from server")

        tls = {"ca": certificates.authority, "cert": certificates.certificate, "key": certificates.key}
        return {
            "callback_connect": callback_connect,
            "callback_listener": lambda server: log("server", "callback_listener(server)"),
            "callback_open": lambda err, socket: log("server", f"callback_open({err!r}, socket)"),
            "message_handler": message_handler,
            "listener_options": {"host": HOST, "port": 0},
            "secure": self.secure,
            "server_options": tls if self.secure else {},
            "sub_protocol": "sub-proto",
            "accept_unmasked": self.accept_unmasked,
        }

    def _client_options(self, log: Log, certificates: Certificates, port: int) -> dict[str, Any]:
        def callback_open(err: Exception | None, socket: anyws.callbacks.Socket | None) -> None:
            if socket is not None:
                log("client", f"callback_open(None, socket), subprotocol {socket.subprotocol}")
                socket.message_send("hello from client")

        def message_handler(message: str | bytes, socket: anyws.callbacks.Socket) -> None:
            log("client", f"message_handler({message!r})")
            socket.message_send("", opcode=anyws.Opcode.CLOSE)

        trust = {"ca": certificates.authority} if self.verify_certificate else {"reject_unauthorized": False}
        return {
            "authentication": "auth-string",
            "callback_open": callback_open,
            "masking": False,
            "id": "id-string",
            "message_handler": message_handler,
            "proxy_authorization": "proxy-auth",
            "sub_protocol": "sub-proto",
            "type": "type-string",
            "secure": self.secure,
            "socket_options": {"host": HOST, "port": port, **(trust if self.secure else {})},
        }


_CLOSED_BY_SERVER = {
    "server": _SERVER_OPENS,
    "client": [*_CLIENT_OPENS, "closed: 1002"],
}

_EXCHANGE = """\
Client and server complete the opening handshake and send one message each.
Then the client closes the connection normally, with 1000."""

_REFUSAL = """\
RFC 6455 requires clients to mask their frames, but the client of the proposal
does not. This server accepts masked frames only: it must refuse the client's
first message and close the connection with 1002 (protocol error)."""

EXAMPLES = [
    Example(title="TLS", description=_EXCHANGE, secure=True),
    Example(
        title="TLS with a verified certificate",
        description="""\
The same exchange with a client that verifies the server's certificate.""",
        secure=True,
        verify_certificate=True,
    ),
    Example(title="plain TCP", description="The same exchange without TLS.", secure=False),
    Example(
        title="the server refuses unmasked frames (TLS)",
        description=_REFUSAL,
        secure=True,
        accept_unmasked=False,
        expected=_CLOSED_BY_SERVER,
    ),
    Example(
        title="the server refuses unmasked frames (plain TCP)",
        description="The same refusal without TLS.",
        secure=False,
        accept_unmasked=False,
        expected=_CLOSED_BY_SERVER,
    ),
]
