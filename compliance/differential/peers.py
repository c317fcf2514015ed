"""The other implementations: wsproto in this process, and the receiver of ws from npm in another process."""

from __future__ import annotations

import base64
import contextlib
import json
import shutil
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import wsproto.connection
import wsproto.events
import wsproto.extensions

from anyws.protocol import Role

from .generate import Sequence
from .outcome import Event, Outcome

__all__ = ["PEERS", "Peer", "Ws", "Wsproto"]


class Peer(ABC):
    """Another implementation. Separate `begin` and `end` allow it to work in parallel with anyws."""

    name: str

    def __enter__(self) -> Self:
        """Start the implementation, if necessary."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exception: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop the implementation, if necessary."""
        return

    def can_play(self, sequence: Sequence) -> bool:
        """Whether the implementation supports what the sequence needs."""
        return True

    @abstractmethod
    def begin(self, sequences: list[Sequence]) -> None:
        """Start to replay a batch."""

    @abstractmethod
    def end(self) -> list[Outcome]:
        """Return the outcomes of the batch."""


class Wsproto(Peer):
    """wsproto, which has no limit on the size of a message."""

    name = "wsproto"

    def __init__(self) -> None:
        self._batch: list[Sequence] = []

    def can_play(self, sequence: Sequence) -> bool:
        """Whether the implementation supports what the sequence needs."""
        return sequence.max_message_size is None

    def begin(self, sequences: list[Sequence]) -> None:
        """Start to replay a batch."""
        self._batch = sequences

    def end(self) -> list[Outcome]:
        """Return the outcomes of the batch."""
        return [self._play(sequence) for sequence in self._batch]

    def _play(self, sequence: Sequence) -> Outcome:
        extensions: list[wsproto.extensions.Extension] = []
        if sequence.deflate is not None:
            deflate = wsproto.extensions.PerMessageDeflate(
                client_no_context_takeover=sequence.deflate.client_no_context_takeover,
                server_no_context_takeover=sequence.deflate.server_no_context_takeover,
                client_max_window_bits=max(9, sequence.deflate.client_max_window_bits),  # it rejects 8
                server_max_window_bits=max(9, sequence.deflate.server_max_window_bits),
            )
            deflate.finalize("permessage-deflate")
            extensions.append(deflate)
        role = wsproto.connection.SERVER if sequence.role is Role.SERVER else wsproto.connection.CLIENT
        connection = wsproto.connection.Connection(role, extensions)
        events: list[Event] = []
        pieces: list[bytes] = []
        for chunk in sequence.chunks:
            connection.receive_data(chunk)
            for event in connection.events():
                match event:
                    case wsproto.events.TextMessage() | wsproto.events.BytesMessage():
                        pieces.append(event.data.encode() if isinstance(event.data, str) else bytes(event.data))
                        if event.message_finished:
                            kind = "text" if isinstance(event, wsproto.events.TextMessage) else "binary"
                            events.append(Event(kind, b"".join(pieces)))
                            pieces.clear()
                    case wsproto.events.Ping():
                        events.append(Event("ping", bytes(event.payload)))
                    case wsproto.events.Pong():
                        events.append(Event("pong", bytes(event.payload)))
                    case wsproto.events.CloseConnection():
                        # Only the state distinguishes a received Close from a failure detected by wsproto.
                        if connection.state is wsproto.connection.ConnectionState.OPEN:
                            return Outcome(tuple(events), int(event.code), event.reason or "")
                        events.append(Event("close", (event.reason or "").encode(), int(event.code)))
                        return Outcome(tuple(events))
        return Outcome(tuple(events))


class Ws(Peer):
    """The receiver of ws from npm, in a process that ends when its standard input is closed: see receiver.js."""

    name = "ws"
    _MODULE = Path(__file__).parents[2] / "tests" / "interop" / "node_modules" / "ws"

    @classmethod
    def missing(cls) -> str | None:
        """Return what is missing to run it, or None."""
        if shutil.which("node") is None:
            return "Node is not installed"
        if not cls._MODULE.exists():
            return "the npm package ws is not installed; run npm ci --prefix tests/interop"
        return None

    def __enter__(self) -> Self:
        """Start the process."""
        script = Path(__file__).with_name("receiver.js")
        self._process = subprocess.Popen(
            ["node", str(script), str(self._MODULE)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exception: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End the process."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.stdout.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def begin(self, sequences: list[Sequence]) -> None:
        """Start to replay a batch."""
        assert self._process.stdin is not None
        json.dump([_as_json(sequence) for sequence in sequences], self._process.stdin)
        self._process.stdin.write("\n")
        self._process.stdin.flush()

    def end(self) -> list[Outcome]:
        """Return the outcomes of the batch."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"node exited with status {self._process.wait()}")
        return [_outcome(**each) for each in json.loads(line)]


def _as_json(sequence: Sequence) -> dict[str, Any]:
    deflate = None
    if sequence.deflate is not None:
        deflate = {name: value for name in sequence.deflate.__slots__ if (value := getattr(sequence.deflate, name))}
    return {
        "isServer": sequence.role is Role.SERVER,
        "deflate": deflate,
        "maxPayload": sequence.max_message_size or 0,
        "chunks": [base64.b64encode(chunk).decode() for chunk in sequence.chunks],
    }


def _outcome(events: Iterable[tuple[str, str, int]], failure: int | None, reason: str) -> Outcome:
    received = (Event(kind, base64.b64decode(payload), code) for kind, payload, code in events)
    return Outcome(tuple(received), failure, reason)


PEERS: dict[str, type[Peer]] = {peer.name: peer for peer in (Wsproto, Ws)}
