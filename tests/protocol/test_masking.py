"""Masking (RFC 6455, section 5.3) in both twins."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, strategies as st

from tests.twins import both_twins

pytestmark = both_twins


def mask_slowly(data: bytes, key: bytes) -> bytes:
    """Mask data as RFC 6455, section 5.3 defines it, byte by byte."""
    return bytes(octet ^ key[i % 4] for i, octet in enumerate(data))


MASKED = [
    pytest.param(b"", b"\x01\x02\x03\x04", b"", id="empty"),
    pytest.param(b"\xff", b"\x0f\x00\x00\x00", b"\xf0", id="one-byte"),
    pytest.param(b"Hello", bytes.fromhex("37fa213d"), bytes.fromhex("7f9f4d5158"), id="rfc-5.7"),
    pytest.param(b"\0\0\0\0\0\0", b"abcd", b"abcdab", id="key-shows-through-zeros"),
    pytest.param(b"abcdabcd", b"abcd", b"\0" * 8, id="key-cancels"),
    pytest.param(b"same", b"\0\0\0\0", b"same", id="zero-key"),
    pytest.param(b"\0\0\0x", b"\0\0\0\x01", b"\0\0\0y", id="leading-zeros-stay"),
    pytest.param(b"x\0\0\0", b"\x01\0\0\0", b"y\0\0\0", id="trailing-zeros-stay"),
]


@pytest.mark.parametrize(("data", "key", "masked"), MASKED)
def test_masking_and_unmasking_are_the_same(twin: Any, data: bytes, key: bytes, masked: bytes) -> None:
    assert twin.apply_mask(data, key) == masked
    assert twin.apply_mask(masked, key) == data


# Around the sizes where an implementation changes its way: words, vector registers, the lengths of 5.2, 2 KiB
# and the stretches of the pure twin.
SIZES = [*range(70), *range(120, 132), *range(1020, 1030), *range(2040, 2060), 65535, 65536, 65537]
SIZES += [*range(131_071, 131_077), 262_145, 1_000_003]


@pytest.mark.parametrize("size", SIZES)
def test_every_size_agrees_with_the_definition(twin: Any, size: int) -> None:
    data = bytes(i * 7 % 256 for i in range(size))
    key = b"\x80\x01\xfe\x37"
    assert twin.apply_mask(data, key) == mask_slowly(data, key)


@pytest.mark.parametrize("size", [5, 3000])
@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_every_kind_of_buffer_is_read_and_not_changed(twin: Any, kind: type, size: int) -> None:
    data = b"x" * size
    buffer = kind(bytearray(data) if kind is memoryview else data)
    masked = twin.apply_mask(buffer, b"1234")
    assert type(masked) is bytes
    assert masked == mask_slowly(data, b"1234")
    assert bytes(buffer) == data


@given(data=st.binary(max_size=3000), key=st.binary(min_size=4, max_size=4))
def test_agrees_with_the_definition(twin: Any, data: bytes, key: bytes) -> None:
    assert twin.apply_mask(data, key) == mask_slowly(data, key)


@given(data=st.binary(max_size=3000), key=st.binary(min_size=4, max_size=4), cut=st.integers(0, 750))
def test_parts_that_start_at_multiples_of_four_can_be_masked_separately(
    twin: Any, data: bytes, key: bytes, cut: int
) -> None:
    assert twin.apply_mask(data[: cut * 4], key) + twin.apply_mask(data[cut * 4 :], key) == twin.apply_mask(data, key)


@pytest.mark.parametrize("key", [b"", b"123", b"12345", b"12345678"])
def test_a_key_has_four_bytes(twin: Any, key: bytes) -> None:
    with pytest.raises(ValueError, match=f"masking key of {len(key)} bytes, expected 4"):
        twin.apply_mask(b"data", key)


@pytest.mark.parametrize(
    "arguments",
    [(), (b"data",), ("text", b"1234"), (1, b"1234"), ([1, 2], b"1234"), (b"data", "1234"), (b"data", None)],
)
def test_arguments_that_are_not_bytes_are_rejected(twin: Any, arguments: Any) -> None:
    with pytest.raises(TypeError):
        twin.apply_mask(*arguments)


def test_a_buffer_with_gaps_is_rejected(twin: Any) -> None:
    with pytest.raises(BufferError):
        twin.apply_mask(memoryview(b"abcdef")[::2], b"1234")
