"""``listener_options`` and ``server_options``: the effect of each."""

from __future__ import annotations

import errno
import logging
import socket as sockets
import ssl
import sys
from pathlib import Path
from typing import Any

import anyio
import pytest
import trustme
from anyio.abc import SocketAttribute
from anyio.streams.tls import TLSAttribute

import anyws
from tests.callbacks.peers import Calls, plain_client, plain_server, raw_client, tls_client, tls_server
from tests.peers import StreamPeer, on_mock_clock
from tests.pems import PASSPHRASE, Pems, encrypted, in_file


def raw(stream: Any) -> sockets.socket:
    found: sockets.socket = stream.extra(SocketAttribute.raw_socket)
    return found


def names_in(socket: anyws.callbacks.Socket) -> Any:
    certificate: Any = socket.extra(TLSAttribute.peer_certificate)
    return certificate["subjectAltName"]


async def try_port(port: int, **options: Any) -> None:
    async with plain_server(listener_options={"host": "127.0.0.1", "port": port, **options}):
        pass


# -- net.server.listen -------------------------------------------------------------------------------------------------


async def test_host_and_port() -> None:
    async with plain_server() as server:
        host, port = server.addresses[0]
        assert host == "127.0.0.1"
        assert port > 0
    async with plain_server(listener_options={"host": "127.0.0.1", "port": port}) as server:
        assert server.addresses == [(host, port)]


async def test_all_addresses_by_default() -> None:
    """IPv4 and IPv6, on the same port."""
    async with plain_server(listener_options={}) as server:
        ports = {address[1] for address in server.addresses}
        assert len(ports) == 1
        for host in ("127.0.0.1", "::1"):
            target = {"host": host, "port": server.addresses[0][1]}
            async with anyws.client_connect(secure=False, socket_options=target) as socket:
                assert await socket.ping() >= 0


async def test_a_path_and_a_host_are_mutually_exclusive() -> None:
    with pytest.raises(ValueError, match="path"):
        async with plain_server(listener_options={"host": "127.0.0.1", "path": "/nowhere"}):
            pytest.fail("two places")


@pytest.fixture
def backlogs(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """What `listen` is called with."""

    def listen(self: sockets.socket, backlog: int) -> None:
        seen.append(backlog)
        original(self, backlog)

    seen: list[int] = []
    original = sockets.socket.listen
    monkeypatch.setattr(sockets.socket, "listen", listen)
    return seen


async def test_backlog(backlogs: list[int]) -> None:
    listening: dict[str, Any] = {"host": "127.0.0.1"}
    async with (
        plain_server(listener_options=listening),
        plain_server(listener_options={**listening, "backlog": 7}),
        plain_server(listener_options=listening, backlog=9),
    ):
        assert backlogs == [511, 7, 9]


async def test_ipv6_only() -> None:
    for ipv6_only in (False, True):
        async with plain_server(listener_options={"host": "::", "ipv6_only": ipv6_only}) as server:
            assert bool(raw(server).getsockopt(sockets.IPPROTO_IPV6, sockets.IPV6_V6ONLY)) is ipv6_only


async def test_an_ipv4_client_of_an_ipv6_socket_shows_its_ipv4_address() -> None:
    opened = Calls()
    async with plain_server(listener_options={"host": "::"}, callback_open=opened) as server:
        target = {"host": "127.0.0.1", "port": server.addresses[0][1]}
        async with anyws.client_connect(secure=False, socket_options=target):
            _err, socket = await opened.first()
            assert raw(socket).getpeername()[0] == "::ffff:127.0.0.1"
            remote = anyws.get_address(socket).remote
            assert remote is not None
            assert remote.address == "127.0.0.1"


@pytest.mark.skipif(not hasattr(sockets, "SO_REUSEPORT"), reason="the system has no such option")
async def test_reuse_port() -> None:
    listening = {"host": "127.0.0.1", "reuse_port": True}
    async with plain_server(listener_options=listening) as server:
        await try_port(server.addresses[0][1], reuse_port=True)
        with pytest.raises(OSError, match=r".+") as caught:
            await try_port(server.addresses[0][1])
        assert caught.value.errno == errno.EADDRINUSE


async def test_exclusive() -> None:
    async with plain_server(listener_options={"host": "127.0.0.1", "exclusive": True}) as server:
        with pytest.raises(OSError, match=r".+") as caught:
            await try_port(server.addresses[0][1])
        assert caught.value.errno == errno.EADDRINUSE
    with pytest.raises(ValueError, match="contradict"):
        await try_port(0, exclusive=True, reuse_port=True)


# -- net.createServer --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "no_delay", "keep_alive"),
    [({}, True, False), ({"no_delay": False, "keep_alive": True}, False, True), ({"no_delay": True}, True, False)],
)
async def test_no_delay_and_keep_alive(options: dict[str, bool], no_delay: bool, keep_alive: bool) -> None:
    opened = Calls()
    async with plain_server(server_options=options, callback_open=opened) as server, plain_client(server):
        _err, socket = await opened.first()
        assert bool(raw(socket).getsockopt(sockets.IPPROTO_TCP, sockets.TCP_NODELAY)) is no_delay
        assert bool(raw(socket).getsockopt(sockets.SOL_SOCKET, sockets.SO_KEEPALIVE)) is keep_alive


@pytest.mark.skipif(not hasattr(sockets, "TCP_KEEPIDLE"), reason="the system has no such option")
async def test_keep_alive_initial_delay() -> None:
    opened = Calls()
    options = {"keep_alive": True, "keep_alive_initial_delay": 42}
    async with plain_server(server_options=options, callback_open=opened) as server, plain_client(server):
        _err, socket = await opened.first()
        assert raw(socket).getsockopt(sockets.IPPROTO_TCP, sockets.TCP_KEEPIDLE) == 42
    with pytest.raises(ValueError, match="keep_alive_initial_delay"):
        async with plain_server(server_options={"keep_alive_initial_delay": 32768}):
            pytest.fail("no system takes it")


async def test_a_socket_that_cannot_be_configured_does_not_end_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some systems refuse options on a connection that its client has reset."""

    def refuse(self: object, **options: object) -> None:
        monkeypatch.undo()
        raise OSError(errno.EINVAL, "Invalid argument")

    async with plain_server() as server:
        monkeypatch.setattr("anyws._transport.stream.SocketStream.configure", refuse)
        async with await raw_client(server, b"") as stream:
            await StreamPeer(stream, "server").rest()
        async with plain_client(server) as socket:
            assert await socket.ping() >= 0


# -- tls.createServer --------------------------------------------------------------------------------------------------


async def test_secure_needs_a_certificate() -> None:
    with pytest.raises(ValueError, match="secure=False"):
        async with anyws.server(listener_options={"host": "127.0.0.1"}):
            pytest.fail("no certificate")


async def test_cert_key_and_passphrase(pems: Pems, tmp_path: Path) -> None:
    secret = encrypted(pems.key)
    forms: list[dict[str, Any]] = [
        {"cert": pems.cert.decode(), "key": pems.key.decode()},
        {"cert": in_file(tmp_path, "cert", pems.cert), "key": str(in_file(tmp_path, "key", pems.key))},
        {"cert": pems.cert, "key": secret, "passphrase": PASSPHRASE},
        {"cert": pems.cert + pems.key, "key": None},
    ]
    for form in forms:
        async with tls_server(pems, server_options=form) as server, tls_client(server, pems) as socket:
            assert await socket.ping() >= 0


@pytest.mark.parametrize("nested", [True, False])
async def test_an_ssl_context(pems: Pems, server_ssl_context: ssl.SSLContext, nested: bool) -> None:
    options: dict[str, Any] = {"ssl_context": server_ssl_context}
    given = {"server_options": options} if nested else options
    async with (
        anyws.server({"listener_options": {"host": "127.0.0.1"}, **given}) as server,
        tls_client(server, pems) as socket,
    ):
        assert await socket.ping() >= 0


async def test_request_cert_refuses_clients_without_one(pems: Pems) -> None:
    options = {"ca": pems.ca, "request_cert": True}
    opened = Calls()
    async with tls_server(pems, server_options=options, callback_open=opened) as server:
        with pytest.raises((OSError, anyws.HandshakeError)):
            async with tls_client(server, pems):
                pytest.fail("no certificate")
        stranger = Pems.issued_by(trustme.CA(), "localhost")
        with pytest.raises((OSError, anyws.HandshakeError)):
            async with tls_client(server, pems, socket_options={"cert": stranger.cert, "key": stranger.key}):
                pytest.fail("an unknown authority")
    assert opened.seen == []


async def test_request_cert_without_reject_unauthorized(pems: Pems) -> None:
    """A certificate is asked for, and need not be given."""
    options = {"ca": pems.ca, "request_cert": True, "reject_unauthorized": False}
    opened = Calls()
    async with tls_server(pems, server_options=options, callback_open=opened) as server:
        async with tls_client(server, pems):
            assert not (await opened.wait(1))[0][1].extra(TLSAttribute.peer_certificate, None)
        async with tls_client(server, pems, socket_options={"cert": pems.cert, "key": pems.key}):
            assert (await opened.wait(2))[1][1].extra(TLSAttribute.peer_certificate)["subject"] is not None


async def test_sni_callback_chooses_the_certificate(pems: Pems, certificate_authority: trustme.CA) -> None:
    def choose(name: str | None) -> ssl.SSLContext | None:
        names(name)
        return other_context if name == "other.example" else None

    names = Calls()
    other_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate_authority.issue_cert("other.example").configure_cert(other_context)
    async with (
        tls_server(pems, server_options={"sni_callback": choose}) as server,
        tls_client(server, pems, socket_options={"servername": "other.example"}) as other,
        tls_client(server, pems, socket_options={"servername": "localhost"}) as usual,
    ):
        assert names_in(other) == (("DNS", "other.example"),)
        assert ("DNS", "localhost") in names_in(usual)
        assert names.seen == ["other.example", "localhost"]


async def test_an_exception_in_sni_callback_ends_only_that_connection(
    pems: Pems, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And is reported as ssl does, to `sys.unraisablehook`."""

    def choose(name: str | None) -> None:
        if name == "localhost":
            raise LookupError("no such name")

    reported = Calls()
    monkeypatch.setattr(sys, "unraisablehook", lambda unraisable: reported(unraisable.exc_value))
    async with tls_server(pems, server_options={"sni_callback": choose}) as server:
        with pytest.raises(OSError, match=r".+"):
            async with tls_client(server, pems, socket_options={"servername": "localhost"}):
                pytest.fail("the hook failed")
        async with tls_client(server, pems) as socket:
            assert await socket.ping() >= 0
    assert [type(exc) for exc in reported.seen] == [LookupError]


async def test_handshake_timeout(pems: Pems, caplog: pytest.LogCaptureFixture) -> None:
    opened = Calls()
    options = {"handshake_timeout": 0.5}
    async with tls_server(pems, server_options=options, callback_open=opened, open_timeout=60) as server:
        async with await raw_client(server, b"") as stream:
            assert await StreamPeer(stream, "server").rest() == b""
        async with tls_client(server, pems):
            assert (await opened.first())[0] is None
    assert len(opened.seen) == 1
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


@on_mock_clock
async def test_tls_has_5_seconds() -> None:
    """Even with a larger handshake_timeout."""
    pems = Pems.issued_by(trustme.CA(), "localhost")
    async with tls_server(pems, server_options={"handshake_timeout": 100}) as server:
        begun = anyio.current_time()
        async with await raw_client(server, b"") as stream:
            assert await StreamPeer(stream, "server").rest() == b""
        assert anyio.current_time() - begun == pytest.approx(5, abs=0.5)


async def test_alpn_versions_and_ciphers(pems: Pems) -> None:
    options = {
        "alpn_protocols": ["second", "first"],
        "max_version": "TLSv1.2",
        "min_version": "TLSv1.2",
        "ciphers": "ECDHE-ECDSA-AES256-GCM-SHA384",
    }
    async with (
        tls_server(pems, server_options=options) as server,
        tls_client(server, pems, socket_options={"alpn_protocols": ["first", "second"]}) as socket,
    ):
        assert socket.extra(TLSAttribute.alpn_protocol) == "second"
        assert socket.extra(TLSAttribute.tls_version) == "TLSv1.2"
        assert socket.extra(TLSAttribute.cipher)[0] == "ECDHE-ECDSA-AES256-GCM-SHA384"
