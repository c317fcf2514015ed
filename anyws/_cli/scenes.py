"""The examples of the node:websocket proposal that ``anyws demo`` runs: a client and a server, with and without TLS."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

import anyio

import anyws

from .certificates import Certificates

__all__ = ["SCENES", "Scene"]

HOST = "127.0.0.1"
_SECONDS = 10  # time limit of one scene

_HEAD = "callback_connect(authorization: auth-string, id: id-string, type: type-string)"
_SERVER_OPENS = ["callback_listener(server)", _HEAD, "callback_open(None, socket)"]
_CLIENT_OPENS = ["callback_open(None, socket), subprotocol sub-proto"]


class Log(Protocol):
    """Logs who did something (``client`` or ``server``), what it did, and details that are not checked."""

    def __call__(self, who: str, what: str, more: object = "", /) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """One connection between a client and a server.

    Attributes:
        title: the title to print.
        secure: whether to use TLS.
        accept_unmasked: whether the server accepts unmasked frames; the client in the proposal does not mask.
        is_trusting: whether the client accepts any certificate, as in the proposal, or verifies it.
        expected: what client and server should report, in order.
    """

    title: str
    secure: bool
    accept_unmasked: bool = True
    is_trusting: bool = True
    expected: dict[str, list[str]] = field(
        default_factory=lambda: {
            "server": [*_SERVER_OPENS, "message_handler('hello from client')"],
            "client": [*_CLIENT_OPENS, "message_handler('hello from server')", "closed: 1000"],
        }
    )

    async def play(self, log: Log, certificates: Certificates) -> None:
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

        trust = {"reject_unauthorized": False} if self.is_trusting else {"ca": certificates.authority}
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


_REFUSED = {
    "server": _SERVER_OPENS,
    "client": [*_CLIENT_OPENS, "closed: 1002"],
}

SCENES = [
    Scene(title="TLS", secure=True),
    Scene(title="TLS, with the certificate verified by the client", secure=True, is_trusting=False),
    Scene(title="plain TCP", secure=False),
    Scene(
        title="TLS, with a server that requires masking and closes with 1002, as it should",
        secure=True,
        accept_unmasked=False,
        expected=_REFUSED,
    ),
    Scene(
        title="plain TCP, with a server that requires masking and closes with 1002, as it should",
        secure=False,
        accept_unmasked=False,
        expected=_REFUSED,
    ),
]
