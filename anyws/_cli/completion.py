"""The command ``anyws completion``: prints a script that completes commands, options and their values in a shell.

The script contains all names, so completing does not start Python.
"""

from __future__ import annotations

import argparse
import functools
import re
from collections.abc import Mapping

from .completion_scripts import SCRIPTS, Option
from .exit_status import ExitStatus
from .printing import print_line

__all__ = ["add_arguments"]

DESCRIPTION = """\
Print a script that completes commands, options and their values in your shell.
To use it, add one of these lines to your shell's startup file:

  bash  ~/.bashrc                   source <(anyws completion bash)
  zsh   ~/.zshrc, after compinit    source <(anyws completion zsh)
  fish  ~/.config/fish/config.fish  anyws completion fish | source"""


def add_arguments(parser: argparse.ArgumentParser, main: argparse.ArgumentParser, summaries: Mapping[str, str]) -> None:
    """Add the arguments of the command.

    Args:
        parser: the parser of the command.
        main: the parser of all commands.
        summaries: describes each command in one line.
    """
    parser.description = DESCRIPTION
    parser.add_argument("shell", choices=SCRIPTS, metavar="SHELL", help="bash, zsh or fish")
    parser.set_defaults(run=functools.partial(_run, main, summaries))


def _run(main: argparse.ArgumentParser, summaries: Mapping[str, str], arguments: argparse.Namespace) -> int:
    commands = next(dict(each.choices or {}) for each in _actions(main) if each.nargs == argparse.PARSER)
    options = {name: _options(commands[name]) for name in summaries}
    script = SCRIPTS[arguments.shell](_options(main), options, summaries)
    return ExitStatus.OK if print_line(script) else ExitStatus.FAILED


def _actions(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    return parser._actions  # pyright: ignore[reportPrivateUsage] (argparse has no public list)


def _options(parser: argparse.ArgumentParser) -> list[Option]:
    return [
        Option(
            names=tuple(action.option_strings),
            help=re.split(r"[;(]", (action.help or "").replace("%(default)s", str(action.default)))[0].strip(" ,"),
            metavar="" if action.nargs == 0 else str(action.metavar or action.dest.upper()),
            choices=tuple(map(str, action.choices or ())),
            repeats=type(action).__name__ in ("_AppendAction", "_ExtendAction"),
        )
        for action in _actions(parser)
        if action.help != argparse.SUPPRESS and action.nargs != argparse.PARSER
    ]
