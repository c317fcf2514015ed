"""The life of a connection: every row of the table and every deadline, without I/O."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import pytest

from anyws._connection.keepalive import Output
from anyws._connection.life import CLOSE_IN_PROGRESS, DEADLINES, READING, TRANSITIONS, Action, Event, Life, Phase
from docs.tables import with_table

ROOT = Path(__file__).parents[2]
NOTHING = Output(0, 0)
# How to get into each phase from an open connection.
PATHS = {
    Phase.OPEN: [],
    Phase.FAILING: [Event.VIOLATION],
    Phase.CLOSING: [Event.CLOSE],
    Phase.ENDING: [Event.HANDSHAKE_DONE],
    Phase.DRAINING: [Event.INPUT_ENDED, Event.WRITTEN],
    Phase.LINGERING: [Event.HANDSHAKE_DONE, Event.FINISHED],
    Phase.ABORTING: [Event.ABORT],
    Phase.OVER: [Event.ABORT, Event.STREAM_CLOSED],
}


def life_in(phase: Phase, close_timeout: float | None = 10) -> Life:
    """Return a life in a phase that began at time 100."""
    life = Life(close_timeout)
    for event in PATHS[phase]:
        life.handle(event, 100)
    assert life.phase is phase
    return life


@pytest.mark.parametrize(("phase", "event"), list(itertools.product(Phase, Event)))
def test_each_event_in_each_phase(phase: Phase, event: Event) -> None:
    life = life_in(phase)
    after, due = TRANSITIONS.get((phase, event), (phase, ()))
    assert life.handle(event, 101) == due
    assert life.phase is after


def test_a_life_only_goes_forward() -> None:
    order = list(Phase)
    for (before, _), (after, _) in TRANSITIONS.items():
        assert order.index(before) <= order.index(after)


@pytest.mark.parametrize("phase", [phase for phase in Phase if phase not in (Phase.ABORTING, Phase.OVER)])
def test_every_phase_can_be_aborted_and_ends_when_the_stream_is_closed(phase: Phase) -> None:
    life = life_in(phase)
    assert life.handle(Event.ABORT, 101) == (Action.CLOSE_STREAM,)
    assert life.handle(Event.STREAM_CLOSED, 102) == (Action.NOTIFY,)


@pytest.mark.parametrize("phase", list(Phase))
def test_a_life_is_over_when_the_stream_is_closed(phase: Phase) -> None:
    life = life_in(phase)
    life.handle(Event.STREAM_CLOSED, 101)
    assert life.phase is Phase.OVER


@pytest.mark.parametrize("phase", [phase for phase in Phase if phase is not Phase.OPEN])
def test_no_phase_but_an_open_one_waits_forever_for_the_peer(phase: Phase) -> None:
    assert (life_in(phase).deadline < math.inf) is (phase not in (Phase.ABORTING, Phase.OVER))


def test_the_stream_is_closed_once() -> None:
    for phase in Phase:
        life = life_in(phase)
        due = [*life.handle(Event.ABORT, 101), *life.handle(Event.ABORT, 102), *life.handle(Event.TIMEOUT, 103)]
        assert due.count(Action.CLOSE_STREAM) == (phase not in (Phase.ABORTING, Phase.OVER))


def test_each_phase_says_what_bounds_it() -> None:
    assert set(DEADLINES) == set(Phase)


def test_bytes_are_read_until_nothing_of_them_matters() -> None:
    assert {Phase.OPEN, Phase.FAILING, Phase.CLOSING} == READING


# -- deadlines ---------------------------------------------------------------------------------------------------------


def test_a_violation_waits_for_half_a_second() -> None:
    life = life_in(Phase.FAILING)
    assert life.deadline == 100.5
    assert life.check(100.4, NOTHING) == ()
    assert life.check(100.5, NOTHING) == (Action.FAIL, Action.NOTIFY, Action.OBSERVE)
    assert life.phase is Phase.CLOSING


@pytest.mark.parametrize("phase", [phase for phase in Phase if phase in CLOSE_IN_PROGRESS])
def test_a_close_without_progress_polls_once_and_then_ends(phase: Phase) -> None:
    life = life_in(phase)
    assert life.deadline == 110
    assert life.check(109, NOTHING) == ()
    assert life.check(110, NOTHING) == (Action.POLL,)
    assert life.check(110, NOTHING) == (Action.REPORT_TIMEOUT, Action.CLOSE_STREAM)
    assert life.phase is Phase.ABORTING


def test_a_close_goes_on_while_the_peer_takes_what_waits() -> None:
    life = life_in(Phase.CLOSING)
    life.observe(100, Output(0, 1_000_000))
    now, taken = 100.0, 0
    for _ in range(1000):
        assert life.deadline < now + 10
        now = life.deadline
        taken += 1
        assert life.check(now, Output(taken, 1_000_000 - taken)) == ()
    assert now > 1000
    stopped = now
    while not (due := life.check(now := life.deadline, Output(taken, 1_000_000 - taken))):
        pass
    assert due == (Action.POLL,)
    assert now == pytest.approx(stopped + 10)


def test_the_time_for_the_peers_close_counts_from_the_last_byte_written() -> None:
    life = life_in(Phase.CLOSING)
    life.observe(100, Output(0, 500))
    life.observe(107, Output(500, 0))
    assert life.deadline == 117


def test_the_acknowledgement_of_our_close_is_no_progress() -> None:
    life = life_in(Phase.CLOSING)
    life.observe(100, Output(0, 8))
    assert life.deadline == 110
    assert life.check(110, Output(8, 0)) == (Action.POLL,)


def test_a_close_keeps_its_time_from_phase_to_phase() -> None:
    life = life_in(Phase.CLOSING)
    life.handle(Event.CLOSE, 104)
    life.handle(Event.INPUT_ENDED, 105)
    life.handle(Event.WRITTEN, 106)
    assert (life.phase, life.deadline) == (Phase.DRAINING, 110)


def test_a_peer_whose_close_has_come_has_one_second() -> None:
    assert life_in(Phase.LINGERING).deadline == 101
    assert life_in(Phase.LINGERING, close_timeout=0.2).deadline == 100.2
    assert life_in(Phase.LINGERING).check(101, NOTHING) == (Action.CLOSE_STREAM,)


def test_without_a_close_timeout_a_close_waits_forever() -> None:
    for phase in CLOSE_IN_PROGRESS:
        life = life_in(phase, close_timeout=None)
        life.observe(100, Output(0, 1000))
        assert life.deadline == math.inf


def test_the_documentation_has_the_table() -> None:
    page = (ROOT / "docs" / "design.md").read_text()
    assert with_table(page) == page, "run: python docs/tables.py"
