"""Programs of trio and asyncio that do not know AnyIO: cancelled in mid-message, they end cleanly."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import anyio
import pytest
import trio
from anyio.lowlevel import checkpoint

import anyws
from tests.peers import echo, uri_of

# -- programs without AnyIO --------------------------------------------------------------------------------------------


def test_a_trio_program_without_anyio() -> None:
    codes: list[int | None] = []

    async def handler(websocket: anyws.WebSocket) -> None:
        try:
            await echo(websocket)
        finally:
            codes.append(websocket.close_code)

    async def main() -> None:
        with trio.fail_after(10):
            async with trio.open_nursery() as nursery:
                server: anyws.Server = await nursery.start(anyws.serve, handler, "127.0.0.1", 0)
                async with anyws.connect(uri_of(server)) as websocket:
                    await websocket.send("hello")
                    assert await websocket.receive() == "hello"
                    with trio.move_on_after(0.001) as scope:
                        await websocket.receive()
                    assert scope.cancelled_caught

                    async def pieces() -> AsyncIterator[bytes]:
                        yield b"the first half"
                        nursery.cancel_scope.cancel()
                        await trio.sleep_forever()

                    await websocket.send(pieces())
            assert nursery.cancel_scope.cancelled_caught

    trio.run(main)
    assert len(codes) == 1


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_an_asyncio_program_without_anyio(loop: str) -> None:
    all_wait: asyncio.Barrier

    class Stop(Exception):
        pass

    async def use(server: anyws.Server) -> None:
        async with anyws.connect(uri_of(server)) as websocket:
            await websocket.send("hello")
            assert await websocket.receive() == "hello"
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.001):
                    await websocket.receive()
            receiving = asyncio.create_task(websocket.receive())
            await asyncio.sleep(0)
            receiving.cancel()
            with pytest.raises(asyncio.CancelledError):
                await receiving
            await websocket.send("still open")
            assert await asyncio.wait_for(websocket.receive(), 5) == "still open"
            await all_wait.wait()
            await asyncio.sleep(3600)

    async def stop() -> None:
        raise Stop

    async def main() -> None:
        nonlocal all_wait
        all_wait = asyncio.Barrier(4)
        async with asyncio.timeout(10), anyws.open_server(echo, "127.0.0.1", 0) as server:
            with pytest.raises(ExceptionGroup) as raised:
                async with asyncio.TaskGroup() as tasks:
                    for _ in range(3):
                        tasks.create_task(use(server))
                    await all_wait.wait()
                    tasks.create_task(stop())
            assert [type(exception) for exception in raised.value.exceptions] == [Stop]
        assert asyncio.all_tasks() == {asyncio.current_task()}

    factory = pytest.importorskip("uvloop").new_event_loop if loop == "uvloop" else None
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(main())


async def test_close_is_the_last_frame_of_a_cancelled_client() -> None:
    """A server sees 1001, not a reset, when a client's program is cancelled."""
    seen: list[anyws.ConnectionClosed] = []

    async def handler(websocket: anyws.WebSocket) -> None:
        await websocket.send("go")
        with pytest.raises(anyws.ConnectionClosed) as raised:
            await websocket.receive()
        seen.append(raised.value)

    async with anyws.open_server(handler, "127.0.0.1", 0) as server:
        with anyio.CancelScope() as scope:
            async with anyws.connect(uri_of(server)) as websocket:
                assert await websocket.receive() == "go"
                scope.cancel()
                await checkpoint()
    assert isinstance(seen[0], anyws.ConnectionClosedOK)
    assert seen[0].code == 1001
