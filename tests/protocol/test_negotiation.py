"""The negotiation of extensions, with a custom extension besides permessage-deflate (RFC 6455, section 9)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

import anyws
from anyws.protocol import (
    ClientHandshake,
    Codec,
    Connection,
    Extension,
    ExtensionOffer,
    HandshakeError,
    HandshakeRefused,
    PerMessageDeflate,
    Role,
    ServerHandshake,
    parse_extensions,
    parse_uri,
    serialize_extensions,
)
from anyws.protocol.negotiation import accept_offers, as_extensions, check_extensions, create_codecs

DEFLATE = "permessage-deflate"


class Reversing(Codec):
    """Reverses complete messages; uses RSV2."""

    def __init__(self, rsv: int = 0x20) -> None:
        self.rsv = rsv
        self._sending = bytearray()
        self._receiving = bytearray()

    def encode(self, payload: bytes, *, first: bool, fin: bool, compress: bool | None) -> tuple[bytes, bool]:
        self._sending += payload
        return (self._take(self._sending) if fin else b""), True

    def decode(self, payload: bytes, *, fin: bool, limit: int | None) -> bytes:
        self._receiving += payload
        if limit is not None and len(self._receiving) > limit:
            raise OverflowError
        return self._take(self._receiving) if fin else b""

    def _take(self, buffer: bytearray) -> bytes:
        data = bytes(reversed(buffer))
        buffer.clear()
        return data


class Reverse(Extension):
    """Negotiates `Reversing` with any name and reserved bit."""

    def __init__(self, name: str = "x-reverse", rsv: int = 0x20) -> None:
        self.name = name
        self.rsv = rsv

    def offers(self) -> Sequence[ExtensionOffer]:
        return [ExtensionOffer(self.name, (("deep", None),)), ExtensionOffer(self.name)]

    def accept(self, offer: ExtensionOffer) -> tuple[ExtensionOffer, Codec] | None:
        return None if offer.parameters else (ExtensionOffer(self.name), Reversing(self.rsv))

    def create_codec(self, answer: ExtensionOffer) -> Codec:
        if answer.parameters:
            raise ValueError("it cannot be deep")
        return Reversing(self.rsv)


Deflate = PerMessageDeflate

# (the server's extensions, offers, answers)
ACCEPTED: list[Any] = [
    pytest.param([], "a, b", "", id="nothing-spoken"),
    pytest.param([Deflate()], "a, b", "", id="nothing-in-common"),
    pytest.param([Deflate()], f"a, {DEFLATE}", DEFLATE, id="one-in-common"),
    pytest.param([Deflate()], f"{DEFLATE}, {DEFLATE}", DEFLATE, id="once-for-two-offers"),
    pytest.param([Reverse()], "x-reverse; deep, x-reverse", "x-reverse", id="fallback"),
    pytest.param([Reverse()], "x-reverse; deep", "", id="declined"),
    pytest.param([Reverse()], "X-Reverse", "", id="names-have-a-case"),
    pytest.param([Deflate(), Reverse()], f"x-reverse, {DEFLATE}", f"x-reverse, {DEFLATE}", id="in-the-clients-order"),
    pytest.param([Deflate(), Reverse(rsv=0x40)], f"x-reverse, {DEFLATE}", "x-reverse", id="same-bit-first-comes"),
    pytest.param([Reverse(rsv=0x40), Deflate()], f"{DEFLATE}, x-reverse", DEFLATE, id="same-bit-other-comes-first"),
    pytest.param([Reverse("a"), Reverse("b")], "a, b", "a", id="same-bit-of-our-own"),
    pytest.param([Reverse("a"), Reverse("b", 0x10), Deflate()], f"a, b, {DEFLATE}", f"a, b, {DEFLATE}", id="all-bits"),
    pytest.param(
        [Reverse("a", 0x60), Deflate(), Reverse("b", 0x10)], f"a, {DEFLATE}, b", "a, b", id="one-bit-in-common"
    ),
    pytest.param(
        [Deflate(server_max_window_bits=9), Deflate()], DEFLATE, f"{DEFLATE}; server_max_window_bits=9", id="same-name"
    ),
    pytest.param([Reverse("a", 0), Reverse("b", 0)], "a, b", "a, b", id="without-bits"),
    pytest.param([Reverse("a", 0)], "a, a", "a", id="once-without-bits"),
]


@pytest.mark.parametrize(("extensions", "offers", "answers"), ACCEPTED)
def test_what_a_server_accepts(extensions: list[Extension], offers: str, answers: str) -> None:
    accepted, codecs = accept_offers(extensions, parse_extensions(offers))
    assert serialize_extensions(accepted) == answers
    assert len(codecs) == len(accepted)


# (the client's extensions, answers, the bits of the codecs)
TAKEN: list[Any] = [
    pytest.param([Deflate()], DEFLATE, [0x40], id="deflate"),
    pytest.param([Reverse(), Deflate()], DEFLATE, [0x40], id="one-of-two"),
    pytest.param([Reverse(), Deflate()], f"x-reverse, {DEFLATE}", [0x20, 0x40], id="two"),
    pytest.param([Reverse(), Deflate()], f"{DEFLATE}, x-reverse", [0x40, 0x20], id="in-the-servers-order"),
    pytest.param(
        [Deflate(server_max_window_bits=9), Deflate()], DEFLATE, [0x40], id="the-second-of-a-name-fits-the-answer"
    ),
]


@pytest.mark.parametrize(("extensions", "answers", "bits"), TAKEN)
def test_what_a_client_accepts(extensions: list[Extension], answers: str, bits: list[int]) -> None:
    assert [codec.rsv for codec in create_codecs(extensions, parse_extensions(answers))] == bits


# (the client's extensions, answers, what the error says)
REFUSED: list[Any] = [
    pytest.param([], DEFLATE, f"{DEFLATE} was accepted, but there is no codec for it", id="nothing-offered"),
    pytest.param([Reverse()], DEFLATE, f"{DEFLATE} was accepted, but there is no codec for it", id="not-offered"),
    pytest.param([Deflate()], f"{DEFLATE}, {DEFLATE}", f"{DEFLATE} was accepted twice", id="twice"),
    pytest.param([Reverse()], "x-reverse; deep", "x-reverse was accepted, but it cannot be deep", id="declined-by-it"),
    pytest.param(
        [Deflate(), Reverse(rsv=0x40)],
        f"{DEFLATE}, x-reverse",
        "x-reverse was accepted, but another one uses the same reserved bit",
        id="same-bit",
    ),
    pytest.param([Deflate()], f"{DEFLATE}; foo", "parameter foo is unknown", id="unknown-parameter"),
    pytest.param(as_extensions("a, b; c"), "a", "a was accepted, but there is no codec for it", id="header-value"),
]


@pytest.mark.parametrize(("extensions", "answers", "problem"), REFUSED)
def test_which_responses_a_client_rejects(extensions: list[Extension], answers: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        create_codecs(extensions, parse_extensions(answers))


def shaken(
    client_extensions: str | Sequence[Extension], server_extensions: Sequence[Extension]
) -> tuple[ClientHandshake, ServerHandshake]:
    """Make the opening handshake between a client and a server."""
    client = ClientHandshake(parse_uri("ws://localhost/"), extensions=client_extensions)
    server = ServerHandshake(extensions=server_extensions)
    server.receive_data(client.data_to_send())
    client.receive_data(server.data_to_send(server.accept()))
    return client, server


@pytest.mark.parametrize("size", [0, 5, 10_000])
@pytest.mark.parametrize("order", [1, -1], ids=["reverse-first", "deflate-first"])
def test_a_custom_extension_works_together_with_deflate(size: int, order: int) -> None:
    """The second transforms the output of the first; the receiver reverses the order (RFC 6455, section 9.1)."""
    ours: list[Extension] = [Reverse(), PerMessageDeflate(threshold=0)]
    client, server = shaken(ours[::order], ours)
    ends = [
        Connection(Role.CLIENT, codecs=client.codecs, max_message_size=size or 1),
        Connection(Role.SERVER, codecs=server.codecs, max_message_size=size or 1),
    ]
    data = bytes(range(256)) * (size // 256) + bytes(range(size % 256))
    for sender, receiver in (ends, ends[::-1]):
        sender.send_message(data, fragment_size=100)
        sender.send_message(data, compress=False)
        sender.send_fragment(data[: size // 2], fin=False, compress=True)
        sender.send_fragment(data[size // 2 :], fin=True, compress=True)
        first = sender.data_to_send()
        assert first[0] & 0x70 == 0x60
        events = receiver.receive_data(first)
        while sender.has_data_to_send:
            events += receiver.receive_data(sender.data_to_send())
        assert receiver.failure is None
        assert events == [data] * 3


def test_a_message_transformed_only_by_the_custom_extension() -> None:
    client, _ = shaken([Reverse(), PerMessageDeflate()], [Reverse(), PerMessageDeflate()])
    connection = Connection(Role.CLIENT, codecs=client.codecs)
    assert connection.receive_data(b"\xa1\x05olleH\x81\x05plain\xc1\x07\xf2\x48\xcd\xc9\xc9\x07\0") == [
        "Hello",
        "plain",
        "Hello",
    ]


def test_the_limit_applies_to_the_output_of_a_custom_extension() -> None:
    client, _ = shaken([Reverse()], [Reverse()])
    connection = Connection(Role.CLIENT, codecs=client.codecs, max_message_size=5)
    assert connection.receive_data(b"\xa2\x05Hello") == [b"olleH"]
    connection.receive_data(b"\xa2\x06Hello!")
    assert connection.failure is not None
    assert connection.failure.close_code == 1009


def test_the_limit_applies_to_an_extension_that_ignores_it() -> None:
    class Forgetful(Reversing):
        def decode(self, payload: bytes, *, fin: bool, limit: int | None) -> bytes:
            return super().decode(payload, fin=fin, limit=None)

    connection = Connection(Role.CLIENT, codecs=[Forgetful()], max_message_size=5)
    assert connection.receive_data(b"\xa2\x05Hello") == [b"olleH"]
    assert connection.receive_data(b"\xa2\x06Hello!") == []
    assert connection.failure is not None
    assert connection.failure.close_code == 1009


def test_a_server_without_extensions_accepts_none() -> None:
    client, server = shaken([PerMessageDeflate()], [])
    assert "Sec-WebSocket-Extensions" not in server.accept().headers
    assert (list(client.codecs), list(server.codecs)) == ([], [])


def test_offers_passed_as_a_header_value_are_sent_unchanged_and_declined() -> None:
    client = ClientHandshake(parse_uri("ws://localhost/"), extensions='permessage-deflate; server_max_window_bits="9"')
    assert b"Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=9\r\n" in client.data_to_send()
    with pytest.raises(HandshakeError, match="permessage-deflate was accepted, but there is no codec for it"):
        shaken("permessage-deflate", [PerMessageDeflate()])


def test_an_invalid_response_header_fails_the_client() -> None:
    class Broken(Reverse):
        def accept(self, offer: ExtensionOffer) -> tuple[ExtensionOffer, Codec] | None:
            return ExtensionOffer(self.name, (("deep", '"'),)), Reversing()

    with pytest.raises(HandshakeError, match="expected a token or a quoted string"):
        shaken([Reverse()], [Broken()])


def test_invalid_offers_are_rejected_with_400() -> None:
    server = ServerHandshake(extensions=[PerMessageDeflate()])
    client = ClientHandshake(parse_uri("ws://localhost/"), extensions="permessage-deflate")
    request = client.data_to_send().replace(b"permessage-deflate", b"permessage-deflate;")
    with pytest.raises(HandshakeRefused, match="Sec-WebSocket-Extensions") as caught:
        server.receive_data(request)
        server.accept()
    assert caught.value.status == 400


@pytest.mark.parametrize("wrong", ["permessage-deflate", PerMessageDeflate, None, 1])
def test_anything_but_an_extension_is_a_type_error(wrong: Any) -> None:
    with pytest.raises(TypeError, match=f"an extension must be an anyws.Extension, not {type(wrong).__name__}"):
        check_extensions([PerMessageDeflate(), wrong])
    with pytest.raises(TypeError, match=r"an extension must be an anyws\.Extension"):
        ClientHandshake(parse_uri("ws://localhost/"), extensions=[wrong])
    with pytest.raises(TypeError, match=r"an extension must be an anyws\.Extension"):
        ServerHandshake(extensions=[wrong])
    assert issubclass(Reverse, anyws.Extension)


@pytest.mark.parametrize("value", ["", "a;", "a\r\nb", "a; b=", "ä"])
def test_a_header_value_that_cannot_be_sent(value: str) -> None:
    with pytest.raises(ValueError, match=r"expected|Sec-WebSocket-Extensions"):
        as_extensions(value)
