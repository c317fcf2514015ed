"""The tables of the documentation, in Markdown."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence

from .case import ROLES, Case, Outcomes, Role

__all__ = ["find_wrong", "tables"]

_TITLES: dict[tuple[Role, ...], str] = {
    ("server",): "Sent to a server",
    ("client",): "Sent to a client",
    ROLES: "Sent to either",
}


def find_wrong(cases: Sequence[Case], outcomes: Outcomes) -> list[str]:
    """Return a line for each outcome that breaks a rule."""
    right = {(role, case.name): case.right for case in cases for role in case.roles}
    return [
        f"{role}: {name}: {outcome}, expected {right[role, name]}"
        for (role, name), outcome in outcomes.items()
        if outcome != right[role, name]
    ]


def tables(cases: Sequence[Case], columns: Mapping[str, Outcomes]) -> str:
    """Return tables for servers, for clients and for both: a row for each case, a column for each library.

    Correct outcomes are bold, permitted ones in italics. A case that all libraries handle correctly
    has no row, and is only listed below the table.
    """
    return "\n\n".join(
        _table(title, [case for case in cases if case.roles == roles], columns) for roles, title in _TITLES.items()
    )


def _table(title: str, cases: Sequence[Case], columns: Mapping[str, Outcomes]) -> str:
    heads = [title, *columns, "The rule"]
    rows = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    agreed = []
    for case in cases:
        found = [_cell(case, outcomes) for outcomes in columns.values()]
        if {*found} == {f"**{case.right}**"}:
            agreed.append(case.name)
        else:
            rows.append("| " + " | ".join([case.name, *found, f"{case.rule} ({case.section})"]) + " |")
    if agreed:
        names = f"Handled correctly by all: {'; '.join(agreed)}."
        rows += ["", *textwrap.wrap(names, 118, break_long_words=False, break_on_hyphens=False)]
    return "\n".join(rows)


def _cell(case: Case, outcomes: Outcomes) -> str:
    words = {role: _marked(case, outcomes[role, case.name]) for role in case.roles}
    if len({*words.values()}) == 1:
        return words[case.roles[0]]
    return ", ".join(f"{word} ({role})" for role, word in words.items())


def _marked(case: Case, word: str) -> str:
    return f"**{word}**" if word == case.right else f"*{word}*" if word in case.allowed else word
