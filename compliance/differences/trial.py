"""Plays all cases to one library in one role."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import anyio

from compliance.processes import port_of, running

from .case import Case, Outcomes, Role
from .peers import Peer
from .script import listening, run_case

__all__ = ["run_trial"]

_ROOT = Path(__file__).parents[2]
_TIME_LIMIT = 15  # seconds for a case, including the time for the library to connect


async def run_trial(peer: Peer, role: Role, cases: Sequence[Case]) -> Outcomes:
    """Return the outcome of each case, by role and name.

    Raises:
        RuntimeError: the program exited early or hangs; the message includes its output.
    """
    with TemporaryDirectory() as folder:
        log = Path(folder, "log")
        try:
            return await (_test_server(peer, cases, log) if role == "server" else _test_client(peer, cases, log))
        except (OSError, RuntimeError) as exc:  # TimeoutError is an OSError
            said = await anyio.Path(log).read_text(errors="replace")
            raise RuntimeError(f"{peer.name} as {role}: {exc!r}\n{said}") from exc


async def _test_server(peer: Peer, cases: Sequence[Case], log: Path) -> Outcomes:
    outcomes: Outcomes = {}
    async with running([*peer.command, "server"], log, cwd=_ROOT) as process:
        with anyio.fail_after(_TIME_LIMIT):
            port = await port_of(process, log)
        for case in cases:
            with anyio.fail_after(_TIME_LIMIT):
                stream = await anyio.connect_tcp("127.0.0.1", port)
                outcomes["server", case.name] = await run_case(stream, case, "server")
    return outcomes


async def _test_client(peer: Peer, cases: Sequence[Case], log: Path) -> Outcomes:
    outcomes: Outcomes = {}
    async with (
        listening() as (listener, uri),
        running([*peer.command, "client", uri, str(len(cases))], log, cwd=_ROOT),
    ):
        for case in cases:
            with anyio.fail_after(_TIME_LIMIT):
                outcomes["client", case.name] = await run_case(await listener.accept(), case, "client")
    return outcomes
