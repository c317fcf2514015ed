"""What is logged: whom it concerns, and never contents, credentials or query strings."""

from __future__ import annotations

import logging
import socket
from collections.abc import Sequence

import anyio
import pytest
from anyio.abc import SocketAttribute

import anyws
from anyws._logs import connection_logger
from anyws._transport.stream import SocketStream

from .peers import Wire, echo, ended, uri_of

SECRETS = ["s3cret-text", "s3cret-query", "s3cret-pass", "s3cret-header", "s3cret-reason", "s3cret-reply"]


async def test_no_contents_no_credentials_no_query_strings(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "anyws")  # WARNING is what is on by default

    def on_request(request: anyws.Request) -> anyws.Response | None:
        return anyws.Response(401, {"X": "s3cret-reply"}, "s3cret-reply") if request.path == "/no" else None

    async def handler(websocket: anyws.WebSocket) -> None:
        await websocket.send(await websocket.receive())
        raise ValueError("the handler's own words")

    async with anyws.open_server(handler, "127.0.0.1", 0, on_request=on_request) as server:
        port = server.addresses[0][1]
        headers = {"Cookie": "s3cret-header"}
        uri = f"ws://me:s3cret-pass@127.0.0.1:{port}/yes?token=s3cret-query"
        async with anyws.connect(uri, headers=headers) as websocket:
            await websocket.send("s3cret-text")
            assert await websocket.receive() == "s3cret-text"
            await websocket.aclose(3000, "s3cret-reason")
        with pytest.raises(anyws.HandshakeRefused) as raised:
            async with anyws.connect(uri.replace("yes", "no"), headers=headers):
                pass
    assert not [secret for secret in SECRETS if secret in str(raised.value)]
    assert len(caplog.records) >= 2
    assert not [secret for secret in SECRETS if secret in caplog.text]


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_each_line_names_the_peer(host: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "anyws")
    try:
        async with (
            anyws.open_server(echo, host, 0) as server,
            anyws.connect(uri_of(server)) as websocket,
        ):
            ours = websocket.extra(SocketAttribute.local_address)[:2]
            theirs = websocket.extra(SocketAttribute.remote_address)[:2]
            await websocket.aclose()
    except OSError:
        pytest.skip("no IPv6 here")

    def shown(address: Sequence[object]) -> str:
        return f"[{address[0]}]:{address[1]}" if ":" in str(address[0]) else f"{address[0]}:{address[1]}"

    expected = {"anyws.server": shown(ours), "anyws.client": shown(theirs)}
    assert {record.name for record in caplog.records} == set(expected)
    for record in caplog.records:
        assert record.message.startswith(f"[{expected[record.name]}] ")
        assert record.remote == expected[record.name]  # type: ignore[attr-defined]


async def test_nothing_is_logged_where_nothing_is_wrong(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "anyws")
    async with anyws.open_server(echo, "127.0.0.1", 0) as server, anyws.connect(uri_of(server)) as websocket:
        await websocket.send("hello")
        await websocket.receive()
        await websocket.aclose()
        assert isinstance(await ended(websocket), anyws.ConnectionClosedOK)
    assert caplog.records == []


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        (("192.0.2.1", 1), "192.0.2.1:1"),
        (("2001:db8::1", 2, 0, 0), "[2001:db8::1]:2"),
        (("fe80::1", 3, 0, 4), "[fe80::1%4]:3"),
        ("/the/socket", "/the/socket"),
        ("", "-"),
    ],
)
def test_how_an_address_is_shown(address: object, shown: str, caplog: pytest.LogCaptureFixture) -> None:
    ours, theirs = socket.socketpair()
    stream = SocketStream(ours, address)
    logger = connection_logger("anyws.server", stream)
    stream.close()
    theirs.close()
    logger.warning("said")  # the address is known after the end as well
    assert caplog.records[0].message == f"[{shown}] said"


async def test_a_stream_without_an_address(caplog: pytest.LogCaptureFixture) -> None:
    logger = connection_logger("anyws.server", Wire(lambda _: None))
    logger.warning("said", extra={"more": 1})
    (record,) = caplog.records
    assert record.message == "[-] said"
    assert record.more == 1  # type: ignore[attr-defined]
    await anyio.lowlevel.checkpoint()
