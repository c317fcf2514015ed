"""Keepalive without I/O: what counts as a sign of life, and when a peer is dropped."""

from __future__ import annotations

import math

import pytest

from anyws._connection.keepalive import CONTROL_FRAMES_SIZE, Keepalive, Output, Verdict

NOTHING = Output(0, 0)
MUCH = CONTROL_FRAMES_SIZE + 1


def verdicts(keepalive: Keepalive, *, is_paused: bool = False, output: Output = NOTHING) -> list[tuple[float, Verdict]]:
    """Check at each deadline until the peer is dropped."""
    found: list[tuple[float, Verdict]] = []
    while not found or found[-1][1] is not Verdict.DROP:
        assert len(found) < 40
        now = keepalive.deadline
        found.append((now, keepalive.check(now, is_paused=is_paused, output=output)))
    return found


def test_a_silent_peer_is_pinged_polled_and_dropped() -> None:
    assert verdicts(Keepalive(20, 5, 100)) == [(120, Verdict.PING), (125, Verdict.POLL), (125, Verdict.DROP)]


def test_data_found_by_the_last_poll_counts() -> None:
    keepalive = Keepalive(20, 5, 100)
    keepalive.check(120, is_paused=False, output=NOTHING)
    assert keepalive.check(130, is_paused=False, output=NOTHING) is Verdict.POLL
    keepalive.last_heard = 130
    assert keepalive.check(130, is_paused=False, output=NOTHING) is Verdict.WAIT
    assert keepalive.deadline == 150
    assert [verdict for _, verdict in verdicts(keepalive)] == [Verdict.PING, Verdict.POLL, Verdict.DROP]


def test_each_byte_that_waited_and_was_taken_is_a_sign_of_life() -> None:
    keepalive = Keepalive(20, 5, 100)
    for taken in range(50):
        verdict = keepalive.check(keepalive.deadline, is_paused=False, output=Output(taken, MUCH))
        assert verdict in (Verdict.PING, Verdict.WAIT)
    assert Verdict.DROP in {verdict for _, verdict in verdicts(keepalive, output=Output(49, MUCH))}


def test_what_is_taken_at_once_is_no_sign_of_life() -> None:
    """The kernel of a frozen program acknowledges small messages for a long time."""
    keepalive = Keepalive(20, 5, 100)
    for taken, expected in enumerate((Verdict.PING, Verdict.POLL, Verdict.DROP)):
        assert keepalive.check(keepalive.deadline, is_paused=False, output=Output(1000 * taken, 0)) is expected


def test_a_backlog_counts_until_it_ends() -> None:
    keepalive = Keepalive(20, 16, 100)
    assert keepalive.check(120, is_paused=False, output=Output(0, MUCH)) is Verdict.PING
    assert keepalive.check(121, is_paused=False, output=Output(50, MUCH)) is Verdict.WAIT
    assert keepalive.check(122, is_paused=False, output=Output(50 + MUCH, 0)) is Verdict.WAIT
    # The Ping was taken between 121 and 122. What waits again later is acknowledged by the kernel of a frozen program.
    assert keepalive.deadline == 121 + 16
    assert keepalive.check(130, is_paused=False, output=Output(900, MUCH)) is Verdict.WAIT
    assert keepalive.check(137, is_paused=False, output=Output(1900, MUCH)) is Verdict.POLL
    assert keepalive.check(137, is_paused=False, output=Output(1900, MUCH)) is Verdict.DROP


def test_a_backlog_that_is_not_taken_does_not_count() -> None:
    found = verdicts(Keepalive(20, 16, 100), output=Output(0, MUCH))
    assert found[-1] == (136, Verdict.DROP)


def test_an_unread_peer_that_takes_everything_is_told_that_we_live_and_never_dropped() -> None:
    keepalive = Keepalive(20, 5, 100)
    for _ in range(100):
        assert keepalive.check(keepalive.deadline, is_paused=True, output=NOTHING) is Verdict.PONG


def test_an_unread_peer_that_takes_nothing_is_dropped_after_three_times_as_long() -> None:
    found = verdicts(Keepalive(20, 5, 100), is_paused=True, output=Output(0, 1))
    assert found[-2:] == [(175, Verdict.POLL), (175, Verdict.DROP)]
    assert {verdict for _, verdict in found[:-2]} == {Verdict.WAIT}


@pytest.mark.parametrize("is_paused", [False, True])
def test_without_a_timeout_nobody_is_dropped(is_paused: bool) -> None:
    keepalive = Keepalive(20, None, 100)
    for _ in range(50):
        assert keepalive.check(keepalive.deadline, is_paused=is_paused, output=Output(0, MUCH)) in (
            Verdict.PING,
            Verdict.WAIT,
        )


def test_without_an_interval_there_is_no_deadline() -> None:
    assert Keepalive(None, 5, 100).deadline == math.inf
