"""What must hold after any conversation, whatever the network and the two sides did."""

from __future__ import annotations

from collections.abc import Iterator

import anyio

import anyws

from .conversations import Crash, Seen
from .scenarios import End, Message, Scenario, Script
from .streams import Fault

__all__ = ["problems"]

_CLEAN = (1000, 1001, 1005)
_VIOLATIONS = (1002, 1007, 1009)


def problems(scenario: Scenario, client: Seen, server: Seen, *, clock_jumps: bool) -> list[str]:
    """Return what is wrong, in words; nothing if all is well.

    Args:
        scenario: what was to happen.
        client: what the client has seen.
        server: what the server has seen.
        clock_jumps: whether nothing takes time but what waits; else a busy machine may be too slow to connect.
    """
    found = []
    for name, ours, theirs, script, their_script in (
        ("client", client, server, scenario.client, scenario.server),
        ("server", server, client, scenario.server, scenario.client),
    ):
        checks = (
            _messages(ours, theirs, their_script),
            _codes(scenario, ours, theirs, script),
            _exceptions(scenario, ours, theirs, script, clock_jumps),
        )
        found += [f"{name}: {problem}" for check in checks for problem in check]
    timed_out = any(isinstance(side.failure, TimeoutError) for side in (client, server))
    if scenario.is_fair and client.opened != server.opened and not timed_out:
        found.append("one side opened, the other did not")
    return found


# -- messages ----------------------------------------------------------------------------------------------------------


def _messages(ours: Seen, theirs: Seen, their_script: Script) -> Iterator[str]:
    """Each sender's messages come in order, none twice; all of them, when its Close came after them."""
    positions = [0] * len(theirs.completed)
    senders = their_script.senders
    for index, message in enumerate(ours.received):
        for number, messages in enumerate(senders[: len(positions)]):
            if positions[number] < len(messages) and messages[positions[number]].body == message:
                positions[number] += 1
                break
            if positions[number] < len(messages) and _is_empty_iterable(messages[positions[number]]):
                continue
        else:
            yield f"message {index} is not the next of any sender: {message[:60]!r}"
            return
    for number, position in enumerate(positions):
        if position > theirs.started[number]:
            yield f"sender {number} has begun {theirs.started[number]} messages, {position} came"
    if ours.partial is not None and not any(
        position < len(messages) and _begins_with(messages[position].body, ours.partial)
        for messages, position in zip(senders, positions, strict=False)
    ):
        yield f"what came of the last message is not its beginning: {ours.partial[:60]!r}"
    closed = ours.closed
    if closed is None or closed.received is None or ours.discarded or closed.received.code in _VIOLATIONS:
        return
    if 1009 in theirs.began or ours.was_cancelled:
        return
    for number, (position, completed) in enumerate(zip(positions, theirs.completed, strict=True)):
        if position < completed:
            yield f"sender {number} has sent {completed} messages and then a Close, but {position} came"


def _is_empty_iterable(message: Message) -> bool:
    return not message.body


def _begins_with(body: str | bytes, partial: str | bytes) -> bool:
    return type(body) is type(partial) and body[: len(partial)] == partial


# -- close codes -------------------------------------------------------------------------------------------------------


def _codes(scenario: Scenario, ours: Seen, theirs: Seen, script: Script) -> Iterator[str]:
    if not ours.opened:
        return
    if ours.close_code is None:
        yield "no close code after the end"
    closed = ours.closed
    if closed is None:
        return
    began = {*ours.began, 1009} if "max_message_size" in script.options else {*ours.began}
    their_began = {*theirs.began, 1009}
    if not theirs.began and not scenario.is_fair:
        their_began.add(1000)
    if closed.received is not None and closed.received.code not in began | their_began:
        yield f"received {closed.received}, the other side decided on {theirs.began}"
    if closed.received is not None and theirs.closed is not None and theirs.closed.sent is None:
        yield f"received {closed.received}, the other side says that it sent none"
    if closed.received is not None and closed.code != closed.received.code:
        yield f"code {closed.code}, received {closed.received}"
    if closed.received is None and closed.code != 1006:
        yield f"code {closed.code} without a Close"
    if closed.sent is not None and closed.sent.code not in began:
        echoed = closed.received
        if echoed is None or closed.sent.code != echoed.code:
            yield f"sent {closed.sent}, decided on {ours.began}, received {echoed}"
    is_clean = closed.received is not None and closed.received.code in _CLEAN
    if not ours.discarded and isinstance(closed, anyws.ConnectionClosedOK) != (is_clean and ours.partial is None):
        yield f"{type(closed).__name__} after {closed.received}"


# -- exceptions --------------------------------------------------------------------------------------------------------


def _exceptions(scenario: Scenario, ours: Seen, theirs: Seen, script: Script, clock_jumps: bool) -> Iterator[str]:
    if not ours.stream.is_closed:
        yield "the stream is open"
    failure = ours.failure
    if script.end is End.CRASH and isinstance(failure, Crash):
        failure = None
    if isinstance(failure, anyws.ConnectionClosedError) and failure.undelivered and failure.received is None:
        failure = None  # some of what was sent has not arrived, and that is told
    if failure is not None and ours.opened:
        yield f"the block has raised {failure!r}"
    if failure is not None and not ours.opened:
        if not isinstance(failure, anyws.HandshakeError | TimeoutError):
            yield f"the opening handshake has raised {failure!r}"
        timed_out = isinstance(failure, TimeoutError) or isinstance(theirs.failure, TimeoutError)
        if (clock_jumps or not timed_out) and all(
            each.weather.fault is None for each in (scenario.client, scenario.server)
        ):
            yield f"the opening handshake has failed: {failure!r}"
    if ours.opened and not failure:
        for error in ours.send_errors:
            if not isinstance(
                error, anyws.ConnectionClosedLocally | anyws.ConnectionClosedError | anyws.ConnectionClosedOK
            ):
                yield f"sending has raised {error!r}"
            if isinstance(error, anyws.ConnectionClosedLocally) and not ours.began:
                yield f"sending has raised {error!r}, but this side began no close"
            if not isinstance(error, anyio.ClosedResourceError | anyio.BrokenResourceError | anyio.EndOfStream):
                yield f"sending has raised {error!r}, which is none of AnyIO's"
    if (
        ours.opened
        and all(script.weather.fault is None for script in (scenario.client, scenario.server))
        and not ours.began
        and not theirs.began
    ):
        yield "the connection ended, and nobody began to close"
    if script.weather.fault is Fault.RESET and ours.closed and isinstance(ours.closed.__cause__, anyio.EndOfStream):
        yield "a reset is no end"
