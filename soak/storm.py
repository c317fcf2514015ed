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

from .client import REQUEST, Client, ClientPool
from .process import ROOT, serving
from .resources import Failed, check_flat, check_released

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


class _StormClient(Client):
    """A client of some kind."""

    def __init__(self, number: int, port: int, kind: str) -> None:
        super().__init__(number, port, _GREETINGS[kind])
        self.kind = kind

    def on_first_data_sent(self) -> None:
        """Disconnect, if the client is of that kind."""
        if self.kind.startswith("disconnects"):
            self.close()
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
    with serving(backend, max_connections=limit) as (process, port), _running_well_behaved_client(port) as well_behaved:
        first = process.resources()
        _run_storm(port, connections, limit)  # warms up
        before = process.wait_until_released(first)
        end = time.monotonic() + seconds
        statuses: Counter[str] = Counter()
        samples = [before]
        while time.monotonic() < end or len(samples) < 3:
            statuses += _run_storm(port, connections, limit)
            samples.append(process.wait_until_released(before))
            print(samples[-1], file=sys.stderr, flush=True)
            check_released(before, samples[-1])
        memories = [sample.memory for sample in samples[len(samples) // 4 :]]
        growth = check_flat(range(len(memories)), memories, bound=2048 + _KIB_PER_CLIENT * connections)
        served = _stop(well_behaved)
    return {
        "storms": f"{len(samples) - 1} of {connections} clients: "
        + ", ".join(f"{count} x {status}" for status, count in sorted(statuses.items())),
        "latency of a well-behaved client": "{median:.1f} ms, 99 % below {p99:.0f} ms, maximum {most:.0f} ms; "
        "{messages} messages".format(**served),
        "memory": f"{before.memory} KiB after the first, {memories[0]} after a quarter, {memories[-1]} after the last",
        "growth": f"{growth:.0f} KiB in the last three quarters",
        "descriptors": f"{before.descriptors} before, {samples[-1].descriptors} after",
        "tasks": f"{before.tasks} before, {samples[-1].tasks} after",
        "objects": f"{before.objects} before, {samples[-1].objects} after",
    }


def _run_storm(port: int, connections: int, limit: int | None) -> Counter[str]:
    """Run one storm. Return the number of responses by status, for the clients that wait for one."""
    pool = ClientPool()
    clients = [_StormClient(number, port, _KINDS[number % len(_KINDS)]) for number in range(connections)]
    for client in clients:
        pool.add(client)
    awaiting = [client for client in clients if client.kind in _RESPONSES]
    pool.wait(clients, _is_done, limit=_LIMIT)
    for client in awaiting:
        if client.status not in _RESPONSES[client.kind] | ({503} if limit is not None else set()):
            raise Failed(f"{client.kind!r} got the status {client.status}")
    accepted = [client for client in awaiting if client.status == 101]
    if limit is not None and not 0 < len(accepted) < limit:
        raise Failed(f"{len(accepted)} connections besides the well-behaved one, with max_connections={limit}")
    for client in accepted:
        client.send(b"%d" % client.number)
    pool.wait(accepted, lambda client: not client.expects_echo or client.is_closed, limit=_LIMIT)
    for client in accepted:
        client.send_close()
    for client in clients:
        if not client.is_closed and client not in accepted:
            client.close()
    pool.wait(accepted, lambda client: client.is_closed, limit=_LIMIT)
    pool.close()
    if lost := sum(client.echoes == 0 for client in accepted):
        raise Failed(f"{lost} connections were lost")
    return Counter(str(client.status) for client in awaiting)


def _is_done(client: Client) -> bool:
    assert isinstance(client, _StormClient)
    return client.is_closed or client.status > 0 or client.kind == "silent"


@contextmanager
def _running_well_behaved_client(port: int) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "soak.well_behaved_client", str(port)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            process.stdout.readline()
            yield process
        finally:
            process.kill()


def _stop(well_behaved: subprocess.Popen[str]) -> dict[str, float]:
    """Stop the well-behaved client, and return its latencies."""
    out, _ = well_behaved.communicate(timeout=_LIMIT)
    if well_behaved.returncode:
        raise Failed("the well-behaved client was not served")
    figures: dict[str, float] = json.loads(out)
    return figures
