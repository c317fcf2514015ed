"""Handlers of `anyws serve`: cases that are hard to provoke from outside."""

from __future__ import annotations

import logging

import anyio
import pytest

from anyws._cli.handlers import Broadcast, echo
from anyws.testing import websocket_pair

HURRY = {"close_timeout": 0.1}  # of connections whose other end does not read any more


async def test_a_slow_reader_misses_messages_and_delays_nobody(caplog: pytest.LogCaptureFixture) -> None:
    broadcast = Broadcast()
    message = "x" * 100_000
    async with (
        websocket_pair(client_options=HURRY) as (sender, its_end),
        websocket_pair(client_options=HURRY) as (_slow, slow_end),
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(broadcast, its_end)
        tasks.start_soon(broadcast, slow_end)
        with caplog.at_level(logging.WARNING, "anyws.server"), anyio.fail_after(10):
            while "reads too slowly and misses a message" not in caplog.text:
                await sender.send(message)
        tasks.cancel_scope.cancel()


@pytest.mark.parametrize("make_handler", [lambda: echo, Broadcast])
async def test_a_lost_connection_is_not_a_failure_of_the_handler(make_handler: type[Broadcast]) -> None:
    async with websocket_pair() as (client, server):
        await client.aclose(4000)
        await make_handler()(server)


async def test_a_closed_connection_is_left_out_of_a_broadcast() -> None:
    broadcast = Broadcast()
    async with (
        websocket_pair() as (sender, its_end),
        websocket_pair() as (closed, closed_end),
        websocket_pair() as (reader, reader_end),
        anyio.create_task_group() as tasks,
    ):
        broadcast._connections.add(closed_end)
        tasks.start_soon(broadcast, its_end)
        tasks.start_soon(broadcast, reader_end)
        await closed.aclose()
        await sender.send("hello")
        assert await reader.receive() == "hello"
        tasks.cancel_scope.cancel()
