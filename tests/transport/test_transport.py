"""The byte streams below a connection, and how they are opened."""

from __future__ import annotations

import errno
import os
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
from anyio.abc import SocketAttribute

from anyws._transport import connecting
from anyws._transport.connecting import connect_tcp
from anyws._transport.ending import end_stream
from anyws._transport.listening import listen_tcp
from anyws._transport.stream import SocketStream
from tests.harness import reset_stream
from tests.peers import address_of, cancelling_at, on_mock_clock, open_sockets, resolve_to


def has_ipv6() -> bool:
    """Return whether the machine has an IPv6 loopback address."""
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="no IPv6 here")


@asynccontextmanager
async def stream_pair() -> AsyncIterator[tuple[SocketStream, SocketStream]]:
    """Connect two streams over TCP."""
    (listener,) = await listen_tcp("127.0.0.1", 0)
    async with listener, await connect_tcp(*address_of(listener)) as one, await listener.accept() as other:
        yield one, other


# -- streams -----------------------------------------------------------------------------------------------------------


async def test_send_receive_and_end() -> None:
    async with stream_pair() as (one, other):
        await one.send(b"hello")
        assert await other.receive(2) == b"he"
        assert await other.receive() == b"llo"
        await one.send_eof()
        with pytest.raises(anyio.EndOfStream):
            await other.receive()
        await other.send(b"still open")
        assert await one.receive() == b"still open"
        assert one.extra(SocketAttribute.raw_socket).getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert other.extra(SocketAttribute.remote_address) == one.extra(SocketAttribute.local_address)


async def test_send_waits_for_the_reader_and_continues() -> None:
    async with stream_pair() as (one, other), anyio.create_task_group() as tasks:
        data = bytes(range(256)) * 80_000
        sent = anyio.Event()

        async def send() -> None:
            await one.send(data)
            sent.set()

        tasks.start_soon(send)
        await anyio.wait_all_tasks_blocked()
        assert not sent.is_set()
        with pytest.raises(anyio.BusyResourceError):
            await one.send(b"x")
        received = bytearray()
        while len(received) < len(data):
            received += await other.receive()
        assert received == data
        await sent.wait()


async def test_no_more_than_requested_is_read() -> None:
    """Unread data stays in the kernel, so TCP slows the sender down."""
    async with stream_pair() as (one, other):
        other.extra(SocketAttribute.raw_socket).setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        with anyio.move_on_after(0.05) as scope:
            await one.send(bytes(50_000_000))
        assert scope.cancelled_caught


async def test_a_cancelled_receive_loses_nothing() -> None:
    async with stream_pair() as (one, other):
        received = bytearray()

        async def receive() -> None:
            received.extend(await other.receive())

        for step in range(4):
            for early in (True, False):
                if early:
                    await one.send(b"x")
                with anyio.CancelScope() as scope, anyio.move_on_after(0.01):
                    await cancelling_at(step, scope, receive())
                if not early:
                    await one.send(b"x")
        while len(received) < 8:
            received += await other.receive()
        assert received == b"x" * 8


async def test_a_second_receiver_is_busy() -> None:
    async with stream_pair() as (one, _), anyio.create_task_group() as tasks:
        tasks.start_soon(one.receive)
        await anyio.wait_all_tasks_blocked()
        with pytest.raises(anyio.BusyResourceError):
            await one.receive()
        tasks.cancel_scope.cancel()


async def test_closing_wakes_waiting_tasks() -> None:
    async with stream_pair() as (one, other), anyio.create_task_group() as tasks:

        async def receive() -> None:
            with pytest.raises(anyio.ClosedResourceError):
                await one.receive()

        tasks.start_soon(receive)
        await anyio.wait_all_tasks_blocked()
        await one.aclose()
        await one.aclose()
        for action in (one.receive(), one.send(b"x"), one.send_eof()):
            with pytest.raises(anyio.ClosedResourceError):
                await action
        with pytest.raises(anyio.EndOfStream):
            await other.receive()


async def test_a_reset_raises_broken_resource_error() -> None:
    async with stream_pair() as (one, other):
        reset_stream(other)
        with pytest.raises(anyio.BrokenResourceError):
            await one.receive()
        with pytest.raises(anyio.BrokenResourceError):
            await one.send(b"x")
        with pytest.raises(anyio.BrokenResourceError):
            await one.send_eof()


async def test_close_ends_the_connection_even_if_a_forked_child_has_the_socket() -> None:
    async with stream_pair() as (one, other):
        inherited = socket.socket(fileno=os.dup(one.extra(SocketAttribute.raw_socket).fileno()))
        with inherited:
            await one.send(b"last")
            await one.aclose()
            assert await other.receive() == b"last"
            with pytest.raises(anyio.EndOfStream):
                await other.receive()


async def test_configure() -> None:
    async with stream_pair() as (one, _):
        raw = one.extra(SocketAttribute.raw_socket)
        one.configure(no_delay=False, keep_alive=True, keep_alive_delay=0.2)
        assert not raw.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert raw.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        if hasattr(socket, "TCP_KEEPIDLE"):
            assert raw.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 1


async def test_end_stream_discards_incoming_data_to_prevent_a_reset() -> None:
    async with stream_pair() as (one, other), anyio.create_task_group() as tasks:
        await other.send(b"unread")
        await one.send(b"last words")
        tasks.start_soon(end_stream, one)
        await anyio.wait_all_tasks_blocked()
        await other.send(b"more")
        assert await other.receive() == b"last words"
        with pytest.raises(anyio.EndOfStream):
            await other.receive()
        await other.send_eof()
    with pytest.raises(anyio.ClosedResourceError):
        await one.receive()


# -- connecting --------------------------------------------------------------------------------------------------------


async def test_an_ip_address_is_not_resolved(monkeypatch: pytest.MonkeyPatch) -> None:
    async def getaddrinfo(*_: object, **__: object) -> list[Any]:
        raise AssertionError("the resolver, which is a thread, was asked")

    monkeypatch.setattr(anyio, "getaddrinfo", getaddrinfo)
    (listener,) = await listen_tcp("127.0.0.1", 0)
    async with listener, await connect_tcp(*address_of(listener)) as stream:
        assert stream.extra(SocketAttribute.remote_address) == address_of(listener) == stream.remote_address
    with pytest.raises(AssertionError):
        await connect_tcp("localhost", 80)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems may take their time")
async def test_connecting_on_loopback_does_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    async def wait_writable(_: object) -> None:
        raise AssertionError("there was nothing to wait for")

    monkeypatch.setattr(anyio, "wait_writable", wait_writable)
    (listener,) = await listen_tcp("127.0.0.1", 0)
    async with listener, await connect_tcp(*address_of(listener)) as stream:
        await stream.send(b"hello")
        async with await listener.accept() as accepted:
            assert await accepted.receive() == b"hello"


async def test_the_next_address_is_tried_when_one_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    (listener,) = await listen_tcp("127.0.0.1", 0)
    sockets_before = open_sockets()
    async with listener:
        resolve_to(monkeypatch, ("127.0.0.1", 1), address_of(listener))
        async with await connect_tcp("a.example", 80, happy_eyeballs_delay=1000) as stream:
            assert stream.extra(SocketAttribute.remote_address) == address_of(listener)
        assert open_sockets() <= sockets_before


async def test_the_next_address_is_tried_in_parallel_with_one_that_does_not_respond(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (listener,) = await listen_tcp("127.0.0.1", 0)
    begun: list[Any] = []
    connect = connecting._connect_socket

    async def connect_socket(family: Any, address: Any, local: Any) -> socket.socket:
        begun.append(address)
        if address[0] == "192.0.2.1":
            await anyio.sleep_forever()
        return await connect(family, address, local)

    monkeypatch.setattr(connecting, "_connect_socket", connect_socket)
    async with listener:
        resolve_to(monkeypatch, ("192.0.2.1", 80), address_of(listener))
        async with await connect_tcp("a.example", 80, happy_eyeballs_delay=0.01) as stream:
            assert stream.extra(SocketAttribute.remote_address) == address_of(listener)
        assert begun == [("192.0.2.1", 80), address_of(listener)]


@on_mock_clock
async def test_the_order_and_the_delay(monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[tuple[float, str]] = []
    start = anyio.current_time()

    async def connect_socket(family: Any, address: Any, local: Any) -> socket.socket:
        begun.append((round(anyio.current_time() - start, 2), address[0]))
        await anyio.sleep(1)
        raise ConnectionRefusedError(errno.ECONNREFUSED, "refused")

    monkeypatch.setattr(connecting, "_connect_socket", connect_socket)
    resolve_to(monkeypatch, ("::1", 1), ("::2", 1), ("::3", 1), ("1.1.1.1", 1))
    with pytest.raises(ConnectionRefusedError):
        await connect_tcp("a.example", 80)
    assert begun == [(0, "::1"), (0.25, "1.1.1.1"), (0.5, "::2"), (0.75, "::3")]


async def test_all_addresses_refuse(monkeypatch: pytest.MonkeyPatch) -> None:
    resolve_to(monkeypatch, ("127.0.0.1", 1), ("127.0.0.2", 1))
    with pytest.raises(ConnectionRefusedError, match=r"127.0.0.1 port 1.*127.0.0.2 port 1") as raised:
        await connect_tcp("a.example", 80)
    assert isinstance(raised.value.__cause__, ExceptionGroup)
    assert len(raised.value.__cause__.exceptions) == 2
    resolve_to(monkeypatch)
    with pytest.raises(OSError, match=r"no address of a\.example"):
        await connect_tcp("a.example", 80)


@needs_ipv6
async def test_ipv6() -> None:
    (listener,) = await listen_tcp("::1", 0)
    async with listener, await connect_tcp(*address_of(listener)) as stream:
        assert stream.extra(SocketAttribute.remote_address)[0] == "::1"
        with pytest.raises(OSError, match="not of the same address family"):
            await connect_tcp(*address_of(listener), local=("127.0.0.1", 0))


async def test_a_connect_cancelled_at_any_point_leaks_no_socket() -> None:
    (listener,) = await listen_tcp("127.0.0.1", 0)
    streams: list[SocketStream] = []

    async def connect() -> None:
        streams.append(await connect_tcp(*address_of(listener)))

    async with listener:
        sockets_before = open_sockets()
        for step in range(100):
            with anyio.CancelScope() as scope:
                await cancelling_at(step, scope, connect())
            for stream in streams:
                await stream.aclose()
            assert open_sockets() <= sockets_before
            if not scope.cancel_called:
                break
    assert streams
