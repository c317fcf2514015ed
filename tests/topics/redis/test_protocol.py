"""RESP3: what a server sends, whole, in pieces, and malformed."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from anyws.topics._redis.protocol import Push, Reader, RedisProtocolError, ServerError, pack

Value = object


def parse(*pieces: bytes) -> list[Value]:
    """Return all that a reader reports, in order; a message as a tuple."""
    reported: list[Value] = []
    reader = Reader(lambda channel, payload: reported.append((channel, payload)), reported.append)
    for piece in pieces:
        reader.feed(piece)
    return reported


def comparable(value: Value) -> Value:
    """Return a value that equals another of the same type and content."""
    if isinstance(value, ServerError):
        return ("error", str(value))
    if isinstance(value, list):
        return (type(value).__name__, [comparable(item) for item in value])
    if isinstance(value, dict):
        return ("map", [(key, comparable(item)) for key, item in value.items()])
    return (type(value).__name__, value)


def serialize(value: Value) -> bytes:
    """Return a value as a server sends it."""
    match value:
        case None:
            return b"_\r\n"
        case bool():
            return b"#t\r\n" if value else b"#f\r\n"
        case int():
            return b":%d\r\n" % value
        case float():
            return f",{value!r}\r\n".encode()
        case bytes():
            return b"$%d\r\n%b\r\n" % (len(value), value)
        case ServerError():
            return b"-%b\r\n" % str(value).encode()
        case Push():
            return b">%d\r\n" % len(value) + b"".join(map(serialize, value))
        case list():
            return b"*%d\r\n" % len(value) + b"".join(map(serialize, value))
        case dict():
            return b"%%%d\r\n" % len(value) + b"".join(serialize(k) + serialize(v) for k, v in value.items())
        case (channel, payload):
            return serialize(Push([b"message", channel, payload]))
    raise AssertionError(value)


scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**63),
    st.floats(allow_nan=False),
    st.binary(max_size=50),
    st.from_regex(r"[A-Z]+ [a-z]*", fullmatch=True).map(ServerError),
)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.binary(max_size=5), inner, max_size=4)),
    max_leaves=10,
)
messages = st.tuples(st.binary(max_size=20), st.binary(max_size=100))
pushes = st.tuples(st.sampled_from([b"subscribe", b"unsubscribe"]), st.binary(), st.integers(0, 9)).map(Push)


@given(st.lists(st.one_of(values, messages, pushes), max_size=8), st.data())
def test_the_order_is_kept_however_the_bytes_are_cut(sent: list[Value], data: st.DataObject) -> None:
    whole = b"".join(map(serialize, sent))
    expected = [comparable(value) for value in sent]
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=10)))
    pieces = [whole[start:end] for start, end in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
    assert [comparable(value) for value in parse(whole)] == expected
    assert [comparable(value) for value in parse(*pieces)] == expected
    assert [comparable(value) for value in parse(*(whole[i : i + 1] for i in range(len(whole))))] == expected


@given(st.lists(st.one_of(st.binary(max_size=30), st.sampled_from([b"\r\n", b"$5\r\n", b">3\r\n", b"*2\r\n"]))))
def test_any_bytes_are_parsed_or_refused(pieces: list[bytes]) -> None:
    try:
        parse(*pieces)
    except RedisProtocolError:
        pass


@given(messages, st.integers(0, 200), st.integers(0, 255))
def test_a_damaged_message_is_parsed_or_refused(message: tuple[bytes, bytes], at: int, byte: int) -> None:
    damaged = bytearray(serialize(message) * 2)
    damaged[at % len(damaged)] = byte
    try:
        parse(bytes(damaged))
    except RedisProtocolError:
        pass


@pytest.mark.parametrize(
    ("sent", "value"),
    [
        (b"+OK\r\n", b"OK"),
        (b"$-1\r\n", None),
        (b"*-1\r\n", None),
        (b"=7\r\ntxt:abc\r\n", b"abc"),
        (b"(123456789012345678901234567890\r\n", 123456789012345678901234567890),
        (b"~2\r\n:1\r\n:2\r\n", [1, 2]),
        (b"*0\r\n", []),
        (b"%0\r\n", {}),
        (b"*2\r\n*0\r\n%1\r\n+a\r\n*1\r\n_\r\n", [[], {b"a": [None]}]),
        (b"|1\r\n+ttl\r\n:5\r\n:7\r\n", 7),
        (b"*2\r\n|1\r\n+ttl\r\n:5\r\n:7\r\n:8\r\n", [7, 8]),
        (b">3\r\n$8\r\nsmessage\r\n$1\r\na\r\n$1\r\nb\r\n", (b"a", b"b")),
        (b">3\r\n+message\r\n$1\r\na\r\n$1\r\nb\r\n", (b"a", b"b")),
    ],
)
def test_other_forms(sent: bytes, value: Value) -> None:
    assert parse(sent) == parse(*(sent[i : i + 1] for i in range(len(sent)))) == [value]


def test_errors_have_a_code() -> None:
    short, long = parse(b"-NOSCRIPT No matching script\r\n!21\r\nSYNTAX invalid syntax\r\n")
    assert isinstance(short, ServerError)
    assert isinstance(long, ServerError)
    assert (short.code, str(short)) == ("NOSCRIPT", "NOSCRIPT No matching script")
    assert (long.code, str(long)) == ("SYNTAX", "SYNTAX invalid syntax")


@pytest.mark.parametrize(
    ("sent", "why"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n", "b'H', which does not begin a value of RESP3"),
        (b":one\r\n", "malformed number"),
        (b",one\r\n", "malformed number"),
        (b"#x\r\n", "does not begin a value"),
        (b"$-2\r\n", "a string of -2 bytes"),
        (b"$2000000000\r\n", "a string of 2000000000 bytes"),
        (b"$1\r\nabc", "a string without its end"),
        (b"*-2\r\n", "malformed or too deeply nested"),
        (b"*1\r\n" * 40, "malformed or too deeply nested"),
        (b"%1\r\n*0\r\n:1\r\n", "a map whose keys are not scalars"),
        (b"+" + b"x" * 70_000, "a line of more than 65536 bytes"),
        (b">3\r\n$7\r\nmessage\r\n$1\r\nabcdefgh\r\n", "a malformed message"),
        (b">3\r\n$7\r\nmessage\r\n$1\r\na\r\n$1\r\nbcd", "a malformed message"),
        (b">3\r\n$7\r\nmessage\r\n$-9\r\na\r\n$1\r\nb\r\n", "a malformed message"),
        (b">3\r\n+message\r\n:1\r\n:2\r\n", "a malformed message"),
    ],
)
def test_what_is_not_resp3_is_refused(sent: bytes, why: str) -> None:
    with pytest.raises(RedisProtocolError, match=why):
        parse(sent)


def test_a_large_value_in_many_pieces_is_joined_once() -> None:
    """Otherwise the time would grow with the square of the size."""

    class Counting(bytes):
        joins = 0

        def startswith(self, *args: object) -> bool:
            Counting.joins += 1
            return super().startswith(*args)  # type: ignore[arg-type]

    sent = serialize((b"channel", b"x" * 1_000_000))
    pieces = [Counting(sent[i : i + 1000]) for i in range(0, len(sent), 1000)]
    assert parse(*pieces) == [(b"channel", b"x" * 1_000_000)]
    assert Counting.joins <= 2


def test_commands() -> None:
    assert pack(b"GET", b"a b", b"") == b"*3\r\n$3\r\nGET\r\n$3\r\na b\r\n$0\r\n\r\n"
