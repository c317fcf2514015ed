"""The run of several processes over an engine that fails, in short; and what it finds to be wrong."""

from __future__ import annotations

from typing import Any

import pytest

from .__main__ import act
from .observing import wrong_in
from .servers import PROGRAMS, find_program


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("name", PROGRAMS)
async def test_three_processes_on_two_backends(
    name: str, anyio_backend: str, capfd: pytest.CaptureFixture[str]
) -> None:
    program = find_program(name)
    if program is None:
        pytest.skip(f"{name} is not installed")
    assert await act(program, 0.06, ["with its data"]) == 0
    out, err = capfd.readouterr()
    assert err == ""
    assert out.count(" received, 0 losses told") == 6
    assert out.endswith("nothing is wrong\n")


def report(*events: str, accepted: str = "e.1:a e.2:b e.3:c", refused: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return a report: ``"e.1:a"`` is a message, ``"e.1-e.3"`` a loss."""
    observed = [event.split(":") if ":" in event else [event.split("-")] for event in ("e.0-e.0", *events)]
    return {
        "accepted": dict(each.split(":") for each in accepted.split()),
        "refused": refused,
        "observed": {"subscription": observed},
    }


@pytest.mark.parametrize(
    ("reports", "wrong"),
    [
        pytest.param([report("e.1:a", "e.2:b", "e.3:c")], [], id="all"),
        pytest.param([report("e.1:a", "e.1-e.2", "e.3:c")], [], id="a loss that was told"),
        pytest.param(
            [report("e.1:a", "e.1-e.2", "e.3:c", "e.4:d")], ["'d' at e.4, and it was not"], id="never published"
        ),
        pytest.param([report("e.1:a", "e.1-e.3")], [], id="a loss at the end"),
        pytest.param([report("e.1:a", "f.2:b", "f.3:c")], [], id="another epoch"),
        pytest.param([report("e.1:a", "f.1-f.3")], [], id="a loss in another epoch"),
        pytest.param([report("e.1:a", "e.1-f.0", "f.1:d", accepted="e.1:a e.2:b f.1:d")], [], id="an empty server"),
        pytest.param([report("e.1:a", "e.2:x", accepted="e.1:a", refused=("x",))], [], id="refused, but published"),
        pytest.param(
            [report("e.1:a", "e.3:c")],
            ["received ['e.3', 'c'] after e.1 without being told", "'b' at e.2 is missing, and was not told"],
            id="lost in silence",
        ),
        pytest.param([report("e.1:a", "e.2:b")], ["'c' at e.3 is missing, and was not told"], id="lost at the end"),
        pytest.param(
            [report("e.1:a", "e.1-e.2", "e.2:b", "e.3:c")],
            ["received ['e.2', 'b'] after e.2 without being told"],
            id="told too much",
        ),
        pytest.param(
            [report("e.1:a", "e.2:b", "e.1-e.3")],
            ["was told of the loss [['e.1', 'e.3']] when it was at e.2"],
            id="told what was received",
        ),
        pytest.param(
            [report("e.1:a", "e.2:b", "e.3:a", accepted="e.1:a e.2:b")],
            ["received messages twice", "received 'a' at e.3, and it was not published with this number"],
            id="twice",
        ),
        pytest.param(
            [report("e.1:b", "e.2:b", accepted="e.1:a e.2:b")],
            ["received messages twice", "received 'b' at e.1, where 'a' was published", "'b' at e.1", "'a' at e.1"],
            id="another message",
        ),
        pytest.param(
            [report("e.1:a", "e.2:b", accepted=""), report("e.1:b", "e.2:a", accepted="e.1:a e.2:b")],
            [
                "'b' at e.1, where 'a'",
                "'b' at e.1, and",
                "'a' at e.2, where 'b'",
                "'a' at e.2, and",
                "different orders",
            ],
            id="two orders",
        ),
        pytest.param(
            [report("e.1:a", "f.2:b", "e.3:c")], ["epochs do not follow one another"], id="back to an earlier epoch"
        ),
    ],
)
def test_what_does_not_hold_is_found(reports: list[dict[str, Any]], wrong: list[str]) -> None:
    found = wrong_in(reports)
    assert len(found) == len(wrong)
    for text, expected in zip(found, wrong, strict=True):
        assert expected in text
