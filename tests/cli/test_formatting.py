"""How messages are formatted."""

from __future__ import annotations

import re

import pytest

from anyws._cli.formatting import Formatter, hexdump, pretty_json
from anyws._cli.notes import escape


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("tab\t and\nnewline", "tab\t and\nnewline"),
        ("\x1b[31m\x07\x00\r\x7f", r"\x1b[31m\x07\x00\x0d\x7f"),
        ("\x9b31m\x85", r"\x9b31m\x85"),
        ("a\u202eb\u2066c\u200f", r"a\u202eb\u2066c\u200f"),
        ("grüße 日本 👋🏽", "grüße 日本 👋🏽"),
    ],
)
def test_control_characters_are_escaped(text: str, escaped: str) -> None:
    assert escape(text) == escaped
    assert Formatter().for_terminal(text) == escaped


def test_a_few_bytes_are_shown_in_one_line() -> None:
    assert hexdump(b"") == "[binary, 0 bytes]"
    assert hexdump(b"\x00\xff\x10") == "[binary, 3 bytes] 00ff10"


def test_more_bytes_are_shown_as_a_hex_dump() -> None:
    assert hexdump(b"The answer is\x00\x1b 42") == (
        "[binary, 18 bytes]\n"
        "00000000  54 68 65 20 61 6e 73 77  65 72 20 69 73 00 1b 20  |The answer is.. |\n"
        "00000010  34 32                                             |42|"
    )


def test_a_hex_dump_is_bounded() -> None:
    lines = hexdump(bytes(5000)).splitlines()
    assert lines[0] == "[binary, 5000 bytes]"
    assert lines[-1] == "[904 more bytes]"
    assert len(lines) == 1 + 256 + 1


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (
            '{"a":[1,2.5,null,true,"é\\u001b"]}',
            '{\n  "a": [\n    1,\n    2.5,\n    null,\n    true,\n    "é\\u001b"\n  ]\n}',
        ),
        (" [] ", "[]"),
        ("12345678901234567890", None),  # neither object nor array
        ("[12345678901234567890]", "[\n  12345678901234567890\n]"),
        ("[0.1]", "[\n  0.1\n]"),
        ("[0.10]", "[\n  0.1\n]"),
        ("[0.1234567890123456789]", None),  # a float has not so many digits
        ("[1e999]", None),
        ("[1e-9999999999999999999]", None),
        ("[NaN]", None),
        ('{"a": 1, "a": 2}', None),
        ("{", None),
        ("[" * 100_000, None),
        ("hello", None),
        ("", None),
    ],
)
def test_json_is_pretty_printed_if_nothing_is_lost(text: str, shown: str | None) -> None:
    assert pretty_json(text) == shown
    assert Formatter(json=True).for_pipe(text) == (text if shown is None else shown)
    assert Formatter(json=True).is_shown_as_json(text) == (shown is not None)
    assert Formatter().for_pipe(text) == text


def test_timestamps() -> None:
    formatter = Formatter(timestamps=True)
    assert re.fullmatch(
        r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}[+-]\d\d:\d\d \[binary, 1 bytes\] 00", formatter.for_pipe(b"\0")
    )
    assert re.fullmatch(r"\d\d:\d\d:\d\d\.\d{3} ", formatter.time_prefix())
