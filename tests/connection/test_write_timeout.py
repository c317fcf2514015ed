"""A peer that takes nothing is given up when the option says so."""

from __future__ import annotations

import logging

import anyio
import pytest

from tests.peers import Side, Wire, ended, meeting, on_mock_clock


@on_mock_clock
async def test_a_peer_that_takes_nothing_is_cut(ours: Side, caplog: pytest.LogCaptureFixture) -> None:
    async with meeting(ours, write_timeout=7, ping_interval=None) as (websocket, peer):
        peer.stop_reading()
        begun = anyio.current_time()
        with caplog.at_level(logging.INFO):
            await websocket.send("for nobody")
            closed = await ended(websocket)
        assert anyio.current_time() - begun == pytest.approx(7)
        assert closed.code == 1006
        assert "the peer took no data for 7 s" in str(closed)
        assert any("took no data for 7 s" in record.message for record in caplog.records)


@on_mock_clock
async def test_a_peer_that_takes_a_large_message_slowly_is_not_cut(ours: Side, monkeypatch: pytest.MonkeyPatch) -> None:
    """The time counts for each 64 KiB, not for the message."""
    take = Wire.send

    async def take_slowly(wire: Wire, item: bytes) -> None:
        await anyio.sleep(6)
        await take(wire, item)

    async with meeting(ours, write_timeout=7, ping_interval=None) as (websocket, peer):
        monkeypatch.setattr(Wire, "send", take_slowly)
        begun = anyio.current_time()
        await websocket.send(bytes(300_000))
        assert len((await peer.frame()).payload) == 300_000
        assert anyio.current_time() - begun == pytest.approx(30)


@on_mock_clock
async def test_without_it_a_peer_may_read_late(ours: Side) -> None:
    async with meeting(ours, ping_interval=None) as (websocket, peer):
        peer.stop_reading()
        await websocket.send("for later")
        await anyio.sleep(3600)
        peer.go_on_reading()
        assert (await peer.frame()).payload == b"for later"
