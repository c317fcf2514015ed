"""Parsers for the values of command-line options."""

from __future__ import annotations

import argparse
import math
import re
from pathlib import Path

from .files import file_problem

__all__ = [
    "cookie",
    "count",
    "headers",
    "payload_size",
    "port",
    "positive_rate",
    "positive_seconds",
    "seconds",
    "size",
    "user",
]

_UNITS = {"": 1, "k": 1024, "m": 1024**2, "g": 1024**3}


def seconds(text: str) -> float:
    """A number of seconds, including ``0`` and ``inf``."""
    try:
        found = float(text)
    except ValueError:
        found = -1
    if not found >= 0:  # also rejects NaN
        raise argparse.ArgumentTypeError(f"{text!r}: expected a number of seconds, or inf")
    return found


def positive_seconds(text: str) -> float:
    """A number of seconds greater than 0."""
    found = seconds(text)
    if not found:
        raise argparse.ArgumentTypeError(f"{text!r}: expected a number of seconds greater than 0")
    return found


def count(text: str) -> int:
    """A whole number of at least 1."""
    if not (text.isascii() and text.isdecimal() and int(text)):
        raise argparse.ArgumentTypeError(f"{text!r}: expected a number of at least 1")
    return int(text)


def size(text: str) -> int:
    """A number of bytes: ``65536``, ``64K``, ``1M``."""
    match = re.fullmatch(r"([0-9]+)([kmg]?)(i?b)?", text.lower())
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r}: expected a number of bytes, such as 65536, 64K or 1M")
    return int(match[1]) * _UNITS[match[2]]


def payload_size(text: str) -> int:
    """The size of a Ping's payload (RFC 6455, section 5.5)."""
    found = size(text)
    if found > 125:
        raise argparse.ArgumentTypeError(f"{text!r}: the payload of a Ping has at most 125 bytes")
    return found


def port(text: str) -> int:
    """A TCP port, 0 included."""
    if not (text.isascii() and text.isdecimal() and int(text) <= 65535):
        raise argparse.ArgumentTypeError(f"{text!r}: expected a number from 0 to 65535")
    return int(text)


def headers(text: str) -> list[tuple[str, str]]:
    """A header field, ``NAME: VALUE``; or ``@FILE``, a file with one on each line, which keeps secrets out of `ps`."""
    if not text.startswith("@"):
        return [_header(text, "")]
    path = text.removeprefix("@")
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except OSError as exc:
        raise argparse.ArgumentTypeError(f"cannot read {path}: {file_problem(exc)}") from exc
    except UnicodeDecodeError as exc:
        raise argparse.ArgumentTypeError(f"cannot read {path}: it is not valid UTF-8") from exc
    return [_header(line, f"{path}, line {number}: ") for number, line in enumerate(lines, 1) if line.strip()]


def _header(text: str, where: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon:
        raise argparse.ArgumentTypeError(f"{where}no colon: expected 'NAME: VALUE'")  # the text may be a secret
    return name.strip(), value.strip()


def user(text: str) -> tuple[str, str | None]:
    """A user name and, after a colon, a password; None if there is no colon (RFC 7617, section 2)."""
    name, colon, password = text.partition(":")
    return name, password if colon else None


def cookie(text: str) -> tuple[str, str]:
    """A cookie, ``NAME=VALUE``."""
    name, equals, value = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError("no equals sign: expected NAME=VALUE")  # the text may be a secret
    return name.strip(), value.strip()


def positive_rate(text: str) -> float:
    """A number of messages per second, greater than 0 and finite."""
    try:
        found = float(text)
    except ValueError:
        found = 0
    if not (found > 0 and math.isfinite(found)):
        raise argparse.ArgumentTypeError(f"{text!r}: expected a number greater than 0")
    return found
