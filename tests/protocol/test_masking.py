"""Masking (RFC 6455, 5.3): the inner loop over payload bytes."""

from __future__ import annotations

import pytest
from hypothesis import given, settings, strategies as st

from anyws.protocol import apply_mask


def mask_slowly(data: bytes, key: bytes) -> bytes:
    """The definition of RFC 6455, 5.3, octet by octet."""
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
def test_masking_and_unmasking_are_the_same(data: bytes, key: bytes, masked: bytes) -> None:
    assert apply_mask(data, key) == masked
    assert apply_mask(masked, key) == data


# Around the sizes where an implementation changes its way: words, vector registers, 512 bytes, the lengths of 5.2.
SIZES = [*range(70), *range(120, 132), *range(508, 518), *range(1020, 1030), 65535, 65536, 65537, 1_000_003]


@pytest.mark.parametrize("size", SIZES)
def test_every_size_agrees_with_the_definition(size: int) -> None:
    data = bytes(i * 7 % 256 for i in range(size))
    key = b"\x80\x01\xfe\x37"
    assert apply_mask(data, key) == mask_slowly(data, key)


@pytest.mark.parametrize("size", [5, 600])
@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_each_kind_of_buffer_is_read_and_left_alone(kind: type, size: int) -> None:
    data = b"x" * size
    buffer = kind(bytearray(data) if kind is memoryview else data)
    masked = apply_mask(buffer, b"1234")
    assert type(masked) is bytes
    assert masked == mask_slowly(data, b"1234")
    assert bytes(buffer) == data


@given(data=st.binary(max_size=1100), key=st.binary(min_size=4, max_size=4))
@settings(deadline=None)
def test_agrees_with_the_definition(data: bytes, key: bytes) -> None:
    assert apply_mask(data, key) == mask_slowly(data, key)


@given(data=st.binary(max_size=1100), key=st.binary(min_size=4, max_size=4), cut=st.integers(0, 275))
@settings(deadline=None)
def test_parts_that_start_at_multiples_of_four_make_the_whole(data: bytes, key: bytes, cut: int) -> None:
    assert apply_mask(data[: cut * 4], key) + apply_mask(data[cut * 4 :], key) == apply_mask(data, key)
