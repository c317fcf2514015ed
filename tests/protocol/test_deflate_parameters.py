"""The negotiation of permessage-deflate (RFC 7692, sections 5 and 7.1)."""

from __future__ import annotations

import types
from typing import Any

import pytest

from anyws.protocol import PerMessageDeflate, parse_extensions, serialize_extensions
from anyws.protocol.deflate import PRESETS
from anyws.protocol.negotiation import accept_offers, create_codecs
from tests.conformance.offers import NAME, Deflate, header, parameters_of


def test_the_first_acceptable_offer_is_accepted() -> None:
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


@pytest.mark.parametrize("server", [Deflate(), *PRESETS.values(), Deflate(server_max_window_bits=8)])
@pytest.mark.parametrize("client", [Deflate(), *PRESETS.values(), Deflate(client_max_window_bits=8)])
def test_both_ends_agree_on_the_same(client: PerMessageDeflate, server: PerMessageDeflate) -> None:
    """The client accepts each response of the server to its offer."""
    answers, [theirs] = accept_offers([server], client.offers())
    [ours] = create_codecs([client], answers)
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
def test_an_option_out_of_range(option: str, value: Any, error: type[Exception], message: str) -> None:
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
    pytest.param("zlib", "zlib_ng", "zlib has no compressobj: expected a module compatible", id="module-name"),
    pytest.param("zlib", types, "zlib has no compressobj: expected a module compatible", id="another-module"),
]


@pytest.mark.parametrize(("option", "value", "message"), WRONG_TYPES)
def test_an_option_of_the_wrong_type(option: str, value: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        PerMessageDeflate(**{option: value})
