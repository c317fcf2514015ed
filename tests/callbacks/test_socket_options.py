"""``socket_options`` about the connection: the effect of each."""

from __future__ import annotations

import math
import socket as sockets
import tempfile
from collections.abc import Iterator

import anyio
import pytest
from anyio.abc import SocketAttribute

import anyws
from tests.callbacks.peers import Calls, plain_client, plain_server
from tests.harness import free_port
from tests.peers import Peer, open_sockets
from tests.pems import Pems


@pytest.fixture
def socket_path() -> Iterator[str]:
    """A path for a unix socket, short enough for every system."""
    with tempfile.TemporaryDirectory() as directory:
        yield f"{directory}/s"


def raw(socket: anyws.callbacks.Socket) -> sockets.socket:
    found: sockets.socket = socket.extra(SocketAttribute.raw_socket)
    return found


# -- net.connect -------------------------------------------------------------------------------------------------------


async def test_host_is_localhost_by_default() -> None:
    async with plain_server(listener_options={"host": "localhost"}) as server:
        target = {"port": server.addresses[0][1]}
        async with anyws.client_connect(secure=False, socket_options=target) as socket:
            assert socket.request.headers["host"] == f"localhost:{target['port']}"


async def test_host_may_be_an_ipv6_address() -> None:
    async with plain_server(listener_options={"host": "::1"}) as server, plain_client(server) as socket:
        assert socket.request.headers["host"] == f"[::1]:{server.addresses[0][1]}"
        remote = anyws.get_address(socket).remote
        assert remote is not None
        assert remote.address == "::1"


@pytest.mark.parametrize("host", ["", "a/b", "a?b", "a#b", "user@host", "[::1]", "a\\b"])
async def test_host_must_be_only_a_host(host: str) -> None:
    with pytest.raises(ValueError, match="host"):
        async with anyws.client_connect(secure=False, socket_options={"host": host, "port": 9}):
            pytest.fail("no host")


async def test_path_is_a_unix_socket(socket_path: str) -> None:
    messages = Calls(1)
    async with (
        plain_server(listener_options={"path": socket_path}, message_handler=messages) as server,
        anyws.client_connect(secure=False, socket_options={"path": socket_path}) as socket,
    ):
        assert server.addresses == [socket_path]
        assert raw(socket).family == sockets.AF_UNIX
        assert socket.request.headers["host"] == "localhost"
        socket.message_send("over a unix socket")
        assert await messages.first() == "over a unix socket"
    with pytest.raises(FileNotFoundError):
        await anyio.connect_unix(socket_path)


async def test_tls_over_a_unix_socket(socket_path: str, pems: Pems) -> None:
    tls = {"cert": pems.cert, "key": pems.key}
    async with (
        anyws.server(listener_options={"path": socket_path}, server_options=tls),
        anyws.client_connect(socket_options={"path": socket_path, "ca": pems.ca}) as socket,
    ):
        assert await socket.ping() >= 0


async def test_a_port_or_a_path_and_not_both() -> None:
    for wrong in ({}, {"host": "localhost"}, {"port": 1, "path": "/nowhere"}):
        with pytest.raises(ValueError, match="port"):
            async with anyws.client_connect(secure=False, socket_options=wrong):
                pytest.fail("where to?")


async def test_a_stream_needs_neither_port_nor_path() -> None:
    async with anyws.client_connect(secure=False, stream=Peer("client").stream, close_timeout=0.01) as socket:
        assert socket.request.headers["host"] == "localhost"


async def test_local_address_and_local_port() -> None:
    port = free_port()
    async with (
        plain_server() as server,
        plain_client(server, socket_options={"local_address": "127.0.0.1", "local_port": port}) as socket,
    ):
        assert raw(socket).getsockname() == ("127.0.0.1", port)


async def test_local_address_without_local_port() -> None:
    async with (
        plain_server() as server,
        plain_client(server, socket_options={"local_address": "127.0.0.2"}) as socket,
        plain_client(server, local_host="127.0.0.3") as native,
    ):
        assert raw(socket).getsockname()[0] == "127.0.0.2"
        assert raw(native).getsockname()[0] == "127.0.0.3"


async def test_local_port_needs_local_address() -> None:
    with pytest.raises(ValueError, match="local_port requires local_address"):
        async with anyws.client_connect(secure=False, socket_options={"port": 9, "local_port": 9}):
            pytest.fail("local_port alone")


@pytest.mark.parametrize(("family", "host"), [(4, "127.0.0.1"), (6, "::1"), (0, "127.0.0.1"), (0, "::1")])
async def test_family(family: int, host: str) -> None:
    async with (
        plain_server(listener_options={"host": host}) as server,
        plain_client(server, socket_options={"family": family}) as socket,
    ):
        assert anyws.get_address(socket).remote == anyws.callbacks.Address(host, server.addresses[0][1])


@pytest.mark.parametrize(("family", "host"), [(6, "127.0.0.1"), (4, "::1")])
async def test_a_host_of_the_other_address_family(family: int, host: str) -> None:
    async with plain_server(listener_options={"host": host}) as server:
        with pytest.raises(OSError, match=r".+"):
            async with plain_client(server, socket_options={"family": family}):
                pytest.fail("the other family")


async def test_the_family_must_be_4_or_6() -> None:
    with pytest.raises(ValueError, match="expected 0, 4 or 6"):
        async with anyws.client_connect(secure=False, socket_options={"port": 9, "family": 5}):
            pytest.fail("family 5")


@pytest.mark.parametrize("no_delay", [None, True, False])
async def test_no_delay(no_delay: bool | None) -> None:
    given = {} if no_delay is None else {"no_delay": no_delay}
    async with plain_server() as server, plain_client(server, socket_options=given) as socket:
        is_set = bool(raw(socket).getsockopt(sockets.IPPROTO_TCP, sockets.TCP_NODELAY))
        assert is_set is (no_delay is not False)


@pytest.mark.parametrize("keep_alive", [None, True, False])
async def test_keep_alive(keep_alive: bool | None) -> None:
    given = {} if keep_alive is None else {"keep_alive": keep_alive}
    async with plain_server() as server, plain_client(server, socket_options=given) as socket:
        is_set = bool(raw(socket).getsockopt(sockets.SOL_SOCKET, sockets.SO_KEEPALIVE))
        assert is_set is (keep_alive is True)


@pytest.mark.skipif(not hasattr(sockets, "TCP_KEEPIDLE"), reason="the system has no such option")
@pytest.mark.parametrize(("delay", "seconds"), [(0.2, 1), (77, 77), (12.4, 12)])
async def test_keep_alive_initial_delay(delay: float, seconds: int) -> None:
    given = {"keep_alive": True, "keep_alive_initial_delay": delay}
    async with plain_server() as server, plain_client(server, socket_options=given) as socket:
        assert raw(socket).getsockopt(sockets.IPPROTO_TCP, sockets.TCP_KEEPIDLE) == seconds


@pytest.mark.parametrize("delay", [0, -1, 32768, math.inf, math.nan])
async def test_an_unsupported_keep_alive_initial_delay(delay: float) -> None:
    with pytest.raises(ValueError, match="keep_alive_initial_delay"):
        async with anyws.client_connect(secure=False, socket_options={"port": 9, "keep_alive_initial_delay": delay}):
            pytest.fail("out of range")


async def test_timeout() -> None:
    before = open_sockets()
    opened = Calls()
    async with plain_server(callback_connect=lambda: None, open_timeout=0.1) as server:
        with pytest.raises(TimeoutError, match=r"0\.05 s") as caught:
            async with plain_client(server, socket_options={"timeout": 0.05}, callback_open=opened):
                pytest.fail("the server does not answer")
    assert opened.seen == [(caught.value, None)]
    assert open_sockets() <= before


async def test_a_timeout_must_be_positive() -> None:
    with pytest.raises(ValueError, match="timeout"):
        async with anyws.client_connect(secure=False, socket_options={"port": 9, "timeout": 0}):
            pytest.fail("no time")
