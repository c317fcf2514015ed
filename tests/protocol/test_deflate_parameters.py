"""What client and server agree on for permessage-deflate (RFC 7692, 5 and 7.1)."""

from __future__ import annotations

import re
import types
from typing import Any

import pytest

from anyws.protocol import DeflateParameters, ExtensionOffer, PerMessageDeflate, parse_extensions, serialize_extensions
from anyws.protocol.deflate import PRESETS, DeflateCodec
from anyws.protocol.negotiation import accept_offers, take_answers

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


# (the server's settings, the parameters offered, the parameters answered, what is agreed)
ANSWERS = [
    pytest.param(Deflate(), "", "", Agreed(), id="nothing"),
    pytest.param(Deflate(), "client_max_window_bits", "", Agreed(), id="bare-hint"),
    *[
        pytest.param(
            Deflate(),
            f"server_max_window_bits={bits}",
            f"server_max_window_bits={bits}",
            Agreed(server_max_window_bits=bits),
            id=f"server-bits-{bits}",
        )
        for bits in range(8, 16)
    ],
    *[
        pytest.param(
            Deflate(),
            f"client_max_window_bits={bits}",
            f"client_max_window_bits={bits}",
            Agreed(client_max_window_bits=bits),
            id=f"client-bits-{bits}",
        )
        for bits in range(8, 16)
    ],
    pytest.param(
        Deflate(server_max_window_bits=9),
        "server_max_window_bits=8",
        "server_max_window_bits=8",
        Agreed(server_max_window_bits=8),
        id="never-9-to-an-8",
    ),
    pytest.param(
        Deflate(server_max_window_bits=9),
        "server_max_window_bits=12",
        "server_max_window_bits=9",
        Agreed(server_max_window_bits=9),
        id="server-wants-less",
    ),
    pytest.param(
        Deflate(server_max_window_bits=8),
        "",
        "server_max_window_bits=8",
        Agreed(server_max_window_bits=8),
        id="server-bounds-itself-unasked",
    ),
    pytest.param(Deflate(client_max_window_bits=9), "", "", Agreed(), id="client-cannot-be-told"),
    pytest.param(
        Deflate(client_max_window_bits=9),
        "client_max_window_bits",
        "client_max_window_bits=9",
        Agreed(client_max_window_bits=9),
        id="client-can-be-told",
    ),
    pytest.param(
        Deflate(client_max_window_bits=9),
        "client_max_window_bits=8",
        "client_max_window_bits=8",
        Agreed(client_max_window_bits=8),
        id="client-says-less-than-we-want",
    ),
    pytest.param(
        Deflate(client_max_window_bits=9),
        "client_max_window_bits=15",
        "client_max_window_bits=9",
        Agreed(client_max_window_bits=9),
        id="client-says-more-than-we-want",
    ),
    pytest.param(
        Deflate(),
        'server_max_window_bits="10"',
        "server_max_window_bits=10",
        Agreed(server_max_window_bits=10),
        id="quoted-value",
    ),
    pytest.param(
        Deflate(),
        r'client_max_window_bits="1\0"; server_no_context_takeover',
        "server_no_context_takeover; client_max_window_bits=10",
        Agreed(server_no_context_takeover=True, client_max_window_bits=10),
        id="quoted-pair",
    ),
    *[
        pytest.param(
            Deflate(server_no_context_takeover=ours_server, client_no_context_takeover=ours_client),
            "; ".join(
                name
                for name, wanted in (
                    ("client_no_context_takeover", theirs_client),
                    ("server_no_context_takeover", theirs_server),
                )
                if wanted
            ),
            "; ".join(
                name
                for name, wanted in (
                    ("server_no_context_takeover", ours_server or theirs_server),
                    ("client_no_context_takeover", ours_client or theirs_client),
                )
                if wanted
            ),
            Agreed(
                server_no_context_takeover=ours_server or theirs_server,
                client_no_context_takeover=ours_client or theirs_client,
            ),
            id=f"takeover-{ours_server:d}{ours_client:d}-{theirs_server:d}{theirs_client:d}",
        )
        for ours_server in (False, True)
        for ours_client in (False, True)
        for theirs_server in (False, True)
        for theirs_client in (False, True)
    ],
]


@pytest.mark.parametrize(("settings", "offered", "answered", "agreed"), ANSWERS)
def test_the_server_answers(
    settings: PerMessageDeflate, offered: str, answered: str, agreed: DeflateParameters
) -> None:
    accepted = settings.accept(offer_of(offered))
    assert accepted is not None
    assert str(accepted[0]) == header(answered)
    assert parameters_of(accepted[1]) == agreed


# (parameters, what a client says when they are answered)
WRONG = [
    pytest.param("foo", "parameter foo is unknown", id="unknown"),
    pytest.param("server_max_window_bits=10; foo=1", "parameter foo is unknown", id="unknown-behind-known"),
    pytest.param("Server_No_Context_Takeover", "unknown", id="another-case"),
    pytest.param("server_no_context_takeover=1", "has a value, expected none", id="flag-with-value"),
    pytest.param("client_no_context_takeover=true", "has a value, expected none", id="other-flag-with-value"),
    pytest.param('server_no_context_takeover="1"', "has a value, expected none", id="flag-with-quoted-value"),
    pytest.param("server_max_window_bits", "server_max_window_bits is None, expected 8 to 15", id="bits-without-value"),
    *[
        pytest.param(f"{name}={value}", f"{name} is {value}, expected 8 to 15", id=f"{name[:6]}-{value}")
        for name in ("server_max_window_bits", "client_max_window_bits")
        for value in ("7", "16", "0", "08", "010", "+10", "-9", "1e1", "10.0", "ten", "99999999999999999999")
    ],
    *[
        pytest.param(f"{one}; {other}", f"{one.partition('=')[0]} stands twice", id=f"twice-{one}-{other[-2:]}")
        for one, other in (
            ("server_no_context_takeover", "server_no_context_takeover"),
            ("client_no_context_takeover", "client_no_context_takeover"),
            ("server_max_window_bits=10", "server_max_window_bits=10"),
            ("server_max_window_bits=10", "server_max_window_bits=11"),
            ("client_max_window_bits=10", "client_max_window_bits=10"),
        )
    ],
]


@pytest.mark.parametrize(("parameters", "problem"), WRONG)
def test_the_server_declines_what_is_wrong_and_takes_the_fallback(parameters: str, problem: str) -> None:
    assert Deflate().accept(offer_of(parameters)) is None
    fallback = "server_max_window_bits=11"
    answers, codecs = accept_offers([Deflate()], [offer_of(parameters), offer_of(fallback), offer_of("")])
    assert serialize_extensions(answers) == header(fallback)
    assert [parameters_of(codec) for codec in codecs] == [Agreed(server_max_window_bits=11)]


@pytest.mark.parametrize(("parameters", "problem"), WRONG)
def test_the_client_fails_at_what_is_wrong(parameters: str, problem: str) -> None:
    with pytest.raises(ValueError, match=re.escape(problem)):
        Deflate().agreed(offer_of(parameters))


def test_the_server_declines_a_hint_that_stands_twice() -> None:
    assert Deflate().accept(offer_of("client_max_window_bits; client_max_window_bits")) is None


def test_an_answer_cannot_have_the_hint_without_a_value() -> None:
    with pytest.raises(ValueError, match="client_max_window_bits is None, expected 8 to 15"):
        Deflate().agreed(offer_of("client_max_window_bits"))


def test_the_first_of_several_good_offers_is_taken() -> None:
    offers = parse_extensions(f"{NAME}; server_max_window_bits=10, {NAME}")
    answers, codecs = accept_offers([Deflate()], offers)
    assert serialize_extensions(answers) == header("server_max_window_bits=10")
    assert len(codecs) == 1


# (the client's settings, what it offers)
OFFERS = [
    pytest.param(Deflate(), "client_max_window_bits", id="nothing"),
    pytest.param(Deflate(client_max_window_bits=8), "client_max_window_bits=8", id="client-bits"),
    pytest.param(
        Deflate(server_max_window_bits=15), "server_max_window_bits=15; client_max_window_bits", id="server-bits"
    ),
    pytest.param(
        Deflate(
            server_no_context_takeover=True,
            client_no_context_takeover=True,
            server_max_window_bits=9,
            client_max_window_bits=10,
        ),
        "server_no_context_takeover; client_no_context_takeover; server_max_window_bits=9; client_max_window_bits=10",
        id="everything",
    ),
    pytest.param(PRESETS["memory"], "server_max_window_bits=9; client_max_window_bits=9", id="memory"),
    pytest.param(PRESETS["default"], "server_max_window_bits=12; client_max_window_bits=12", id="default"),
    pytest.param(PRESETS["ratio"], "client_max_window_bits", id="ratio"),
]


@pytest.mark.parametrize(("settings", "offered"), OFFERS)
def test_the_client_offers(settings: PerMessageDeflate, offered: str) -> None:
    assert serialize_extensions(settings.offers()) == header(offered)


# (the client's settings, the parameters answered, what is agreed)
TAKEN = [
    pytest.param(Deflate(), "", Agreed(), id="nothing"),
    *[
        pytest.param(
            Deflate(), f"server_max_window_bits={bits}", Agreed(server_max_window_bits=bits), id=f"server-bits-{bits}"
        )
        for bits in range(8, 16)
    ],
    *[
        pytest.param(
            Deflate(), f"client_max_window_bits={bits}", Agreed(client_max_window_bits=bits), id=f"client-bits-{bits}"
        )
        for bits in range(8, 16)
    ],
    pytest.param(Deflate(), 'client_max_window_bits="10"', Agreed(client_max_window_bits=10), id="quoted-client-bits"),
    pytest.param(
        Deflate(client_max_window_bits=10), "", Agreed(client_max_window_bits=10), id="we-keep-our-hint-unanswered"
    ),
    pytest.param(
        Deflate(client_max_window_bits=10),
        "client_max_window_bits=8",
        Agreed(client_max_window_bits=8),
        id="server-wants-less-of-us",
    ),
    pytest.param(
        Deflate(server_max_window_bits=10),
        "server_max_window_bits=8",
        Agreed(server_max_window_bits=8),
        id="server-takes-less",
    ),
    pytest.param(
        Deflate(), "server_no_context_takeover", Agreed(server_no_context_takeover=True), id="server-resets-unasked"
    ),
    pytest.param(
        Deflate(), "client_no_context_takeover", Agreed(client_no_context_takeover=True), id="we-are-to-reset"
    ),
    pytest.param(
        Deflate(client_no_context_takeover=True), "", Agreed(client_no_context_takeover=True), id="we-reset-unanswered"
    ),
    pytest.param(
        Deflate(server_no_context_takeover=True, client_no_context_takeover=True),
        "client_no_context_takeover; server_no_context_takeover",
        Agreed(server_no_context_takeover=True, client_no_context_takeover=True),
        id="both-reset",
    ),
]


@pytest.mark.parametrize(("settings", "answered", "agreed"), TAKEN)
def test_the_client_takes_the_answer(settings: PerMessageDeflate, answered: str, agreed: DeflateParameters) -> None:
    [codec] = take_answers([settings], [offer_of(answered)])
    assert parameters_of(codec) == agreed


# (the client's settings, the parameters answered, what the error says)
MISFITS = [
    pytest.param(Deflate(server_no_context_takeover=True), "", "is not in the answer", id="takeover-not-answered"),
    pytest.param(Deflate(server_max_window_bits=10), "", "answered was None", id="server-bits-not-answered"),
    pytest.param(
        Deflate(server_max_window_bits=10), "server_max_window_bits=11", "answered was 11", id="server-bits-greater"
    ),
    pytest.param(
        Deflate(server_max_window_bits=8), "server_max_window_bits=9", "answered was 9", id="server-bits-9-to-8"
    ),
]


@pytest.mark.parametrize(("settings", "answered", "problem"), MISFITS)
def test_the_client_fails_at_an_answer_that_does_not_fit(
    settings: PerMessageDeflate, answered: str, problem: str
) -> None:
    with pytest.raises(ValueError, match=problem):
        take_answers([settings], [offer_of(answered)])


@pytest.mark.parametrize("server", [Deflate(), *PRESETS.values(), Deflate(server_max_window_bits=8)])
@pytest.mark.parametrize("client", [Deflate(), *PRESETS.values(), Deflate(client_max_window_bits=8)])
def test_both_ends_agree_on_the_same(client: PerMessageDeflate, server: PerMessageDeflate) -> None:
    """The client takes each answer that the server gives to it; only a hint can leave the server with more."""
    answers, [theirs] = accept_offers([server], client.offers())
    [ours] = take_answers([client], answers)
    assert parameters_of(ours) == parameters_of(theirs)


# (option, value, error, message)
OUT_OF_RANGE = [
    *[
        pytest.param(name, bits, ValueError, f"option {name} is {bits}: expected 8 to 15, or None", id=f"{name}-{bits}")
        for name in ("server_max_window_bits", "client_max_window_bits")
        for bits in (0, 7, 16, -15)
    ],
    pytest.param("level", -2, ValueError, "option level is -2: expected -1 to 9", id="level-too-low"),
    pytest.param("level", 10, ValueError, "option level is 10: expected -1 to 9", id="level-too-high"),
    pytest.param("mem_level", 0, ValueError, "option mem_level is 0: expected 1 to 9", id="mem-level-too-low"),
    pytest.param("threshold", -1, ValueError, "option threshold is -1: expected 0 or more", id="threshold-negative"),
    pytest.param("mem_level", 10, ValueError, "option mem_level is 10: expected 1 to 9", id="mem-level-too-high"),
]


@pytest.mark.parametrize(("option", "value", "error", "message"), OUT_OF_RANGE)
def test_an_option_out_of_its_range(option: str, value: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        PerMessageDeflate(**{option: value})


# (option, value, message)
WRONG_TYPES = [
    pytest.param("server_max_window_bits", "12", "server_max_window_bits is '12': expected 8 to 15, or None", id="str"),
    pytest.param("client_max_window_bits", 9.5, "client_max_window_bits is 9.5: expected 8 to 15, or None", id="float"),
    pytest.param("level", None, "level is None: expected -1 to 9", id="level-none"),
    pytest.param("level", True, "level is True: expected -1 to 9", id="level-bool"),
    pytest.param("mem_level", "8", "mem_level is '8': expected 1 to 9", id="mem-level-str"),
    pytest.param("threshold", "64", "threshold is '64': expected 0 or more", id="threshold-str"),
    pytest.param("zlib", "zlib_ng", "zlib has no compressobj: expected a module like zlib", id="module-name"),
    pytest.param("zlib", types, "zlib has no compressobj: expected a module like zlib", id="another-module"),
]


@pytest.mark.parametrize(("option", "value", "message"), WRONG_TYPES)
def test_an_option_of_the_wrong_type(option: str, value: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        PerMessageDeflate(**{option: value})


@pytest.mark.parametrize("answered", [8, 9, 10, 11, 15])
def test_what_the_client_offers_for_its_own_window_is_a_hint_that_it_keeps_to(answered: int) -> None:
    """7.1.2.2: the server may ignore the value, or bound the window further."""
    answer = parse_extensions(f"permessage-deflate; client_max_window_bits={answered}")[0]
    codec = PerMessageDeflate(client_max_window_bits=10).agreed(answer)
    assert codec.parameters.client_max_window_bits == min(answered, 10)
