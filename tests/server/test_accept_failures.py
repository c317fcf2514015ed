"""Repeated failures of accept(2) stop neither the loop nor the server, and are logged once a second."""

from __future__ import annotations

import errno
import logging
import socket
from typing import Any

import anyio
import pytest
from anyio.abc import SocketAttribute

import anyws
from anyws._logs import ConnectionLogger
from anyws._server.accept_failures import AcceptFailures
from tests.peers import echo, on_mock_clock, uri_of

GONE = OSError(errno.ECONNABORTED, "went away")
FULL = OSError(errno.EMFILE, "too many open files")


class Failing(socket.socket):
    """A listening socket whose accept(2) fails, while it is told to."""

    fails_with: int | None = None
    failed = 0

    def accept(self) -> tuple[socket.socket, Any]:
        if self.fails_with is not None:
            self.failed += 1
            raise OSError(self.fails_with, "not now")
        return super().accept()


@pytest.mark.parametrize("code", [errno.ECONNABORTED, errno.EPERM, errno.ENETDOWN, errno.EMFILE])
async def test_the_loop_and_the_server_continue(code: int, caplog: pytest.LogCaptureFixture) -> None:
    listening = Failing()
    listening.bind(("127.0.0.1", 0))
    listening.listen()
    listening.fails_with = code
    times = 4 if code == errno.EMFILE else 18  # after EMFILE, the server pauses each time; otherwise after 16 times
    async with anyws.open_server(echo, listeners=[listening]) as server:
        async with await anyio.connect_tcp(*server.addresses[0]):
            while listening.failed < times:
                await anyio.lowlevel.checkpoint()
        listening.fails_with = None
        async with anyws.connect(uri_of(server)) as websocket:
            await websocket.send("hello")
            assert await websocket.receive() == "hello"
    assert 1 <= len([record for record in caplog.records if "cannot accept connections" in record.message]) <= 3


async def test_one_of_several_listeners_of_anyio_fails(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    multi = await anyio.create_tcp_listener(local_host="127.0.0.1", local_port=0)
    other = await anyio.create_tcp_listener(local_host="127.0.0.1", local_port=0)
    (failing,) = multi.listeners

    async def accept() -> Any:
        raise FULL

    monkeypatch.setattr(failing, "accept", accept)
    port = other.extra(SocketAttribute.local_port)
    both = type(multi)([multi, other])
    async with (
        anyws.open_server(echo, listeners=[both]) as server,
        anyws.connect(f"ws://127.0.0.1:{port}") as websocket,
    ):
        assert len(server.addresses) == 2
        await websocket.ping()
    assert "cannot accept connections" in caplog.text


@on_mock_clock
async def test_a_lack_of_file_descriptors_is_logged_once_a_second(caplog: pytest.LogCaptureFixture) -> None:
    failures = AcceptFailures(ConnectionLogger(logging.getLogger("anyws.server"), "here"))
    begun = anyio.current_time()
    for _ in range(30):
        await failures.wait_after(FULL)
    assert anyio.current_time() - begun == pytest.approx(3)
    assert 3 <= len(caplog.records) <= 4


@on_mock_clock
async def test_no_pause_after_lost_clients_unless_there_are_many_in_a_row(
    caplog: pytest.LogCaptureFixture,
) -> None:
    failures = AcceptFailures(ConnectionLogger(logging.getLogger("anyws.server"), "here"))
    begun = anyio.current_time()
    for _ in range(10):
        for _ in range(16):
            await failures.wait_after(GONE)
        failures.reset()
    assert anyio.current_time() == begun
    assert caplog.records == []
    for _ in range(17):
        await failures.wait_after(GONE)
    assert anyio.current_time() > begun
    assert len(caplog.records) == 1
