"""Install the testsuite: ``python -m compliance.install FOLDER`` makes a virtualenv of Python 2.7 there.

The suite is for Python 2.7 only, so this neither uses nor touches the environment that anyws is tested in. Exit status
77 says, with the reason on stdout, that there is nothing to install it with.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

__all__ = ["SKIPPED", "NoPython27", "clean_environment", "find_python27", "install", "interpreter"]

SKIPPED = 77  # as in automake and meson

_PINS = Path(__file__).with_name("requirements-wstest.txt")
_PINS_OF_VIRTUALENV = Path(__file__).with_name("requirements-virtualenv.txt")
# What the pinned wheels are for (cp27mu): narrow builds of Python 2.7 cannot load them.
_IS_RIGHT = "import sys; sys.exit(not (sys.version_info[:2] == (2, 7) and sys.maxunicode > 0xFFFF))"
_PIP_OPTIONS = ("--quiet", "--disable-pip-version-check", "--no-deps", "--require-hashes")


class NoPython27(Exception):
    """The suite cannot be installed on this machine; says why."""


def interpreter(folder: Path) -> Path:
    """Return the Python 2.7 of an installed suite."""
    return folder / "bin" / "python"


def clean_environment() -> dict[str, str]:
    """Return the environment for a Python 2.7, without what is meant for the Python that runs us."""
    ours = {"PYTHONPATH", "PYTHONHOME", "PYTHONWARNINGS", "VIRTUAL_ENV"}
    return {name: value for name, value in os.environ.items() if name not in ours} | {"PYTHONUNBUFFERED": "1"}


def install(folder: Path) -> None:
    """Make the virtualenv, unless it is there with the same pins.

    Raises:
        NoPython27: there is no Python 2.7 for it.
        subprocess.CalledProcessError: pip failed, and has said why.
    """
    stamp = folder / "pins.sha256"
    pins = hashlib.sha256(_PINS.read_bytes() + _PINS_OF_VIRTUALENV.read_bytes()).hexdigest()
    if stamp.exists() and stamp.read_text() == pins:
        return
    shutil.rmtree(folder, ignore_errors=True)
    python27 = find_python27()
    with tempfile.TemporaryDirectory() as scratch:
        _make_virtualenv(python27, folder, Path(scratch))
        _install_pins(folder, Path(scratch))
    stamp.write_text(pins)


def find_python27() -> Path:
    """Return a Python 2.7 that runs: from the PATH, or one of pyenv's that need not be switched on.

    Raises:
        NoPython27: there is none.
    """
    if sys.platform != "linux" or platform.machine() != "x86_64":
        raise NoPython27("the Autobahn testsuite is pinned for Linux on x86_64")
    for candidate in _candidates():
        check = [str(candidate), "-c", _IS_RIGHT]
        # One of pyenv's shims is on the PATH even where its version is not switched on; it fails.
        if not subprocess.run(check, check=False, capture_output=True, env=clean_environment()).returncode:
            return candidate
    raise NoPython27("there is no Python 2.7, which the Autobahn testsuite needs: neither on the PATH nor in pyenv")


def _candidates() -> Iterator[Path]:
    on_path = shutil.which("python2.7")
    if on_path is not None:
        yield Path(on_path)
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    yield from sorted(pyenv.glob("versions/2.7*/bin/python2.7"), reverse=True)


def _make_virtualenv(python27: Path, folder: Path, scratch: Path) -> None:
    # Our own pip fetches it: a Python 2.7 from a distribution has none.
    source = scratch / "virtualenv"
    pip = [sys.executable, "-m", "pip", "install", *_PIP_OPTIONS]
    subprocess.run([*pip, "--target", str(source), "-r", str(_PINS_OF_VIRTUALENV)], check=True)
    virtualenv = [str(python27), str(source / "virtualenv.py"), "--quiet", "--no-download", str(folder)]
    subprocess.run(virtualenv, check=True, env=clean_environment())


def _install_pins(folder: Path, scratch: Path) -> None:
    pins = re.sub(r"\\\n\s*", "", _PINS.read_text()).splitlines()
    wsaccel = [pin for pin in pins if pin.startswith("wsaccel==")]
    _pip(folder, scratch / "pins.txt", [pin for pin in pins if pin not in wsaccel])
    if shutil.which("gcc") is None:
        print("no gcc: the testsuite goes without wsaccel, and takes five times the CPU")
        return
    try:
        _pip(folder, scratch / "wsaccel.txt", wsaccel, "--no-build-isolation")
    except subprocess.CalledProcessError:
        print("wsaccel could not be built: the testsuite goes without it, and takes five times the CPU")


def _pip(folder: Path, requirements: Path, pins: list[str], *options: str) -> None:
    requirements.write_text("\n".join(pins) + "\n")
    pip = [str(interpreter(folder)), "-m", "pip", "--no-python-version-warning", "install", *_PIP_OPTIONS]
    subprocess.run([*pip, *options, "-r", str(requirements)], check=True, env=clean_environment())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Install the Autobahn testsuite.")
    parser.add_argument("folder", type=Path)
    try:
        install(parser.parse_args().folder.absolute())
    except NoPython27 as exc:
        print(exc)
        sys.exit(SKIPPED)
