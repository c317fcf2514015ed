"""``socket_options``: each for its effect."""

from __future__ import annotations

import math
import socket as sockets
import ssl
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest
import trustme
from anyio.abc import SocketAttribute
from anyio.streams.tls import TLSAttribute

import anyws
from tests.callbacks.ends import Calls, plain_client, plain_server, tls_client, tls_server
from tests.peers import Peer, open_sockets
from tests.pems import PASSPHRASE, Pems, encrypted, in_file


@pytest.fixture
def socket_path() -> Iterator[str]:
    """A path for a unix socket, short enough for every system."""
    with tempfile.TemporaryDirectory() as directory:
        yield f"{directory}/s"


def raw(socket: anyws.Socket) -> sockets.socket:
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
async def test_host_is_a_host_and_nothing_else(host: str) -> None:
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
    assert not Path(socket_path).exists()


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


async def test_a_stream_needs_neither() -> None:
    async with anyws.client_connect(secure=False, stream=Peer("client").stream, close_timeout=0.01) as socket:
        assert socket.request.headers["host"] == "localhost"


async def test_local_address_and_local_port() -> None:
    with sockets.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    async with (
        plain_server() as server,
        plain_client(server, socket_options={"local_address": "127.0.0.1", "local_port": port}) as socket,
    ):
        assert raw(socket).getsockname() == ("127.0.0.1", port)


async def test_local_address_alone() -> None:
    async with (
        plain_server() as server,
        plain_client(server, socket_options={"local_address": "127.0.0.2"}) as socket,
        plain_client(server, local_host="127.0.0.3") as native,
    ):
        assert raw(socket).getsockname()[0] == "127.0.0.2"
        assert raw(native).getsockname()[0] == "127.0.0.3"


async def test_local_port_needs_local_address() -> None:
    with pytest.raises(ValueError, match="local_port needs local_address"):
        async with anyws.client_connect(secure=False, socket_options={"port": 9, "local_port": 9}):
            pytest.fail("local_port alone")


@pytest.mark.parametrize(("family", "host"), [(4, "127.0.0.1"), (6, "::1"), (0, "127.0.0.1"), (0, "::1")])
async def test_family(family: int, host: str) -> None:
    async with (
        plain_server(listener_options={"host": host}) as server,
        plain_client(server, socket_options={"family": family}) as socket,
    ):
        assert anyws.get_address(socket).remote == anyws.Address(host, server.addresses[0][1])


@pytest.mark.parametrize(("family", "host"), [(6, "127.0.0.1"), (4, "::1")])
async def test_a_host_that_is_not_of_the_family(family: int, host: str) -> None:
    async with plain_server(listener_options={"host": host}) as server:
        with pytest.raises(OSError, match=r".+"):
            async with plain_client(server, socket_options={"family": family}):
                pytest.fail("the other family")


async def test_a_family_is_4_or_6() -> None:
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
async def test_a_keep_alive_initial_delay_that_no_system_takes(delay: float) -> None:
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


async def test_a_timeout_is_above_zero() -> None:
    with pytest.raises(ValueError, match="timeout"):
        async with anyws.client_connect(secure=False, socket_options={"port": 9, "timeout": 0}):
            pytest.fail("no time")


# -- tls.connect -------------------------------------------------------------------------------------------------------


async def test_ca_as_text_bytes_paths_and_several(pems: Pems, tmp_path: Path) -> None:
    path = in_file(tmp_path, "ca.pem", pems.ca)
    other = trustme.CA().cert_pem.bytes()
    forms: list[Any] = [pems.ca.decode(), pems.ca, str(path), path, [other, pems.ca], (path, other.decode())]
    async with tls_server(pems) as server:
        for ca in forms:
            async with tls_client(server, None, socket_options={"ca": ca}) as socket:
                assert await socket.ping() >= 0
        with pytest.raises(ssl.SSLCertVerificationError):
            async with tls_client(server, None, socket_options={"ca": other}):
                pytest.fail("the wrong authority")
        with pytest.raises(ssl.SSLCertVerificationError):
            async with tls_client(server, None):
                pytest.fail("the system does not know the authority")


async def test_cert_key_and_passphrase(pems: Pems, tmp_path: Path) -> None:
    secret = encrypted(pems.key)
    forms: list[dict[str, Any]] = [
        {"cert": pems.cert, "key": pems.key},
        {"cert": pems.cert.decode(), "key": pems.key.decode()},
        {"cert": in_file(tmp_path, "cert", pems.cert), "key": str(in_file(tmp_path, "key", pems.key))},
        {"cert": pems.cert, "key": secret, "passphrase": PASSPHRASE},
        {"cert": pems.cert + secret, "passphrase": PASSPHRASE.encode()},
    ]
    opened = Calls()
    tls = {"ca": pems.ca, "request_cert": True}
    async with tls_server(pems, server_options=tls, callback_open=opened) as server:
        for count, form in enumerate(forms, 1):
            async with tls_client(server, pems, socket_options=form):
                _err, socket = (await opened.wait(count))[-1]
                names = socket.extra(TLSAttribute.peer_certificate)["subjectAltName"]
                assert ("DNS", "localhost") in names


async def test_servername(pems: Pems) -> None:
    """It is what the certificate must say, and what the server hears (SNI)."""
    names = Calls()
    async with (
        tls_server(pems, server_options={"sni_callback": lambda name: names(name)}) as server,
        tls_client(server, pems, socket_options={"servername": "localhost"}) as socket,
        tls_client(server, pems, server_hostname="localhost"),
        tls_client(server, pems),
    ):
        assert names.seen == ["localhost", "localhost", None]  # an IP address is no server name (RFC 6066, 3)
        assert socket.request.headers["host"].startswith("127.0.0.1:")


async def test_reject_unauthorized_false(pems: Pems) -> None:
    """Neither the authority nor the name matters then."""
    lax = {"reject_unauthorized": False}
    async with (
        tls_server(pems) as server,
        tls_client(server, None, socket_options=lax) as one,
        tls_client(server, None, socket_options={**lax, "servername": "example.com"}) as other,
    ):
        assert await one.ping() >= 0
        assert await other.ping() >= 0


async def test_check_server_identity_instead_of_the_name(pems: Pems) -> None:
    def check(hostname: str, certificate: dict[str, Any]) -> None:
        seen.append((hostname, certificate["subjectAltName"]))

    seen: list[Any] = []
    options = {"check_server_identity": check, "servername": "example.com"}
    async with tls_server(pems) as server, tls_client(server, pems, socket_options=options) as socket:
        assert await socket.ping() >= 0
    ((hostname, names),) = seen
    assert hostname == "example.com"
    assert ("DNS", "localhost") in names


@pytest.mark.parametrize("is_raised", [True, False])
async def test_check_server_identity_that_refuses(pems: Pems, is_raised: bool) -> None:
    def check(hostname: str, certificate: dict[str, Any]) -> Exception:
        if is_raised:
            raise failure
        return failure

    before = open_sockets()
    failure = LookupError("not my server")
    opened, connects = Calls(), Calls()
    async with tls_server(pems, callback_connect=connects) as server:
        with pytest.raises(LookupError) as caught:
            async with tls_client(
                server, pems, socket_options={"check_server_identity": check}, callback_open=opened
            ):
                pytest.fail("not this server")
    assert caught.value is failure
    assert opened.seen == [(failure, None)]
    assert connects.seen == []  # no request was sent
    assert open_sockets() <= before


async def test_check_server_identity_does_not_replace_the_authority(pems: Pems) -> None:
    checks = Calls()
    async with tls_server(pems) as server:
        with pytest.raises(ssl.SSLCertVerificationError):
            async with tls_client(server, None, socket_options={"check_server_identity": checks}):
                pytest.fail("the system does not know the authority")
    assert checks.seen == []


async def test_alpn_protocols(pems: Pems) -> None:
    async with (
        tls_server(pems, server_options={"alpn_protocols": ["http/1.1"]}) as server,
        tls_client(server, pems, socket_options={"alpn_protocols": ["h2", "http/1.1"]}) as socket,
        tls_client(server, pems) as without,
    ):
        assert socket.extra(TLSAttribute.alpn_protocol) == "http/1.1"
        assert without.extra(TLSAttribute.alpn_protocol) in (None, "http/1.1")


@pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])
async def test_min_and_max_version(pems: Pems, version: str) -> None:
    exactly = {"min_version": version, "max_version": version}
    other = "TLSv1.3" if version == "TLSv1.2" else "TLSv1.2"
    async with tls_server(pems) as server, tls_client(server, pems, socket_options=exactly) as socket:
        assert socket.extra(TLSAttribute.tls_version) == version
    async with tls_server(pems, server_options=exactly) as server:
        with pytest.raises((ssl.SSLError, OSError)):
            async with tls_client(server, pems, socket_options={"min_version": other, "max_version": other}):
                pytest.fail("no version in common")


async def test_ciphers(pems: Pems) -> None:
    options = {"max_version": "TLSv1.2", "ciphers": "ECDHE-ECDSA-AES256-GCM-SHA384"}
    async with tls_server(pems) as server, tls_client(server, pems, socket_options=options) as socket:
        assert socket.extra(TLSAttribute.cipher)[0] == "ECDHE-ECDSA-AES256-GCM-SHA384"


@pytest.mark.parametrize("nested", [True, False])
async def test_a_ready_ssl_context(pems: Pems, client_ssl_context: ssl.SSLContext, nested: bool) -> None:
    options: dict[str, Any] = {"ssl_context": client_ssl_context}
    async with (
        tls_server(pems) as server,
        tls_client(server, None, **({"socket_options": options} if nested else options)) as socket,
    ):
        assert await socket.ping() >= 0


async def test_options_that_are_wrong_connect_to_nobody(pems: Pems) -> None:
    connects, before = Calls(), open_sockets()
    wrong: list[dict[str, Any]] = [
        {"ca": "no certificate"},
        {"key": pems.key},
        {"min_version": "SSLv3"},
        {"ciphers": "none"},
        {"cert": pems.cert},
    ]
    async with plain_server(callback_connect=connects) as server:
        listening = open_sockets()
        for options in wrong:
            with pytest.raises((ValueError, OSError)):
                async with tls_client(server, None, socket_options=options):
                    pytest.fail("wrong options")
        await anyio.wait_all_tasks_blocked()
        assert open_sockets() == listening
    assert connects.seen == []
    assert open_sockets() <= before
