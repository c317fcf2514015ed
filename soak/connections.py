"""Many active connections: memory stays flat, every echo is right, and everything is released at the end."""

from __future__ import annotations

import sys
import time

from .client import Client, ClientPool
from .process import ServerProcess, serving
from .resources import Failed, Resources, check_flat, check_released

__all__ = ["run"]

_WARM_UP_CONNECTIONS = 50  # connections that are opened and closed before the first measurement
_AT_A_TIME = 500  # opening handshakes
_LIMIT = 60.0  # seconds, for anything that the server has to do meanwhile
_BYTES_PER_ECHO = 8  # allowed growth: less than the size of the smallest object
_ALLOWED_GROWTH = 2048  # KiB of growth that are always allowed
_SIZES = (16, 125, 126, 1000, 4000)  # bytes of a message


class _ClientGroup:
    """Clients that send in turn, each once per interval."""

    def __init__(self, port: int, interval: float) -> None:
        self.pool = ClientPool()
        self.clients: list[Client] = []
        self.late = 0
        self._port = port
        self._interval = interval
        self._sent = 0

    @property
    def echoes(self) -> int:
        """The number of echoed messages."""
        return sum(client.echoes for client in self.clients)

    def open(self, count: int) -> None:
        """Open connections."""
        while count > 0:
            new = [Client(len(self.clients) + each, self._port) for each in range(min(count, _AT_A_TIME))]
            for client in new:
                self.pool.add(client)
            self.pool.wait(new, lambda client: client.status > 0 or client.is_closed, limit=_LIMIT)
            self.clients += new
            count -= len(new)
        self._check()

    def poll(self) -> None:
        """Process received data, and answer Pings."""
        self.pool.poll(0.01)

    def send_for(self, seconds: float) -> None:
        """Let every client send repeatedly."""
        begin, sent_before, passed = time.monotonic(), self._sent, 0.0
        while passed < seconds:
            passed = min(time.monotonic() - begin, seconds)
            while self._sent < sent_before + passed / self._interval * len(self.clients):
                self._send(self.clients[self._sent % len(self.clients)])
                self._sent += 1
            self.poll()
        self.pool.wait(self.clients, lambda client: not client.expects_echo or client.is_closed, limit=_LIMIT)
        self._check()

    def close(self) -> None:
        """Close all connections: a third each with a Close, by closing TCP, and with a reset."""
        first_third = self.clients[::3]
        for client in first_third:
            client.send_close()
        self.pool.wait(first_third, lambda client: client.is_closed, limit=_LIMIT)
        self.pool.close()
        for client in self.clients[1::3]:
            client.close()
        for client in self.clients[2::3]:
            client.reset()

    def _send(self, client: Client) -> None:
        if client.is_closed:
            raise Failed(f"client {client.number}: the server has closed the connection")
        if client.expects_echo:
            self.late += 1
            return
        text = b"%d of %d, " % (client.echoes, client.number)
        size = _SIZES[(client.number + client.echoes) % len(_SIZES)]
        client.send((text * (size // len(text) + 1))[:size])

    def _check(self) -> None:
        for client in self.clients:
            if client.status != 101 or client.is_closed:
                raise Failed(f"client {client.number}: status {client.status}, lost: {client.is_closed}")


def run(backend: str, connections: int, seconds: float, interval: float = 5.0) -> dict[str, str]:
    """Open connections, use them for a time, and close them.

    Args:
        backend: the server's event loop.
        connections: the number of connections.
        seconds: how long they are used, after a warm-up of a fifth of this time, or at least two intervals.
        interval: each client sends one message per interval, in seconds.

    Returns:
        The figures, by name.

    Raises:
        Failed: memory grows by more than 2 MiB plus 8 bytes per message; an echo is wrong or lost; or something is
            not released at the end.
    """
    with serving(backend) as (process, port):
        empty = process.resources()
        _warm_up(port, _WARM_UP_CONNECTIONS, interval)
        before = process.wait_until_released(empty)
        group = _ClientGroup(port, interval)
        group.open(connections)
        opened = process.resources(group.poll)
        warming = max(seconds / 10, interval)  # long enough for each client to send once
        group.send_for(warming)
        process.resources(group.poll)  # messages that wait meanwhile allocate memory for the first time
        group.send_for(warming)
        echoes_before = group.echoes
        times, samples = _sample(process, group, seconds)
        memories = [sample.memory for sample in samples]
        echoes = group.echoes - echoes_before
        growth = check_flat(times, memories, bound=_ALLOWED_GROWTH + _BYTES_PER_ECHO * echoes / 1024)
        group.close()
        after = process.wait_until_released(before)
        check_released(before, after)
    return {
        "connections": f"{connections}",
        "seconds": f"{seconds:g}",
        "echoes": f"{echoes} right, none wrong or lost; {group.late} late",
        "memory": f"{before.memory} KiB before, {opened.memory} opened, {memories[0]} warm, {memories[-1]} at the end, "
        f"{min(memories)} to {max(memories)} in between; {after.memory} after closing",
        "growth": f"{growth:.0f} KiB in {seconds:g} s",
        "descriptors": f"{before.descriptors} before, {samples[-1].descriptors} open, {after.descriptors} after",
        "tasks": f"{before.tasks} before, {samples[-1].tasks} open, {after.tasks} after",
        "objects": f"{before.objects} before, {samples[0].objects} warm, {samples[-1].objects} at the end, "
        f"{after.objects} after",
    }


def _warm_up(port: int, count: int, interval: float) -> None:
    group = _ClientGroup(port, interval)
    group.open(count)
    for client in group.clients:
        client.send(b"warm")
    group.send_for(0)
    group.close()


def _sample(process: ServerProcess, group: _ClientGroup, seconds: float) -> tuple[list[float], list[Resources]]:
    begin = time.monotonic()
    times, samples = [0.0], [process.resources(group.poll)]
    while times[-1] < seconds:
        group.send_for(max(seconds / 40, 0.1))
        times.append(time.monotonic() - begin)
        samples.append(process.resources(group.poll))
        print(f"{times[-1]:.0f} s: {samples[-1]}", file=sys.stderr, flush=True)
    return times, samples
