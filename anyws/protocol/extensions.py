"""The syntax of ``Sec-WebSocket-Extensions`` and the interface of an extension (RFC 6455, section 9).

There are three kinds of objects: an `Extension` holds the settings that a user passes, an `ExtensionOffer` is an
element of the header, and a `Codec` applies a negotiated extension to the messages of one connection.
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

# Each step matches one pattern and never backtracks over more than a token, so parsing takes linear time.
_SPACE = re.compile(r"[ \t]*")
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_QUOTED = re.compile(r'"((?:[^"\\\x00-\x08\x0a-\x1f\x7f]|\\[\t\x20-\x7e\x80-\xff])*)"')
_ESCAPE = re.compile(r"\\(.)")
_MAX_REMEMBERED = 256  # characters of a header; most clients send one of a few short values
_SECTION = "RFC 6455, section 9.1"


@dataclass(frozen=True, slots=True)
class ExtensionOffer:
    """An element of the header: an offered or accepted extension with its parameters.

    Attributes:
        name: the name of the extension, a token.
        parameters: (name, value) pairs in order; the value is None for a parameter without one.
    """

    name: str
    parameters: tuple[tuple[str, str | None], ...] = ()

    def __str__(self) -> str:
        return "; ".join(
            [self.name, *(name if value is None else f"{name}={value}" for name, value in self.parameters)]
        )


class Codec(ABC):
    """Applies a negotiated extension to the data messages of one connection.

    Attributes:
        rsv: the reserved bits that the extension uses, as a mask for the first byte of a frame (RSV1 is 0x40). They are
            set only on the first frame of a message that the extension has transformed (RFC 7692, section 6).
    """

    rsv: int

    @abstractmethod
    def encode(self, payload: bytes, *, first: bool, fin: bool, compress: bool | None) -> tuple[bytes, bool]:
        """Transform an outgoing message, or its next fragment.

        Args:
            payload: the whole message, or the fragment.
            first: whether the payload begins the message.
            fin: whether the payload ends the message.
            compress: whether the caller wants this message to be compressed; the same for all its fragments. None
                leaves the decision to the extension.

        Returns:
            The payload to send, and whether to set ``rsv``, which matters for the first fragment only. If the first
            fragment is not transformed, the rest of the message must not be either.
        """

    @abstractmethod
    def decode(self, payload: bytes, *, fin: bool, limit: int | None) -> bytes:
        """Restore the next part of a received message that has ``rsv`` set.

        Args:
            payload: the next bytes of the message, split at any point; may be empty.
            fin: whether the payload ends the message.
            limit: the maximum number of bytes to return; None for no limit.

        Raises:
            RemoteProtocolError: the extension does not allow these bytes.
            OverflowError: the result would have more than ``limit`` bytes. Do not allocate more than that.
        """


def reserved_bits(codecs: Iterable[Codec]) -> int:
    """Return all reserved bits that the codecs use."""
    return functools.reduce(operator.or_, (codec.rsv for codec in codecs), 0)


class Extension(ABC):
    """The base class of extensions: it creates offers as a client and responds to offers as a server.

    Attributes:
        name: the name of the extension in the header, a token.
    """

    name: str

    @abstractmethod
    def offers(self) -> Sequence[ExtensionOffer]:
        """Return the offers of a client in order of preference; later ones are fallbacks (RFC 6455, section 9.1)."""

    @abstractmethod
    def accept(self, offer: ExtensionOffer) -> tuple[ExtensionOffer, Codec] | None:
        """Respond to an offer as a server: return the accepted parameters and the codec, or None to decline."""

    @abstractmethod
    def create_codec(self, accepted: ExtensionOffer) -> Codec:
        """Return the codec for the parameters that the server accepted, as the client that made the offers.

        Raises:
            ValueError: the server's response does not match an offer; the message says why.
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
            raise ValueError(f"expected {what} at character {self.position} of {self.text!r} ({_SECTION})")
        self.position = match.end()
        return match.group()

    def value(self) -> str:
        self.skip_space()
        match = _QUOTED.match(self.text, self.position)
        if match is None:
            return self.token("a token or a quoted string")
        value = _ESCAPE.sub(r"\1", match.group(1))
        if not is_token(value):
            raise ValueError(f"quoted value {value!r} is not a token ({_SECTION})")
        self.position = match.end()
        return value


def parse_extensions(value: str) -> list[ExtensionOffer]:
    """Parse the value of a ``Sec-WebSocket-Extensions`` header. Join several headers with a comma first.

    Raises:
        ValueError: the value has a syntax error; the message says where.
    """
    return list(_remembered(value) if len(value) <= _MAX_REMEMBERED else _parse(value))


def _parse(value: str) -> tuple[ExtensionOffer, ...]:
    scanner = _Scanner(value)
    offers: list[ExtensionOffer] = []
    while True:
        while scanner.take(","):  # RFC 9110, section 5.6.1.2: ignore empty list elements.
            pass
        scanner.skip_space()
        if scanner.at_end():
            break
        name = scanner.token("an extension name")
        parameters: list[tuple[str, str | None]] = []
        while scanner.take(";"):
            parameter = scanner.token("a parameter name")
            parameters.append((parameter, scanner.value() if scanner.take("=") else None))
        offers.append(ExtensionOffer(name, tuple(parameters)))
        scanner.skip_space()
        if not scanner.at_end() and not scanner.take(","):
            raise ValueError(
                f"expected a comma or a semicolon at character {scanner.position} of {value!r} ({_SECTION})"
            )
    if not offers:
        raise ValueError(f"expected at least one extension ({_SECTION})")
    return tuple(offers)


_remembered = functools.lru_cache(maxsize=64)(_parse)


def serialize_extensions(offers: Sequence[ExtensionOffer]) -> str:
    """Return the value of the header. This is the inverse of `parse_extensions`."""
    return ", ".join(map(str, offers))
