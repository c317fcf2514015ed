"""The parameters in the query of a request."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from urllib.parse import parse_qsl

__all__ = ["Query"]


class Query(Mapping[str, str]):
    """The parameters of a query, such as ``room=1&tag=a&tag=b``: an immutable multi-mapping of `str` to `str`.

    ``query["name"]`` is the first value of a parameter, as with ``URLSearchParams`` in browsers. `get_all` returns all
    values of one parameter, and `multi_items` returns all parameters in order. Names and values are decoded: ``+`` is a
    space, and bytes that are not valid UTF-8 become U+FFFD. The value of a parameter without ``=`` is empty.

    Args:
        query: the query as sent, without the question mark.
    """

    __slots__ = ("_first", "_pairs")

    def __init__(self, query: str) -> None:
        self._pairs = tuple(parse_qsl(query, keep_blank_values=True))
        self._first = dict(reversed(self._pairs))

    def __getitem__(self, name: str) -> str:
        return self._first[name]

    def __iter__(self) -> Iterator[str]:
        """Iterate over the distinct names."""
        return iter(dict(self._pairs))

    def __len__(self) -> int:
        """Count the distinct names."""
        return len(self._first)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Query):
            return self._pairs == other._pairs
        return super().__eq__(other)

    def __hash__(self) -> int:
        return hash(self._pairs)

    def __repr__(self) -> str:
        """Show how many parameters there are, but not which: they may be secret."""
        return f"<Query of {len(self._pairs)} parameters>"

    def get_all(self, name: str) -> list[str]:
        """Return all values of a parameter, in order; an empty list if there are none."""
        return [value for each, value in self._pairs if each == name]

    def multi_items(self) -> list[tuple[str, str]]:
        """Return all (name, value) pairs in order."""
        return list(self._pairs)
