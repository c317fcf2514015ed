"""Seeds acted out, each in an event loop of its own where its clock can jump, else many beside each other."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import anyio

from .clocks import BUSY_LOOPBACK, LOOPBACK, run
from .conversations import PATIENCE, converse
from .invariants import problems
from .scenarios import Scenario, scenario_of

__all__ = ["failures_of", "replay"]

_LIMIT = 3600.0  # seconds of a jumping clock
_BESIDE = 200  # conversations at a time on a clock that does not jump
_REAL_PATIENCE = 3.0
_REAL_LIMIT = 60.0


def failures_of(seeds: Iterable[int], backend: str) -> list[str]:
    """Act out the scenarios of these seeds; return what was wrong, with the command that does it again."""
    seeds = list(seeds)
    found: dict[int, list[str]] = {}
    if backend == "uvloop":
        for start in range(0, len(seeds), _BESIDE):
            found |= run(backend, _all_beside, seeds[start : start + _BESIDE])
    else:
        for seed in seeds:
            found[seed] = _run_alone(seed, backend, _idle(seed))
            if found[seed] and not _in_memory(seed):  # did the clock jump although bytes were on their way?
                found[seed] = _run_alone(seed, backend, BUSY_LOOPBACK)
    return [
        "\n    ".join([f"python -m tests.faults --count 1 --seed {seed} --backend {backend} --verbose", *wrong])
        for seed, wrong in found.items()
        if wrong
    ]


def _run_alone(seed: int, backend: str, idle: float) -> list[str]:
    try:
        return run(backend, _one, seed, _LIMIT, PATIENCE, seed=seed, idle=idle)
    except TimeoutError as exc:
        return [str(exc)]


def replay(seed: int, backend: str) -> str:
    """Act out one scenario; return what it is, and what was seen."""

    async def one() -> str:
        scenario = scenario_of(seed)
        with anyio.move_on_after(_LIMIT if backend != "uvloop" else _REAL_LIMIT):
            client, server = await converse(scenario, PATIENCE if backend != "uvloop" else _REAL_PATIENCE)
            return f"{_told(scenario)}\nclient saw {client!r}\nserver saw {server!r}"
        return f"{_told(scenario)}\nhangs"

    return run(backend, one, seed=seed, idle=_idle(seed))


def _in_memory(seed: int) -> bool:
    return scenario_of(seed).transport == "memory"


def _idle(seed: int) -> float:
    return 0 if _in_memory(seed) else LOOPBACK


def _told(scenario: Scenario) -> str:
    return (
        f"seed {scenario.seed}, {scenario.transport}, capacity {scenario.capacity}\n"
        f"client {scenario.client}\nserver {scenario.server}"
    )


async def _all_beside(seeds: list[int]) -> dict[int, list[str]]:
    found: dict[int, list[str]] = {}

    async def one(seed: int) -> None:
        found[seed] = await _checked(seed, _REAL_LIMIT, _REAL_PATIENCE)

    tasks_before = len(anyio.get_running_tasks())
    with _errors_logged() as errors:
        async with anyio.create_task_group() as tasks:
            for seed in seeds:
                tasks.start_soon(one, seed)
    if len(anyio.get_running_tasks()) != tasks_before:
        errors.append("a task stays behind")
    found[seeds[0]] += errors
    return found


async def _one(seed: int, limit: float, patience: float) -> list[str]:
    tasks_before = len(anyio.get_running_tasks())
    with _errors_logged() as errors:
        found = await _checked(seed, limit, patience)
    if len(anyio.get_running_tasks()) != tasks_before:
        errors.append("a task stays behind")
    return found + errors


async def _checked(seed: int, limit: float, patience: float) -> list[str]:
    scenario = scenario_of(seed)
    try:
        with anyio.fail_after(limit):
            client, server = await converse(scenario, patience)
    except TimeoutError:
        return ["it hangs"]
    except Exception:
        return traceback.format_exc().splitlines()
    return problems(scenario, client, server, clock_jumps=limit == _LIMIT)


@contextmanager
def _errors_logged() -> Iterator[list[str]]:
    """Collect what anyws says of its own faults."""
    errors: list[str] = []

    class Collector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            errors.append(logging.Formatter().format(record))

    handler = Collector(logging.ERROR)
    logger = logging.getLogger("anyws")
    logger.addHandler(handler)
    try:
        yield errors
    finally:
        logger.removeHandler(handler)
