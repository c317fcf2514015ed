"""Act out many scenarios: ``python -m tests.faults --count 5000 --seed 0 --backend trio``."""

from __future__ import annotations

import argparse
import sys

from .clocks import BACKENDS
from .runs import failures_of, replay


def main() -> int:
    """Run the seeds that were asked for; return the exit status: 1 if something was wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--count", type=int, default=1000, help="how many seeds (1000)")
    parser.add_argument("--seed", type=int, default=0, help="the first of them (0)")
    parser.add_argument("--backend", choices=BACKENDS, default="trio")
    parser.add_argument("--verbose", action="store_true", help="say what each scenario is and what was seen")
    arguments = parser.parse_args()
    seeds = range(arguments.seed, arguments.seed + arguments.count)
    if arguments.verbose:
        for seed in seeds:
            print(replay(seed, arguments.backend))
    failed = failures_of(seeds, arguments.backend)
    for failure in failed:
        print(failure, file=sys.stderr)
    print(f"{arguments.backend}: {len(seeds)} seeds from {arguments.seed}, {len(failed)} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
