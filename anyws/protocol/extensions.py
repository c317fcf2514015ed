"""Extensions: the grammar of ``Sec-WebSocket-Extensions`` and what an extension has to do (RFC 6455, section 9).

Three lives are three objects: an `Extension` is what a user asks for, an `ExtensionOffer` is what stands in the header,
and a `Codec` is an agreed extension at work on one connection.
"""

from __future__ import annotations

import functools
import operator
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from .headers import is_token

__all__ = ["Codec", "Extension", "ExtensionOffer", "parse_extensions", "reserved_bits", "serialize_extensions"]

# One pattern per step and no backtracking over more than a token, so the time is linear in the length.
_SPACE = re.compile(r"[ \t]*")
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_QUOTED = re.compile(r'"((?:[^"\\\x00-\x08\x0a-\x1f\x7f]|\\[\t\x20-\x7e\x80-\xff])*)"')
_ESCAPE = re.compile(r"\\(.)")
_MAX_REMEMBERED = 256  # characters of a header; most clients send the same few


@dataclass(frozen=True, slots=True)
class ExtensionOffer:
    """One element of the header: an extension with its parameters, offered or agreed.

    Attributes:
        name: the extension's token.
        parameters: (name, value) pairs in their order; the value is None for a parameter without one.
    """

    name: str
    parameters: tuple[tuple[str, str | None], ...] = ()

    def __str__(self) -> str:
        return "; ".join(
            [self.name, *(name if value is None else f"{name}={value}" for name, value in self.parameters)]
        )


class Codec(ABC):
    """An agreed extension at work on the data messages of one connection.

    Attributes:
        rsv: the reserved bits to which it gives a meaning, where they stand in the first byte of a frame (RSV1 is
            0x40). They are set on the first frame of a message that it has changed, and on no other (RFC 7692, section 6).
    """

    rsv: int

    @abstractmethod
    def encode(self, payload: bytes, *, first: bool, fin: bool, compress: bool | None) -> tuple[bytes, bool]:
        """Change a message, or the next fragment of one, that is to be sent.

        Args:
            payload: the whole message, or the fragment.
            first: whether it begins the message.
            fin: whether it ends the message.
            compress: what the caller wants of this message, in each of its fragments; None leaves it to the extension.

        Returns:
            The payload to send, and whether ``rsv`` is to be set; the latter counts for the first fragment only, and a
            message that begins unchanged stays so.
        """

    @abstractmethod
    def decode(self, payload: bytes, *, fin: bool, limit: int | None) -> bytes:
        """Change back the next part of a message that came with ``rsv`` set.

        Args:
            payload: the next bytes of the message, in whatever pieces they came; perhaps none.
            fin: whether they end the message.
            limit: how many bytes may come of it; None for any number.

        Raises:
            RemoteProtocolError: the bytes are not what the extension allows.
            OverflowError: more than ``limit`` bytes would come of it. No more than that may be made.
        """


def reserved_bits(codecs: Iterable[Codec]) -> int:
    """Return all reserved bits to which the codecs give a meaning."""
    return functools.reduce(operator.or_, (codec.rsv for codec in codecs), 0)


class Extension(ABC):
    """An extension that a user asks for: it makes offers, and answers them.

    Attributes:
        name: its token in the header.
    """

    name: str

    @abstractmethod
    def offers(self) -> Sequence[ExtensionOffer]:
        """Return a client's offers, the preferred one first (RFC 6455, section 9.1: the others are fallbacks)."""

    @abstractmethod
    def accept(self, offer: ExtensionOffer) -> tuple[ExtensionOffer, Codec] | None:
        """Answer an offer, as the server: the answer and the codec, or None to decline it."""

    @abstractmethod
    def agreed(self, answer: ExtensionOffer) -> Codec:
        """Take the server's answer, as the client that has made the offers.

        Raises:
            ValueError: the answer does not fit an offer; the message says why.
        """


class _Scanner:
    def __init__(self, text: str) -> None:
        self.text = text
        self.position = 0

    def skip_space(self) -> None:
        match = _SPACE.match(self.text, self.position)
        self.position = match.end() if match else self.position

    def at_end(self) -> bool:
        return self.position == len(self.text)

    def take(self, character: str) -> bool:
        self.skip_space()
        found = self.text.startswith(character, self.position)
        self.position += found
        return found

    def token(self, what: str) -> str:
        self.skip_space()
        match = _TOKEN.match(self.text, self.position)
        if match is None:
            raise ValueError(f"{what} expected at character {self.position} of {self.text!r} (9.1)")
        self.position = match.end()
        return match.group()

    def value(self) -> str:
        self.skip_space()
        match = _QUOTED.match(self.text, self.position)
        if match is None:
            return self.token("token or quoted string")
        value = _ESCAPE.sub(r"\1", match.group(1))
        if not is_token(value):
            raise ValueError(f"quoted value {value!r} is not a token (9.1)")
        self.position = match.end()
        return value


def parse_extensions(value: str) -> list[ExtensionOffer]:
    """Read the value of a ``Sec-WebSocket-Extensions`` header (several headers joined by a comma).

    Raises:
        ValueError: the value does not follow the grammar; the message names the place.
    """
    return list(_remembered(value) if len(value) <= _MAX_REMEMBERED else _parse(value))


def _parse(value: str) -> tuple[ExtensionOffer, ...]:
    scanner = _Scanner(value)
    offers: list[ExtensionOffer] = []
    while True:
        while scanner.take(","):  # RFC 9110, section 5.6.1.2: empty list elements are ignored.
            pass
        scanner.skip_space()
        if scanner.at_end():
            break
        name = scanner.token("extension name")
        parameters: list[tuple[str, str | None]] = []
        while scanner.take(";"):
            parameter = scanner.token("parameter name")
            parameters.append((parameter, scanner.value() if scanner.take("=") else None))
        offers.append(ExtensionOffer(name, tuple(parameters)))
        scanner.skip_space()
        if not scanner.at_end() and not scanner.take(","):
            raise ValueError(f"comma or semicolon expected at character {scanner.position} of {value!r} (9.1)")
    if not offers:
        raise ValueError("at least one extension expected (9.1)")
    return tuple(offers)


_remembered = functools.lru_cache(maxsize=64)(_parse)


def serialize_extensions(offers: Sequence[ExtensionOffer]) -> str:
    """Return the value of the header; the inverse of `parse_extensions`."""
    return ", ".join(map(str, offers))
