"""Several processes on one port, with ``reuse_port``."""

from __future__ import annotations

import os
import signal
import socket
import sys
from contextlib import AsyncExitStack, ExitStack

import anyio
import pytest

import anyws
from tests.cli.commands import LIMIT, ROOT, Process, start
from tests.peers import echo, uri_of

needs_reuse_port = pytest.mark.skipif(not hasattr(socket, "SO_REUSEPORT"), reason="the system has no SO_REUSEPORT")
# Only Linux spreads connections.
on_linux = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the last process to listen may get them all")


async def pids_met(uri: str, stack: AsyncExitStack, wanted: int) -> dict[int, anyws.WebSocket]:
    """Connect until so many processes have answered; that one never does has a chance of 2 ** -99."""
    met: dict[int, anyws.WebSocket] = {}
    for _ in range(100):
        websocket = await stack.enter_async_context(anyws.connect(uri))
        name, pid = str(await websocket.receive()).split()
        assert name == "process"
        met.setdefault(int(pid), websocket)
        if len(met) == wanted:
            break
    return met


def end_group(pid: int) -> None:
    """Kill what is left of a group of processes."""
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


@needs_reuse_port
@on_linux
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_two_processes_on_one_port(backend: str) -> None:
    async def meet(process: Process, started: list[int], uri: str) -> None:
        with anyio.fail_after(LIMIT):
            async with AsyncExitStack() as stack:
                met = await pids_met(uri, stack, 2)
                assert sorted(met) == sorted(started)
                leaving, staying = met
                for websocket in met.values():
                    await websocket.send("hello")
                    assert await websocket.receive() == "hello"

                os.kill(leaving, signal.SIGTERM)
                await anyio.to_thread.run_sync(process.expect_line, f"process {leaving} stopped")
                with pytest.raises(anyws.ConnectionClosedOK):
                    await met[leaving].receive()
                assert met[leaving].close_code == 1001
                for _ in range(10):
                    assert list(await pids_met(uri, stack, 1)) == [staying]
                await met[staying].send("still there")
                assert await met[staying].receive() == "still there"

    command = [sys.executable, ROOT / "examples" / "workers.py", "127.0.0.1", 0, "--workers", 2, "--backend", backend]
    with start(command, start_new_session=True) as process, ExitStack() as stack:
        stack.callback(end_group, process.pid)  # a parent that is killed leaves its workers behind
        lines = [process.expect_line("listening on").split() for _ in range(2)]
        assert len({line[-1] for line in lines}) == 1  # the port
        anyio.run(meet, process, [int(line[1]) for line in lines], f"ws://127.0.0.1:{lines[0][-1]}/", backend=backend)
        status, out, err = process.stop(signal.SIGTERM)
    assert (status, err) == (0, "")
    assert out.count("stopped") == 1


@needs_reuse_port
async def test_without_reuse_port_the_port_is_in_use() -> None:
    async with anyws.open_server(echo, "127.0.0.1", 0, reuse_port=True) as server:
        port = server.addresses[0][1]
        async with anyws.open_server(echo, "127.0.0.1", port, reuse_port=True) as other:
            assert other.addresses == server.addresses
        with pytest.raises(OSError, match="port"):
            await anyws.serve(echo, "127.0.0.1", port)
        async with anyws.connect(uri_of(server)) as websocket:
            await websocket.send("hello")
            assert await websocket.receive() == "hello"
