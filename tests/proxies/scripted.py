"""Proxies that do what a test says."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
from anyio.abc import ByteStream, SocketAttribute
from anyio.streams.tls import TLSStream

__all__ = ["LOST", "Talk", "http_tunnel", "read_head", "relay", "scripted_proxy", "socks5_tunnel"]

Talk = Callable[[Any], Awaitable[None]]

LOST = (anyio.BrokenResourceError, anyio.ClosedResourceError, anyio.EndOfStream, OSError)


@asynccontextmanager
async def scripted_proxy(talk: Talk, ssl_context: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """Let each connection be talked to, over TLS if there is a context, and end it; yields the port."""

    async def serve(stream: ByteStream) -> None:
        try:
            if ssl_context is not None:
                stream = await TLSStream.wrap(stream, ssl_context=ssl_context, server_side=True)
            await talk(stream)
        except LOST:
            pass
        finally:
            await anyio.aclose_forcefully(stream)

    async with (
        await anyio.create_tcp_listener(local_host="127.0.0.1", local_port=0) as listener,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(listener.serve, serve)
        yield listener.extra(SocketAttribute.local_port)
        tasks.cancel_scope.cancel()


async def read_head(stream: ByteStream) -> bytes:
    """Read the head of a request."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += await stream.receive()
    return head


async def relay(one: ByteStream, other: ByteStream) -> None:
    """Carry bytes both ways, until either end is lost or has ended."""

    async def carry(source: ByteStream, target: ByteStream) -> None:
        try:
            while True:
                await target.send(await source.receive())
        except LOST:
            tasks.cancel_scope.cancel()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(carry, one, other)
        tasks.start_soon(carry, other, one)


async def http_tunnel(stream: ByteStream) -> None:
    """Do as an HTTP proxy does."""
    host, port = (await read_head(stream)).split()[1].decode().rsplit(":", 1)
    async with await anyio.connect_tcp(host, int(port)) as target:
        await stream.send(b"HTTP/1.1 200 OK\r\n\r\n")
        await relay(stream, target)


async def socks5_tunnel(stream: ByteStream) -> None:
    """Do as a SOCKS5 proxy does that asks for a password, for IPv4 addresses (RFC 1928, RFC 1929)."""
    assert 2 in (await stream.receive())[2:]
    await stream.send(b"\x05\x02")
    assert await stream.receive() == b"\x01\x02me\x06s3cret"
    await stream.send(b"\x01\x00")
    request = await stream.receive()
    assert request[:4] == b"\x05\x01\x00\x01"
    host = ".".join(map(str, request[4:8]))
    async with await anyio.connect_tcp(host, int.from_bytes(request[8:10], "big")) as target:
        await stream.send(b"\x05\x00\x00\x01\x7f\x00\x00\x01\x00\x00")
        await relay(stream, target)
