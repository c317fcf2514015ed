"""Many active connections: memory stays flat, every echo is right, and everything is released at the end."""

from __future__ import annotations

import sys
import time

from .client import Client, Crowd
from .process import ServerProcess, serving
from .state import Failed, State, check_flat, check_gone

__all__ = ["run"]

_WARM = 50  # connections that are opened and closed before the first measurement
_AT_A_TIME = 500  # opening handshakes
_LIMIT = 60.0  # seconds, for anything that the server has to do meanwhile
_BYTES_PER_ECHO = 8  # allowed growth: less than the size of the smallest object
_STRAY = 2048  # KiB of growth that are always allowed
_SIZES = (16, 125, 126, 1000, 4000)  # bytes of a message


class _Population:
    """Clients that send in turn, each once per interval."""

    def __init__(self, port: int, interval: float) -> None:
        self.crowd = Crowd()
        self.clients: list[Client] = []
        self.late = 0
        self._port = port
        self._interval = interval
        self._turns = 0

    @property
    def echoes(self) -> int:
        """The number of echoed messages."""
        return sum(client.echoes for client in self.clients)

    def open(self, count: int) -> None:
        """Open connections."""
        while count > 0:
            new = [Client(len(self.clients) + each, self._port) for each in range(min(count, _AT_A_TIME))]
            for client in new:
                self.crowd.add(client)
            self.crowd.wait(new, lambda client: client.status > 0 or client.is_gone, limit=_LIMIT)
            self.clients += new
            count -= len(new)
        self._check()

    def turn(self) -> None:
        """Process received data, and answer Pings."""
        self.crowd.turn(0.01)

    def live(self, seconds: float) -> None:
        """Let every client send repeatedly."""
        begin, turns, passed = time.monotonic(), self._turns, 0.0
        while passed < seconds:
            passed = min(time.monotonic() - begin, seconds)
            while self._turns < turns + passed / self._interval * len(self.clients):
                self._send(self.clients[self._turns % len(self.clients)])
                self._turns += 1
            self.turn()
        self.crowd.wait(self.clients, lambda client: not client.is_waiting or client.is_gone, limit=_LIMIT)
        self._check()

    def close(self) -> None:
        """Close all connections: a third each with a Close, by closing TCP, and with a reset."""
        polite = self.clients[::3]
        for client in polite:
            client.send_close()
        self.crowd.wait(polite, lambda client: client.is_gone, limit=_LIMIT)
        self.crowd.close()
        for client in self.clients[1::3]:
            client.leave()
        for client in self.clients[2::3]:
            client.reset()

    def _send(self, client: Client) -> None:
        if client.is_gone:
            raise Failed(f"client {client.number}: the server has closed the connection")
        if client.is_waiting:
            self.late += 1
            return
        text = b"%d of %d, " % (client.echoes, client.number)
        size = _SIZES[(client.number + client.echoes) % len(_SIZES)]
        client.send((text * (size // len(text) + 1))[:size])

    def _check(self) -> None:
        for client in self.clients:
            if client.status != 101 or client.is_gone:
                raise Failed(f"client {client.number}: status {client.status}, lost: {client.is_gone}")


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
        empty = process.state()
        _visit(port, _WARM, interval)
        before = process.settled(empty)
        population = _Population(port, interval)
        population.open(connections)
        opened = process.state(population.turn)
        warming = max(seconds / 10, interval)  # long enough for each client to send once
        population.live(warming)
        process.state(population.turn)  # messages that wait meanwhile allocate memory for the first time
        population.live(warming)
        echoes_before = population.echoes
        times, states = _watch(process, population, seconds)
        memories = [state.memory for state in states]
        echoes = population.echoes - echoes_before
        growth = check_flat(times, memories, bound=_STRAY + _BYTES_PER_ECHO * echoes / 1024)
        population.close()
        after = process.settled(before)
        check_gone(before, after)
    return {
        "connections": f"{connections}",
        "seconds": f"{seconds:g}",
        "echoes": f"{echoes} right, none wrong or lost; {population.late} late",
        "memory": f"{before.memory} KiB before, {opened.memory} opened, {memories[0]} warm, {memories[-1]} at the end, "
        f"{min(memories)} to {max(memories)} in between; {after.memory} after closing",
        "growth": f"{growth:.0f} KiB in {seconds:g} s",
        "descriptors": f"{before.descriptors} before, {states[-1].descriptors} open, {after.descriptors} after",
        "tasks": f"{before.tasks} before, {states[-1].tasks} open, {after.tasks} after",
        "objects": f"{before.objects} before, {states[0].objects} warm, {states[-1].objects} at the end, "
        f"{after.objects} after",
    }


def _visit(port: int, count: int, interval: float) -> None:
    population = _Population(port, interval)
    population.open(count)
    for client in population.clients:
        client.send(b"warm")
    population.live(0)
    population.close()


def _watch(process: ServerProcess, population: _Population, seconds: float) -> tuple[list[float], list[State]]:
    begin = time.monotonic()
    times, states = [0.0], [process.state(population.turn)]
    while times[-1] < seconds:
        population.live(max(seconds / 40, 0.1))
        times.append(time.monotonic() - begin)
        states.append(process.state(population.turn))
        print(f"{times[-1]:.0f} s: {states[-1]}", file=sys.stderr, flush=True)
    return times, states
