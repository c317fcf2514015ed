"""Install the testsuite: ``python -m compliance.install FOLDER`` creates a virtualenv for Python 2.7 there.

The testsuite needs Python 2.7, so this neither uses nor changes the environment in which anyws is tested. If it cannot
be installed, the exit status is 77 and stdout has the reason.
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
# The pinned wheels are for cp27mu; narrow builds of Python 2.7 cannot load them.
_IS_USABLE_PYTHON27 = "import sys; sys.exit(not (sys.version_info[:2] == (2, 7) and sys.maxunicode > 0xFFFF))"
_PIP_OPTIONS = ("--quiet", "--disable-pip-version-check", "--no-deps", "--require-hashes")


class NoPython27(Exception):
    """The testsuite cannot be installed on this machine. The message says why."""


def interpreter(folder: Path) -> Path:
    """Return the Python 2.7 of an installed testsuite."""
    return folder / "bin" / "python"


def clean_environment() -> dict[str, str]:
    """Return the environment for Python 2.7, without variables meant for the Python that runs this program."""
    ours = {"PYTHONPATH", "PYTHONHOME", "PYTHONWARNINGS", "VIRTUAL_ENV"}
    return {name: value for name, value in os.environ.items() if name not in ours} | {"PYTHONUNBUFFERED": "1"}


def install(folder: Path) -> None:
    """Create the virtualenv, unless it already exists with the same pins.

    Raises:
        NoPython27: no suitable Python 2.7 was found.
        subprocess.CalledProcessError: pip failed; its output says why.
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
    """Return a working Python 2.7 from the PATH, or from pyenv even if it is not active.

    Raises:
        NoPython27: none was found.
    """
    if sys.platform != "linux" or platform.machine() != "x86_64":
        raise NoPython27("the Autobahn testsuite is pinned for Linux on x86_64")
    for candidate in _candidates():
        check = [str(candidate), "-c", _IS_USABLE_PYTHON27]
        # A pyenv shim is on the PATH even if its version is not active; running it fails.
        if not subprocess.run(check, check=False, capture_output=True, env=clean_environment()).returncode:
            return candidate
    raise NoPython27("the Autobahn testsuite needs Python 2.7, which is neither on the PATH nor in pyenv")


def _candidates() -> Iterator[Path]:
    on_path = shutil.which("python2.7")
    if on_path is not None:
        yield Path(on_path)
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    yield from sorted(pyenv.glob("versions/2.7*/bin/python2.7"), reverse=True)


def _make_virtualenv(python27: Path, folder: Path, scratch: Path) -> None:
    # The current Python's pip downloads it, because the Python 2.7 of a distribution has no pip.
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
        print("gcc was not found: without wsaccel, the testsuite needs five times the CPU time")
        return
    try:
        _pip(folder, scratch / "wsaccel.txt", wsaccel, "--no-build-isolation")
    except subprocess.CalledProcessError:
        print("wsaccel could not be built: without it, the testsuite needs five times the CPU time")


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
