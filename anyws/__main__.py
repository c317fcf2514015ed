"""The command ``anyws``, also available as ``python -m anyws``."""

from __future__ import annotations

import sys

from ._cli.exit_status import CommandError
from ._cli.interrupts import recording_dropped_interrupts
from ._cli.notes import note
from ._cli.parser import parse_arguments
from ._cli.printing import flush_output

__all__ = ["main"]

_INTERRUPTED = 130  # 128 + SIGINT, as a shell reports it


def main(arguments: list[str] | None = None) -> int:
    """Run a command and return its exit status. By default, the arguments are those of the process.

    Raises:
        SystemExit: after ``--help`` and ``--version``; with status 2 if the command line is invalid.
    """
    try:
        parsed = parse_arguments(arguments)
    except SystemExit:  # after --help, whose reader may have exited, like `head`
        flush_output()
        raise
    try:
        with recording_dropped_interrupts():
            status: int = parsed.run(parsed)
    except KeyboardInterrupt:
        return _INTERRUPTED
    except CommandError as exc:
        note(f"anyws: {exc}")
        return exc.status
    return status


if __name__ == "__main__":
    sys.exit(main())
