"""The run of several processes over an engine that fails, in short."""

from __future__ import annotations

import pytest

from .__main__ import act, wrong_in
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
    assert out.count("0 losses told, 0 messages missing") == 3


def report(*received: str, accepted: tuple[str, ...] = (), losses: int = 0) -> dict[str, object]:
    return {"received": received, "accepted": accepted, "losses": losses, "refused": 0, "interruptions": 0}


@pytest.mark.parametrize(
    ("reports", "wrong"),
    [
        ([report("a", "b", accepted=("a", "b")), report("a", "b")], []),
        ([report("a", "b", accepted=("a", "b")), report("b", losses=1)], []),
        ([report("a", "b", accepted=("a", "b")), report("b")], ["process 1 misses 1 messages and was not told"]),
        ([report("a", "a")], ["process 0 received messages twice"]),
        ([report("a", "b"), report("b", "a")], ["processes 0 and 1 received messages in different orders"]),
    ],
)
def test_what_does_not_hold_is_found(reports: list[dict[str, object]], wrong: list[str]) -> None:
    assert wrong_in(reports) == wrong
