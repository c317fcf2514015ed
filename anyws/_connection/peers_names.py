"""Methods that connections of other libraries have: using one raises an error that names ours."""

from __future__ import annotations

import typing

from anyws._synonyms import METHODS

__all__ = ["PeersNames"]


class PeersNames:
    """The base class of a connection."""

    if not typing.TYPE_CHECKING:  # for a type checker, a class with __getattr__ has any attribute

        def __getattr__(self, name: str) -> typing.NoReturn:
            hint = f"; use {METHODS[name]}" if name in METHODS else ""
            message = f"{type(self).__name__!r} object has no attribute {name!r}{hint}"
            raise AttributeError(message, name=name, obj=self)
