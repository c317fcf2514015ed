"""The ways in which bytes may come: all at once, or one by one."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pytest

Chunked = Callable[[bytes], Iterable[bytes]]


def whole(data: bytes) -> Iterable[bytes]:
    return [data]


def byte_by_byte(data: bytes) -> Iterable[bytes]:
    return [data[i : i + 1] for i in range(len(data))]


chunked = pytest.mark.parametrize("chunked", [whole, byte_by_byte])
