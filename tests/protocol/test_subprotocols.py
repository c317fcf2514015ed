"""Subprotocol names and their selection (RFC 6455, sections 1.9, 4.1 and 4.2.2)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import pytest

from anyws.protocol.subprotocols import check_subprotocols, prefer


@pytest.mark.parametrize(
    "names",
    [
        pytest.param([], id="none"),
        pytest.param(["chat"], id="one"),
        pytest.param(("v2.chat", "chat"), id="order-is-kept"),
        pytest.param(["chat", "Chat"], id="case-matters"),
        pytest.param(["!#$%&'*+-.^_`|~09azAZ"], id="every-token-character"),
    ],
)
def test_unique_tokens_are_accepted(names: Sequence[str]) -> None:
    assert check_subprotocols(names) == tuple(names)


@pytest.mark.parametrize(
    ("names", "error", "message"),
    [
        pytest.param([""], ValueError, "is not a token", id="empty"),
        pytest.param(["chat", "a b"], ValueError, "subprotocols[1] is not a token", id="space"),
        pytest.param(["a,b"], ValueError, "is not a token", id="comma"),
        pytest.param(["a/b"], ValueError, "is not a token", id="separator"),
        pytest.param(["a\r\nX: y"], ValueError, "is not a token", id="line-break"),
        pytest.param(["chat\n"], ValueError, "is not a token", id="trailing-newline"),
        pytest.param(["chät"], ValueError, "is not a token", id="not-ascii"),
        pytest.param([b"chat"], TypeError, "subprotocols[0] must be a str, not bytes", id="bytes"),
        pytest.param([None], TypeError, "subprotocols[0] must be a str, not NoneType", id="none"),
        pytest.param(["a", "b", "a"], ValueError, "subprotocols contains a name more than once", id="twice"),
        pytest.param("chat", TypeError, "such as ['chat'], not a str", id="one-str"),
    ],
)
def test_anything_else_is_refused(names: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=re.escape(message)):
        check_subprotocols(names)


@pytest.mark.parametrize(
    ("ours", "offered", "chosen"),
    [
        pytest.param(["a", "b"], ["b", "a"], "a", id="our-order-decides"),
        pytest.param(["a", "b"], ["c", "b"], "b", id="first-common"),
        pytest.param(["a"], ["A"], None, id="case-matters"),
        pytest.param(["a"], [], None, id="nothing-offered"),
        pytest.param([], ["a"], None, id="nothing-spoken"),
    ],
)
def test_prefer_selects_the_first_of_ours_that_is_offered(
    ours: Sequence[str], offered: Sequence[str], chosen: str | None
) -> None:
    assert prefer(ours)(offered) == chosen
