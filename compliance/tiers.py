"""The cases of a run, and their number."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["TIERS", "Tier"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tier:
    """A selection of cases.

    Attributes:
        patterns: the cases; a trailing ``*`` matches all cases with that prefix.
        count: the number of cases in the pinned release of the testsuite.
        time_limit: the limit for one role on one backend in seconds, several times the usual duration.
    """

    patterns: tuple[str, ...]
    count: int
    time_limit: float


# Framing, pings, reserved bits, opcodes, fragmentation, UTF-8, closing, limits; there is no section 8 or 11.
_CORE = tuple(f"{section}.*" for section in (1, 2, 3, 4, 5, 6, 7, 9, 10))
# permessage-deflate: messages of 16 bytes to 16 KiB, and 8 KiB in fragments of 256 bytes; larger ones take minutes.
_SECTIONS_OF_DEFLATE = (*(f"12.{section}" for section in range(1, 6)), *(f"13.{section}" for section in range(1, 8)))
_GATE = tuple(f"{section}.{case}" for section in _SECTIONS_OF_DEFLATE for case in (1, 2, 3, 4, 5, 6, 7, 11))

TIERS = {
    "core": Tier(patterns=_CORE, count=301, time_limit=180),
    "gate": Tier(patterns=_CORE + _GATE, count=397, time_limit=600),
    "full": Tier(patterns=("*",), count=517, time_limit=3600),
}
