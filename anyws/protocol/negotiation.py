"""Negotiation of extensions (RFC 6455, section 9.1), for clients and for servers."""

from __future__ import annotations

from collections.abc import Sequence

from .extensions import Codec, Extension, ExtensionOffer, parse_extensions, reserved_bits
from .headers import check_header

__all__ = ["accept_offers", "as_extensions", "check_extensions", "create_codecs"]


class _HeaderValue(Extension):
    """Offers passed as a header value. They have no codec, so no response can accept them."""

    name = ""

    def __init__(self, value: str) -> None:
        self._offers = parse_extensions(value)
        check_header("Sec-WebSocket-Extensions", value)

    def offers(self) -> Sequence[ExtensionOffer]:
        return self._offers

    def accept(self, offer: ExtensionOffer) -> None:
        return None

    def create_codec(self, accepted: ExtensionOffer) -> Codec:
        raise ValueError(f"there is no codec for {accepted.name}")


def as_extensions(extensions: str | Sequence[Extension]) -> Sequence[Extension]:
    """Return the extensions that a client offers, which may be given as a header value.

    Raises:
        TypeError: an element is not an `Extension`.
        ValueError: the header value has a syntax error (RFC 6455, section 9.1).
    """
    if isinstance(extensions, str):
        return [_HeaderValue(extensions)]
    check_extensions(extensions)
    return extensions


def check_extensions(extensions: Sequence[Extension]) -> None:
    """Check the extensions that a caller passes.

    Raises:
        TypeError: an element is not an `Extension`.
    """
    for extension in extensions:
        if not isinstance(extension, Extension):
            raise TypeError(f"an extension must be an anyws.Extension, not {type(extension).__name__}")


def accept_offers(
    extensions: Sequence[Extension], offers: Sequence[ExtensionOffer]
) -> tuple[list[ExtensionOffer], list[Codec]]:
    """Accept the first acceptable offer of each extension, in the client's order; return it with its codec."""
    accepted: list[ExtensionOffer] = []
    codecs: list[Codec] = []
    for offer in offers:
        names = {each.name for each in accepted}
        for extension in extensions:
            if extension.name != offer.name or extension.name in names:
                continue
            result = extension.accept(offer)
            if result is not None and not reserved_bits(codecs) & result[1].rsv:
                accepted.append(result[0])
                codecs.append(result[1])
                break
    return accepted, codecs


def create_codecs(extensions: Sequence[Extension], accepted: Sequence[ExtensionOffer]) -> list[Codec]:
    """Return the codecs for the extensions that a server accepted.

    Raises:
        ValueError: an accepted extension does not match any offer, or two of them conflict.
    """
    codecs: list[Codec] = []
    for number, offer in enumerate(accepted):
        if any(offer.name == other.name for other in accepted[:number]):
            raise ValueError(f"extension {offer.name} was accepted twice")
        codec = _create_codec([extension for extension in extensions if extension.name == offer.name], offer)
        if reserved_bits(codecs) & codec.rsv:
            raise ValueError(f"extension {offer.name} was accepted, but another one uses the same reserved bit")
        codecs.append(codec)
    return codecs


def _create_codec(candidates: Sequence[Extension], accepted: ExtensionOffer) -> Codec:
    if not candidates:
        raise ValueError(f"extension {accepted.name} was accepted, but there is no codec for it")
    problem = ""
    for extension in candidates:
        try:
            return extension.create_codec(accepted)
        except ValueError as exc:
            problem = problem or str(exc)
    raise ValueError(f"extension {accepted.name} was accepted, but {problem}")
