"""``socket_options`` about TLS: the effect of each."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

import anyio
import pytest
import trustme
from anyio.streams.tls import TLSAttribute

from tests.callbacks.peers import Calls, plain_server, tls_client, tls_server
from tests.peers import open_sockets
from tests.pems import PASSPHRASE, Pems, encrypted, in_file


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
        tls_server(pems, server_options={"sni_callback": names}) as server,
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
            async with tls_client(server, pems, socket_options={"check_server_identity": check}, callback_open=opened):
                pytest.fail("not this server")
    assert caught.value is failure
    assert opened.seen == [(failure, None)]
    assert connects.seen == []  # no request was sent
    assert open_sockets() <= before


async def test_check_server_identity_does_not_replace_the_ca(pems: Pems) -> None:
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
async def test_an_ssl_context(pems: Pems, client_ssl_context: ssl.SSLContext, nested: bool) -> None:
    options: dict[str, Any] = {"ssl_context": client_ssl_context}
    async with (
        tls_server(pems) as server,
        tls_client(server, None, **({"socket_options": options} if nested else options)) as socket,
    ):
        assert await socket.ping() >= 0


async def test_invalid_options_raise_before_connecting(pems: Pems) -> None:
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
