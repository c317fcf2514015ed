"""Print the tables: ``python -m compliance.differences [PEER ...]``; see docs/differences.md.

The exit status is 1 if anyws breaks a rule, and 2 if a library is not installed.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

import anyio

from .case import ROLES, Outcomes
from .cases import CASES, cases_for
from .peers import PEERS, Peer, PeerMissing
from .table import find_wrong, tables
from .trial import run_trial


async def main(titles: dict[str, Peer]) -> list[str]:
    """Print the tables. Return the cases in which anyws breaks a rule."""
    columns: dict[str, Outcomes] = {}
    for title, peer in titles.items():
        columns[title] = {}
        for role in ROLES:
            columns[title] |= await run_trial(peer, role, cases_for(role))
    print(tables(CASES, columns))
    return find_wrong(CASES, columns["anyws"])


def parse(arguments: Sequence[str]) -> dict[str, Peer]:
    """Return the libraries selected on the command line by title, always including anyws."""
    parser = argparse.ArgumentParser(
        prog="compliance.differences", description="Show where WebSocket libraries handle the same bytes differently."
    )
    names = [peer.name for peer in PEERS]
    parser.add_argument("peers", nargs="*", metavar="PEER", help=f"library: {', '.join(names)} (default: all)")
    wanted = {*(parser.parse_args(arguments).peers or names), "anyws"}
    if unknown := wanted - {*names}:
        parser.error(f"unknown: {', '.join(sorted(unknown))}; choose from {', '.join(names)}")
    try:
        return {peer.title: peer for peer in PEERS if peer.name in wanted}
    except PeerMissing as exc:
        parser.error(str(exc))


if __name__ == "__main__":
    faults = anyio.run(main, parse(sys.argv[1:]))
    for fault in faults:
        print(fault, file=sys.stderr)
    sys.exit(1 if faults else 0)
