"""The same bytes to anyws and to other implementations, a few of them: see compliance/differential."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from anyws.protocol import Role
from compliance.differential import compare as module
from compliance.differential.__main__ import known_table, main
from compliance.differential.compare import Counts, compare
from compliance.differential.generate import generate
from compliance.differential.known import KNOWN, Case, explain
from compliance.differential.outcome import Event, Outcome, replay
from compliance.differential.peers import Ws
from compliance.differential.wire import frame_bytes, read_frames

DOCUMENT = Path(__file__).parents[2] / "docs" / "fuzzing.md"
needs_ws = pytest.mark.skipif(Ws.missing() is not None, reason=f"ws: {Ws.missing()}")


@pytest.mark.parametrize("peer", ["wsproto", pytest.param("ws", marks=needs_ws)])
def test_each_difference_is_known(peer: str) -> None:
    counts = Counts()
    differences = [found for found in compare(range(600), [peer], counts) if found is not None]
    assert not differences, "\n".join(map(str, differences))
    # That much is compared, and not all of it fails.
    assert counts.sequences == 600
    assert counts.compared[peer] > 500
    assert counts.events > 600
    assert 100 < counts.failures < 400


def test_what_is_not_known_is_reported_with_its_seed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(module, "explain", lambda case, peer: None)
    differences = compare(range(400), ["wsproto"], Counts())
    found = next(each for each in differences if each is not None and each.peer == "wsproto")
    seed = found.sequence.seed
    assert found.sequence == generate(seed)
    assert found.command == f"python -m compliance.differential --seed {seed} --count 1 --peer wsproto"
    arguments = found.command.split()[3:]
    assert main(arguments) == 1
    assert str(found) in capsys.readouterr().out
    monkeypatch.undo()
    assert main(arguments) == 0
    assert "unexplained: 0" in capsys.readouterr().out


def wrong_outcomes(outcome: Outcome) -> list[Outcome]:
    """What a faulty implementation might make of it."""
    wrong = [replace(outcome, failure=1011)]
    if outcome.failure is None:
        wrong.append(replace(outcome, failure=1002, reason="wrong"))
    if outcome.events:
        first, *others = outcome.events
        wrong.append(replace(outcome, events=tuple(others)))
        wrong.append(replace(outcome, events=(first._replace(payload=first.payload + b"!"), *others)))
        wrong.append(replace(outcome, events=(Event("pong", b"wrong"), first, *others)))
    return wrong


@pytest.mark.parametrize("peer", ["wsproto", "ws", "chunks"])
def test_the_rules_do_not_explain_what_is_wrong_in_a_plain_sequence(peer: str) -> None:
    """Of whole frames that nobody refuses, without compression, no difference is known."""
    checked = 0
    for seed in range(400):
        sequence = generate(seed)
        ours = replay(sequence)
        frames = read_frames(sequence.data)
        odd = any(not frame.complete or not frame.minimal or frame.payload[:2] == b"\x03\xf6" for frame in frames)
        if sequence.deflate is not None or sequence.max_message_size is not None or ours.failure is not None or odd:
            continue
        for theirs in wrong_outcomes(ours):
            assert theirs != ours
            assert explain(Case(sequence, ours, theirs), peer) is None
            checked += 1
    assert checked > 100


def test_a_sequence_comes_of_its_seed() -> None:
    assert [generate(seed) for seed in range(50)] == [generate(seed) for seed in range(50)]
    assert len({generate(seed).data for seed in range(50)}) > 45
    assert {generate(seed).role for seed in range(50)} == set(Role)


@pytest.mark.parametrize("key", [None, b"abcd"])
@pytest.mark.parametrize("size", [0, 125, 126, 65535, 65536])
def test_frames_are_read_as_they_were_written(size: int, key: bytes | None) -> None:
    wire = frame_bytes(0x41, b"x" * size, key=key) + frame_bytes(0x80, b"y", key=key) + b"\x89"
    first, second = read_frames(wire)
    assert (first.opcode, first.fin, first.length, first.minimal, first.payload) == (1, False, size, True, b"x" * size)
    assert (first.message, first.compressed, first.complete) == (0, True, True)
    assert (second.opcode, second.fin, second.payload, second.message, second.compressed) == (0, True, b"y", 0, True)


def test_the_document_lists_what_is_known() -> None:
    """``python -m compliance.differential --known`` prints the table."""
    assert known_table() in DOCUMENT.read_text()
    assert len({known.name for known in KNOWN}) == len(KNOWN)
