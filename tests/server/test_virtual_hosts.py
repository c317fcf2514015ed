"""`virtual_hosts`: the certificate of the host that a client requests."""

from __future__ import annotations

import logging
import socket
import ssl
from typing import Any

import anyio
import pytest
import trustme
from anyio.streams.tls import TLSAttribute

import anyws
from tests.peers import REQUEST, echo, uri_of
from tests.pems import Pems


def context_of(authority: trustme.CA, *names: str) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(*names).configure_cert(context)
    return context


def contexts_of(authority: trustme.CA, *names: str) -> dict[str, ssl.SSLContext]:
    return {name: context_of(authority, name) for name in names}


async def names_seen(server: anyws.Server, host: str, context: ssl.SSLContext) -> list[str]:
    """Connect as to a host, and return the names of the certificate; it holds for the host, or this raises."""
    uri = uri_of(server, scheme="wss")
    headers = {"Host": host} if host.isascii() else {}
    async with anyws.connect(uri, ssl_context=context, server_hostname=host, headers=headers) as websocket:
        await websocket.send("hello")
        assert await websocket.receive() == "hello"
        certificate = websocket.extra(TLSAttribute.peer_certificate)
        assert isinstance(certificate, dict)
        return [str(entry[1]) for entry in certificate["subjectAltName"]]


@pytest.mark.parametrize(
    ("host", "names"),
    [
        ("a.example", ["a.example"]),
        ("A.Example", ["a.example"]),
        ("x.b.example", ["*.b.example"]),
        ("www.b.example", ["www.b.example"]),
        ("xn--caf-dma.example", ["xn--caf-dma.example"]),
        ("café.example", ["xn--caf-dma.example"]),
        ("other.example", ["other.example", "127.0.0.1"]),
        ("127.0.0.1", ["other.example", "127.0.0.1"]),  # of which there is no SNI: RFC 6066, 3
    ],
)
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_each_host_has_its_certificate(
    host: str, names: list[str], version: ssl.TLSVersion, certificate_authority: trustme.CA
) -> None:
    hosts = ["a.example", "*.b.example", "www.b.example", "xn--caf-dma.example"]
    contexts = contexts_of(certificate_authority, *hosts)
    contexts["CAFÉ.example"] = contexts.pop("xn--caf-dma.example")
    default = context_of(certificate_authority, "other.example", "127.0.0.1")
    client_context = ssl.create_default_context()
    client_context.maximum_version = version
    certificate_authority.configure_trust(client_context)
    several = anyws.virtual_hosts(contexts, default=default)
    async with anyws.open_server(echo, "127.0.0.1", 0, ssl_context=several) as server:
        assert await names_seen(server, host, client_context) == names


@pytest.mark.parametrize("host", ["other.example", "b.example", "x.y.b.example", "127.0.0.1", "example"])
async def test_without_a_default_other_hosts_are_refused(
    host: str,
    certificate_authority: trustme.CA,
    client_ssl_context: ssl.SSLContext,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "anyws")
    several = anyws.virtual_hosts(contexts_of(certificate_authority, "a.example", "*.b.example"))
    async with anyws.open_server(echo, "127.0.0.1", 0, ssl_context=several) as server:
        with pytest.raises(OSError):  # noqa: PT011
            await names_seen(server, host, client_ssl_context)
        assert await names_seen(server, "a.example", client_ssl_context) == ["a.example"]
    assert [(record.levelno, record.exc_info) for record in caplog.records] == [(logging.INFO, None)]


def with_client_certificates(authority: trustme.CA) -> tuple[dict[str, ssl.SSLContext], ssl.SSLContext]:
    """Two hosts that each trust clients of their own; and the context of a client of a.example."""
    authorities = {"a.example": trustme.CA(), "b.example": trustme.CA()}
    contexts = contexts_of(authority, *authorities)
    for name, context in contexts.items():
        context.verify_mode = ssl.CERT_REQUIRED
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        authorities[name].configure_trust(context)
    ann = ssl.create_default_context()
    authority.configure_trust(ann)
    authorities["a.example"].issue_cert("ann@a.example").configure_cert(ann)
    return contexts, ann


async def test_each_host_trusts_its_own_clients(
    certificate_authority: trustme.CA, client_ssl_context: ssl.SSLContext
) -> None:
    contexts, ann = with_client_certificates(certificate_authority)
    several = anyws.virtual_hosts(contexts)
    async with anyws.open_server(echo, "127.0.0.1", 0, ssl_context=several) as server:
        assert await names_seen(server, "a.example", ann) == ["a.example"]
        for host, context in [("b.example", ann), ("a.example", client_ssl_context)]:
            with pytest.raises((ssl.SSLError, anyws.HandshakeError, anyio.BrokenResourceError)):
                await names_seen(server, host, context)
        assert server.connections == frozenset()


@pytest.mark.parametrize(
    ("host", "status"),
    [("a.example", 101), ("A.Example.:8765", 101), ("b.example", 421), ("127.0.0.1", 421), ("x.c.example", 421)],
)
async def test_a_client_certificate_for_one_host_is_not_valid_for_another(
    host: str, status: int, certificate_authority: trustme.CA
) -> None:
    contexts, ann = with_client_certificates(certificate_authority)
    contexts["*.c.example"] = contexts["b.example"]
    asked: list[str] = []
    async with anyws.open_server(
        echo,
        "127.0.0.1",
        0,
        ssl_context=anyws.virtual_hosts(contexts),
        on_request=lambda request: asked.append(request.host),
    ) as server:
        uri = uri_of(server, scheme="wss")
        options: dict[str, Any] = {"ssl_context": ann, "server_hostname": "a.example", "headers": {"Host": host}}
        if status == 101:
            async with anyws.connect(uri, **options) as websocket:
                await websocket.ping()
        else:
            with pytest.raises(anyws.HandshakeRefused) as raised:
                async with anyws.connect(uri, **options):
                    pytest.fail("let in")
            assert raised.value.status == status
    assert len(asked) == (status == 101)


async def test_without_client_certificates_the_host_is_not_checked(
    certificate_authority: trustme.CA, client_ssl_context: ssl.SSLContext
) -> None:
    several = anyws.virtual_hosts(contexts_of(certificate_authority, "a.example", "b.example"))
    async with (
        anyws.open_server(echo, "127.0.0.1", 0, ssl_context=several) as server,
        anyws.connect(
            uri_of(server, scheme="wss"),
            ssl_context=client_ssl_context,
            server_hostname="a.example",
            headers={"Host": "b.example"},
        ) as websocket,
    ):
        await websocket.ping()


async def test_the_callback_server_checks_the_host_as_well(certificate_authority: trustme.CA) -> None:
    """Its hook may make a new context for each connection."""
    contexts, ann = with_client_certificates(certificate_authority)
    usual = Pems.issued_by(certificate_authority, "usual.example")
    options = {"request_cert": True, "sni_callback": contexts.get, "cert": usual.cert, "key": usual.key}
    async with anyws.server(server_options=options, message_handler=lambda message: None) as server:
        uri = uri_of(server, scheme="wss")
        for host, status in (("a.example", 101), ("b.example", 421)):
            try:
                async with anyws.connect(
                    uri, ssl_context=ann, server_hostname="a.example", headers={"Host": host}
                ) as websocket:
                    await websocket.ping()
                    answered = 101
            except anyws.HandshakeRefused as exc:
                answered = exc.status
            assert answered == status


async def test_a_tls_session_of_one_host_is_not_resumed_at_another(certificate_authority: trustme.CA) -> None:
    contexts, ann = with_client_certificates(certificate_authority)

    def answer_of(address: Any, host: str, session: Any) -> tuple[bytes, Any]:
        with (
            socket.create_connection(address) as connection,
            ann.wrap_socket(connection, server_hostname=host, session=session) as secured,
        ):
            secured.sendall(REQUEST.replace(b"localhost", host.encode()))
            return secured.recv(12), secured.session

    several = anyws.virtual_hosts(contexts)
    async with anyws.open_server(echo, "127.0.0.1", 0, ssl_context=several) as server:
        answer, session = await anyio.to_thread.run_sync(answer_of, server.addresses[0], "a.example", None)
        assert answer == b"HTTP/1.1 101"
        try:
            answer, _ = await anyio.to_thread.run_sync(answer_of, server.addresses[0], "b.example", session)
        except OSError:
            answer = b""
        assert answer == b""


async def test_a_client_of_the_standard_library(
    certificate_authority: trustme.CA, client_ssl_context: ssl.SSLContext
) -> None:
    def certificate_seen(address: Any, host: str) -> Any:
        with (
            socket.create_connection(address) as connection,
            client_ssl_context.wrap_socket(connection, server_hostname=host) as secured,
        ):
            return secured.getpeercert()

    several = anyws.virtual_hosts(contexts_of(certificate_authority, "a.example", "b.example"))
    async with anyws.open_server(echo, "127.0.0.1", 0, ssl_context=several) as server:
        for host in ("a.example", "b.example"):
            seen = await anyio.to_thread.run_sync(certificate_seen, server.addresses[0], host)
            assert seen["subjectAltName"] == (("DNS", host),)


def plain(**attributes: Any) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    for name, value in attributes.items():
        setattr(context, name, value)
    return context


@pytest.mark.parametrize(
    ("contexts", "default", "message"),
    [
        ({}, None, "at least one"),
        ({"a..b": plain()}, None, "'a..b' is not a domain name"),
        (
            {"a": plain(), "b": plain(verify_mode=ssl.CERT_OPTIONAL)},
            None,
            "differ in verify_mode",
        ),
        ({"a": plain()}, plain(minimum_version=ssl.TLSVersion.TLSv1_3), "differ in minimum_version"),
        (
            {name: plain(verify_mode=ssl.CERT_OPTIONAL) for name in "ab"},
            None,
            "client certificates require minimum_version TLSv1_3",
        ),
    ],
)
def test_what_cannot_be(contexts: dict[str, ssl.SSLContext], default: ssl.SSLContext | None, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        anyws.virtual_hosts(contexts, default=default)


async def test_the_tls_versions_of_the_contexts_apply(
    certificate_authority: trustme.CA, client_ssl_context: ssl.SSLContext
) -> None:
    context = context_of(certificate_authority, "a.example")
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    several = anyws.virtual_hosts({"a.example": context})
    async with anyws.open_server(echo, "127.0.0.1", 0, ssl_context=several) as server:
        uri = uri_of(server, scheme="wss")
        async with anyws.connect(uri, ssl_context=client_ssl_context, server_hostname="a.example") as websocket:
            assert websocket.extra(TLSAttribute.tls_version) == "TLSv1.2"
