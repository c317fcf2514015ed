"""What an engine in memory keeps of topics, and for how long; positions and payloads."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

import anyws
from anyws.topics import Position
from anyws.topics.payloads import parse_payload, serialize_payload
from anyws.topics.store import Store


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


class Nobody:
    def arrived(self, topic: str, position: Position, payload: bytes) -> None:
        """Do nothing."""


def test_messages_are_numbered_without_holes() -> None:
    store = Store(anyws.History(), Clock())
    positions = [store.publish("a", b"x") for _ in range(3)]
    assert [position.offset for position in positions] == [1, 2, 3]
    assert len({position.epoch for position in positions}) == 1
    assert store.publish("b", b"x").offset == 1


def test_what_is_kept() -> None:
    clock = Clock()
    store = Store(anyws.History(messages=3, seconds=10), clock)
    positions = [store.publish("a", bytes([number])) for number in range(5)]
    before = Position(positions[0].epoch, 0)
    assert store.read("a", before, 10) is None
    assert store.read("a", positions[0], 10) is None
    assert store.read("a", positions[1], 10) == [(positions[number], bytes([number])) for number in (2, 3, 4)]
    assert store.read("a", positions[1], 2) == [(positions[number], bytes([number])) for number in (2, 3)]
    assert store.read("a", positions[4], 10) == []
    assert store.read("a", Position(before.epoch, 6), 10) is None
    assert store.read("a", Position("other", 4), 10) is None
    assert store.read("b", before, 10) is None
    clock.now += 10
    assert store.read("a", positions[3], 10) is None
    assert store.read("a", positions[4], 10) == []


def test_memory_does_not_grow_with_the_names_ever_used() -> None:
    clock, nobody = Clock(), Nobody()
    store = Store(anyws.History(messages=3, seconds=10), clock)
    for number in range(100):
        store.publish(f"published {number}", b"x")
        store.follow(f"followed {number}", nobody)
        if number:
            store.unfollow(f"followed {number}", nobody)
    clock.now += 9
    store.expire()
    assert len(store) == 200
    clock.now += 1
    store.expire()
    assert len(store) == 1
    without = Store(None, clock)
    for number in range(100):
        without.publish(f"published {number}", b"x")
        without.follow(f"followed {number}", nobody)
    without.leave(nobody)
    assert len(without) == 0


def test_whoever_was_told_a_position_can_come_back_with_it() -> None:
    clock, nobody = Clock(), Nobody()
    store = Store(anyws.History(seconds=10), clock)
    position = store.follow("a", nobody)
    store.unfollow("a", nobody)
    clock.now += 9
    store.expire()
    store.publish("a", b"x")
    assert store.read("a", position, 10) == [(Position(position.epoch, 1), b"x")]


@given(
    epoch=st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=64),
    offset=st.integers(0, 10**19 - 1),
)
def test_a_position_survives_as_text(epoch: str, offset: int) -> None:
    position = Position(epoch, offset)
    assert Position.parse(str(position)) == position


@given(st.text())
def test_other_text_is_a_value_error_or_a_position(text: str) -> None:
    try:
        position = Position.parse(text)
    except ValueError as exc:
        assert "expected 'epoch.offset'" in str(exc)  # noqa: PT017
    else:
        assert Position.parse(str(position)) == position


@given(st.text(st.characters(exclude_categories=["Cs"])) | st.binary())
def test_a_message_survives_as_a_payload(message: str | bytes) -> None:
    assert parse_payload(serialize_payload(message)) == message


@pytest.mark.parametrize("payload", [b"", b"{}", b"t\xff"])
def test_another_payload_is_a_value_error(payload: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        parse_payload(payload)
