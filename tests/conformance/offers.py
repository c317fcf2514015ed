"""Helpers: offers of permessage-deflate and negotiated parameters."""

from __future__ import annotations

from anyws.protocol import DeflateParameters, ExtensionOffer, PerMessageDeflate, parse_extensions
from anyws.protocol.deflate import DeflateCodec

__all__ = ["NAME", "Agreed", "Deflate", "header", "offer_of", "parameters_of"]

NAME = "permessage-deflate"


Deflate = PerMessageDeflate


Agreed = DeflateParameters


def header(parameters: str) -> str:
    return f"{NAME}; {parameters}" if parameters else NAME


def offer_of(parameters: str) -> ExtensionOffer:
    [offer] = parse_extensions(header(parameters))
    return offer


def parameters_of(codec: object) -> DeflateParameters:
    assert isinstance(codec, DeflateCodec)
    assert codec.rsv == 0x40
    return codec.parameters
