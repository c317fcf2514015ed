"""The key of the opening handshake and the server's proof (RFC 6455, sections 1.3, 4.1 and 4.2.2)."""

from __future__ import annotations

import binascii
import hashlib
import re

__all__ = ["MAGIC_STRING", "VERSION", "accept_value", "is_valid_key"]

MAGIC_STRING = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
"""The GUID of RFC 6455, section 1.3, which a server uses to prove that it understood the opening handshake."""

# 16 bytes in base64. The bits of the last digit that do not belong to them may have any value.
_KEY = re.compile(r"[A-Za-z0-9+/]{22}==")

VERSION = "13"  # RFC 6455, section 4.1.


def accept_value(key: str) -> str:
    """Return the ``Sec-WebSocket-Accept`` value for a ``Sec-WebSocket-Key`` value (RFC 6455, section 4.2.2)."""
    digest = hashlib.sha1(f"{key}{MAGIC_STRING}".encode(), usedforsecurity=False).digest()
    return binascii.b2a_base64(digest, newline=False).decode()


def is_valid_key(key: str) -> bool:
    """Return whether the key is the base64 encoding of exactly 16 bytes (RFC 6455, section 4.2.1)."""
    return _KEY.fullmatch(key) is not None
