"""The grammar of Sec-WebSocket-Extensions (RFC 6455, section 9.1)."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, strategies as st

from anyws.protocol import ExtensionOffer, parse_extensions, serialize_extensions

Offer = ExtensionOffer

# (header, offers) where serializing gives the same header again.
CANONICAL = [
    pytest.param("foo", [Offer("foo")], id="name"),
    pytest.param("foo; bar", [Offer("foo", (("bar", None),))], id="parameter"),
    pytest.param("foo; bar=1", [Offer("foo", (("bar", "1"),))], id="value"),
    pytest.param("foo, foo; bar", [Offer("foo"), Offer("foo", (("bar", None),))], id="fallbacks"),
    pytest.param("a; x; x; y=1; y=2", [Offer("a", (("x", None), ("x", None), ("y", "1"), ("y", "2")))], id="repeated"),
    pytest.param(
        "permessage-deflate; client_max_window_bits; server_max_window_bits=10, deflate-stream",
        [
            Offer("permessage-deflate", (("client_max_window_bits", None), ("server_max_window_bits", "10"))),
            Offer("deflate-stream"),
        ],
        id="permessage-deflate",
    ),
    pytest.param("!#$%&'*+-.^_`|~09azAZ", [Offer("!#$%&'*+-.^_`|~09azAZ")], id="every-token-character"),
]

# Other ways to write the same.
LENIENT = [
    pytest.param(' foo ;\tbar = "1" ', [Offer("foo", (("bar", "1"),))], id="space-everywhere"),
    pytest.param("foo;bar=1,baz", [Offer("foo", (("bar", "1"),)), Offer("baz")], id="no-space"),
    pytest.param('foo; bar="10"', [Offer("foo", (("bar", "10"),))], id="quoted"),
    pytest.param(r'foo; bar="\1\0"', [Offer("foo", (("bar", "10"),))], id="quoted-pair"),
    pytest.param(r'foo; bar="1\0"; baz', [Offer("foo", (("bar", "10"), ("baz", None)))], id="behind-quoted"),
    pytest.param(",, foo,, ,bar,", [Offer("foo"), Offer("bar")], id="empty-elements"),
]

MALFORMED = [
    pytest.param("", "expected at least one extension", id="empty"),
    pytest.param(" \t", "expected at least one extension", id="white-space"),
    pytest.param(",,", "expected at least one extension", id="commas"),
    pytest.param(";", "expected an extension name at character 0", id="no-name"),
    pytest.param("=1", "expected an extension name at character 0", id="value-for-name"),
    pytest.param('"foo"', "expected an extension name at character 0", id="quoted-name"),
    pytest.param("foo;", "expected a parameter name at character 4", id="no-parameter"),
    pytest.param("foo; , bar", "expected a parameter name at character 5", id="empty-parameter"),
    pytest.param("foo;; bar", "expected a parameter name at character 4", id="double-semicolon"),
    pytest.param("foo; =1", "expected a parameter name at character 5", id="value-without-parameter"),
    pytest.param("foo; bar=", "expected a token or a quoted string at character 9", id="no-value"),
    pytest.param("foo; bar=,", "expected a token or a quoted string at character 9", id="comma-for-value"),
    pytest.param('foo; bar="1', "expected a token or a quoted string at character 9", id="open-quote"),
    pytest.param('foo; bar="1\\"', "expected a token or a quoted string at character 9", id="escaped-quote"),
    pytest.param('foo; bar="1\n2"', "expected a token or a quoted string at character 9", id="control-in-quotes"),
    pytest.param('foo; bar="\\\n"', "expected a token or a quoted string at character 9", id="escaped-control"),
    pytest.param('foo; bar=""', "quoted value '' is not a token", id="quoted-empty"),
    pytest.param('foo; bar="1 2"', "quoted value '1 2' is not a token", id="quoted-space"),
    pytest.param('foo; bar="1,2"', "quoted value '1,2' is not a token", id="quoted-comma"),
    pytest.param(r'foo; bar="\""', "quoted value '\"' is not a token", id="quoted-quote"),
    pytest.param('foo; bar="\xe9"', "quoted value '\xe9' is not a token", id="quoted-latin-1"),
    pytest.param("foo bar", "expected a comma or a semicolon at character 4", id="two-names"),
    pytest.param("foo=1", "expected a comma or a semicolon at character 3", id="value-on-name"),
    pytest.param("foo; bar=1=2", "expected a comma or a semicolon at character 10", id="two-values"),
    pytest.param("foo; bar=1 2", "expected a comma or a semicolon at character 11", id="behind-value"),
    pytest.param('foo; bar="1"2', "expected a comma or a semicolon at character 12", id="behind-quotes"),
    pytest.param("f\xf6\xf6", "expected a comma or a semicolon at character 1", id="not-ascii"),
    pytest.param("foo/1", "expected a comma or a semicolon at character 3", id="separator"),
    pytest.param("foo, \n", "expected an extension name at character 5", id="newline"),
]


@pytest.mark.parametrize(("header", "offers"), CANONICAL)
def test_parse_and_serialize_are_inverses(header: str, offers: list[ExtensionOffer]) -> None:
    assert parse_extensions(header) == offers
    assert serialize_extensions(offers) == header


@pytest.mark.parametrize(("header", "offers"), LENIENT)
def test_what_else_the_grammar_allows(header: str, offers: list[ExtensionOffer]) -> None:
    assert parse_extensions(header) == offers


@pytest.mark.parametrize(("header", "offers"), [*CANONICAL, *LENIENT])
def test_another_extension_can_follow(header: str, offers: list[ExtensionOffer]) -> None:
    assert parse_extensions(f"{header}, last; one") == [*offers, Offer("last", (("one", None),))]


@pytest.mark.parametrize(("header", "message"), MALFORMED)
def test_a_syntax_error_is_rejected_with_its_position(header: str, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        parse_extensions(header)


def test_time_is_linear_in_the_length() -> None:
    """With patterns that backtrack, this test would not end."""
    for header in (
        "a" * 100_000 + "\n",
        'a;b="' + "\\a" * 100_000,
        "a" + ";b" * 50_000 + "=",
        "," * 100_000,
        " " * 100_000,
    ):
        with pytest.raises(ValueError, match="expected"):
            parse_extensions(header)


tokens = st.text("!#$%&'*+-.^_`|~0aZ", min_size=1, max_size=5)
offers_strategy = st.lists(
    st.builds(ExtensionOffer, tokens, st.lists(st.tuples(tokens, st.none() | tokens), max_size=3).map(tuple)),
    min_size=1,
    max_size=3,
)


@given(offers_strategy)
def test_parse_inverts_serialize(offers: list[ExtensionOffer]) -> None:
    assert parse_extensions(serialize_extensions(offers)) == offers


@given(st.text(',;="\\ \tab\n\xe9', max_size=12))
def test_parsed_headers_survive_a_round_trip(header: str) -> None:
    try:
        offers = parse_extensions(header)
    except ValueError:
        return
    assert parse_extensions(serialize_extensions(offers)) == offers
