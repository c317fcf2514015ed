"""Run uvicorn's own tests of WebSocket with `anyws.uvicorn.Protocol`: ``python -m compliance.uvicorn_suite FOLDER``.

FOLDER is the unpacked source of the version of uvicorn that is installed. Only the list of protocols in its tests is
replaced. The run fails if a test fails that is not in `EXPECTED`, and also if one in `EXPECTED` passes.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tomllib
import xml.etree.ElementTree as ElementTree
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

__all__ = ["EXPECTED", "problems", "requirements", "with_protocol"]

PROTOCOL = "anyws.uvicorn:Protocol"

# Tests that look into uvicorn's own protocols, and why they cannot pass.
EXPECTED = {
    "test_server_keepalive_ping_pong": "requires an instance of one of uvicorn's classes",
    "test_server_keepalive_disabled": "requires an instance of one of uvicorn's classes",
    "test_close_resumes_reads_paused_on_an_unconsumed_message": (
        "requires that a single message pauses reading, which is why uvicorn's protocols drop clients that are alive"
    ),
    "test_close_gives_up_when_the_peer_never_replies": (
        "sets the attribute close_timeout to 0, and requires the end in the same turn of the event loop"
    ),
}

# What the tests need, of the requirements for uvicorn's development.
_NEEDED = {
    "a2wsgi",
    "cryptography",
    "httpx",
    "httpx2",
    "pytest",
    "pytest-mock",
    "pytest-xdist",
    "trustme",
    "uvicorn",
    "wsproto",
    "zttp",
}
_PARAMETERS = re.compile(r"params=\[(?:(?!params=\[).)*?\](?=,?\n\)\ndef ws_protocol_cls\()", re.DOTALL)


def requirements(folder: Path) -> list[str]:
    """Return the requirements of the tests."""
    project = tomllib.loads((folder / "pyproject.toml").read_text())
    listed: list[str] = [each for each in project["dependency-groups"]["dev"] if isinstance(each, str)]
    return [each for each in listed if re.split(r"[\[<>=!~; ]", each, maxsplit=1)[0] in _NEEDED]


def with_protocol(source: str) -> str:
    """Return the source of the fixtures with our protocol instead of uvicorn's."""
    replaced, count = _PARAMETERS.subn(f'params=["{PROTOCOL}"]', source)
    if count != 1:
        raise ValueError(f"the fixture ws_protocol_cls was found {count} times, expected once: uvicorn has changed it")
    return replaced


def problems(report: str) -> list[str]:
    """Compare a report in JUnit's format with `EXPECTED`, and return what is wrong."""
    failed: Counter[str] = Counter()
    passed: Counter[str] = Counter()
    for case in ElementTree.fromstring(report).iter("testcase"):
        name = case.get("name", "").partition("[")[0]
        if case.find("failure") is not None or case.find("error") is not None:
            failed[name] += 1
        elif case.find("skipped") is None:
            passed[name] += 1
    if not passed:
        return ["no test has passed"]
    return [
        *(f"{name} failed {count} times" for name, count in failed.items() if name not in EXPECTED),
        *(f"{name} passed, but is expected to fail: {why}" for name, why in EXPECTED.items() if passed[name]),
        *(f"{name} was not found, but is expected to fail: {why}" for name, why in _missing({*failed, *passed})),
    ]


def _missing(names: Iterable[str]) -> list[tuple[str, str]]:
    return [(name, why) for name, why in EXPECTED.items() if name not in names]


def main() -> int:
    """Run the tests, and print what is wrong."""
    parser = argparse.ArgumentParser(prog="compliance.uvicorn_suite", description="Run uvicorn's tests with anyws.")
    parser.add_argument("folder", type=Path, help="unpacked source of uvicorn")
    parser.add_argument("--requirements", action="store_true", help="print the requirements of the tests, and end")
    parser.add_argument("arguments", nargs="*", help="arguments for pytest")
    options = parser.parse_args()
    folder: Path = options.folder
    if options.requirements:
        print("\n".join(requirements(folder)))
        return 0
    fixtures = folder / "tests" / "conftest.py"
    fixtures.write_text(with_protocol(fixtures.read_text()))
    shutil.rmtree(folder / "uvicorn", ignore_errors=True)  # the installed one is tested
    files = [path for path in sorted(folder.glob("tests/**/test_*.py")) if "ws_protocol_cls" in path.read_text()]
    report = folder / "report.xml"
    command = [sys.executable, "-m", "pytest", "-q", "-n", "2", "--tb=short", f"--junit-xml={report.resolve()}"]
    subprocess.run([*command, *(path.relative_to(folder) for path in files), *options.arguments], cwd=folder)  # noqa: PLW1510
    found = problems(report.read_text())
    print("\n".join(found) or "All tests pass but those that are expected to fail.")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
