"""The scripts that complete the command line in bash, zsh and fish, generated from the options of all commands."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass

__all__ = ["SCRIPTS", "Option"]

_FILES = {"FILE", "SOCKET"}  # the metavars of options that take a path
_DIRECTORIES = {"DIRECTORY"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """An option of a command, or an argument if it has no names.

    Attributes:
        names: ``-k`` and ``--insecure``, for example.
        help: a short description.
        metavar: what its value is called; empty if it has none.
        choices: its possible values; empty for any.
        repeats: whether it may be given several times.
    """

    names: tuple[str, ...]
    help: str
    metavar: str
    choices: tuple[str, ...]
    repeats: bool

    @property
    def is_path(self) -> bool:
        return self.metavar in _FILES | _DIRECTORIES


_Commands = Mapping[str, list[Option]]


def _bash(main: list[Option], commands: _Commands, summaries: Mapping[str, str]) -> str:
    values: list[str] = []
    words: list[str] = []
    for command, options in commands.items():
        names = " ".join(name for option in options for name in option.names)
        arguments = " ".join(choice for option in options if not option.names for choice in option.choices)
        words.append(f"        {command}) options={shlex.quote(names)} arguments={shlex.quote(arguments)} ;;")
        for option in options:
            if not (option.names and option.metavar):
                continue
            pattern = "|".join(f"'{command} {name}'" for name in option.names)
            if option.choices:
                values.append(f'        {pattern}) _anyws_reply "{" ".join(option.choices)}"; return ;;')
            elif option.is_path:
                values.append(f"        {pattern}) return ;;")  # the shell completes paths
            else:
                values.append(f"        {pattern}) compopt +o default 2> /dev/null; return ;;")
    names = " ".join(name for option in main for name in option.names)
    return _BASH.format(
        commands=" ".join(commands),
        alternatives="|".join(commands),
        names=names,
        values="\n".join(values),
        words="\n".join(words),
    )


_BASH = """\
# Completion of anyws for bash. Where COMPREPLY stays empty, the shell completes paths.
_anyws_reply() {{
    COMPREPLY=($(compgen -W "$1" -- "$current"))
}}

_anyws() {{
    local current=${{COMP_WORDS[COMP_CWORD]}} previous=${{COMP_WORDS[COMP_CWORD-1]}} command= options arguments i
    if [[ $current == '=' ]]; then
        current=
    elif [[ $previous == '=' ]]; then
        previous=${{COMP_WORDS[COMP_CWORD-2]}}
    fi
    for ((i = 1; i < COMP_CWORD; i++)); do
        case ${{COMP_WORDS[i]}} in
            {alternatives}) command=${{COMP_WORDS[i]}}; break ;;
        esac
    done
    case "$command $previous" in
{values}
    esac
    case $command in
        '') options='{names}' arguments='{commands}' ;;
{words}
    esac
    if [[ $current == -* ]]; then
        _anyws_reply "$options"
    elif [[ -n $arguments ]]; then
        _anyws_reply "$arguments"
    else
        compopt +o default 2> /dev/null
    fi
}}
complete -o default -F _anyws anyws"""


def _zsh(main: list[Option], commands: _Commands, summaries: Mapping[str, str]) -> str:
    described = "\n".join(f"            {shlex.quote(f'{name}:{text}')}" for name, text in summaries.items())
    cases = "\n".join(
        f"        {command})\n            _arguments -s {_zsh_specs(options)}\n            ;;"
        for command, options in commands.items()
    )
    return _ZSH.format(main=_zsh_specs(main), commands=described, cases=cases)


def _zsh_specs(options: list[Option]) -> str:
    return " \\\n                ".join(shlex.quote(spec) for option in options for spec in _zsh_option(option))


def _zsh_option(option: Option) -> list[str]:
    text = re.sub(r"([\[\]:\\])", r"\\\1", option.help)
    kind = "_files -/" if option.metavar in _DIRECTORIES else "_files" if option.is_path else " "
    if option.choices:
        kind = f"({' '.join(option.choices)})"
    if not option.names:  # an argument that is not a choice is left out: zsh would show its name instead of completing
        return [f":{option.metavar}:{kind}"] if option.choices else []
    before = "*" if option.repeats else f"({' '.join(option.names)})"
    if not option.metavar:
        return [f"{before}{name}[{text}]" for name in option.names]
    value = f":{re.sub(r'[^A-Za-z]+', ' ', option.metavar).strip().lower()}:{kind}"
    # The value is the next word, or follows in the same one: -x1, --x=1.
    return [f"{before}{name}{'=' if name.startswith('--') else '+'}[{text}]{value}" for name in option.names]


_ZSH = """\
#compdef anyws
# Completion of anyws for zsh.
_anyws() {{
    local curcontext=$curcontext state line
    typeset -A opt_args
    _arguments -C -s {main} \\
                '1: :->command' '*:: :->arguments'
    case $state in
        command)
            local -a commands
            commands=(
{commands}
            )
            _describe command commands
            return
            ;;
        arguments) ;;
        *) return ;;
    esac
    case $words[1] in
{cases}
    esac
}}
if [[ $funcstack[1] == _anyws ]]; then
    _anyws "$@"
else
    compdef _anyws anyws
fi"""


def _fish(main: list[Option], commands: _Commands, summaries: Mapping[str, str]) -> str:
    lines = ["# Completion of anyws for fish.", "complete -c anyws -f"]
    first = f"-n 'not __fish_seen_subcommand_from {' '.join(commands)}'"
    for name, text in summaries.items():
        lines.append(f"complete -c anyws {first} -a {name} -d {_fish_quote(text)}")
    lines += [f"complete -c anyws {first} {_fish_option(option)}" for option in main]
    for command, options in commands.items():
        there = f"-n '__fish_seen_subcommand_from {command}'"
        lines += [f"complete -c anyws {there} {text}" for option in options if (text := _fish_option(option))]
    return "\n".join(lines)


def _fish_option(option: Option) -> str:
    """Return the arguments of `complete` for an option; empty for an argument that is not a choice."""
    parts = [f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}" for name in option.names]
    if option.choices:
        parts.append(f"-x -a {_fish_quote(' '.join(option.choices))}")
    elif not option.names:
        return ""
    elif option.metavar:
        parts.append("-r -F" if option.is_path else "-x")
    return " ".join([*parts, f"-d {_fish_quote(option.help)}"])


def _fish_quote(text: str) -> str:
    r"""Quote a text; within quotes, fish knows ``\\`` and ``\'``."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


_Script = Callable[[list[Option], _Commands, Mapping[str, str]], str]

SCRIPTS: Mapping[str, _Script] = {"bash": _bash, "zsh": _zsh, "fish": _fish}
"""The script for each shell, from the options before the command, the options of each command, and its summary."""
