"""permessage-deflate (RFC 7692).

How this works: a message is compressed as raw DEFLATE that ends in an empty stored block, of which the last four bytes
(``00 00 ff ff``) are left out; the receiver puts them back. Each side keeps its window from message to message, unless
"no context takeover" was agreed. Section numbers below are RFC 7692's.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from .errors import InvalidText
from .extensions import Codec, Extension, ExtensionOffer

__all__ = ["PRESETS", "DeflateCodec", "DeflateParameters", "InvalidDeflate", "PerMessageDeflate", "Preset"]

NAME = "permessage-deflate"
_RSV1 = 0x40  # 6.
_TAIL = b"\x00\x00\xff\xff"  # 7.2.1.
_MAX_BITS = 15
_BITS = {str(bits): bits for bits in range(8, _MAX_BITS + 1)}  # 7.1.2: no leading zeros.
# Each final block costs a new decompressor, for two bytes of the peer's; senders that use them make one per message.
_MAX_FINAL_BLOCKS = 8
_NO_TAKEOVER = ("server_no_context_takeover", "client_no_context_takeover")
_WINDOW_BITS = ("server_max_window_bits", "client_max_window_bits")


class InvalidDeflate(InvalidText):
    """The peer sent a compressed message that cannot be inflated (close code 1007)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeflateParameters:
    """What both ends have agreed on (7.1).

    Attributes:
        server_no_context_takeover: whether the server starts each message with an empty window.
        client_no_context_takeover: whether the client does.
        server_max_window_bits: the base-2 logarithm of the server's window in bytes, 8 to 15.
        client_max_window_bits: that of the client's window.
    """

    server_no_context_takeover: bool = False
    client_no_context_takeover: bool = False
    server_max_window_bits: int = _MAX_BITS
    client_max_window_bits: int = _MAX_BITS


@dataclass(frozen=True, slots=True, kw_only=True)
class PerMessageDeflate(Extension):
    """permessage-deflate as a user asks for it.

    Attributes:
        server_no_context_takeover: let the server start each message with an empty window: less memory, less effect.
        client_no_context_takeover: let the client do so.
        server_max_window_bits: 8 to 15, to bound the server's window; None for 15.
        client_max_window_bits: 8 to 15, to bound the client's window, if the client says that it can; None for 15.
        level: how hard to compress, 1 (fast) to 9 (small), or -1 for zlib's default.
        mem_level: memory for the compressor's state, 1 to 9.
        threshold: messages of fewer bytes are not compressed, unless the caller wants it. Fragmented ones always are.
        zlib: the module that compresses: `zlib`, or one that does the same, such as ``zlib_ng.zlib_ng``.
    """

    name = NAME

    server_no_context_takeover: bool = False
    client_no_context_takeover: bool = False
    server_max_window_bits: int | None = None
    client_max_window_bits: int | None = None
    level: int = -1
    mem_level: int = 8
    threshold: int = 64
    zlib: Any = zlib

    def __post_init__(self) -> None:
        for option in _WINDOW_BITS:
            if getattr(self, option) is not None:
                self._check(option, 8, _MAX_BITS, "8 to 15, or None")
        self._check("level", -1, 9, "-1 to 9")
        self._check("mem_level", 1, 9, "1 to 9")
        self._check("threshold", 0, None, "0 or more")
        for name in ("compressobj", "decompressobj", "error", "DEFLATED", "Z_SYNC_FLUSH"):
            if not hasattr(self.zlib, name):
                raise TypeError(f"option zlib has no {name}: expected a module like zlib")

    def _check(self, option: str, low: int, high: int | None, expected: str) -> None:
        value = getattr(self, option)
        if not isinstance(value, int) or isinstance(value, bool):
            raise TypeError(f"option {option} is {value!r}: expected {expected}")
        if value < low or (high is not None and value > high):
            raise ValueError(f"option {option} is {value}: expected {expected}")

    def offers(self) -> Sequence[ExtensionOffer]:
        """Return the one offer. It always lets the server bound our window, so that the server can save memory."""
        parameters: list[tuple[str, str | None]] = [(name, None) for name in _NO_TAKEOVER if getattr(self, name)]
        if self.server_max_window_bits is not None:
            parameters.append(("server_max_window_bits", str(self.server_max_window_bits)))
        bits = self.client_max_window_bits
        parameters.append(("client_max_window_bits", None if bits is None else str(bits)))
        return [ExtensionOffer(NAME, tuple(parameters))]

    def accept(self, offer: ExtensionOffer) -> tuple[ExtensionOffer, DeflateCodec] | None:
        """Answer an offer; None for one with a parameter that is unknown, repeated or out of its range (7.1)."""
        try:
            offered = _parse(offer, bits_may_lack_value=True)
        except ValueError:
            return None
        answer: list[tuple[str, str | None]] = []
        agreed: dict[str, Any] = {}
        for name in _NO_TAKEOVER:
            agreed[name] = name in offered or getattr(self, name)
            if agreed[name]:
                answer.append((name, None))
        for name in _WINDOW_BITS:
            ours, theirs = getattr(self, name), offered.get(name)
            if name == "client_max_window_bits" and name not in offered:
                continue  # 7.1.2.2: a client that has not offered it cannot be told.
            if ours is not None or theirs is not None:
                agreed[name] = min(ours or _MAX_BITS, theirs or _MAX_BITS)
                answer.append((name, str(agreed[name])))
        codec = DeflateCodec(DeflateParameters(**agreed), self, is_server=True)
        return ExtensionOffer(NAME, tuple(answer)), codec

    def agreed(self, answer: ExtensionOffer) -> DeflateCodec:
        """Take the server's answer (7.1)."""
        answered = _parse(answer, bits_may_lack_value=False)
        if self.server_no_context_takeover and "server_no_context_takeover" not in answered:
            raise ValueError("server_no_context_takeover was offered, but is not in the answer (7.1.1.1)")
        wanted, given = self.server_max_window_bits, answered.get("server_max_window_bits")
        if wanted is not None and (given is None or given > wanted):
            raise ValueError(f"server_max_window_bits={wanted} was offered, answered was {given} (7.1.2.1)")
        # 7.1.2.2: what we offered is what we keep to anyhow; an answer may bound us further.
        ours, bound = self.client_max_window_bits or _MAX_BITS, answered.get("client_max_window_bits") or _MAX_BITS
        parameters = DeflateParameters(
            server_no_context_takeover="server_no_context_takeover" in answered,
            client_no_context_takeover=self.client_no_context_takeover or "client_no_context_takeover" in answered,
            server_max_window_bits=given or _MAX_BITS,
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
"""Ready-made settings: little memory, what suits most, the smallest messages, or the least CPU time."""


class DeflateCodec(Codec):
    """permessage-deflate at work.

    Args:
        parameters: what was agreed.
        settings: level, memory and threshold of our own compressor.
        is_server: which end we are.
    """

    rsv = _RSV1

    def __init__(self, parameters: DeflateParameters, settings: PerMessageDeflate, *, is_server: bool) -> None:
        self.parameters: DeflateParameters = parameters
        ours, theirs = ("server", "client") if is_server else ("client", "server")
        self._deflater = _Deflater(
            settings,
            bits=getattr(parameters, f"{ours}_max_window_bits"),
            takeover=not getattr(parameters, f"{ours}_no_context_takeover"),
        )
        self._inflater = _Inflater(
            settings.zlib,
            bits=getattr(parameters, f"{theirs}_max_window_bits"),
            takeover=not getattr(parameters, f"{theirs}_no_context_takeover"),
        )

    def encode(self, payload: bytes, *, first: bool, fin: bool, compress: bool | None) -> tuple[bytes, bool]:
        """Compress a message or the next fragment of one (7.2.1)."""
        return self._deflater.encode(payload, first=first, fin=fin, compress=compress)

    def decode(self, payload: bytes, *, fin: bool, limit: int | None) -> bytes:
        """Inflate the next bytes of a message (7.2.2)."""
        return self._inflater.decode(payload, fin=fin, limit=limit)


class _Deflater:
    def __init__(self, settings: PerMessageDeflate, *, bits: int, takeover: bool) -> None:
        self._settings = settings
        # zlib has no raw deflate with a window of 2**8; with 2**9 it never reaches back more than 250 bytes.
        self._bits = max(bits, 9)
        self._takeover = takeover
        self._compressor: Any = None
        self._compressing = False  # the message that is being sent

    def encode(self, payload: bytes, *, first: bool, fin: bool, compress: bool | None) -> tuple[bytes, bool]:
        if first:
            small = fin and len(payload) < self._settings.threshold
            self._compressing = not small if compress is None else compress
        if not self._compressing:
            return payload, False
        settings, compressor = self._settings, self._compressor
        if compressor is None:
            compressor = settings.zlib.compressobj(
                settings.level, settings.zlib.DEFLATED, -self._bits, settings.mem_level
            )
            self._compressor = compressor
        data: bytes = compressor.compress(payload) + compressor.flush(settings.zlib.Z_SYNC_FLUSH)
        if fin:
            data = data[: -len(_TAIL)] if data.endswith(_TAIL) else data + b"\x00"
            if not self._takeover:
                self._compressor = None
        return data, True


class _Inflater:
    """Inflates within a bound.

    A block with BFINAL=1 is legal (7.2.3.4), and what follows may reach back behind it; but zlib ends its stream there.
    The next block then goes to a new decompressor that has the window as its dictionary, so the window is kept here.
    """

    def __init__(self, library: Any, *, bits: int, takeover: bool) -> None:
        self._zlib = library
        self._bits = bits
        self._size = 1 << bits
        self._takeover = takeover
        self._decompressor: Any = None
        self._window = bytearray()
        self._mid_block = False  # whether bytes have come since the message began, or since its last final block
        self._final_blocks = 0  # of this message

    def decode(self, payload: bytes, *, fin: bool, limit: int | None) -> bytes:
        try:
            output = self._inflate(payload, limit)
            if fin:
                if self._mid_block:
                    self._end_block()
                self._final_blocks = 0
                if not self._takeover:
                    self._decompressor = None
                    self._window.clear()
        except self._zlib.error as exc:
            raise InvalidDeflate(f"message cannot be inflated: {exc} (RFC 7692, section 7.2.2)") from exc
        return output

    def _inflate(self, data: bytes, limit: int | None) -> bytes:
        output = b""
        while data:
            decompressor = self._decompressor
            if decompressor is None:
                decompressor = self._zlib.decompressobj(-self._bits, zdict=bytes(self._window))
                self._decompressor = decompressor
            # 0: no bound.
            piece: bytes = decompressor.decompress(data, 0 if limit is None else limit - len(output) + 1)
            output = output + piece if output else piece
            if limit is not None and len(output) > limit:
                raise OverflowError
            self._window += piece[-self._size :]
            if len(self._window) > self._size * 5 // 4:
                del self._window[: -self._size]
            self._mid_block = not decompressor.eof
            if self._mid_block:
                break
            data = decompressor.unused_data
            self._decompressor = None
            self._final_blocks += 1
            if self._final_blocks > _MAX_FINAL_BLOCKS:
                raise InvalidDeflate(f"message with more than {_MAX_FINAL_BLOCKS} blocks that are final")
        return output

    def _end_block(self) -> None:
        """Put the tail back: the rest of an empty block, or a piece of what was to be data."""
        decompressor = self._decompressor
        if decompressor.decompress(_TAIL, 1) or decompressor.unused_data:
            raise InvalidDeflate("compressed message is cut off (RFC 7692, section 7.2.2)")
        if decompressor.eof:  # The block was a final one.
            self._decompressor = None
        self._mid_block = False


def _parse(offer: ExtensionOffer, *, bits_may_lack_value: bool) -> dict[str, int | None]:
    """Read the parameters (7.1); ``client_max_window_bits`` may lack its value in an offer."""
    found: dict[str, int | None] = {}
    for name, value in offer.parameters:
        if name in found:
            raise ValueError(f"parameter {name} stands twice (7.1)")
        if name in _NO_TAKEOVER:
            if value is not None:
                raise ValueError(f"parameter {name} has a value, expected none (7.1.1)")
            found[name] = None
        elif name in _WINDOW_BITS:
            if value is None and bits_may_lack_value and name == "client_max_window_bits":
                found[name] = None
            elif value is not None and value in _BITS:
                found[name] = _BITS[value]
            else:
                raise ValueError(f"parameter {name} is {value}, expected 8 to 15 (7.1.2)")
        else:
            raise ValueError(f"parameter {name} is unknown (7.1)")
    return found
