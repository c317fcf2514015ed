"""The command ``anyws demo``."""

from __future__ import annotations

import argparse
import functools

from .backends import is_missing, run
from .certificates import Certificates, make_certificates
from .scenes import HOST, SCENES, Scene
from .stopping import stop_signals

__all__ = ["add_arguments"]

DESCRIPTION = """\
Run the examples of the node:websocket proposal: a client and a server, with TLS
and without, on trio and on asyncio, and check that they behave as expected. The
certificates are created for this run.

The client in the proposal does not mask its frames, contrary to RFC 6455. The
demo therefore also shows that a server closes such a connection with 1002,
unless it was configured to accept unmasked frames.

Requires the extra "demo": pip install 'anyio-websocket[demo]'"""

EPILOG = """\
exit status:
  0  all examples ran as expected
  1  some did not
  2  the extra is missing"""

_BACKENDS = ("trio", "asyncio")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.description, parser.epilog = DESCRIPTION, EPILOG
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    if is_missing("trio", "trustme"):
        return 2
    certificates = make_certificates(HOST)
    successes = [
        run(backend, functools.partial(_play, scene, backend, certificates))
        for backend in _BACKENDS
        for scene in SCENES
    ]
    print(f"{sum(successes)} of {len(successes)} examples ran as expected")
    return 0 if all(successes) else 1


async def _play(scene: Scene, backend: str, certificates: Certificates) -> bool:
    print(f"{backend}: {scene.title}")
    happened: dict[str, list[str]] = {"server": [], "client": []}

    def log(who: str, what: str, more: object = "", /) -> None:
        happened[who].append(what)
        print(f"  {who}  {what}" + (f" ({more})" if more else ""), flush=True)

    is_over = False
    async with stop_signals():
        await scene.play(log, certificates)
        is_over = True
    if not is_over:
        raise KeyboardInterrupt
    for who, expected in scene.expected.items():
        if happened[who] != expected:
            print(f"  UNEXPECTED: the {who} should have reported: {'; '.join(expected)}")
    print()
    return happened == scene.expected
