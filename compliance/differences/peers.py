"""The libraries under test. Each one is an echo program in a separate process.

As ``server``, a program prints ``listening on port N`` and runs until it is killed. As ``client URI COUNT``, it
connects COUNT times, each time after the previous connection was closed or rejected.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

__all__ = ["PEERS", "Peer", "PeerMissing"]

_HERE = Path(__file__).parent
_NPM = _HERE.parent.parent / "tests" / "interop"  # contains package.json


class PeerMissing(Exception):
    """A library is not installed. The message says how to install it."""


@dataclass(frozen=True, slots=True)
class Peer:
    """A library under test.

    Attributes:
        name: the name of its package.
    """

    name: str

    @property
    def command(self) -> Sequence[str | Path]:
        """The command that runs the echo program."""
        if self.name == "ws":
            return [shutil.which("node") or "node", _HERE / "echo_ws.mjs", _NPM]
        return [sys.executable, "-m", f"{__package__}.echo_{self.name}"]

    @property
    def title(self) -> str:
        """The name and version; for anyws only the name.

        Raises:
            PeerMissing: the library is not installed.
        """
        if self.name == "anyws":
            return self.name
        try:
            return f"{self.name} {_version_of_ws() if self.name == 'ws' else version(self.name)}"
        except PackageNotFoundError as exc:
            raise PeerMissing(f"{self.name} is not installed; run pip install {self.name}") from exc


def _version_of_ws() -> str:
    try:
        package = json.loads((_NPM / "node_modules" / "ws" / "package.json").read_text())
    except FileNotFoundError as exc:
        raise PeerMissing("ws is not installed; run npm ci --prefix tests/interop") from exc
    if shutil.which("node") is None:
        raise PeerMissing("Node is not installed")
    return str(package["version"])


PEERS = [Peer(name) for name in ("websockets", "wsproto", "ws", "anyws")]
