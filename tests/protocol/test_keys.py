"""The key of the opening handshake and its accept value (RFC 6455, sections 1.3, 4.1 and 4.2.2)."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given, strategies as st

from anyws.protocol import MAGIC_STRING, accept_value
from anyws.protocol.keys import VERSION, is_valid_key


def test_magic_string_and_version_are_those_of_the_rfc() -> None:
    assert MAGIC_STRING == "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
    assert VERSION == "13"


@pytest.mark.parametrize(
    ("key", "accept"),
    [
        pytest.param("dGhlIHNhbXBsZSBub25jZQ==", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", id="rfc-1.3"),
        pytest.param("AQIDBAUGBwgJCgsMDQ4PEC==", "OfS0wDaT5NoxF2gqm7Zj2YtetzM=", id="key-of-rfc-4.1"),
    ],
)
def test_accept_value_is_base64_of_the_hash_of_the_key_as_sent(key: str, accept: str) -> None:
    assert accept_value(key) == accept


def test_accept_value_uses_the_string_not_the_16_bytes() -> None:
    """Two strings may decode to the same nonce; the accept value tells them apart."""
    one, other = "AAAAAAAAAAAAAAAAAAAAAA==", "AAAAAAAAAAAAAAAAAAAAAB=="
    assert base64.b64decode(one) == base64.b64decode(other)
    assert accept_value(one) != accept_value(other)


@given(st.binary(min_size=16, max_size=16))
def test_base64_of_16_bytes_is_valid(nonce: bytes) -> None:
    assert is_valid_key(base64.b64encode(nonce).decode())


def test_the_example_of_the_rfc_is_valid_although_its_last_bits_are_not_zero() -> None:
    assert is_valid_key("AQIDBAUGBwgJCgsMDQ4PEC==")  # RFC 6455, section 4.1


@given(st.binary(max_size=64).filter(lambda nonce: len(nonce) != 16))
def test_base64_of_another_length_is_invalid(nonce: bytes) -> None:
    assert not is_valid_key(base64.b64encode(nonce).decode())


@pytest.mark.parametrize(
    "key",
    [
        pytest.param("", id="empty"),
        pytest.param("dGhlIHNhbXBsZSBub25jZQ", id="no-padding"),
        pytest.param("dGhlIHNhbXBsZSBub25jZQ=", id="half-padding"),
        pytest.param("dGhlIHNhbXBsZSBub25jZQ===", id="too-much-padding"),
        pytest.param("dGhlIHNhbXBsZSBub25jZQ==AAAA", id="data-behind-padding"),
        pytest.param("dGhlIHNhbXBs ZSBub25jZQ==", id="inner-space"),
        pytest.param(" dGhlIHNhbXBsZSBub25jZQ==", id="leading-space"),
        pytest.param("_-_-_-_-_-_-_-_-_-_-_w==", id="url-safe-alphabet"),
        pytest.param("dGhlIHNhbXBsZSBub25jZ\xe9==", id="not-ascii"),
        pytest.param("b37a4f2cc0624f1690f64606cf385945b2bec4ea", id="hex"),
    ],
)
def test_what_is_not_base64_is_invalid(key: str) -> None:
    assert not is_valid_key(key)
