"""Run the testsuite: ``python -m compliance [--jobs N] FOLDER [TIER] [ROLE ...] [BACKEND ...]``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import anyio

from .echo import BACKENDS
from .install import install
from .run import ROLES, Run
from .tiers import TIERS


async def main(runs: list[Run], jobs: int) -> bool:
    """Run up to ``jobs`` runs at a time, print their results, and return whether all passed."""
    limiter = anyio.CapacityLimiter(jobs)
    outcomes: dict[Run, tuple[str, list[str]]] = {}

    async def run(run: Run) -> None:
        async with limiter:
            outcomes[run] = await run.run()
        summary, faults = outcomes[run]
        print("\n".join([f"{run.name}: {summary}", *(f"    {fault}" for fault in faults)]), flush=True)

    async with anyio.create_task_group() as tasks:
        for each in runs:
            tasks.start_soon(run, each)
    return not any(faults for _, faults in outcomes.values())


def parse(arguments: list[str]) -> tuple[list[Run], int]:
    """Return the runs selected on the command line, and how many may run at a time."""
    parser = argparse.ArgumentParser(prog="compliance", description="Run the Autobahn testsuite against anyws.")
    parser.add_argument("folder", type=Path, help="folder for the testsuite and the reports")
    choices = [*TIERS, *ROLES, *BACKENDS]
    parser.add_argument("choices", nargs="*", help=f"{', '.join(choices)} (default: core, all roles and backends)")
    parser.add_argument("--jobs", type=int, default=1, help="number of concurrent runs (default: %(default)s)")
    options = parser.parse_args(arguments)
    if unknown := set(options.choices) - set(choices):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; choose from {', '.join(choices)}")
    tiers = [tier for tier in TIERS if tier in options.choices] or ["core"]
    if len(tiers) > 1:
        parser.error("choose one tier")
    folder: Path = options.folder.absolute()
    runs = [
        Run(role=role, backend=backend, tier=TIERS[tiers[0]], suite=folder / "suite", reports=folder / "reports")
        for backend in BACKENDS
        if backend in options.choices or not {*BACKENDS} & {*options.choices}
        for role in ROLES
        if role in options.choices or not {*ROLES} & {*options.choices}
    ]
    return runs, options.jobs


if __name__ == "__main__":
    runs, jobs = parse(sys.argv[1:])
    install(runs[0].suite)
    sys.exit(0 if anyio.run(main, runs, jobs) else 1)
