"""The opening handshake of a server on one stream: TLS, the request, the hooks, and the response 101."""

from __future__ import annotations

import inspect
import ssl
from collections.abc import Callable, Sequence

import anyio
from anyio.abc import ByteStream
from anyio.streams.tls import TLSAttribute

from anyws._cancellation import refusing_stray_cancellation
from anyws._deadlines import deadline
from anyws._transport.ending import STREAM_ERRORS
from anyws._transport.securing import is_plain_peer
from anyws._transport.stream import SocketStream, receive_eagerly, send_eagerly
from anyws._transport.tls import TLSStream
from anyws.protocol.errors import HandshakeError, HandshakeRefused
from anyws.protocol.http11 import Request, Response
from anyws.protocol.server_handshake import ServerHandshake, begin_handshake, check_final_response

from .connection_limits import PendingHandshake
from .options import AcceptOptions, RequestHook
from .virtual_hosts import is_misdirected

__all__ = ["Opening", "call_hooks", "lost_response"]

_READ_SIZE = 65536


class Opening:
    """Reads and checks the request, calls the hooks, and writes the response if it is a 101.

    Args:
        stream: the byte stream.
        options: the server's options.
        hooks: the request hooks.
        pending: the handshake as counted by the connection limits, which may refuse it.

    Attributes:
        stream: the byte stream; once TLS is established, the one on top of it.
        handshake: the opening handshake of the protocol.
        is_secured: whether TLS is established, or not used.
        outcome: the response 101, or the reason to refuse; None until it is known.
    """

    __slots__ = (
        "_has_begun",
        "_hooks",
        "_options",
        "_pending",
        "_unsent",
        "handshake",
        "is_secured",
        "outcome",
        "stream",
    )

    def __init__(
        self, stream: ByteStream, options: AcceptOptions, hooks: Sequence[RequestHook], pending: PendingHandshake
    ) -> None:
        self.stream: ByteStream = stream
        self.handshake: ServerHandshake = begin_handshake(options.terms)
        self.is_secured: bool = options.ssl_context is None
        self.outcome: Response | HandshakeRefused | None = None
        self._options = options
        self._hooks = hooks
        self._pending = pending
        self._has_begun = False  # whether a part of the request has arrived
        self._unsent = b""  # a part of the response

    def respond_at_once(self) -> bool:
        """Do what `respond` does as far as it needs no waiting; return whether that was everything.

        This is for speed: usually, the request has arrived before the server gets to it, and then the opening
        handshake needs no timeout and no wait.
        """
        stream = self.stream
        if self._hooks or not self.is_secured or not isinstance(stream, SocketStream):
            return False
        try:
            data = stream.receive_nowait(_READ_SIZE)
        except (anyio.WouldBlock, anyio.EndOfStream, *STREAM_ERRORS):
            return False
        if self._receive(data) is not None:
            self._conclude(None)
        if isinstance(self.outcome, Response):
            data = self.handshake.data_to_send(self.outcome)
            try:
                self._unsent = data[stream.send_nowait([data]) :]
            except STREAM_ERRORS as exc:
                raise lost_response(self.handshake, self.outcome) from exc
        return self.outcome is not None and not self._unsent

    async def respond(
        self, *, tls_timeout: float | None = None, on_secured: Callable[[TLSStream], None] | None = None
    ) -> None:
        """Do everything up to the outcome, and write a response 101.

        Args:
            tls_timeout: time limit for the TLS handshake, in seconds.
            on_secured: called with the stream once TLS is established.

        Raises:
            HandshakeError: the client closed or lost the connection.
            ssl.SSLError: TLS failed.
            TimeoutError: the TLS handshake took longer than ``tls_timeout``.
        """
        if self._options.ssl_context is not None:
            self.stream = secured = await _start_tls(self.stream, self._options.ssl_context, tls_timeout)
            if on_secured is not None:
                on_secured(secured)
            self.is_secured = True
        if self.outcome is None:
            request = await self._read_request()
            if request is not None:
                await self._decide(request)
        if isinstance(self.outcome, Response):
            data = self._unsent or self.handshake.data_to_send(self.outcome)
            try:
                await send_eagerly(self.stream, data)
            except STREAM_ERRORS as exc:
                raise lost_response(self.handshake, self.outcome) from exc

    def refuse(self, response: Response) -> None:
        """Refuse the client with this response."""
        problem = f"responded with {response.status}"
        self.outcome = HandshakeRefused(problem, response=response, request=self.handshake.request)

    async def _read_request(self) -> Request | None:
        """Return the request; None if it is refused."""
        stream = self.stream
        while True:
            try:
                data = await (stream.receive() if self._has_begun else receive_eagerly(stream))
            except (anyio.EndOfStream, *STREAM_ERRORS) as exc:
                what = "in the middle of its request" if self._has_begun else "without a request"
                raise HandshakeError(f"the client closed the connection {what}") from exc
            request = self._receive(data)
            if request is not None or self.outcome is not None:
                return request

    def _receive(self, data: bytes) -> Request | None:
        """Process bytes from the client; return the request once it is complete and not refused."""
        self._has_begun = True
        try:
            return self.handshake.receive_data(data)
        except HandshakeRefused as exc:
            self.outcome = exc
            return None

    async def _decide(self, request: Request) -> None:
        """Call the hooks, and determine the outcome."""
        context, stream = self._options.ssl_context, self.stream
        try:
            with refusing_stray_cancellation("a hook"):
                if context is not None and is_misdirected(context, stream.extra(TLSAttribute.ssl_object), request.host):
                    problem = f"Host {request.host!r} does not match the host of the TLS connection"
                    self.outcome = self.handshake.refusal(421, problem)
                    return
                refusal = self._pending.refusal
                if refusal is None and self._hooks:
                    refusal = await call_hooks(self._hooks, request)
        except Exception as exc:
            self._fail(exc)
        else:
            self._conclude(refusal)

    def _conclude(self, refusal: Response | None) -> None:
        """Determine the outcome after the hooks.

        Args:
            refusal: the response of a hook, if there is one.
        """
        self._pending.mark_decided()
        refusal = self._pending.refusal or refusal
        if refusal is not None:
            self.refuse(refusal)
            return
        try:
            self.outcome = self.handshake.accept()
        except HandshakeRefused as exc:  # a request for plain HTTP
            self.outcome = exc
        except Exception as exc:
            self._fail(exc)

    def _fail(self, exc: Exception) -> None:
        """Refuse the client because of an error on our side: in a hook, or in the choice of a subprotocol."""
        self.outcome = self.handshake.refusal(500, "internal error")
        self.outcome.__cause__ = exc


async def _start_tls(stream: ByteStream, context: ssl.SSLContext, limit: float | None) -> TLSStream:
    try:
        if limit is None:
            return await TLSStream.wrap(stream, context, server_side=True)
        with deadline(limit, "the TLS handshake"):
            return await TLSStream.wrap(stream, context, server_side=True)
    except (anyio.BrokenResourceError, anyio.EndOfStream) as exc:
        raise HandshakeError("the client closed the connection during the TLS handshake") from exc
    except ssl.SSLError as exc:
        if is_plain_peer(exc):
            exc.strerror = f"{exc.strerror}: the client does not speak TLS; should it use wss:// or https://?"
        if exc.reason in ("HTTP_REQUEST", "HTTPS_PROXY_REQUEST"):
            await _respond_to_plain_http(stream)
        raise


async def _respond_to_plain_http(stream: ByteStream) -> None:
    """Tell a client without TLS what is wrong, as nginx and Go do; OpenSSL would only close the connection."""
    body = b"this port speaks TLS: use wss:// or https://\n"
    head = b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nContent-Length: %d\r\nConnection: close\r\n\r\n"
    try:
        await send_eagerly(stream, head % len(body) + body)
    except STREAM_ERRORS:
        pass


async def call_hooks(request_hooks: Sequence[RequestHook], request: Request) -> Response | None:
    """Call request hooks, sync or async, until one returns a response."""
    for hook in request_hooks:
        response = hook(request)
        if inspect.isawaitable(response):
            response = await response
        if response is not None:
            if not isinstance(response, Response):
                raise TypeError(f"on_request returned {type(response).__name__}, expected an anyws.Response or None")
            check_final_response(response)
            return response
    return None


def lost_response(handshake: ServerHandshake, response: Response) -> HandshakeError:
    """Return the exception for a connection that was lost before the response was sent."""
    problem = "the client closed the connection before the response was sent"
    return HandshakeError(problem, request=handshake.request, response=response)
