"""What a block that forwards gives to its user: `Forwarding`."""

from __future__ import annotations

from collections.abc import Mapping

from .forwarder import Forwarder

__all__ = ["Forwarding"]


class Forwarding:
    """Sends what is published on a connection. You get one from `Topics.forward`.

    Attributes:
        positions: where each topic stood when the block was entered, by name: after the messages that ``since`` asked
            for, and before all others. Send it to the client, which can begin there when it comes back.
    """

    __slots__ = ("_forwarder", "positions")

    def __init__(self, forwarder: Forwarder, positions: Mapping[str, str]) -> None:
        self._forwarder = forwarder
        self.positions: Mapping[str, str] = positions

    def __repr__(self) -> str:
        state = "active" if self._forwarder.is_active else "ended"
        return f"<anyws.topics.Forwarding {state}, {', '.join(self.positions)}>"

    @property
    def is_continuous(self) -> bool:
        """Whether nothing is missing, since ``since`` or since the block was entered.

        False on entry to the block if the history does not reach back to ``since``, or ``since`` is malformed. Then
        nothing of the history was sent: send the current state. With ``gap="continue"`` it also becomes False when
        messages are missed later. Messages that ``slow`` has dropped do not count.
        """
        return self._forwarder.is_continuous

    @property
    def dropped(self) -> int:
        """How many messages were not sent because the connection was slow.

        With ``slow="drop"``, these are all that found ``send_buffer`` full; with ``slow="latest"``, those that a newer
        one has replaced.
        """
        return self._forwarder.dropped
