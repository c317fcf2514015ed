"""A published message, for code (`Published`) and on its way to connections (`Message`)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from anyws._connection.sending import PreparedMessage

from .engine import Position
from .payloads import parse_payload

__all__ = ["Encode", "Message", "Published"]


@dataclass(frozen=True, slots=True)
class Published:
    """A message that was published.

    Attributes:
        topic: its topic.
        message: the message: `str` or `bytes`, as it was published.
        position: where it stands in its topic. Keep it, and pass it as ``since`` to get what follows it. Do not rely on
            its form.
    """

    topic: str
    message: str | bytes
    position: str


Encode = Callable[[Published], str | bytes]
"""Returns what connections are sent for a published message."""


class Message:
    """A message that has arrived. Whatever its receivers share is computed once, and only if it is needed.

    Args:
        topic: its topic.
        position: its position.
        payload: what the engine carries.
    """

    __slots__ = ("_prepared", "_published", "payload", "position", "topic")

    def __init__(self, topic: str, position: Position, payload: bytes) -> None:
        self.topic: str = topic
        self.position: Position = position
        self.payload: bytes = payload
        self._published: Published | None = None
        self._prepared: dict[Encode | None, PreparedMessage] = {}

    @property
    def published(self) -> Published:
        """What code gets.

        Raises:
            ValueError: the payload is not that of a message.
        """
        if self._published is None:
            self._published = Published(self.topic, parse_payload(self.payload), str(self.position))
        return self._published

    def prepared(self, encode: Encode | None) -> PreparedMessage:
        """Return what connections are sent.

        Args:
            encode: the function that decides that; None to send the message as it is.

        Raises:
            TypeError: the function returned neither `str` nor bytes.
            ValueError: the payload is not that of a message.
            Exception: what the function raises.
        """
        prepared = self._prepared.get(encode)
        if prepared is None:
            message = parse_payload(self.payload) if encode is None else encode(self.published)
            prepared = self._prepared[encode] = PreparedMessage(message)
        return prepared
