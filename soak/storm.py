"""Thousands of clients at once, repeatedly, many misbehaving: others are served, and everything is released."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from .client import REQUEST, Client, Crowd
from .process import ROOT, serving
from .state import Failed, check_flat, check_gone

__all__ = ["run"]

_LIMIT = 60.0  # seconds for one part of a round
_KIB_PER_CLIENT = 4  # an eighth of the cost of a connection: a storm fragments free memory
_GREETINGS = {
    "good": REQUEST,
    "disconnects during the request": REQUEST[:60],
    "resets during the request": REQUEST[:60],
    "resets before the response": REQUEST,
    "silent": b"",
    "garbage": os.urandom(64).replace(b"\n", b"") + b"\r\n\r\n",
    "TLS": bytes.fromhex("16030100c8010000c40303"),
    "plain HTTP": b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
}
_RESPONSES = {"good": {101}, "garbage": {400}, "TLS": {400}, "plain HTTP": {426}}
_KINDS = ("good", "good", "good", *_GREETINGS)


class _Visitor(Client):
    """A client of some kind."""

    def __init__(self, number: int, port: int, kind: str) -> None:
        super().__init__(number, port, _GREETINGS[kind])
        self.kind = kind

    def greeted(self) -> None:
        """Disconnect, if the client is of that kind."""
        if self.kind.startswith("disconnects"):
            self.leave()
        elif self.kind.startswith("resets"):
            self.reset()


def run(backend: str, connections: int, seconds: float, limit: int | None) -> dict[str, str]:
    """Run storms against a server.

    Args:
        backend: the server's event loop.
        connections: the number of clients in a storm.
        seconds: how long to start new storms.
        limit: the server's ``max_connections``.

    Returns:
        The figures, by name.

    Raises:
        Failed: a client gets a wrong response; the well-behaved client is not served; something is not released after a
            storm; or after the first quarter, memory grows by more than 2 MiB plus 4 KiB per client of a storm.
    """
    with serving(backend, max_connections=limit) as (process, port), _bystander(port) as bystander:
        first = process.state()
        _round(port, connections, limit)  # warms up
        before = process.settled(first)
        end = time.monotonic() + seconds
        statuses: Counter[str] = Counter()
        states = [before]
        while time.monotonic() < end or len(states) < 3:
            statuses += _round(port, connections, limit)
            states.append(process.settled(before))
            print(states[-1], file=sys.stderr, flush=True)
            check_gone(before, states[-1])
        memories = [state.memory for state in states[len(states) // 4 :]]
        growth = check_flat(range(len(memories)), memories, bound=2048 + _KIB_PER_CLIENT * connections)
        served = _ask(bystander)
    return {
        "storms": f"{len(states) - 1} of {connections} clients: "
        + ", ".join(f"{count} x {status}" for status, count in sorted(statuses.items())),
        "latency of a well-behaved client": "{median:.1f} ms, 99 % below {p99:.0f} ms, maximum {most:.0f} ms; "
        "{messages} messages".format(**served),
        "memory": f"{before.memory} KiB after the first, {memories[0]} after a quarter, {memories[-1]} after the last",
        "growth": f"{growth:.0f} KiB in the last three quarters",
        "descriptors": f"{before.descriptors} before, {states[-1].descriptors} after",
        "tasks": f"{before.tasks} before, {states[-1].tasks} after",
        "objects": f"{before.objects} before, {states[-1].objects} after",
    }


def _round(port: int, connections: int, limit: int | None) -> Counter[str]:
    """Run one storm. Return the number of responses by status, for the clients that wait for one."""
    crowd = Crowd()
    visitors = [_Visitor(number, port, _KINDS[number % len(_KINDS)]) for number in range(connections)]
    for visitor in visitors:
        crowd.add(visitor)
    awaiting = [visitor for visitor in visitors if visitor.kind in _RESPONSES]
    crowd.wait(visitors, _is_done, limit=_LIMIT)
    for visitor in awaiting:
        if visitor.status not in _RESPONSES[visitor.kind] | ({503} if limit is not None else set()):
            raise Failed(f"{visitor.kind!r} got the status {visitor.status}")
    inside = [visitor for visitor in awaiting if visitor.status == 101]
    if limit is not None and not 0 < len(inside) < limit:
        raise Failed(f"{len(inside)} connections besides the well-behaved one, with max_connections={limit}")
    for visitor in inside:
        visitor.send(b"%d" % visitor.number)
    crowd.wait(inside, lambda visitor: not visitor.is_waiting or visitor.is_gone, limit=_LIMIT)
    for visitor in inside:
        visitor.send_close()
    for visitor in visitors:
        if not visitor.is_gone and visitor not in inside:
            visitor.leave()
    crowd.wait(inside, lambda visitor: visitor.is_gone, limit=_LIMIT)
    crowd.close()
    if lost := sum(visitor.echoes == 0 for visitor in inside):
        raise Failed(f"{lost} connections were lost")
    return Counter(str(visitor.status) for visitor in awaiting)


def _is_done(visitor: Client) -> bool:
    assert isinstance(visitor, _Visitor)
    return visitor.is_gone or visitor.status > 0 or visitor.kind == "silent"


@contextmanager
def _bystander(port: int) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "soak.bystander", str(port)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            process.stdout.readline()
            yield process
        finally:
            process.kill()


def _ask(bystander: subprocess.Popen[str]) -> dict[str, float]:
    """Stop the well-behaved client, and return its latencies."""
    out, _ = bystander.communicate(timeout=_LIMIT)
    if bystander.returncode:
        raise Failed("the well-behaved client was not served")
    figures: dict[str, float] = json.loads(out)
    return figures
