"""The grammar of ``Sec-WebSocket-Extensions`` (RFC 6455, 9.1)."""

from __future__ import annotations

import re
from dataclasses import dataclass

from .headers import is_token

__all__ = ["ExtensionOffer", "parse_extensions", "serialize_extensions"]

# One pattern per step and no backtracking over more than a token, so the time is linear in the length.
_SPACE = re.compile(r"[ \t]*")
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_QUOTED = re.compile(r'"((?:[^"\\\x00-\x08\x0a-\x1f\x7f]|\\[\t\x20-\x7e\x80-\xff])*)"')
_ESCAPE = re.compile(r"\\(.)")


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
    scanner = _Scanner(value)
    offers: list[ExtensionOffer] = []
    while True:
        while scanner.take(","):  # RFC 9110, 5.6.1.2: empty list elements are ignored.
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
    return offers


def serialize_extensions(offers: list[ExtensionOffer]) -> str:
    """Return the value of the header; the inverse of `parse_extensions`."""
    return ", ".join(map(str, offers))
