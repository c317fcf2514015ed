"""Fuzz: ``python -m fuzz [TARGET ...] [--seconds N] [--cache FOLDER]``, or ``python -m fuzz TARGET --input FILE``."""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from pathlib import Path

from .targets import TARGETS

CORPUS = Path(__file__).with_name("corpus")
_MAX_LENGTH = 2048  # bytes of one input
_TIMEOUT = 10  # seconds for one input, which hangs if it takes longer
_MEMORY = 1024  # MiB


def fuzz(name: str, seconds: int, cache: Path) -> bool:
    """Fuzz one target, and store new inputs in the cache for the next run. Return whether the target passed."""
    found, crashes = cache / name, cache / "crashes"
    found.mkdir(parents=True, exist_ok=True)
    crashes.mkdir(exist_ok=True)
    options = {
        "max_total_time": seconds,
        "max_len": _MAX_LENGTH,
        "timeout": _TIMEOUT,
        "rss_limit_mb": _MEMORY,
        "artifact_prefix": f"{crashes}/{name}-",
        "print_final_stats": 1,
        "reload": 0,
    }
    process = subprocess.run(
        [
            *(sys.executable, "-m", "fuzz.worker", name),
            *(f"-{option}={value}" for option, value in options.items()),
            *(str(found), str(CORPUS / name)),
        ],
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    output = process.stdout + process.stderr
    runs = re.search(r"stat::number_of_executed_units:\s*(\d+)", output)
    # The first line with coverage is that of the corpus, the last that of the whole run.
    covered = re.findall(r"cov: (\d+)", output)
    good = process.returncode == 0 and runs is not None
    if not good:
        print(output[-4000:])
        print(f"{name}: failed; repeat with python -m fuzz {name} --input FILE, with the file named above")
        return False
    assert runs is not None
    first, last = (covered[0], covered[-1]) if covered else ("?", "?")
    files = list(found.iterdir())
    print(
        f"{name}: {runs[1]} executions in {seconds} s, coverage {first} to {last}, "
        f"{len(files)} inputs of {sum(file.stat().st_size for file in files)} bytes in the cache",
        flush=True,
    )
    return True


def main(arguments: list[str]) -> int:
    """Run the fuzzer, print the results, and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m fuzz", description="Fuzz the code that reads a peer's bytes.")
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"target: {', '.join(TARGETS)} (default: all)")
    parser.add_argument("--seconds", type=int, default=10, help="duration for each target (default: %(default)s)")
    parser.add_argument(
        "--cache", type=Path, default=Path("build/fuzz"), help="folder for new inputs (default: %(default)s)"
    )
    parser.add_argument("--input", type=Path, help="run the target with this file instead of fuzzing")
    options = parser.parse_args(arguments)
    if unknown := set(options.targets) - set(TARGETS):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; choose from {', '.join(TARGETS)}")
    names: list[str] = options.targets or list(TARGETS)
    if options.input is not None:
        for name in names:
            TARGETS[name](options.input.read_bytes())
        return 0
    results = [fuzz(name, options.seconds, options.cache.absolute()) for name in names]
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
