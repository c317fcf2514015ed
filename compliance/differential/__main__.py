"""Compare: ``python -m compliance.differential [--seconds N | --count N] [--seed S] [--peer NAME ...] | --known``."""

from __future__ import annotations

import argparse
import itertools
import sys
import time

from .compare import Counts, compare
from .known import KNOWN
from .peers import PEERS, Ws

_PRINTED = 10  # differences; further ones are only counted


def known_table() -> str:
    """Return the known differences as a table in Markdown."""
    rows = [f"| {known.name} | {', '.join(known.peers)} | {known.explanation} | {known.section} |" for known in KNOWN]
    return "\n".join(["| Difference | With | What | Section |", "|---|---|---|---|", *rows])


def main(arguments: list[str]) -> int:
    """Run the comparison, print the results, and return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m compliance.differential",
        description="Give the same frames to anyws and to other implementations.",
    )
    parser.add_argument("--seconds", type=float, default=60, help="how long to run (default: %(default)s)")
    parser.add_argument("--count", type=int, help="number of sequences, instead of --seconds")
    parser.add_argument("--seed", type=int, default=0, help="the first seed (default: %(default)s)")
    parser.add_argument(
        "--peer",
        action="append",
        choices=PEERS,
        help="peer to compare with; repeatable (default: all that are available)",
    )
    parser.add_argument("--known", action="store_true", help="only print the known differences")
    options = parser.parse_args(arguments)
    if options.known:
        print(known_table())
        return 0
    peers = options.peer or list(PEERS)
    if "ws" in peers and (missing := Ws.missing()) is not None:
        if options.peer:
            parser.error(f"ws: {missing}")
        print(f"without ws: {missing}")
        peers.remove("ws")
    start = time.monotonic()
    seeds = range(options.seed, options.seed + options.count) if options.count else itertools.count(options.seed)
    counts = Counts()
    for difference in compare(seeds, peers, counts):
        if difference is not None and counts.unexplained <= _PRINTED:
            print(difference, flush=True)
        if difference is None and not options.count and time.monotonic() - start > options.seconds:
            break
    elapsed = time.monotonic() - start
    rate = counts.sequences / elapsed
    print(f"{counts.sequences} sequences from seed {options.seed} in {elapsed:.0f} s, {rate:.0f} per second")
    print(f"anyws: {counts.events} events, {counts.failures} failures")
    for peer, count in counts.compared.items():
        print(f"{peer}: {count} compared")
    for (peer, name), count in sorted(counts.known.items()):
        print(f"  known: {peer}, {name}: {count}")
    print(f"unexplained: {counts.unexplained}")
    return 1 if counts.unexplained else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
