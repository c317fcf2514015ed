"""Methods that connections of other libraries have: using one raises an error that names ours."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NoReturn

from anyws._synonyms import METHODS

__all__ = ["PeersNames"]


class _PeersName:
    """An attribute that does not exist.

    For speed, because a ``__getattr__`` would slow down every other attribute of the class as well.
    """

    __slots__ = ("_name",)

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, owner: object, kind: type) -> NoReturn:
        message = f"{kind.__name__!r} object has no attribute {self._name!r}; use {METHODS[self._name]}"
        raise AttributeError(message, name=self._name, obj=owner)


class PeersNames:
    """The base class of a connection."""

    def __dir__(self) -> Iterable[str]:
        return [name for name in super().__dir__() if not isinstance(vars(PeersNames).get(name), _PeersName)]


for _name in METHODS:
    setattr(PeersNames, _name, _PeersName(_name))
