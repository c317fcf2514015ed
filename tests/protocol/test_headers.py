"""HTTP header fields: the multi-mapping, tokens, values and lists (RFC 9110, section 5)."""

from __future__ import annotations

from collections.abc import Container
from typing import Any, cast

import pytest
from hypothesis import given, strategies as st

from anyws.protocol import Headers
from anyws.protocol.headers import check_header, is_token, split_list

SEPARATORS = '()<>@,;:\\"/[]?={} \t'


@pytest.mark.parametrize("code", range(256))
def test_token_characters_are_those_of_the_rfc(code: int) -> None:
    character = chr(code)
    is_token_character = 0x20 < code < 0x7F and character not in SEPARATORS
    assert is_token(character) is is_token_character
    assert is_token(f"a{character}b") is is_token_character


def test_empty_text_is_not_a_token() -> None:
    assert not is_token("")


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\u2028"])
def test_a_trailing_newline_is_not_overlooked(newline: str) -> None:
    assert not is_token(f"a{newline}")
    with pytest.raises(ValueError, match="contains a forbidden character"):
        check_header("Name", f"value{newline}")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        pytest.param("X-Name", "value", id="plain"),
        pytest.param("x", "", id="empty"),
        pytest.param("x", "v", id="one-character"),
        pytest.param("x", "a \t b", id="inner-space"),
        pytest.param("x", "\xa0caf\xe9", id="latin-1"),
    ],
)
def test_a_valid_header(name: str, value: str) -> None:
    check_header(name, value)  # does not raise


@pytest.mark.parametrize(
    ("name", "value", "error", "message"),
    [
        pytest.param("", "v", ValueError, "not a token", id="empty-name"),
        pytest.param("a b", "v", ValueError, "not a token", id="space-in-name"),
        pytest.param("a:", "v", ValueError, "not a token", id="colon-in-name"),
        pytest.param("a", "v\r\nb: c", ValueError, "header a: the value contains", id="line-break"),
        pytest.param("a", "v\rw", ValueError, "contains a forbidden character", id="bare-cr"),
        pytest.param("a", "v\nw", ValueError, "contains a forbidden character", id="bare-lf"),
        pytest.param("a", "v\0w", ValueError, "contains a forbidden character", id="nul"),
        pytest.param("a", "v\x7fw", ValueError, "contains a forbidden character", id="delete"),
        pytest.param("a", " v", ValueError, "contains a forbidden character", id="leading-space"),
        pytest.param("a", "v\t", ValueError, "contains a forbidden character", id="trailing-tab"),
        pytest.param("a", "\u20ac", ValueError, "contains a forbidden character", id="beyond-latin-1"),
        pytest.param(b"a", "v", TypeError, "a header name must be a str, not bytes", id="bytes-name"),
        pytest.param("a", 1, TypeError, "header a: the value must be a str, not int", id="int-value"),
    ],
)
def test_an_invalid_header_is_rejected(name: Any, value: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        check_header(name, value)


@pytest.mark.parametrize(
    ("value", "elements"),
    [
        pytest.param("", [], id="empty"),
        pytest.param("a", ["a"], id="one"),
        pytest.param("a,b", ["a", "b"], id="two"),
        pytest.param(" keep-alive ,\tUpgrade ", ["keep-alive", "Upgrade"], id="space"),
        pytest.param(",a, ,b,,", ["a", "b"], id="empty-elements"),
        pytest.param("a b", ["a b"], id="inner-space-is-no-separator"),
        pytest.param("a,\xa0b", ["a", "\xa0b"], id="only-space-and-tab-are-white"),
    ],
)
def test_split_list(value: str, elements: list[str]) -> None:
    assert split_list(value) == elements


PAIRS = [("Upgrade", "h2c"), ("Host", "a"), ("UPGRADE", "websocket")]


def test_names_are_case_insensitive_and_repeat() -> None:
    headers = Headers(PAIRS)
    assert headers["upgrade"] == headers["Upgrade"] == "h2c, websocket"
    assert headers.get_all("upGrade") == ["h2c", "websocket"]
    assert headers.multi_items() == PAIRS
    assert list(headers) == ["upgrade", "host"]
    assert len(headers) == 2
    assert "HOST" in headers


def test_a_missing_name() -> None:
    headers = Headers(PAIRS)
    assert "origin" not in headers
    assert 1 not in cast("Container[object]", headers)
    assert headers.get("origin") is None
    assert headers.get_all("origin") == []
    with pytest.raises(KeyError):
        headers["origin"]


@pytest.mark.parametrize(
    "source",
    [
        pytest.param({"A": "1", "b": "2"}, id="mapping"),
        pytest.param([("A", "1"), ("b", "2")], id="pairs"),
        pytest.param(iter([("A", "1"), ("b", "2")]), id="iterator"),
        pytest.param(Headers([("A", "1"), ("b", "2")]), id="headers"),
    ],
)
def test_sources(source: Any) -> None:
    assert Headers(source).multi_items() == [("A", "1"), ("b", "2")]


def test_a_copy_keeps_repeated_headers() -> None:
    assert Headers(Headers(PAIRS)).multi_items() == PAIRS


def test_changing_a_returned_list_does_not_change_the_headers() -> None:
    headers = Headers(PAIRS)
    headers.get_all("upgrade").clear()
    headers.multi_items().clear()
    assert headers.get_all("upgrade") == ["h2c", "websocket"]
    assert headers.multi_items() == PAIRS


def test_repr_can_be_read_back() -> None:
    assert eval(repr(Headers(PAIRS))) == Headers(PAIRS)


def test_order_matters_within_a_name_only() -> None:
    assert Headers([("a", "1"), ("b", "2")]) == Headers([("B", "2"), ("A", "1")])
    assert Headers([("a", "1"), ("a", "2")]) != Headers([("a", "2"), ("a", "1")])
    assert Headers([("a", "1")]) != {"a": "1"}


def test_equal_headers_have_equal_hashes() -> None:
    assert hash(Headers([("a", "1"), ("b", "2")])) == hash(Headers([("B", "2"), ("A", "1")]))


@pytest.mark.parametrize("name", [1, None])
def test_a_name_that_is_not_a_str_is_a_type_error(name: Any) -> None:
    with pytest.raises(TypeError, match="must be a str, not"):
        Headers([(name, "value")])


@given(st.lists(st.tuples(st.sampled_from(["a", "A", "b", "C"]), st.text(max_size=3))))
def test_get_all_returns_the_values_of_the_pairs(pairs: list[tuple[str, str]]) -> None:
    headers = Headers(pairs)
    for name in ("a", "b", "c"):
        assert headers.get_all(name) == [value for other, value in pairs if other.lower() == name]
