"""permessage-deflate (RFC 7692): the negotiation (section 7.1) and the messages (sections 6 and 7.2)."""

from __future__ import annotations

import random
import re
import zlib
from typing import Any

import pytest

from anyws.protocol import (
    Connection,
    DeflateParameters,
    Event,
    InvalidDeflate,
    InvalidText,
    PerMessageDeflate,
    Ping,
    ProtocolError,
    Role,
    parse_extensions,
    serialize_extensions,
)
from anyws.protocol.negotiation import accept_offers, create_codecs
from tests.chunks import Chunked, chunked

from .deflating import HELLO, connection_of, deflated, failed
from .offers import Agreed, Deflate, header, offer_of, parameters_of
from .wire import Frames, both_roles, frame, receive, sent, wire_of

# -- the agreement -----------------------------------------------------------------------------------------------------

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
def test_7_1_the_server_responds_to_an_offer(
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
        pytest.param(f"{one}; {other}", f"{one.partition('=')[0]} is repeated", id=f"twice-{one}-{other[-2:]}")
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
def test_7_1_the_server_declines_an_invalid_offer_and_accepts_the_fallback(parameters: str, problem: str) -> None:
    assert Deflate().accept(offer_of(parameters)) is None
    fallback = "server_max_window_bits=11"
    answers, codecs = accept_offers([Deflate()], [offer_of(parameters), offer_of(fallback), offer_of("")])
    assert serialize_extensions(answers) == header(fallback)
    assert [parameters_of(codec) for codec in codecs] == [Agreed(server_max_window_bits=11)]


@pytest.mark.parametrize(("parameters", "problem"), WRONG)
def test_7_1_the_client_rejects_invalid_parameters(parameters: str, problem: str) -> None:
    with pytest.raises(ValueError, match=re.escape(problem)):
        Deflate().create_codec(offer_of(parameters))


def test_7_1_the_server_declines_a_repeated_parameter() -> None:
    assert Deflate().accept(offer_of("client_max_window_bits; client_max_window_bits")) is None


def test_7_1_2_2_a_response_must_give_client_max_window_bits_a_value() -> None:
    with pytest.raises(ValueError, match="client_max_window_bits is None, expected 8 to 15"):
        Deflate().create_codec(offer_of("client_max_window_bits"))


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
def test_7_1_the_client_accepts_a_valid_response(
    settings: PerMessageDeflate, answered: str, agreed: DeflateParameters
) -> None:
    [codec] = create_codecs([settings], [offer_of(answered)])
    assert parameters_of(codec) == agreed


# (the client's settings, the parameters answered, what the error says)
MISFITS = [
    pytest.param(Deflate(server_no_context_takeover=True), "", "the response lacks", id="takeover-not-answered"),
    pytest.param(
        Deflate(server_max_window_bits=10),
        "",
        "bits None, but 10 was offered",
        id="server-bits-not-answered",
    ),
    pytest.param(
        Deflate(server_max_window_bits=10),
        "server_max_window_bits=11",
        "bits 11, but 10 was offered",
        id="server-bits-greater",
    ),
    pytest.param(
        Deflate(server_max_window_bits=8),
        "server_max_window_bits=9",
        "bits 9, but 8 was offered",
        id="server-bits-9-to-8",
    ),
]


@pytest.mark.parametrize(("settings", "answered", "problem"), MISFITS)
def test_7_1_the_client_rejects_a_response_that_does_not_match_its_offer(
    settings: PerMessageDeflate, answered: str, problem: str
) -> None:
    with pytest.raises(ValueError, match=problem):
        create_codecs([settings], [offer_of(answered)])


@pytest.mark.parametrize("answered", [8, 9, 10, 11, 15])
def test_7_1_2_2_the_client_keeps_to_the_window_that_it_offered(answered: int) -> None:
    """Section 7.1.2.2: the server may ignore the value or reduce the window further."""
    answer = parse_extensions(f"permessage-deflate; client_max_window_bits={answered}")[0]
    codec = PerMessageDeflate(client_max_window_bits=10).create_codec(answer)
    assert codec.parameters.client_max_window_bits == min(answered, 10)


# -- the bytes ---------------------------------------------------------------------------------------------------------

# (frames, events)
RECEIVED = [
    pytest.param([(0xC1, HELLO)], ["Hello"], id="7.2.3.1-one-block"),
    pytest.param([(0x41, HELLO[:3]), (0x80, HELLO[3:])], ["Hello"], id="7.2.3.1-fragmented"),
    pytest.param([(0xC1, HELLO), (0xC1, HELLO)], ["Hello", "Hello"], id="7.2.3.2-same-again"),
    pytest.param([(0xC1, HELLO), (0xC1, bytes.fromhex("f200110000"))], ["Hello", "Hello"], id="7.2.3.2-window"),
    pytest.param([(0xC1, bytes.fromhex("000500faff48656c6c6f00"))], ["Hello"], id="7.2.3.3-stored"),
    pytest.param([(0xC1, bytes.fromhex("f348cdc9c9070000"))], ["Hello"], id="7.2.3.4-bfinal"),
    pytest.param([(0xC1, bytes.fromhex("f24805000000ffffcac9c90700"))], ["Hello"], id="7.2.3.5-two-blocks"),
    pytest.param([(0xC2, bytes.fromhex("f248cdc9c90700"))], [b"Hello"], id="binary"),
    pytest.param([(0xC1, b"\0")], [""], id="7.2.3.6-empty"),
    pytest.param([(0xC2, b"")], [b""], id="empty-payload"),
    pytest.param([(0xC1, HELLO), (0xC1, b""), (0xC1, HELLO)], ["Hello", "", "Hello"], id="empty-payload-between"),
    pytest.param([(0x41, b""), (0x00, HELLO), (0x80, b"")], ["Hello"], id="empty-fragments-around"),
    pytest.param([(0x41, b""), (0x80, b"")], [""], id="only-empty-fragments"),
    pytest.param(
        [(0xC1, bytes.fromhex("f348cdc9c9070000"))] * 3, ["Hello", "Hello", "Hello"], id="messages-after-bfinal"
    ),
    pytest.param(
        [(0xC1, bytes.fromhex("f348cdc9c9070000")), (0xC1, bytes.fromhex("f200110000"))],
        ["Hello", "Hello"],
        id="back-reference-behind-bfinal",
    ),
    pytest.param([(0xC1, bytes.fromhex("f348cdc9c90700"))] * 2, ["Hello", "Hello"], id="bfinal-without-empty-block"),
    pytest.param(
        [(0xC1, bytes.fromhex("f348cdc9c90700f348cdc9c9070000"))], ["HelloHello"], id="two-final-blocks-in-one-message"
    ),
    pytest.param([(0xC2, bytes.fromhex("010500faff48656c6c6f00"))], [b"Hello"], id="stored-bfinal"),
    pytest.param([(0xC1, HELLO), (0xC1, b"\1"), (0xC1, HELLO)], ["Hello", "", "Hello"], id="tail-ends-final-block"),
    pytest.param(
        [(0xC1, HELLO), (0x81, b"plain"), (0xC1, bytes.fromhex("f200110000"))],
        ["Hello", "plain", "Hello"],
        id="plain-message-leaves-the-window",
    ),
    pytest.param(
        [(0xC1, HELLO), (0x01, b"pl"), (0x80, b"ain"), (0xC1, bytes.fromhex("f200110000"))],
        ["Hello", "plain", "Hello"],
        id="plain-fragments-leave-the-window",
    ),
    pytest.param(
        [(0x41, HELLO[:2]), (0x89, b"Hello"), (0x80, HELLO[2:]), (0xC1, bytes.fromhex("f200110000"))],
        [Ping(b"Hello"), "Hello", "Hello"],
        id="a-ping-between-is-not-compressed",
    ),
]


@both_roles
@chunked
@pytest.mark.parametrize(("frames", "events"), RECEIVED)
def test_7_2_2_valid_compressed_messages(
    frames: Frames, events: list[Event], role: Role, chunked: Chunked, library: Any
) -> None:
    connection = connection_of(role, PerMessageDeflate(zlib=library))
    assert receive(connection, chunked(wire_of(role, [*frames, (0x82, b"more")]))) == [*events, b"more"]
    assert connection.failure is None


@both_roles
@pytest.mark.parametrize("theirs", ["no_context_takeover", "max_window_bits"])
def test_7_1_1_without_context_takeover_the_window_is_empty(role: Role, theirs: str, library: Any) -> None:
    """Without context takeover, a message that refers to the previous one is invalid."""
    peer = "client" if role is Role.SERVER else "server"
    parameters = {f"{peer}_{theirs}": 8 if theirs == "max_window_bits" else True}
    connection = connection_of(role, PerMessageDeflate(zlib=library), **parameters)
    frames = wire_of(role, [(0xC1, HELLO), (0xC1, HELLO), (0xC1, bytes.fromhex("f200110000"))])
    events = receive(connection, [frames])
    if theirs == "max_window_bits":
        assert (events, connection.failure) == (["Hello"] * 3, None)
    else:
        assert events == ["Hello"] * 2
        assert failed(connection) == (InvalidDeflate, 1007)


def test_7_2_3_4_the_window_continues_after_a_final_block(library: Any) -> None:
    """A message may refer to the whole window, across several final blocks."""
    data = random.Random(1).randbytes(30_000)
    compressor = zlib.compressobj(9, zlib.DEFLATED, -15, 9, zlib.Z_DEFAULT_STRATEGY, data)
    reference = compressor.compress(data[:258]) + compressor.flush(zlib.Z_SYNC_FLUSH)
    assert len(reference) < 20
    connection = connection_of(Role.CLIENT, PerMessageDeflate(zlib=library))
    for part in (bytes(40_000), data[:10_000], data[10_000:20_000], data[20_000:]):
        final = zlib.compressobj(0, zlib.DEFLATED, -15)
        wire = frame(Role.CLIENT, 0xC2, final.compress(part) + final.flush() + b"\0")
        assert connection.receive_data(wire) == [part]
    assert connection.receive_data(frame(Role.CLIENT, 0xC2, reference[:-4])) == [data[:258]]


# (frames, events before, failure)
BROKEN = [
    pytest.param([(0xC1, b"\xff\xff\xff")], [], InvalidDeflate, id="reserved-block-type"),
    pytest.param([(0xC2, b"\x00\x05\x00\x00\x00Hello")], [], InvalidDeflate, id="stored-length-not-complement"),
    pytest.param([(0xC2, bytes.fromhex("f200110000"))], [], InvalidDeflate, id="back-reference-to-nothing"),
    pytest.param([(0xC2, bytes.fromhex("000500faff48656c"))], [], InvalidDeflate, id="cut-off-stored-block"),
    pytest.param([(0xC2, bytes.fromhex("000400fbff48656c"))], [], InvalidDeflate, id="one-byte-missing"),
    pytest.param([(0xC2, b"garbage" * 9)], [], InvalidDeflate, id="garbage"),
    pytest.param([(0x82, b"ok"), (0xC1, b"\xff")], [b"ok"], InvalidDeflate, id="behind-another"),
    pytest.param([(0x42, b"\x06"), (0x80, b"\0")], [], InvalidDeflate, id="in-the-first-fragment"),
    pytest.param([(0xC1, bytes.fromhex("f348cdc9c90700") + b"\xff\xff")], [], InvalidDeflate, id="behind-bfinal"),
    pytest.param([(0xC1, b"\3")], [], InvalidDeflate, id="bfinal-ends-in-the-tail"),
    pytest.param([(0xC1, deflated(b"\xff"))], [], InvalidText, id="not-utf-8"),
    pytest.param([(0xC1, deflated(b"\xed\xa0\x80"))], [], InvalidText, id="surrogate"),
    pytest.param([(0xC1, deflated("é".encode()[:1]))], [], InvalidText, id="unfinished-utf-8"),
    pytest.param([(0x41, deflated(b"\xff") + b"\0\0\xff\xff")], [], InvalidText, id="not-utf-8-in-unfinished-message"),
]


@both_roles
@chunked
@pytest.mark.parametrize(("frames", "events", "failure"), BROKEN)
def test_7_2_2_invalid_compressed_messages_are_1007(
    frames: Frames, events: list[Event], failure: type[Exception], role: Role, chunked: Chunked, library: Any
) -> None:
    connection = connection_of(role, PerMessageDeflate(zlib=library))
    assert receive(connection, chunked(wire_of(role, frames))) == events
    assert failed(connection) == (failure, 1007)


def test_7_2_2_invalid_text_is_detected_before_the_frame_is_complete() -> None:
    connection = connection_of(Role.CLIENT)
    payload = deflated(b"ab\xffcd") + b"\0\0\xff\xff" + b"\0\0\0\xff\xff" * 200
    assert connection.receive_data(frame(Role.CLIENT, 0xC1, payload)[:20]) == []
    assert failed(connection) == (InvalidText, 1007)


# (with compression, frames, bits that the reason names)
RESERVED = [
    pytest.param(False, [(0xC1, HELLO)], "RSV1", id="rsv1-not-agreed"),
    pytest.param(False, [(0xC2, b"")], "RSV1", id="rsv1-not-agreed-empty"),
    pytest.param(True, [(0x41, HELLO), (0xC0, b"")], "RSV1", id="rsv1-on-last-fragment"),
    pytest.param(True, [(0x01, b"a"), (0x40, b"b")], "RSV1", id="rsv1-on-continuation-of-plain"),
    pytest.param(True, [(0xC9, b"")], "RSV1", id="rsv1-on-ping"),
    pytest.param(True, [(0xCA, b"")], "RSV1", id="rsv1-on-pong"),
    pytest.param(True, [(0xC8, b"")], "RSV1", id="rsv1-on-close"),
    pytest.param(True, [(0xA1, b"")], "RSV2", id="rsv2"),
    pytest.param(True, [(0x91, b"")], "RSV3", id="rsv3"),
    pytest.param(True, [(0xE1, HELLO)], "RSV2", id="rsv1-and-rsv2"),
    pytest.param(True, [(0xF1, HELLO)], "RSV2, RSV3", id="all"),
]


@both_roles
@chunked
@pytest.mark.parametrize(("with_compression", "frames", "bits"), RESERVED)
def test_6_rsv1_on_the_first_frame_of_a_data_message_only(
    with_compression: bool, frames: Frames, bits: str, role: Role, chunked: Chunked
) -> None:
    connection = connection_of(role) if with_compression else Connection(role)
    assert receive(connection, chunked(wire_of(role, frames))) == []
    assert connection.failure is not None
    assert connection.failure.reason.startswith(f"{bits} set")
    assert failed(connection) == (ProtocolError, 1002)


@both_roles
def test_7_2_3_the_examples_of_the_rfc_are_sent(role: Role) -> None:
    """Sections 7.2.3.1 and 7.2.3.2 byte for byte, which zlib produces too."""
    connection = connection_of(role)
    connection.send_message("Hello")
    connection.send_message("Hello")
    connection.send_message("")
    assert sent(connection) == [(0xC1, HELLO), (0xC1, bytes.fromhex("f200110000")), (0xC1, b"\0")]


@both_roles
def test_7_2_3_6_an_empty_message(role: Role, library: Any) -> None:
    connection = connection_of(role, PerMessageDeflate(zlib=library))
    for _ in range(2):
        connection.send_message("", compress=True)
        connection.send_message(b"")
    assert sent(connection) == [(0xC1, b"\0"), (0x82, b"")] * 2


@both_roles
def test_7_1_1_without_context_takeover_each_message_is_compressed_alone(role: Role) -> None:
    connection = connection_of(role, None, **{f"{role.value}_no_context_takeover": True})
    for _ in range(2):
        connection.send_message("Hello")
    connection.send_fragment("Hel", fin=False)
    connection.send_fragment("lo", fin=True)
    connection.send_message("Hello")
    first, second, *fragments, last = sent(connection)
    assert first == second == last == (0xC1, HELLO)
    assert zlib.decompress(b"".join(payload for _, payload in fragments) + b"\0\0\xff\xff\3\0", -15) == b"Hello"


@both_roles
def test_7_1_1_context_takeover_is_independent_for_each_side(role: Role) -> None:
    other = Role.SERVER if role is Role.CLIENT else Role.CLIENT
    connection = connection_of(role, None, **{f"{other.value}_no_context_takeover": True})
    for _ in range(2):
        connection.send_message("Hello")
    assert sent(connection) == [(0xC1, HELLO), (0xC1, bytes.fromhex("f200110000"))]


@both_roles
def test_6_1_only_the_first_fragment_has_rsv1(role: Role, library: Any) -> None:
    connection = connection_of(role, PerMessageDeflate(zlib=library))
    for fragment in ("Hel", "", "lo"):
        connection.send_fragment(fragment, fin=False)
    connection.send_fragment("", fin=True)
    frames = sent(connection)
    assert [first for first, _ in frames] == [0x41, 0, 0, 0x80]
    assert zlib.decompressobj(-15).decompress(b"".join(payload for _, payload in frames) + b"\0\0\xff\xff") == b"Hello"


@pytest.mark.parametrize("level", [-1, 0, 1, 6, 9])
@pytest.mark.parametrize("mem_level", [1, 8, 9])
def test_7_2_1_sent_messages_lack_the_tail_and_decompress_with_plain_zlib(
    level: int, mem_level: int, library: Any
) -> None:
    connection = connection_of(Role.CLIENT, PerMessageDeflate(level=level, mem_level=mem_level, zlib=library))
    decompressor = zlib.decompressobj(-15)
    source = random.Random(level)
    for size in (0, 1, 5, 127, 128, 1000, 65_535, 65_536, 200_000):
        for data in (bytes(size), source.randbytes(size), b"\0\0\xff\xff" * (size // 4)):
            connection.send_message(data, compress=True)
            [(first, payload)] = sent(connection)
            assert first == 0xC2
            assert not payload.endswith(b"\0\0\xff\xff")
            assert decompressor.decompress(payload + b"\0\0\xff\xff") == data


def inflated_strictly(data: bytes, bits: int) -> bytes:
    """Decompress byte by byte, so that zlib cannot refer to anything before its window."""
    decompressor = zlib.decompressobj(-bits)
    output = bytearray()
    while piece := decompressor.decompress(data, 1):
        output += piece
        data = decompressor.unconsumed_tail
    return bytes(output)


def repetitive(seed: int) -> bytes:
    """Return data that repeats itself at many distances."""
    source = random.Random(seed)
    letters = range(97, 97 + source.choice([2, 4, 26]))
    words = [bytes(source.choices(letters, k=source.randint(1, 300))) for _ in range(source.randint(2, 40))]
    return b"".join(source.choices(words, k=300))[: source.choice([600, 2500])]


@both_roles
@pytest.mark.parametrize("level", [1, 2, 3, 4, 6, 9])
@pytest.mark.parametrize("bits", [8, 9, 10])
def test_7_1_2_the_negotiated_window_size_is_respected(role: Role, level: int, bits: int, library: Any) -> None:
    """This includes a window of 8 bits, which zlib's compressor does not support."""
    reaches_back = False
    for seed in range(10):
        deflate = PerMessageDeflate(level=level, mem_level=source_level(seed), zlib=library)
        connection = connection_of(role, deflate, **{f"{role.value}_max_window_bits": bits})
        data = repetitive(seed)
        for start in range(0, len(data), 777):
            connection.send_message(data[start : start + 777], compress=True)
        stream = b"".join(payload + b"\0\0\xff\xff" for _, payload in sent(connection))
        assert inflated_strictly(stream, bits) == data
        try:
            reaches_back = reaches_back or inflated_strictly(stream, 8) != data
        except zlib.error:
            reaches_back = True
    assert reaches_back is (bits == 10)  # so the check would see a window that is too large


def source_level(seed: int) -> int:
    return (1, 5, 8, 9)[seed % 4]
