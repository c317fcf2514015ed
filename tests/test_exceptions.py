"""Exceptions cross the border between processes, and are copied: nothing of what they say is lost."""

from __future__ import annotations

import concurrent.futures
import copy
import multiprocessing
import pickle
from collections.abc import Callable
from typing import Any

import pytest

import anyws
import anyws.protocol
import anyws.routing
import anyws.testing

REQUEST = anyws.Request(target="/chat", headers=anyws.Headers({"Host": "a"}))
RESPONSE = anyws.Response(403, {"X": "y"}, "no", reason="Not you")
CLOSE = anyws.Close(1000, "bye")

EXAMPLES: list[anyws.WebSocketError] = [
    anyws.WebSocketError("what"),
    anyws.LocalProtocolError("after a Close"),
    anyws.RemoteProtocolError("rule"),
    anyws.ProtocolError("rule"),
    anyws.InvalidText("not UTF-8"),
    anyws.protocol.InvalidDeflate("not DEFLATE"),
    anyws.UnsupportedData("binary"),
    anyws.LimitExceeded("max_message_size", 1, 2),
    anyws.RateExceeded("rate_limit is 1 messages per second"),
    anyws.InvalidURI("x:", "no scheme"),
    anyws.HandshakeError("broken", request=REQUEST, response=RESPONSE),
    anyws.HandshakeRefused("refused", request=REQUEST, response=RESPONSE),
    anyws.RedirectError("redirect", chain=("ws://a/",), request=REQUEST, response=RESPONSE),
    anyws.ProxyError("http://proxy.example", "refused", status=407, response=RESPONSE),
    anyws.ConnectionClosed(received=CLOSE, sent=CLOSE),
    anyws.ConnectionClosedOK(received=CLOSE, sent=CLOSE),
    anyws.ConnectionClosedError(received=None, sent=None, detail="silent"),
    anyws.ConnectionClosedLocally(received=None, sent=CLOSE),
    anyws.EngineUnavailable("not connected"),
    anyws.MessagesMissed("orders", last="a.1", new="b.2", why="the engine does not have them"),
]


def public_exceptions() -> set[type[anyws.WebSocketError]]:
    modules: list[Any] = [anyws, anyws.protocol, anyws.routing, anyws.testing]
    found = [each for module in modules for each in vars(module).values()]
    return {each for each in found if isinstance(each, type) and issubclass(each, anyws.WebSocketError)}


def test_there_is_an_example_of_each() -> None:
    assert {type(each) for each in EXAMPLES} == public_exceptions()


def check_same(other: BaseException, exc: BaseException) -> None:
    assert type(other) is type(exc)
    assert (str(other), other.args, vars(other)) == (str(exc), exc.args, vars(exc))


def by_pickle(protocol: int) -> Callable[[Any], Any]:
    return lambda each: pickle.loads(pickle.dumps(each, protocol))


@pytest.mark.parametrize("exc", EXAMPLES, ids=lambda exc: type(exc).__name__)
@pytest.mark.parametrize(
    "again",
    [copy.copy, copy.deepcopy, *map(by_pickle, range(2, pickle.HIGHEST_PROTOCOL + 1))],
    ids=["copy", "deepcopy", *(f"pickle{number}" for number in range(2, pickle.HIGHEST_PROTOCOL + 1))],
)
def test_each_is_the_same_again(exc: anyws.WebSocketError, again: Callable[[Any], Any]) -> None:
    check_same(again(exc), exc)


def test_notes_and_attributes_of_others_go_along() -> None:
    exc = anyws.HandshakeRefused("refused", response=RESPONSE)
    exc.add_note("redirected: ws://a/ -> ws://b/")
    exc.attempt = 5  # type: ignore[attr-defined]
    check_same(pickle.loads(pickle.dumps(exc)), exc)


class Subclass(anyws.ProxyError):
    """As a user may write it."""

    def __init__(self, code: int) -> None:
        super().__init__("http://proxy.example", "refused", status=code)


def test_a_subclass_need_not_do_anything() -> None:
    check_same(pickle.loads(pickle.dumps(Subclass(407))), Subclass(407))


def fail() -> None:
    raise anyws.ConnectionClosedError(received=anyws.Close(1011, "no"), sent=None)


def test_from_another_process() -> None:
    with (
        concurrent.futures.ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool,
        pytest.raises(anyws.ConnectionClosedError, match=r"closed by the peer: 1011 \(no\)") as raised,
    ):
        pool.submit(fail).result()
    assert (raised.value.code, raised.value.reason) == (1011, "no")
