"""Run: ``python -m soak [NAME ...] [--backend B] [--connections N] [--seconds N] [--cycles N]``; see docs/soak.md."""

from __future__ import annotations

import argparse
import functools
import resource
import sys
from collections.abc import Callable
from dataclasses import dataclass

from anyws._cli import backends

from . import connections, cycles, flood, storm, unread
from .resources import Failed


@dataclass(frozen=True, slots=True)
class _Run:
    """A run with its defaults. `start` returns the figures by name."""

    start: Callable[[argparse.Namespace], dict[str, str]]
    connections: int | None = None
    seconds: float | None = None


def _connections(given: argparse.Namespace) -> dict[str, str]:
    return connections.run(given.backend, given.connections, given.seconds)


def _storm(given: argparse.Namespace) -> dict[str, str]:
    return storm.run(given.backend, given.connections, given.seconds, None)


def _limited(given: argparse.Namespace) -> dict[str, str]:
    return storm.run(given.backend, given.connections, given.seconds, max(given.connections // 4, 2))


def _cycles(given: argparse.Namespace) -> dict[str, str]:
    return backends.run(given.backend, functools.partial(cycles.run, given.cycles))


def _flood(given: argparse.Namespace) -> dict[str, str]:
    return backends.run(given.backend, functools.partial(flood.run, given.connections, given.seconds))


def _unread(given: argparse.Namespace) -> dict[str, str]:
    return backends.run(given.backend, functools.partial(unread.run, given.connections, given.seconds, given.engine))


_RUNS = {
    "connections": _Run(_connections, 10_000, 600),
    "storm": _Run(_storm, 3000, 60),
    "limited": _Run(_limited, 3000, 60),
    "cycles": _Run(_cycles),
    "flood": _Run(_flood, 10, 60),
    "unread": _Run(_unread, 30, 60),
}
_SPARE = 100  # descriptors


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m soak", description="Look for leaks. Progress is written to stderr."
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"run: {', '.join(_RUNS)} (default: all)")
    parser.add_argument(
        "--backend", choices=backends.BACKENDS, default="asyncio", help="event loop (default: %(default)s)"
    )
    numbers = ", ".join(f"{name} {run.connections}" for name, run in _RUNS.items() if run.connections)
    seconds = ", ".join(f"{name} {run.seconds}" for name, run in _RUNS.items() if run.seconds)
    parser.add_argument("--connections", type=int, help=f"number of concurrent connections (default: {numbers})")
    parser.add_argument("--seconds", type=float, help=f"duration (default: {seconds})")
    parser.add_argument("--cycles", type=int, default=100_000, help="number of cycles (default: %(default)s)")
    parser.add_argument("--engine", metavar="URL", help="of the topics of unread (default: one process)")
    given = parser.parse_args(arguments)
    given.names = given.names or list(_RUNS)
    if unknown := set(given.names) - set(_RUNS):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; choose from {', '.join(_RUNS)}")
    return given


def main(arguments: list[str]) -> int:
    """Run, print the figures, and return the exit status: 1 if a run found a problem."""
    given = _parse(arguments)
    status = 0
    for name in given.names:
        run = _RUNS[name]
        settings = argparse.Namespace(**vars(given))
        settings.connections = given.connections or run.connections
        settings.seconds = given.seconds or run.seconds
        print(f"{name} on {given.backend}", flush=True)
        try:
            _raise_limit(settings.connections or 0)
            for figure, value in run.start(settings).items():
                print(f"    {figure}: {value}", flush=True)
        except Failed as exc:
            status = 1
            print(f"    failed: {exc}", flush=True)
    return status


def _raise_limit(connections: int) -> None:
    """Raise the limit on file descriptors for this process and its children, as far as necessary.

    Raises:
        Failed: the system does not allow that many.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = connections + _SPARE
    if soft != resource.RLIM_INFINITY and soft < needed:
        if hard != resource.RLIM_INFINITY and hard < needed:
            raise Failed(f"{needed} file descriptors are needed, but the limit is {hard}; see ulimit -Hn")
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
