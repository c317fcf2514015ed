"""The parameters of a query."""

from __future__ import annotations

import pytest

import anyws
from anyws.protocol import Headers, Query, Request


@pytest.mark.parametrize(
    ("query", "pairs"),
    [
        ("", []),
        ("room=1", [("room", "1")]),
        ("tag=a&x=1&tag=b", [("tag", "a"), ("x", "1"), ("tag", "b")]),
        ("a+b=c%20d%26&=&", [("a b", "c d&"), ("", "")]),
        ("flag", [("flag", "")]),
        ("a=b=c", [("a", "b=c")]),
        ("a=1;b=2", [("a", "1;b=2")]),
        ("a=%FF%zz", [("a", "\N{REPLACEMENT CHARACTER}%zz")]),
        ("?a=1", [("?a", "1")]),
    ],
)
def test_the_parameters(query: str, pairs: list[tuple[str, str]]) -> None:
    assert Query(query).multi_items() == pairs
    assert anyws.Request(target=f"/?{query}", headers=Headers()).query == Query(query)


def test_a_parameter_that_repeats() -> None:
    query = Query("tag=a&x=1&tag=b")
    assert query["tag"] == "a"
    assert query.get_all("tag") == ["a", "b"]
    assert (query.get("y"), query.get("y", "2"), query.get_all("y")) == (None, "2", [])
    assert list(query) == ["tag", "x"]
    assert len(query) == 2
    assert "x" in query
    with pytest.raises(KeyError):
        query["y"]


def test_it_is_a_value() -> None:
    assert Query("a=1&b=2") == Query("a=1&b=%32") != Query("b=2&a=1")
    assert hash(Query("a=1")) == hash(Query("a=1"))
    assert Query("a=1") == {"a": "1"}
    assert Query("a=1") != "a=1"


def test_its_repr_shows_no_secret() -> None:
    assert repr(Query("s3cret&token=s3cret")) == "<Query of 2 parameters>"


def test_the_query_as_sent() -> None:
    request = Request(target="/chat?token=a%20b?c", headers=Headers())
    assert request.raw_query == "token=a%20b?c"
    assert request.query["token"] == "a b?c"
