"""All cases."""

from __future__ import annotations

from .case import Case, Role
from .deflate_cases import DEFLATE_CASES
from .frame_cases import FRAME_CASES
from .request_cases import REQUEST_CASES
from .response_cases import RESPONSE_CASES

__all__ = ["CASES", "cases_for"]

CASES = [*REQUEST_CASES, *RESPONSE_CASES, *FRAME_CASES, *DEFLATE_CASES]


def cases_for(role: Role) -> list[Case]:
    """Return the cases for a library in this role."""
    return [case for case in CASES if role in case.roles]
