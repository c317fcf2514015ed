"""Connections for tests: in memory, or to a server on a free port of the local host."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from typing import Any, Unpack

import anyio
from anyio.abc import ByteStream, SocketAttribute

from anyws._background_task import background_task
from anyws._cancellation import refusing_stray_cancellation
from anyws._checking import build_options, with_signature_of
from anyws._client.connect import connect_over_stream
from anyws._client.opening import with_credentials
from anyws._client.options import ClientOptions
from anyws._connection.link import Link
from anyws._connection.websocket import WebSocket, running
from anyws._logs import connection_logger
from anyws._server.accept import accept_stream, hook_failure
from anyws._server.handlers import Handler, check_handler, handler_hooks
from anyws._server.options import AcceptOptions, ServeKeywords, ServerOptions
from anyws._server.serve import is_connection_closed, serving
from anyws._transport.listening import listen_tcp
from anyws.protocol.connection import Role
from anyws.protocol.http11 import Request, Response
from anyws.protocol.server_handshake import ServerHandshake
from anyws.protocol.uri import parse_uri

from ._failures import raising
from ._own_task import in_own_task
from ._scripted import Frame, ScriptedPeer
from ._streams import MemoryStream, memory_stream_pair

__all__ = [
    "Frame",
    "MemoryStream",
    "ScriptedPeer",
    "connect_to_handler",
    "local_server",
    "memory_stream_pair",
    "scripted_peer",
    "scripted_server",
    "websocket_pair",
]

Options = Mapping[str, Any]
Script = Callable[[ScriptedPeer], Awaitable[object]]
RequestHook = Callable[[Request], Response | bytes | None]

_URI = "ws://testserver/"


@in_own_task
async def websocket_pair(
    uri: str = _URI,
    *,
    client_options: Options | None = None,
    server_options: Options | None = None,
    capacity: int = 65536,
) -> AsyncGenerator[tuple[WebSocket, WebSocket], None]:
    """Connect a client and a server in memory.

    ``async with websocket_pair() as (client, server)``: both are real connections, as from `anyws.connect` and
    `anyws.accept`, including the opening handshake. Both are closed on exit from the block.

    Args:
        uri: the URI that the client connects to; its host name is not resolved.
        client_options: options as for `anyws.connect`.
        server_options: options as for `anyws.accept`.
        capacity: how many bytes may be in transit in each direction before the writer waits.
    """
    streams = memory_stream_pair(capacity)
    accepting = build_options(AcceptOptions, server_options or {}, where="server_options")
    client, client_link, server, server_link = await _open(uri, streams, client_options or {}, accepting)
    async with running(server, server_link), running(client, client_link):
        try:
            yield client, server
        finally:
            # The client's close must not wait behind messages that were never received.
            server_link.discard()


@in_own_task
async def connect_to_handler(
    handler: Handler,
    uri: str = _URI,
    *,
    client_options: Options | None = None,
    server_options: Options | None = None,
    grace: float = 3,
) -> AsyncGenerator[WebSocket, None]:
    """Connect a client to your handler in memory.

    ``async with connect_to_handler(handler) as websocket`` returns the client. The handler runs as in `anyws.serve`: it
    may be a router, and the connection is closed when it returns. An exception in the handler is raised at the end of
    the block, unless the block itself fails for a reason other than a closed connection. An exception in a request hook
    is raised on entry to the block. A closed connection does not count as a handler failure.

    Args:
        handler: the handler to test.
        uri: the URI that the client connects to; its host name is not resolved.
        client_options: options as for `anyws.connect`.
        server_options: options as for `anyws.accept`.
        grace: how long the handler may continue after the client has closed, in seconds; then it is cancelled.
    """
    check_handler(handler)
    accepting = build_options(AcceptOptions, server_options or {}, where="server_options")
    accepting = dataclasses.replace(accepting, on_request=[*accepting.request_hooks, *handler_hooks(handler)])
    client, client_link, server, server_link = await _open(uri, memory_stream_pair(), client_options or {}, accepting)
    ended = anyio.Event()
    with raising([]) as failures:

        async def serve() -> None:
            try:
                async with running(server, server_link):
                    await _call(handler, server, failures)
            except Exception:
                pass  # already recorded
            finally:
                ended.set()

        async with background_task(serve):
            async with running(client, client_link):
                yield client
            with anyio.move_on_after(grace):
                await ended.wait()


@with_signature_of(ServerOptions)
@in_own_task
async def local_server(handler: Handler, **options: Unpack[ServeKeywords]) -> AsyncGenerator[str, None]:
    """Serve a handler on a free port of the local host.

    ``async with local_server(handler) as uri`` is for testing programs that open their own connections. Exceptions in
    handlers and request hooks are raised at the end of the block, as in `connect_to_handler`.

    Args:
        handler: the handler, as for `anyws.serve`.
        options: options as for `anyws.serve`. With an ``ssl_context``, the URI is ``wss://localhost:...``.
    """
    settings = build_options(ServerOptions, options, where="local_server()")
    with raising([]) as failures:
        async with serving(handler, "127.0.0.1", 0, settings, on_failure=failures.append) as server:
            origin = "ws://127.0.0.1" if settings.ssl_context is None else "wss://localhost"
            yield f"{origin}:{server.addresses[0][1]}/"


async def _open(
    uri: str, streams: tuple[ByteStream, ByteStream], client_options: Options, accepting: AcceptOptions
) -> tuple[WebSocket, Link, WebSocket, Link]:
    target = parse_uri(uri)
    connecting = await with_credentials(build_options(ClientOptions, client_options, where="client_options"))
    accepted: list[tuple[WebSocket, Link]] = []

    async def accept() -> None:
        try:
            logger = connection_logger("anyws.server", streams[1])
            accepted.append(await accept_stream(streams[1], accepting, logger))
        except Exception as exc:
            failures.append(exc)

    failures: list[Exception] = []
    connected: tuple[WebSocket, Link] | None = None
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(accept)
        try:
            connected = await connect_over_stream(streams[0], target, connecting)
        except Exception as exc:
            failures.insert(0, exc)
    if connected is None or not accepted:
        for stream in streams:
            await anyio.aclose_forcefully(stream)
        # The client only knows about the response 500.
        raise next(filter(None, map(hook_failure, failures)), failures[0])
    return *connected, *accepted[0]


async def _call(handler: Handler, websocket: WebSocket, failures: list[Exception]) -> None:
    try:
        with refusing_stray_cancellation("the handler"):
            await handler(websocket)
    except Exception as exc:
        if not is_connection_closed(exc):
            failures.append(exc)
        raise


@in_own_task
async def scripted_peer(
    *, server: bool = False, options: Options | None = None, capacity: int = 65536
) -> AsyncGenerator[tuple[WebSocket, ScriptedPeer], None]:
    """Connect an `anyws.WebSocket` in memory to a `ScriptedPeer`, which your test controls frame by frame.

    Use it as ``async with scripted_peer() as (websocket, peer)``; the opening handshake is already complete.

    Args:
        server: whether the `anyws.WebSocket` is the server; by default it is the client.
        options: options of the `anyws.WebSocket`, as for `anyws.accept` or `anyws.connect`.
        capacity: how many bytes may be in transit in each direction before the writer waits.
    """
    streams = memory_stream_pair(capacity)
    given = options or {}
    accepting = build_options(AcceptOptions, given if server else {}, where="server_options")
    client, client_link, accepted, server_link = await _open(_URI, streams, {} if server else given, accepting)
    peer_stream = streams[0 if server else 1]
    websocket, link = (accepted, server_link) if server else (client, client_link)
    async with running(websocket, link):
        try:
            yield websocket, ScriptedPeer(peer_stream, Role.CLIENT if server else Role.SERVER, accepted.request)
        finally:
            # The peer's stream is closed first, so that the WebSocket does not wait for its Close.
            with anyio.CancelScope(shield=True):  # so that an exception in the block propagates
                await anyio.aclose_forcefully(peer_stream)


@in_own_task
async def scripted_server(
    script: Script | None = None, *, on_request: RequestHook | None = None, grace: float = 1
) -> AsyncGenerator[str, None]:
    """Listen on a free port of the local host, and run a script for each connection.

    ``async with scripted_server(script) as uri`` is for testing clients that open their own connections. An exception
    in a script, such as a failed ``expect_frame()``, is raised at the end of the block, as in `connect_to_handler`. A
    client that has disconnected does not count as a failure.

    Args:
        script: an async callable that receives the `ScriptedPeer` of each connection after its opening handshake; when
            it returns, the stream is closed.
        on_request: a callable that receives each `anyws.Request`. It returns None to complete the opening handshake, or
            what to send instead, after which the stream is closed: an `anyws.Response` or arbitrary bytes.
        grace: how long scripts may continue after the block, in seconds; then they are cancelled.
    """
    (listener,) = await listen_tcp("127.0.0.1", 0)
    accepting = anyio.CancelScope()
    ended = anyio.Event()
    with raising([]) as failures:

        async def handle(stream: ByteStream) -> None:
            async with stream:
                try:
                    peer = await _open_scripted(stream, on_request)
                    if peer is not None and script is not None:
                        with refusing_stray_cancellation("the script"):
                            await script(peer)
                except (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
                    pass
                except Exception as exc:
                    failures.append(exc)

        async def listen() -> None:
            async with listener, anyio.create_task_group() as scripts:
                with accepting:
                    await listener.serve(handle, scripts)
            ended.set()

        async with background_task(listen):
            yield f"ws://127.0.0.1:{listener.extra(SocketAttribute.local_port)}/"
            accepting.cancel()
            with anyio.move_on_after(grace):
                await ended.wait()


async def _open_scripted(stream: ByteStream, on_request: RequestHook | None) -> ScriptedPeer | None:
    handshake = ServerHandshake()
    while (request := handshake.receive_data(await stream.receive())) is None:
        pass
    response = None if on_request is None else on_request(request)
    if response is None:
        await stream.send(handshake.data_to_send(handshake.accept()))
        return ScriptedPeer(stream, Role.SERVER, request, handshake.trailing_data)
    await stream.send(response if isinstance(response, bytes) else handshake.data_to_send(response))
    return None
