"""Generates the tables of the documentation that come from the code: ``python docs/tables.py``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from anyws._connection.life import DEADLINES, TRANSITIONS, Phase

PAGE = Path(__file__).with_name("design.md")
BEGIN = "<!-- life: python docs/tables.py -->\n"
END = "<!-- end of life -->\n"


def life_table() -> Iterator[str]:
    """Yield the lines of the table of connection phases."""
    yield "| Phase | Deadline | Transitions |"
    yield "|---|---|---|"
    for phase in Phase:
        ways = [
            f"{event.name.replace('_', ' ').lower()} → {after.name}"
            for (before, event), (after, _) in TRANSITIONS.items()
            if before is phase and after is not phase
        ]
        yield f"| {phase.name} | {DEADLINES[phase].replace('``', '`')} | {', '.join(ways)} |"


def with_table(text: str) -> str:
    """Return the page with its table replaced by the current one."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n" + "\n".join(life_table()) + f"\n\n{END}{after}"


if __name__ == "__main__":
    PAGE.write_text(with_table(PAGE.read_text()))
