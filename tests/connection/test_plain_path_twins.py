"""Random sequences of operations have the same results, bytes and flags in both twins of the plain path."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from tests.frames import CONTINUATION, PING, TEXT, frame_bytes

from .plain_paths import BUDGET, COMPILED, Driver, Rig, frame, open_rig

MESSAGES: st.SearchStrategy[str | bytes] = st.one_of(
    st.text(max_size=10), st.binary(max_size=10), st.sampled_from(["a" * 130, b"b" * 2000, "\u20ac", "?", b"?"])
)
PIECES: st.SearchStrategy[bytes] = st.one_of(
    MESSAGES.filter(lambda message: not isinstance(message, str) or message.isprintable()).map(frame),
    st.sampled_from(
        [
            frame_bytes(PING, masked=True),
            frame_bytes(TEXT, b"x", fin=False, masked=True),
            b"",
            frame("x") * 9,
            frame_bytes(CONTINUATION, b"x", masked=True),
            frame("hello")[:7],
            frame_bytes(TEXT, b"\xff", masked=True),
            *(
                frame_bytes(opcode, payload, masked=True, rsv=0x40)
                for opcode in (1, 2)
                for payload in (b"", b"cba", b"a" * 130, b"!", b"?", b"b" * 9000)
            ),
        ]
    ),
)
OPERATIONS = st.one_of(
    st.tuples(st.just("arrive"), PIECES),
    st.tuples(st.sampled_from(["receive", "next", "deliver"]), st.none()),
    st.tuples(st.sampled_from(["cancel", "wake", "readable", "write", "detach"]), st.none()),
    st.tuples(st.sampled_from(["send", "send_now"]), MESSAGES),
    st.tuples(
        st.just("flag"),
        st.tuples(
            st.sampled_from(
                [
                    "inbox.is_paused",
                    "inbox.is_reserved",
                    "inbox.is_on_fast_path",
                    "outbox.is_flush_due",
                    "outbox.is_direct",
                    "outbox.is_plain",
                    "outbox.is_reserved",
                ]
            ),
            st.booleans(),
        ),
    ),
    st.tuples(st.just("budget"), st.integers(0, 3)),
)


class Story:
    """One twin: does what it is told, and tells what can be seen from outside."""

    def __init__(self, rig: Rig) -> None:
        self._rig = rig
        self._drivers: list[Driver] = []
        self._delivered: list[Any] = []
        self._written = b""

    def do(self, name: str, argument: Any) -> object:
        """Do it, and let all tasks run; return the state after it. How often other tasks have a turn may differ."""
        rig = self._rig
        result: object = None
        if name == "arrive":
            rig.arrive(argument)
        elif name in ("receive", "next"):
            self._drivers.append(Driver(getattr(rig.path, name)()))
        elif name == "deliver":
            self._drivers.append(Driver(rig.path.deliver(self._hook)))
        elif name == "cancel":
            for driver in self._drivers[-1:]:
                if not driver.outcome:
                    driver.cancel()
        elif name == "wake":
            rig.signal.set_now()
        elif name == "readable":
            rig.path.on_readable()
        elif name == "write":
            rig.write()
        elif name == "detach":
            rig.path.detach()
        elif name == "send":
            self._drivers.append(Driver(rig.path.send(argument)))
        elif name == "send_now":
            result = self._send_now(argument)
        elif name == "flag":
            (where, flag), value = argument[0].split("."), argument[1]
            setattr(getattr(rig, where), flag, value)
        else:
            rig.inbox.budget = rig.outbox.budget = argument
        rig.loop.run()
        if name != "flag" and rig.outbox.is_flush_due:
            rig.outbox.is_flush_due = False
            rig.flush()
        return self._seen(result)

    def _send_now(self, message: object) -> object:
        self._rig.outbox.budget = BUDGET
        try:
            return self._rig.path.send_now(message)
        except UnicodeEncodeError:
            return "cannot be encoded"
        except LookupError:
            return "the extension has failed"

    def _hook(self, message: str | bytes) -> object:
        self._delivered.append(message)
        if message == "\u20ac":
            raise LookupError
        if isinstance(message, str) and message.startswith("a"):
            self._send_now(message)
        return None if len(message) != 3 else "result"

    def _seen(self, result: object) -> object:
        rig = self._rig
        self._written += rig.written()
        # The compiled twin writes by itself what the pure one leaves to the link; and waits without the receiver.
        calls = [call for call in rig.calls if isinstance(call, tuple) and call[0] != "send"]
        outcomes = [
            [type(each).__name__ if isinstance(each, BaseException) else each for each in driver.outcome]
            for driver in self._drivers
        ]
        errors = [type(error) for error in rig.errors]
        return result, self._delivered, outcomes, self._written, calls, errors, rig.state()


@pytest.mark.skipif(COMPILED is None, reason="the extension is not built")
@settings(max_examples=300)
@given(st.lists(OPERATIONS, max_size=25), st.booleans(), st.sampled_from([100, 1 << 20]), st.booleans())
def test_the_twins_agree(operations: list[tuple[str, Any]], client: bool, limit: int, extension: bool) -> None:
    options: dict[str, Any] = {
        "masking_key": b"1234" if client else None,
        "limit": limit,
        "extension": extension,
    }
    with open_rig("pure", **options) as pure, open_rig("compiled", **options) as compiled:
        stories = [Story(pure), Story(compiled)]
        for name, argument in operations:
            first, second = [story.do(name, argument) for story in stories]
            assert first == second, name
