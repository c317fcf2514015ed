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

    def create_codec(self, answer: ExtensionOffer) -> Codec:
        raise ValueError(f"there is no codec for {answer.name}")


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
    answers: list[ExtensionOffer] = []
    codecs: list[Codec] = []
    for offer in offers:
        taken = {answer.name for answer in answers}
        for extension in extensions:
            if extension.name != offer.name or extension.name in taken:
                continue
            accepted = extension.accept(offer)
            if accepted is not None and not reserved_bits(codecs) & accepted[1].rsv:
                answers.append(accepted[0])
                codecs.append(accepted[1])
                break
    return answers, codecs


def create_codecs(extensions: Sequence[Extension], answers: Sequence[ExtensionOffer]) -> list[Codec]:
    """Return the codecs for the extensions that a server accepted.

    Raises:
        ValueError: an accepted extension does not match any offer, or two of them conflict.
    """
    codecs: list[Codec] = []
    for number, answer in enumerate(answers):
        if any(answer.name == other.name for other in answers[:number]):
            raise ValueError(f"extension {answer.name} was accepted twice")
        codec = _take_answer([extension for extension in extensions if extension.name == answer.name], answer)
        if reserved_bits(codecs) & codec.rsv:
            raise ValueError(f"extension {answer.name} was accepted, but another one uses the same reserved bit")
        codecs.append(codec)
    return codecs


def _take_answer(candidates: Sequence[Extension], answer: ExtensionOffer) -> Codec:
    if not candidates:
        raise ValueError(f"extension {answer.name} was accepted, but there is no codec for it")
    problem = ""
    for extension in candidates:
        try:
            return extension.create_codec(answer)
        except ValueError as exc:
            problem = problem or str(exc)
    raise ValueError(f"extension {answer.name} was accepted, but {problem}")
