"""Build, check and install a release, and list all problems: ``python -m release [--final] [--dist FOLDER]``."""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from .agreement import DISTRIBUTION, ROOT, disagreements, unfinished, version
from .archives import sdist_faults, wheel_faults

PURE = {"ANYWS_NO_EXTENSION": "1"}
IMPORTS = "import anyws, anyws.testing; from anyws.protocol import speedups_in_use as used; assert used is {compiled}"


def main() -> int:
    """Return 0 if there are no problems, otherwise 1."""
    parser = argparse.ArgumentParser(prog="python -m release", description="Build and check a release.")
    parser.add_argument("--final", action="store_true", help="also require a release date, URLs and a clean tree")
    parser.add_argument("--dist", type=Path, default=ROOT / "dist", help="folder for the sdist and the wheels")
    arguments = parser.parse_args()
    faults = [*disagreements(), *(unfinished() if arguments.final else ())]
    with tempfile.TemporaryDirectory() as work:
        faults += check_archives(Path(work), arguments.dist)
    for fault in faults:
        print(f"- {fault}")
    print(f"{DISTRIBUTION} {version()}: {len(faults) or 'no'} problems; the archives are in {arguments.dist}")
    return 1 if faults else 0


def check_archives(work: Path, dist: Path) -> Iterator[str]:
    """Build the sdist, build the wheels from the sdist instead of the tree, and try them."""
    shutil.rmtree(dist, ignore_errors=True)
    run("-m", "build", "--sdist", "--outdir", dist, ROOT)
    (sdist,) = dist.glob("*.tar.gz")
    yield from sdist_faults(sdist)
    with tarfile.open(sdist) as archive:
        archive.extractall(work, filter="data")
    source = work / sdist.name.removesuffix(".tar.gz")
    for name, env in (("pure", PURE), ("compiled", {})):
        built = work / name
        run("-m", "build", "--wheel", "--outdir", built, source, env=env)
        (wheel,) = built.glob("*.whl")
        compiled = not env
        yield from wheel_faults(wheel, compiled=compiled)
        yield from try_wheel(wheel, work / f"venv-{name}", compiled=compiled)
        if compiled and sys.platform == "linux":
            run("-m", "auditwheel", "repair", "--wheel-dir", dist, wheel)
            if not list(dist.glob("*manylinux*.whl")) and not list(dist.glob("*musllinux*.whl")):
                yield f"{wheel.name}: auditwheel found no portable platform tag"
        else:
            shutil.copy(wheel, dist)
    for wheel in dist.glob("*linux*.whl"):
        yield from wheel_faults(wheel, compiled=True)
        run("-m", "auditwheel", "show", wheel)
    run("-m", "twine", "check", "--strict", *sorted(dist.iterdir()))
    subprocess.run(["cffconvert", "--validate", "--infile", ROOT / "CITATION.cff"], check=True)


def try_wheel(wheel: Path, folder: Path, *, compiled: bool) -> Iterator[str]:
    """Install a wheel in a fresh environment, and use it outside the repository."""
    run("-m", "venv", folder)
    python = folder / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", f"{DISTRIBUTION}[demo] @ {wheel.as_uri()}"], check=True)
    said = subprocess.run([python, "-m", "anyws", "--version"], cwd=folder, check=True, capture_output=True, text=True)
    if said.stdout.split()[:2] != ["anyws", version()]:
        yield f"{wheel.name}: --version says {said.stdout.strip()}"
    for command in (["-c", IMPORTS.format(compiled=compiled)], ["-m", "anyws", "demo"]):
        if subprocess.run([python, *command], cwd=folder, stdout=subprocess.DEVNULL, check=False).returncode:
            yield f"{wheel.name}: {' '.join(command)} fails"


def run(*arguments: str | Path, env: Mapping[str, str] | None = None) -> None:
    """Run a module with this interpreter, and raise if it fails."""
    subprocess.run([sys.executable, *arguments], check=True, env={**os.environ, **(env or {})})


if __name__ == "__main__":
    sys.exit(main())
