"""Automatic TLS responses are limited: KeyUpdates of a peer that does not read (RFC 8446, section 4.6.3)."""

from __future__ import annotations

import _ssl
import ctypes
import ssl
from typing import Any

import anyio
import pytest
from anyio.abc import ByteStream, SocketAttribute

import anyws
from anyws._transport.tls import TLSRecords, TLSStream
from anyws.testing import memory_stream_pair
from tests.frames import REQUEST, opening_response
from tests.peers import ended

from .attacker import push

_KEY_UPDATE_REQUESTED = 1


class Flooder:
    """One side of a TLS connection that sends any number of KeyUpdates, through the OpenSSL of `ssl`."""

    def __init__(self, context: ssl.SSLContext, *, server_side: bool) -> None:
        self.records = TLSRecords(context, server_side=server_side, hostname=None if server_side else "localhost")
        self._library = ctypes.CDLL(_ssl.__file__)
        for function in ("SSL_key_update", "SSL_do_handshake"):
            if not hasattr(self._library, function):
                pytest.skip("the OpenSSL of this Python cannot be reached")
        self._library.SSL_key_update.argtypes = [ctypes.c_void_p, ctypes.c_int]
        self._library.SSL_do_handshake.argtypes = [ctypes.c_void_p]

    async def open(self, stream: ByteStream) -> None:
        """Make the handshake."""
        data = b""
        while not self.records.handshake(data):
            if answer := self.records.data_to_send():
                await stream.send(answer)
            data = await stream.receive()
        if last := self.records.data_to_send():
            await stream.send(last)

    def key_updates(self, count: int) -> bytes:
        """Return this many KeyUpdate records."""
        # struct PySSLSocket begins with: PyObject_HEAD; PyObject *Socket; SSL *ssl
        address = id(self.records.ssl_object._sslobj)  # type: ignore[attr-defined]
        pointer = ctypes.c_void_p.from_address(address + object.__basicsize__ + ctypes.sizeof(ctypes.c_void_p)).value
        for _ in range(count):
            assert self._library.SSL_key_update(pointer, _KEY_UPDATE_REQUESTED) == 1
            assert self._library.SSL_do_handshake(pointer) == 1
        return self.records.data_to_send()


async def flood(flooder: Flooder, stream: ByteStream) -> None:
    """Send KeyUpdates without reading; return once the other side has ended the connection."""
    if await push(stream, [flooder.key_updates(2000)]):
        try:
            while True:
                await stream.receive()
        except (anyio.EndOfStream, anyio.BrokenResourceError):
            pass


# -- without I/O -------------------------------------------------------------------------------------------------------


def handshake(client: TLSRecords, server: TLSRecords) -> None:
    done, data = False, b""
    while not done:
        client.handshake(data)
        done = server.handshake(client.data_to_send())
        data = server.data_to_send()
    client.decrypt(data)


@pytest.mark.parametrize("we_are_server", [True, False])
def test_a_few_responses_are_queued_and_too_many_end_the_connection(
    we_are_server: bool, server_ssl_context: ssl.SSLContext, client_ssl_context: ssl.SSLContext
) -> None:
    contexts = client_ssl_context, server_ssl_context
    flooder = Flooder(contexts[not we_are_server], server_side=not we_are_server)
    ours = TLSRecords(
        contexts[we_are_server], server_side=we_are_server, hostname=None if we_are_server else "localhost"
    )
    handshake(*((flooder.records, ours) if we_are_server else (ours, flooder.records)))
    for _ in range(10):  # answers that are taken are no trouble, however many
        assert ours.decrypt(flooder.key_updates(300)) == b""
        assert ours.data_to_send()
    assert ours.decrypt(flooder.key_updates(300)) == b""
    assert ours.end is None
    data = b"".join(flooder.records.encrypt([b"last words"])) + flooder.key_updates(400)
    assert ours.decrypt(data) == b"last words"
    assert isinstance(ours.end, anyio.BrokenResourceError)
    assert "16384 bytes of them are queued" in str(ours.end)


def test_after_memory_ran_out_no_more_data_is_returned(
    server_ssl_context: ssl.SSLContext, client_ssl_context: ssl.SSLContext
) -> None:
    client = TLSRecords(client_ssl_context, server_side=False, hostname="localhost")
    server = TLSRecords(server_ssl_context, server_side=True, hostname=None)
    handshake(client, server)
    data = b"".join(client.encrypt([b"a", b"b"]))

    class Failing:
        def __getattr__(self, name: str) -> Any:
            return getattr(tls, name)

        def read(self, size: int) -> bytes:
            raise MemoryError

    tls, server.ssl_object = server.ssl_object, Failing()  # type: ignore[assignment]
    with pytest.raises(MemoryError):
        server.decrypt(data)
    server.ssl_object = tls
    assert server.decrypt(b"".join(client.encrypt([b"c"]))) == b""
    assert isinstance(server.end, anyio.BrokenResourceError)


# -- over TCP, and over a stream of the user ---------------------------------------------------------------------------


@pytest.mark.parametrize("opened", [False, True], ids=["before-the-handshake", "after"])
async def test_a_client_floods_a_server(
    opened: bool, server_ssl_context: ssl.SSLContext, client_ssl_context: ssl.SSLContext
) -> None:
    codes: list[int | None] = []
    is_over = anyio.Event()

    async def handler(websocket: anyws.WebSocket) -> None:
        codes.append((await ended(websocket)).code)
        is_over.set()

    async with anyws.open_server(handler, "127.0.0.1", 0, ssl_context=server_ssl_context) as server:
        async with await anyio.connect_tcp(*server.addresses[0][:2]) as stream:
            flooder = Flooder(client_ssl_context, server_side=False)
            await flooder.open(stream)
            if opened:
                await stream.send(b"".join(flooder.records.encrypt([REQUEST])))
                while b"\r\n\r\n" not in flooder.records.decrypt(await stream.receive()):
                    pass
            await flood(flooder, stream)
        if opened:
            await is_over.wait()
        assert codes == ([1006] if opened else [])


async def test_a_server_floods_a_client(server_ssl_context: ssl.SSLContext, client_ssl_context: ssl.SSLContext) -> None:
    is_over = anyio.Event()

    async def serve(stream: Any) -> None:
        async with stream:
            flooder = Flooder(server_ssl_context, server_side=True)
            await flooder.open(stream)
            head = flooder.records.decrypt(b"")  # what came with the end of the handshake
            while b"\r\n\r\n" not in head:
                head += flooder.records.decrypt(await stream.receive())
            await stream.send(b"".join(flooder.records.encrypt([opening_response(head)])))
            await flood(flooder, stream)
            is_over.set()

    async with (
        await anyio.create_tcp_listener(local_host="127.0.0.1", local_port=0) as listener,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(listener.serve, serve)
        uri = f"wss://localhost:{listener.extra(SocketAttribute.local_port)}/"
        async with anyws.connect(uri, ssl_context=client_ssl_context) as websocket:
            assert (await ended(websocket)).code == 1006
        await is_over.wait()
        tasks.cancel_scope.cancel()


@pytest.mark.parametrize("we_are_server", [True, False])
async def test_a_flood_over_a_custom_stream(
    we_are_server: bool, server_ssl_context: ssl.SSLContext, client_ssl_context: ssl.SSLContext
) -> None:
    contexts = client_ssl_context, server_ssl_context
    near, far = memory_stream_pair()
    async with near, far, anyio.create_task_group() as tasks:

        async def attack() -> None:
            flooder = Flooder(contexts[not we_are_server], server_side=not we_are_server)
            await flooder.open(far)
            await flood(flooder, far)

        tasks.start_soon(attack)
        hostname = None if we_are_server else "localhost"
        ours = await TLSStream.wrap(near, contexts[we_are_server], server_side=we_are_server, hostname=hostname)
        with pytest.raises(anyio.BrokenResourceError, match="bytes of them are queued"):
            await ours.receive()
        await ours.aclose()
