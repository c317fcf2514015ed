"""Round trips: one side understands what the other sends, no matter how it is split."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given, settings, strategies as st

from anyws.protocol import (
    ClientHandshake,
    Connection,
    DeflateParameters,
    Event,
    ExtensionOffer,
    HandshakeRefused,
    PerMessageDeflate,
    Ping,
    Pong,
    Request,
    Response,
    Role,
    ServerHandshake,
    WebSocketURI,
    parse_extensions,
    parse_uri,
)
from anyws.protocol.deflate import DeflateCodec
from tests.chunks import byte_by_byte

URI = parse_uri("ws://localhost/chat")
PEER = {Role.CLIENT: Role.SERVER, Role.SERVER: Role.CLIENT}
both_roles = pytest.mark.parametrize("role", Role)


def cut(wire: bytes, data: st.DataObject) -> list[bytes]:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(wire)), max_size=10)))
    return [wire[start:stop] for start, stop in pairwise([0, *cuts, len(wire)])]


def sent(connection: Connection) -> bytes:
    return b"".join(iter(connection.data_to_send, b""))


# -- messages ----------------------------------------------------------------------------------------------------------

controls = st.builds(Ping, st.binary(max_size=125)) | st.builds(Pong, st.binary(max_size=125))
pieces = st.lists(st.text(max_size=40), min_size=1, max_size=5) | st.lists(
    st.binary(max_size=400), min_size=1, max_size=5
)


def send_all(sender: Connection, script: Iterable[Any]) -> Iterator[bytes]:
    """Send fragmented messages with control frames between them; yield the written bytes frame by frame."""
    for step in script:
        if isinstance(step, Ping):
            sender.send_ping(step.payload)
        elif isinstance(step, Pong):
            sender.send_pong(step.payload)
        else:
            piece, fin = step
            sender.send_fragment(piece, fin=fin)
        yield sent(sender)


def joined(pieces: list[Any]) -> str | bytes:
    return "".join(pieces) if isinstance(pieces[0], str) else b"".join(pieces)


def events_of(receiver: Connection, chunks: Iterable[bytes], take_each: bool) -> list[Event]:
    """Return the events for the chunks; messages that are received in pieces are joined again."""
    events: list[Event] = []
    taken: list[Any] = []
    for chunk in chunks:
        for event in receiver.receive_data(chunk):
            if isinstance(event, str | bytes):
                events.append(joined([*taken, event]))
                taken.clear()
            else:
                events.append(event)
        if take_each and receiver.in_message:
            taken.append(receiver.take_partial())
            assert receiver.partial_size == 0
    return events


@both_roles
@pytest.mark.parametrize("take_each", [False, True], ids=["whole", "in-parts"])
@pytest.mark.parametrize("compressed", [False, True], ids=["plain", "deflate"])
@given(messages=st.lists(pieces, max_size=4), data=st.data())
@settings(max_examples=25)
def test_fragments_and_control_frames_arrive_however_they_are_split(
    messages: list[list[Any]], data: st.DataObject, compressed: bool, take_each: bool, role: Role
) -> None:
    script: list[Any] = []
    expected: list[Event] = []
    for message in messages:
        for number, piece in enumerate(message, 1):
            between = data.draw(st.lists(controls, max_size=2))
            script += [*between, (piece, number == len(message))]
            expected += between
        expected.append(joined(message))
    client, server = (
        ([PerMessageDeflate().create_codec(ExtensionOffer("permessage-deflate"))], [accepted("permessage-deflate")])
        if compressed
        else ([], [])
    )
    codecs = {Role.CLIENT: client, Role.SERVER: server}
    sender = Connection(role, codecs=codecs[role])
    receiver = Connection(PEER[role], codecs=codecs[PEER[role]])
    wire = b"".join(send_all(sender, script))
    chunks: Iterable[bytes] = byte_by_byte(wire) if data.draw(st.booleans()) else cut(wire, data)
    assert events_of(receiver, chunks, take_each) == expected
    assert receiver.failure is None
    assert not receiver.in_message


def accepted(offer: str) -> DeflateCodec:
    answer = PerMessageDeflate().accept(parse_extensions(offer)[0])
    assert answer is not None
    return answer[1]


# -- permessage-deflate ------------------------------------------------------------------------------------------------

bits = st.none() | st.integers(8, 15)
deflates = st.builds(
    PerMessageDeflate,
    server_no_context_takeover=st.booleans(),
    client_no_context_takeover=st.booleans(),
    server_max_window_bits=bits,
    client_max_window_bits=bits,
    level=st.sampled_from([-1, 1, 9]),
    mem_level=st.sampled_from([1, 8, 9]),
    threshold=st.sampled_from([0, 64]),
    zlib=st.sampled_from([None, zlib]),  # None is zlib-ng, where it is installed
)
# Repeats at distances on both sides of each window.
texts = st.lists(
    st.sampled_from([b"abc" * 20, b"x" * 300, bytes(range(256)), bytes(range(255, -1, -1)) * 3, b"y" * 5000, b""]),
    max_size=6,
).map(b"".join)


def opened(client: ClientHandshake, server: ServerHandshake) -> tuple[DeflateCodec, DeflateCodec]:
    """Make the opening handshake between the two, and return the negotiated codecs."""
    assert server.receive_data(client.data_to_send()) is not None
    assert client.receive_data(server.data_to_send(server.accept())) is not None
    [ours], [theirs] = client.codecs, server.codecs
    assert isinstance(ours, DeflateCodec)
    assert isinstance(theirs, DeflateCodec)
    return ours, theirs


def inflate_strictly(payload: bytes, window: bytes, bits: int) -> bytes:
    """Decompress a message byte by byte, so that zlib rejects a distance beyond the window."""
    decompressor = zlib.decompressobj(-bits, zdict=window)
    output, payload = b"", payload + b"\x00\x00\xff\xff"
    while piece := decompressor.decompress(payload, 1):
        output, payload = output + piece, decompressor.unconsumed_tail
    return output


@given(ours=deflates, theirs=deflates, messages=st.lists(texts, min_size=1, max_size=4))
@settings(max_examples=60)
def test_both_sides_negotiate_the_same_parameters_and_respect_them(
    ours: PerMessageDeflate, theirs: PerMessageDeflate, messages: list[bytes]
) -> None:
    """RFC 7692, section 7.1: both sides use the same parameters, within the limits that each of them has requested."""
    client, server = opened(ClientHandshake(URI, extensions=[ours]), ServerHandshake(extensions=[theirs]))
    agreed = client.parameters
    for side, bound in (("server", server.parameters), ("client", agreed)):
        limits = [getattr(settings, f"{side}_max_window_bits") or 15 for settings in (ours, theirs)]
        assert getattr(bound, f"{side}_max_window_bits") == min(limits)
    assert agreed.server_no_context_takeover == (ours.server_no_context_takeover or theirs.server_no_context_takeover)
    assert agreed.client_no_context_takeover == (ours.client_no_context_takeover or theirs.client_no_context_takeover)
    assert server.parameters == agreed
    for sender, receiver, side in ((client, server, "client"), (server, client, "server")):
        window_bits = getattr(agreed, f"{side}_max_window_bits")
        takeover = not getattr(agreed, f"{side}_no_context_takeover")
        window = b""
        for message in messages:
            payload, changed = sender.encode(message, first=True, fin=True, compress=True)
            assert changed
            assert inflate_strictly(payload, window, window_bits) == message
            assert receiver.decode(payload, fin=True, limit=len(message)) == message
            window = (window + message)[-(1 << window_bits) :] if takeover else b""


@given(
    window_bits=st.integers(9, 15),
    takeover=st.booleans(),
    messages=st.lists(st.lists(st.tuples(texts, st.booleans()), min_size=1, max_size=4), min_size=1, max_size=4),
    data=st.data(),
)
@settings(max_examples=60)
def test_final_blocks_are_accepted_anywhere_and_the_window_continues(
    window_bits: int, takeover: bool, messages: list[list[tuple[bytes, bool]]], data: st.DataObject
) -> None:
    """RFC 7692, sections 7.2.3.4 and 7.2.3.2: data after a block with BFINAL=1 may refer to data before it."""
    parameters = DeflateParameters(client_max_window_bits=window_bits, client_no_context_takeover=not takeover)
    codec = DeflateCodec(parameters, PerMessageDeflate(), is_server=True)
    window = b""
    for pieces in messages:
        payload = b""
        for piece, final in pieces:
            arguments = (6, zlib.DEFLATED, -window_bits, 9, zlib.Z_DEFAULT_STRATEGY)
            compressor = zlib.compressobj(*arguments, window) if window else zlib.compressobj(*arguments)
            payload += compressor.compress(piece) + compressor.flush(zlib.Z_FINISH if final else zlib.Z_SYNC_FLUSH)
            window = (window + piece)[-(1 << window_bits) :]
        chunks = [*cut(payload + b"\0", data), b""]  # the empty block that a message ends in, without its tail
        output = b"".join(codec.decode(chunk, fin=False, limit=None) for chunk in chunks)
        assert output + codec.decode(b"", fin=True, limit=0) == b"".join(piece for piece, _ in pieces)
        window = window if takeover else b""


# -- opening handshake -------------------------------------------------------------------------------------------------

tokens = st.text("!#$%&'*+-.^_`|~0aZ", min_size=1, max_size=5)
names = st.lists(tokens, max_size=3, unique=True)
values = st.text(st.characters(min_codepoint=0x21, max_codepoint=0xFF, exclude_categories=["Cc"]), max_size=10)
headers = st.lists(st.tuples(tokens.map("X-{}".format), values), max_size=3)


def feed(receive: Any, chunks: list[bytes]) -> tuple[Any, bytes]:
    """Feed chunks until there is a result; return it with the remaining bytes."""
    for number, chunk in enumerate(chunks, 1):
        result = receive(chunk) if chunk else None
        if result is not None:
            return result, b"".join(chunks[number:])
    raise AssertionError("no result")


@given(
    offered=names,
    spoken=names,
    asked=headers,
    answered=headers,
    deflate=st.tuples(st.none() | deflates, st.none() | deflates),
    frames=st.tuples(st.binary(max_size=20), st.binary(max_size=20)),
    data=st.data(),
)
@settings(max_examples=80)
def test_two_handshakes_agree_however_they_are_split(
    offered: list[str],
    spoken: list[str],
    asked: list[tuple[str, str]],
    answered: list[tuple[str, str]],
    deflate: tuple[PerMessageDeflate | None, PerMessageDeflate | None],
    frames: tuple[bytes, bytes],
    data: st.DataObject,
) -> None:
    ours, theirs = ([] if each is None else [each] for each in deflate)
    client = ClientHandshake(URI, headers=asked, subprotocols=offered, extensions=ours)
    server = ServerHandshake(subprotocols=spoken, extensions=theirs)
    request, rest = feed(server.receive_data, cut(client.data_to_send() + frames[0], data))
    assert isinstance(request, Request)
    assert request == client.request
    assert request.headers.multi_items()[-len(asked) :][: len(asked)] == asked or not asked
    assert server.trailing_data + rest == frames[0]
    response, rest = feed(client.receive_data, cut(server.data_to_send(server.accept(answered)) + frames[1], data))
    assert isinstance(response, Response)
    assert [pair for pair in response.headers.multi_items() if pair[0].startswith("X-")] == answered
    assert client.trailing_data + rest == frames[1]
    assert client.subprotocol == server.subprotocol == next((name for name in spoken if name in offered), None)
    assert len(client.codecs) == len(server.codecs) == (None not in deflate)


@pytest.mark.parametrize("version", ["1.2", "1.9"])
def test_a_later_version_without_a_host_is_refused(version: str) -> None:
    """h11 requires Host only in HTTP/1.1; RFC 6455, section 4.2.1, in any version."""
    with pytest.raises(HandshakeRefused, match="Host") as caught:
        ServerHandshake().receive_data(f"GET / HTTP/{version}\r\nUpgrade: websocket\r\n\r\n".encode())
    assert caught.value.status == 400


# -- Sec-WebSocket-Extensions ------------------------------------------------------------------------------------------

offers = st.lists(
    st.builds(ExtensionOffer, tokens, st.lists(st.tuples(tokens, st.none() | tokens), max_size=3).map(tuple)),
    min_size=1,
    max_size=3,
)


@given(offers, st.data())
def test_offers_are_parsed_in_every_notation(expected: list[ExtensionOffer], data: st.DataObject) -> None:
    """RFC 6455, section 9.1, allows spaces between tokens, empty elements, and quoted values with escapes."""

    def space() -> str:
        return data.draw(st.text(" \t", max_size=2))

    def value(text: str) -> str:
        if data.draw(st.booleans()):
            return text
        escaped = "".join(f"\\{char}" if data.draw(st.booleans()) else char for char in text)
        return f'"{escaped}"'

    elements = []
    for offer in expected:
        element = space() + offer.name
        for name, text in offer.parameters:
            element += f"{space()};{space()}{name}"
            if text is not None:
                element += f"{space()}={space()}{value(text)}"
        elements.append(element + space())
        elements += [space()] * data.draw(st.integers(0, 1))
    assert parse_extensions(",".join(elements)) == expected


@given(st.text(max_size=20) | st.text('a;=," \\', max_size=20))
def test_any_text_is_parsed_or_rejected(text: str) -> None:
    try:
        found = parse_extensions(text)
    except ValueError:
        return
    assert found
    assert all(offer.name in text for offer in found)


# -- URI ---------------------------------------------------------------------------------------------------------------

anything = st.text(st.characters(exclude_categories=["Cs"]), max_size=10)
# RFC 7617, section 2.
name_or_password = st.text(st.characters(exclude_categories=["Cc", "Cs"], exclude_characters=":"), max_size=10)
hosts = st.sampled_from(["a", "example.com", "127.0.0.1", "[::1]", "[2001:db8::7]", "xn--bcher-kva.example"])


@given(
    secure=st.booleans(),
    host=hosts,
    port=st.none() | st.integers(1, 65535),
    path=anything,
    query=anything,
    user=st.none() | st.tuples(name_or_password, name_or_password),
)
def test_a_uri_of_any_parts_is_parsed_into_the_same_parts(
    secure: bool, host: str, port: int | None, path: str, query: str, user: tuple[str, str] | None
) -> None:
    resource = f"/{quote(path)}" + (f"?{quote(query)}" if query else "")
    userinfo = "" if user is None else f"{quote(user[0], safe='')}:{quote(user[1], safe='')}@"
    scheme = "wss" if secure else "ws"
    text = f"{scheme}://{userinfo}{host}{'' if port is None else f':{port}'}{resource}"
    expected = WebSocketURI(
        secure=secure,
        host=host.strip("[]"),
        port=port or (443 if secure else 80),
        resource=resource,
        username=user and user[0],
        password=user and user[1],
    )
    value = parse_uri(text)
    assert value == expected
    assert ClientHandshake(value).request.target == resource
    without_user = parse_uri(str(value))
    assert (without_user.host, without_user.port, without_user.resource) == (value.host, value.port, resource)
    assert without_user.username is None
