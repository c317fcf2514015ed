"""Check that the sdist and the wheels contain what they must, and nothing else."""

from __future__ import annotations

import subprocess
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

from .agreement import DISTRIBUTION, ROOT, version

__all__ = ["sdist_faults", "wheel_faults"]

_NAME = DISTRIBUTION.replace("-", "_")  # in names of files
_GENERATED = ("PKG-INFO", "setup.cfg", f"{_NAME}.egg-info/")  # by setuptools


def sdist_faults(sdist: Path) -> Iterator[str]:
    """Compare an sdist with the repository; it also contains tests and documentation."""
    top = f"{_NAME}-{version()}/"
    with tarfile.open(sdist) as archive:
        files = {member.name.removeprefix(top) for member in archive if member.isfile()}
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, check=True, text=True).stdout.split(
        "\n"
    )
    wanted = {name for name in listed if name and (ROOT / name).exists()}
    yield from (f"{sdist.name} lacks {name}" for name in sorted(wanted - files))
    yield from (f"{sdist.name} has {name}" for name in sorted(files - wanted) if not name.startswith(_GENERATED))


def wheel_faults(wheel: Path, *, compiled: bool) -> Iterator[str]:
    """Compare a wheel with the package: modules and type stubs, no C source, the extension only if it is compiled."""
    with zipfile.ZipFile(wheel) as archive:
        files = {name for name in archive.namelist() if ".dist-info/" not in name and not name.endswith("/")}
        meta = {name.partition(".dist-info/")[2] for name in archive.namelist() if ".dist-info/" in name}
    wanted = {
        str(path.relative_to(ROOT))
        for pattern in ("**/*.py", "**/*.pyi", "py.typed")
        for path in (ROOT / "anyws").glob(pattern)
    }
    extensions = {name for name in files if name.startswith("anyws/protocol/_speedups.") and not name.endswith(".pyi")}
    yield from (f"{wheel.name} lacks {name}" for name in sorted(wanted - files))
    yield from (f"{wheel.name} has {name}" for name in sorted(files - wanted - extensions))
    if len(extensions) != compiled:
        yield f"{wheel.name} has {len(extensions)} compiled extensions"
    if wheel.name.endswith("-none-any.whl") is compiled:
        yield f"{wheel.name} has the wrong tag"
    yield from (f"{wheel.name} lacks {name}" for name in {"licenses/LICENSE", "entry_points.txt"} - meta)
