"""What the fuzzer begins with, and what it has found, without the fuzzer: see fuzz/."""

from __future__ import annotations

from pathlib import Path

import pytest

from anyws.protocol import Connection
from fuzz.__main__ import CORPUS, main
from fuzz.targets import TARGETS

FILES = sorted(CORPUS.glob("*/*"))
_MAX_CORPUS = 200_000  # bytes


@pytest.mark.parametrize("file", FILES, ids=lambda file: f"{file.parent.name}-{file.name}")
def test_each_input_holds(file: Path) -> None:
    TARGETS[file.parent.name](file.read_bytes())


@pytest.mark.parametrize("name", TARGETS)
def test_inputs_of_any_length_hold(name: str) -> None:
    """Each beginning of each input is an input: also none at all."""
    for file in FILES:
        data = file.read_bytes()
        if file.parent.name == name:
            for length in range(0, len(data), max(1, len(data) // 40)):
                TARGETS[name](data[:length])


def test_the_corpus_is_small_and_each_target_has_one() -> None:
    assert {file.parent.name for file in FILES} == set(TARGETS)
    assert sum(file.stat().st_size for file in FILES) < _MAX_CORPUS


def test_a_target_sees_what_depends_on_the_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    receive = Connection.receive_data
    monkeypatch.setattr(Connection, "receive_data", lambda self, data: receive(self, data) if data[1:] else [])
    with pytest.raises(AssertionError):
        TARGETS["decoder"](b"\0\x81\x02hi")


def test_an_input_can_be_played_again() -> None:
    assert main(["decoder", "--input", str(CORPUS / "decoder" / "client-messages")]) == 0
    with pytest.raises(SystemExit):
        main(["nothing"])
