"""Listening sockets: TCP on every address, and unix sockets."""

from __future__ import annotations

import errno
import socket
import stat
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio.abc import SocketAttribute

from anyws._transport.connecting import connect_tcp, connect_unix
from anyws._transport.listening import listen_tcp, listen_unix
from anyws._transport.stream import SocketStream
from tests.peers import address_of, cancelling_at, resolve_to

# -- listening ---------------------------------------------------------------------------------------------------------


async def test_one_free_port_for_all_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    resolve_to(monkeypatch, ("127.0.0.1", 0), ("127.0.0.2", 0), ("127.0.0.1", 0))
    listeners = await listen_tcp("a.example", 0)
    assert [address_of(listener)[0] for listener in listeners] == ["127.0.0.1", "127.0.0.2"]
    assert len({address_of(listener)[1] for listener in listeners}) == 1
    for listener in listeners:
        await listener.aclose()


async def test_another_port_is_chosen_if_one_address_already_uses_it(monkeypatch: pytest.MonkeyPatch) -> None:
    attempts = 0
    bind = socket.socket.bind

    class Socket(socket.socket):
        def bind(self, address: Any) -> None:
            nonlocal attempts
            attempts += address[0] == "127.0.0.2"
            if address[0] == "127.0.0.2" and attempts < 3:
                raise OSError(errno.EADDRINUSE, "taken")
            bind(self, address)

    resolve_to(monkeypatch, ("127.0.0.1", 0), ("127.0.0.2", 0))
    monkeypatch.setattr(socket, "socket", Socket)
    listeners = await listen_tcp("a.example", 0)
    assert attempts == 3
    for listener in listeners:
        await listener.aclose()
    attempts = -100
    with pytest.raises(OSError, match=r"taken: 127\.0\.0\.2"):
        await listen_tcp("a.example", 0)


@pytest.mark.skipif(not hasattr(socket, "SO_REUSEPORT"), reason="no SO_REUSEPORT here")
async def test_reuse_port() -> None:
    (one,) = await listen_tcp("127.0.0.1", 0, reuse_port=True)
    (other,) = await listen_tcp(*address_of(one), reuse_port=True)
    async with one, other:
        assert address_of(one) == address_of(other)
        with pytest.raises(OSError, match="in use"):
            await listen_tcp(*address_of(one))


async def test_a_cancelled_accept_loses_no_connection() -> None:
    (listener,) = await listen_tcp("127.0.0.1", 0)
    accepted: list[SocketStream] = []

    async def accept() -> None:
        accepted.append(await listener.accept())

    async with listener:
        clients = []
        for step in range(4):
            clients.append(await connect_tcp(*address_of(listener)))
            with anyio.CancelScope() as scope:
                await cancelling_at(step, scope, accept())
        while len(accepted) < len(clients):
            await accept()
        assert {stream.extra(SocketAttribute.remote_port) for stream in accepted} == {
            stream.extra(SocketAttribute.local_port) for stream in clients
        }
        for stream in (*accepted, *clients):
            await stream.aclose()


async def test_many_connections_are_accepted_without_waiting_but_other_tasks_still_run() -> None:
    (listener,) = await listen_tcp("127.0.0.1", 0)
    turns = 0

    async def take_turns() -> None:
        nonlocal turns
        while True:
            turns += 1
            await anyio.lowlevel.checkpoint()

    async with listener, anyio.create_task_group() as tasks:
        clients = [socket.create_connection(address_of(listener)) for _ in range(40)]
        tasks.start_soon(take_turns)
        for client in clients:
            stream = await listener.accept()
            assert stream.remote_address == client.getsockname()
            stream.close()
        assert 1 <= turns <= 2  # trio may let us go first
        tasks.cancel_scope.cancel()
    for client in clients:
        client.close()


async def test_closing_a_listener_wakes_accept() -> None:
    (listener,) = await listen_tcp("127.0.0.1", 0)

    async def accept() -> None:
        with pytest.raises(anyio.ClosedResourceError):
            await listener.accept()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(accept)
        await anyio.wait_all_tasks_blocked()
        await listener.aclose()
        await listener.aclose()
    with pytest.raises(anyio.ClosedResourceError):
        await listener.accept()


async def test_unix_sockets(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    async with await listen_unix(str(path)) as listener:
        async with await connect_unix(str(path)) as one, await listener.accept() as other:
            one.configure(no_delay=True, keep_alive=True, keep_alive_delay=1)  # does nothing here
            await one.send(b"hello")
            assert await other.receive() == b"hello"
        with pytest.raises(OSError, match="in use") as raised:
            await listen_unix(str(path))
        assert raised.value.errno == errno.EADDRINUSE
    assert not await anyio.Path(path).exists()


async def test_a_stale_socket_file_is_replaced_and_any_other_is_not(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(path))
    async with await listen_unix(str(path)):
        assert stat.S_ISSOCK((await anyio.Path(path).stat()).st_mode)
        async with await connect_unix(str(path)):
            pass
    await anyio.Path(path).write_text("precious")
    with pytest.raises(OSError, match="the path exists and is not a socket: /"):
        await listen_unix(str(path))
    assert await anyio.Path(path).read_text() == "precious"


async def test_the_socket_file_of_another_listener_is_kept(tmp_path: Path) -> None:
    path = anyio.Path(tmp_path / "socket")
    first = await listen_unix(str(path))
    await path.unlink()
    async with await listen_unix(str(path)):
        await first.aclose()
        assert await path.exists()


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
async def test_an_accepted_stream_knows_the_address_that_the_client_has_connected_to(host: str) -> None:
    (listener,) = await listen_tcp(host, 0)
    port = address_of(listener)[1]
    async with listener, await connect_tcp("127.0.0.1", port) as client, await listener.accept() as accepted:
        assert accepted.local_address == client.raw_socket.getpeername()
        assert accepted.remote_address == client.raw_socket.getsockname()


async def test_a_stream_whose_sides_have_both_ended_is_closed_without_another_system_call(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ours, theirs = socket.socketpair()
    stream = SocketStream(ours)
    with theirs:
        theirs.shutdown(socket.SHUT_WR)
        with pytest.raises(anyio.EndOfStream):
            await stream.receive()
        await stream.send_eof()
        shut_down: list[int] = []
        monkeypatch.setattr(socket.socket, "shutdown", lambda _, how: shut_down.append(how))
        await stream.aclose()
        assert not shut_down
        assert theirs.recv(1) == b""
