"""permessage-deflate (RFC 7692).

How this works: a message is compressed as raw DEFLATE data that ends with an empty stored block. The sender omits the
last four bytes of this block (``00 00 ff ff``), and the receiver restores them. Each side keeps its window from message
to message, unless "no context takeover" was negotiated. Section numbers in comments refer to RFC 7692.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from .default_zlib import default_zlib, is_zlib_ng, zlib_ng_level
from .deflater import Deflater
from .extensions import Codec, Extension, ExtensionOffer
from .inflater import Inflater, InvalidDeflate

__all__ = ["PRESETS", "DeflateCodec", "DeflateParameters", "InvalidDeflate", "PerMessageDeflate", "Preset"]

NAME = "permessage-deflate"
_RSV1 = 0x40  # section 6
_MAX_BITS = 15
_BITS = {str(bits): bits for bits in range(8, _MAX_BITS + 1)}  # section 7.1.2: no leading zeros
_MIN_MEM_LEVEL_OF_ZLIB_NG = 4  # a lower level asks for less memory than zlib-ng uses
_NO_TAKEOVER = ("server_no_context_takeover", "client_no_context_takeover")
_WINDOW_BITS = ("server_max_window_bits", "client_max_window_bits")


@dataclass(frozen=True, slots=True, kw_only=True)
class DeflateParameters:
    """The negotiated parameters of permessage-deflate (RFC 7692, section 7.1).

    Attributes:
        server_no_context_takeover: whether the server starts each message with an empty window.
        client_no_context_takeover: whether the client starts each message with an empty window.
        server_max_window_bits: the base-2 logarithm of the server's window size in bytes, 8 to 15.
        client_max_window_bits: the base-2 logarithm of the client's window size in bytes, 8 to 15.
    """

    server_no_context_takeover: bool = False
    client_no_context_takeover: bool = False
    server_max_window_bits: int = _MAX_BITS
    client_max_window_bits: int = _MAX_BITS


@dataclass(frozen=True, slots=True, kw_only=True)
class PerMessageDeflate(Extension):
    """Settings for permessage-deflate compression (RFC 7692).

    Attributes:
        server_no_context_takeover: start each message from the server with an empty window, which saves memory but
            compresses less.
        client_no_context_takeover: start each message from the client with an empty window.
        server_max_window_bits: limit the server's window to 8 to 15 bits; None for 15.
        client_max_window_bits: limit the client's window to 8 to 15 bits, if the client supports it; None for 15.
        level: the compression level, from 1 (fastest) to 9 (smallest), or -1 for the default of zlib. Unless you set
            ``zlib``, the numbers mean what they mean to `zlib`: zlib-ng then uses whichever of its levels compresses
            about as much.
        mem_level: the amount of memory for the compressor's state, 1 to 9. zlib-ng ignores it.
        threshold: the minimum message size to compress, in bytes. It does not apply to fragmented messages, nor to
            messages sent with an explicit ``compress``.
        zlib: the compression module: `zlib`, or a compatible one such as ``zlib_ng.zlib_ng``. None for zlib-ng if it is
            installed and ``mem_level`` is at least 4, and otherwise `zlib`; see `anyws.protocol.default_zlib`.
    """

    name = NAME

    server_no_context_takeover: bool = False
    client_no_context_takeover: bool = False
    server_max_window_bits: int | None = None
    client_max_window_bits: int | None = None
    level: int = -1
    mem_level: int = 8
    threshold: int = 64
    zlib: Any = None

    def __post_init__(self) -> None:
        for option in _WINDOW_BITS:
            if getattr(self, option) is not None:
                self._check(option, 8, _MAX_BITS, "8 to 15, or None")
        self._check("level", -1, 9, "-1 to 9")
        self._check("mem_level", 1, 9, "1 to 9")
        self._check("threshold", 0, None, "0 or more")
        for name in ("compressobj", "decompressobj", "error", "DEFLATED", "Z_SYNC_FLUSH"):
            if self.zlib is not None and not hasattr(self.zlib, name):
                raise TypeError(f"option zlib has no {name}: expected a module compatible with zlib")

    @property
    def library(self) -> Any:
        """The compression module that is used."""
        if self.zlib is None:
            return default_zlib() if self.mem_level >= _MIN_MEM_LEVEL_OF_ZLIB_NG else importlib.import_module("zlib")
        return self.zlib

    def _check(self, option: str, low: int, high: int | None, expected: str) -> None:
        value = getattr(self, option)
        if not isinstance(value, int) or isinstance(value, bool):
            raise TypeError(f"option {option} is {value!r}: expected {expected}")
        if value < low or (high is not None and value > high):
            raise ValueError(f"option {option} is {value}: expected {expected}")

    def offers(self) -> Sequence[ExtensionOffer]:
        """Return a single offer. It always lets the server limit the client's window, so the server can save memory."""
        parameters: list[tuple[str, str | None]] = [(name, None) for name in _NO_TAKEOVER if getattr(self, name)]
        if self.server_max_window_bits is not None:
            parameters.append(("server_max_window_bits", str(self.server_max_window_bits)))
        bits = self.client_max_window_bits
        parameters.append(("client_max_window_bits", None if bits is None else str(bits)))
        return [ExtensionOffer(NAME, tuple(parameters))]

    def accept(self, offer: ExtensionOffer) -> tuple[ExtensionOffer, DeflateCodec] | None:
        """Accept an offer, or return None if a parameter is unknown, repeated or out of range (section 7.1)."""
        try:
            offered = _parse(offer, bits_may_lack_value=True)
        except ValueError:
            return None
        response: list[tuple[str, str | None]] = []
        parameters: dict[str, Any] = {}
        for name in _NO_TAKEOVER:
            parameters[name] = name in offered or getattr(self, name)
            if parameters[name]:
                response.append((name, None))
        for name in _WINDOW_BITS:
            ours, theirs = getattr(self, name), offered.get(name)
            if name == "client_max_window_bits" and name not in offered:
                continue  # section 7.1.2.2: only allowed in the response if the client has offered it
            if ours is not None or theirs is not None:
                parameters[name] = min(ours or _MAX_BITS, theirs or _MAX_BITS)
                response.append((name, str(parameters[name])))
        codec = DeflateCodec(DeflateParameters(**parameters), self, is_server=True)
        return ExtensionOffer(NAME, tuple(response)), codec

    def create_codec(self, accepted: ExtensionOffer) -> DeflateCodec:
        """Return the codec for the parameters that the server accepted (section 7.1)."""
        response = _parse(accepted, bits_may_lack_value=False)
        if self.server_no_context_takeover and "server_no_context_takeover" not in response:
            raise ValueError("the response lacks server_no_context_takeover, which was offered (section 7.1.1.1)")
        offered, granted = self.server_max_window_bits, response.get("server_max_window_bits")
        if offered is not None and (granted is None or granted > offered):
            raise ValueError(
                f"the response has server_max_window_bits {granted}, but {offered} was offered (section 7.1.2.1)"
            )
        # Section 7.1.2.2: we keep to the limit that we offered; the response may lower it further.
        ours, bound = self.client_max_window_bits or _MAX_BITS, response.get("client_max_window_bits") or _MAX_BITS
        parameters = DeflateParameters(
            server_no_context_takeover="server_no_context_takeover" in response,
            client_no_context_takeover=self.client_no_context_takeover or "client_no_context_takeover" in response,
            server_max_window_bits=granted or _MAX_BITS,
            client_max_window_bits=min(ours, bound),
        )
        return DeflateCodec(parameters, self, is_server=False)


Preset = Literal["memory", "default", "ratio", "speed"]

PRESETS: dict[Preset, PerMessageDeflate] = {
    "memory": PerMessageDeflate(server_max_window_bits=9, client_max_window_bits=9, mem_level=2),
    "default": PerMessageDeflate(server_max_window_bits=12, client_max_window_bits=12, level=5, mem_level=5),
    "ratio": PerMessageDeflate(level=9, mem_level=9),
    "speed": PerMessageDeflate(server_max_window_bits=12, client_max_window_bits=12, level=1, mem_level=5),
}
"""Predefined settings: least memory, a default for most uses, smallest messages, or least CPU time."""


class DeflateCodec(Codec):
    """Compresses and decompresses the messages of one connection with permessage-deflate.

    Args:
        parameters: the negotiated parameters.
        settings: the compression level, memory and threshold for outgoing messages.
        is_server: whether this side is the server.
    """

    rsv = _RSV1

    def __init__(self, parameters: DeflateParameters, settings: PerMessageDeflate, *, is_server: bool) -> None:
        self.parameters: DeflateParameters = parameters
        ours, theirs = ("server", "client") if is_server else ("client", "server")
        library = settings.library
        is_default_ng = settings.zlib is None and is_zlib_ng(library)
        self._deflater = Deflater(
            library,
            level=zlib_ng_level(settings.level) if is_default_ng else settings.level,
            bits=getattr(parameters, f"{ours}_max_window_bits"),
            mem_level=settings.mem_level,
            threshold=settings.threshold,
            takeover=not getattr(parameters, f"{ours}_no_context_takeover"),
            shares_memory=is_default_ng,
        )
        self._inflater = Inflater(
            library,
            bits=getattr(parameters, f"{theirs}_max_window_bits"),
            takeover=not getattr(parameters, f"{theirs}_no_context_takeover"),
        )

    def encode(self, payload: bytes, *, first: bool, fin: bool, compress: bool | None) -> tuple[bytes, bool]:
        """Compress a message or its next fragment (section 7.2.1)."""
        return self._deflater.encode(payload, first=first, fin=fin, compress=compress)

    def decode(self, payload: bytes, *, fin: bool, limit: int | None) -> bytes:
        """Decompress the next bytes of a message (section 7.2.2)."""
        return self._inflater.decode(payload, fin=fin, limit=limit)


def _parse(offer: ExtensionOffer, *, bits_may_lack_value: bool) -> dict[str, int | None]:
    """Parse the parameters (section 7.1). In an offer, ``client_max_window_bits`` may have no value."""
    found: dict[str, int | None] = {}
    for name, value in offer.parameters:
        if name in found:
            raise ValueError(f"parameter {name} is repeated (RFC 7692, section 7.1)")
        if name in _NO_TAKEOVER:
            if value is not None:
                raise ValueError(f"parameter {name} has a value, expected none (RFC 7692, section 7.1.1)")
            found[name] = None
        elif name in _WINDOW_BITS:
            if value is None and bits_may_lack_value and name == "client_max_window_bits":
                found[name] = None
            elif value is not None and value in _BITS:
                found[name] = _BITS[value]
            else:
                raise ValueError(f"parameter {name} is {value}, expected 8 to 15 (RFC 7692, section 7.1.2)")
        else:
            raise ValueError(f"parameter {name} is unknown (RFC 7692, section 7.1)")
    return found
