"""Faults that the original implementation had, each with the test that would have found it."""

from __future__ import annotations

import os

import pytest

from anyws.protocol import (
    ClientHandshake,
    Close,
    CloseCode,
    Connection,
    Event,
    FrameDecoder,
    HandshakeError,
    HandshakeRefused,
    LimitExceeded,
    Opcode,
    Ping,
    Role,
    ServerHandshake,
    State,
    accept_value,
    masking,
    parse_extensions,
    parse_uri,
    serialize_frame,
)

KEY = "dGhlIHNhbXBsZSBub25jZQ=="  # RFC 6455, section 1.3
ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
REQUEST = (
    "GET /chat?room=1 HTTP/1.1\r\nHost: server.example.com:8080\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    f"Sec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\n"
)


def payloads(data: bytes) -> list[bytes]:
    decoder = FrameDecoder(masked=None)
    decoder.feed(data)
    return [part.payload for part in iter(decoder.next_part, None)]


def transfer(sender: Connection, receiver: Connection) -> list[Event]:
    return [event for data in iter(sender.data_to_send, b"") for event in receiver.receive_data(data)]


def test_fragmentation_keeps_the_last_bytes() -> None:
    """10 bytes at fragment size 4 sent 8."""
    sender, receiver = Connection(Role.SERVER), Connection(Role.CLIENT)
    sender.send_message(b"0123456789", fragment_size=4)
    data = sender.data_to_send()
    assert payloads(data) == [b"0123", b"4567", b"89"]
    assert receiver.receive_data(data) == [b"0123456789"]


@pytest.mark.parametrize("sizes", [(5, 1), (1, 5), (0, 3, 0), (200, 70000, 1)])
def test_reassembly_does_not_truncate_to_the_last_frame(sizes: tuple[int, ...]) -> None:
    """A message was truncated to the length of its last frame."""
    sender, receiver = Connection(Role.CLIENT), Connection(Role.SERVER)
    for number, size in enumerate(sizes):
        sender.send_fragment(bytes([number]) * size, fin=number == len(sizes) - 1)
    expected = b"".join(bytes([number]) * size for number, size in enumerate(sizes))
    assert transfer(sender, receiver) == [expected]


def test_accept_value_is_base64_and_not_hex() -> None:
    """The hash was sent in hexadecimal."""
    assert accept_value(KEY) == ACCEPT
    handshake = ServerHandshake()
    assert handshake.receive_data(f"{REQUEST}\r\n".encode()) is not None
    assert f"\r\nSec-WebSocket-Accept: {ACCEPT}\r\n".encode() in handshake.data_to_send(handshake.accept())


@pytest.mark.parametrize("size", [125, 126, 127, 128, 1000, 32768, 65534, 65535, 65536])
def test_masked_frames_of_every_length_class_arrive(size: int) -> None:
    """Masked frames of 126 to 65,535 bytes were corrupt."""
    sender, receiver = Connection(Role.CLIENT), Connection(Role.SERVER)
    message = bytes(i % 253 for i in range(size))
    sender.send_message(message)
    assert transfer(sender, receiver) == [message]


def test_nonce_and_masking_keys_come_from_the_operating_system(monkeypatch: pytest.MonkeyPatch) -> None:
    """The nonce was time and host name, the mask four digits of a weak random source."""
    drawn: list[int] = []

    def urandom(size: int) -> bytes:
        drawn.append(size)
        return b"".join(number.to_bytes(4, "big") for number in range(1, size // 4 + 1))

    monkeypatch.setattr(os, "urandom", urandom)
    monkeypatch.setattr(masking, "_keys", [])
    handshake = ClientHandshake(parse_uri("ws://a/"))
    assert handshake.request.headers["sec-websocket-key"] == "AAAAAQAAAAIAAAADAAAABA=="
    client = Connection(Role.CLIENT)
    client.send_message(b"\0\0\0\0")
    client.send_message(b"\0\0\0\0")
    assert client.data_to_send() == b"\x82\x84" + b"\x00\x00\x04\x00" * 2 + b"\x82\x84" + b"\x00\x00\x03\xff" * 2
    assert drawn == [16, 4096]


def test_the_request_can_arrive_in_many_reads_followed_by_frames() -> None:
    """It had to arrive in one read, and bytes after the head were lost."""
    client_frame = serialize_frame(Opcode.TEXT, b"early", masking_key=b"abcd")
    data = f"{REQUEST}\r\n".encode() + client_frame
    for step in (1, 7, 100, len(data)):
        handshake = ServerHandshake()
        rest = b""
        for start in range(0, len(data), step):
            chunk = data[start : start + step]
            if handshake.request is None:
                handshake.receive_data(chunk)
            else:
                rest += chunk
        server = Connection(Role.SERVER)
        assert server.receive_data(handshake.trailing_data + rest) == ["early"]


def test_the_response_can_arrive_in_many_reads_followed_by_frames() -> None:
    head = f"HTTP/1.1 101 OK\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {ACCEPT}\r\n\r\n"
    handshake = ClientHandshake(parse_uri("ws://a/"), nonce=b"the sample nonce")
    handshake.data_to_send()
    for byte in head[:-1]:
        assert handshake.receive_data(byte.encode()) is None
    assert handshake.receive_data(b"\n\x81\x05early") is not None
    assert Connection(Role.CLIENT).receive_data(handshake.trailing_data) == ["early"]


def test_host_and_path_come_from_the_uri() -> None:
    """Host was the peer's IP address; the path was always "/"."""
    handshake = ClientHandshake(parse_uri("ws://server.example.com:8080/chat?room=1"))
    data = handshake.data_to_send()
    assert data.startswith(b"GET /chat?room=1 HTTP/1.1\r\nHost: server.example.com:8080\r\n")
    request = ServerHandshake().receive_data(f"{REQUEST}\r\n".encode())
    assert request is not None
    assert (request.path, request.raw_query) == ("/chat", "room=1")


@pytest.mark.parametrize("role", Role)
def test_a_close_echo_is_not_a_message_and_ends_the_connection(role: Role) -> None:
    """The echo was reported as a message, and the socket was never closed."""
    ours = Connection(role)
    theirs = Connection(Role.SERVER if role is Role.CLIENT else Role.CLIENT)
    theirs.send_close(1001, "bye")
    assert transfer(theirs, ours) == [Close(1001, "bye")]
    assert ours.state is State.CLOSED
    assert transfer(ours, theirs) == [Close(1001, "bye")]
    assert theirs.state is State.CLOSED
    assert [ours.is_server_done, theirs.is_server_done] == [role is Role.SERVER, role is Role.CLIENT]
    assert not ours.has_data_to_send
    assert not theirs.has_data_to_send


def test_there_are_size_limits_by_default() -> None:
    """There was no limit anywhere."""
    server = Connection(Role.SERVER)
    server.receive_data(b"\x82\xff" + (2**20 + 1).to_bytes(8, "big") + bytes(4))
    assert isinstance(server.failure, LimitExceeded)
    assert server.close_sent is not None
    assert server.close_sent.code == CloseCode.MESSAGE_TOO_BIG
    with pytest.raises(HandshakeRefused, match="431"):
        ServerHandshake().receive_data(b"GET /" + b"a" * 16384)
    client = ClientHandshake(parse_uri("ws://a/"))
    client.data_to_send()
    with pytest.raises(HandshakeError, match="exceeds 16384 bytes"):
        client.receive_data(b"HTTP/1.1 200 " + b"a" * 16384)


def test_a_header_split_within_its_length_waits_for_the_rest() -> None:
    """The bytes ``81 fe 00`` in one read crashed the server."""
    server = Connection(Role.SERVER)
    assert server.receive_data(bytes.fromhex("81fe00")) == []
    assert server.receive_data(bytes.fromhex("7e 00000000") + b"a" * 126) == ["a" * 126]


def test_a_header_split_anywhere_waits_for_the_rest() -> None:
    for header in ("82 80 00000000", "82 fe 0000 00000000", "82 ff 0000000000000000 00000000"):
        data = bytearray.fromhex(header)
        size = {0x80: 1, 0xFE: 126, 0xFF: 65536}[data[1]]
        frame = serialize_frame(Opcode.BINARY, bytes(size), masking_key=bytes(4))
        for cut in range(len(data)):
            server = Connection(Role.SERVER)
            assert server.receive_data(frame[:cut]) == []
            assert server.receive_data(frame[cut:]) == [bytes(size)]


@pytest.mark.parametrize("offered", ["", "Sec-WebSocket-Protocol: other\r\n"])
def test_no_subprotocol_header_if_none_was_negotiated(offered: str) -> None:
    """An empty ``Sec-WebSocket-Protocol:`` was sent."""
    handshake = ServerHandshake(subprotocols=["chat"])
    assert handshake.receive_data(f"{REQUEST}{offered}\r\n".encode()) is not None
    assert b"sec-websocket-protocol" not in handshake.data_to_send(handshake.accept()).lower()
    assert "sec-websocket-protocol" not in ClientHandshake(parse_uri("ws://a/")).request.headers


@pytest.mark.parametrize("names", ["chat room", "chat, chat", "ch\xe4t", "chat/1", ""])
def test_subprotocols_are_unique_tokens(names: str) -> None:
    with pytest.raises(HandshakeRefused, match=r"400: .*Sec-WebSocket-Protocol"):
        ServerHandshake().receive_data(f"{REQUEST}Sec-WebSocket-Protocol: {names}\r\n\r\n".encode("latin-1"))
    with pytest.raises(ValueError, match="subprotocol"):
        ClientHandshake(parse_uri("ws://a/"), subprotocols=names.split(", "))


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("opcode", [3, 4, 5, 6, 7, 11, 12, 13, 14, 15])
def test_undefined_opcodes_are_rejected(opcode: int, role: Role) -> None:
    connection = Connection(role)
    key = bytes(4) if role is Role.SERVER else b""
    assert connection.receive_data(serialize_frame(opcode, b"", masking_key=key)) == []
    assert connection.close_sent is not None
    assert connection.close_sent.code == CloseCode.PROTOCOL_ERROR


@pytest.mark.parametrize(
    ("data", "code"),
    [
        pytest.param("83 80 00000000", 1002, id="protocol-error"),
        pytest.param("81 81 00000000 ff", 1007, id="invalid-payload"),
        pytest.param("82 ff 00000000ffffffff 00000000", 1009, id="message-too-big"),
    ],
)
def test_close_codes_are_the_standard_ones(data: str, code: int) -> None:
    server = Connection(Role.SERVER)
    server.receive_data(bytes.fromhex(data))
    [payload] = payloads(server.data_to_send())
    assert int.from_bytes(payload[:2], "big") == code


@pytest.mark.parametrize("header", ["a; b=", "a;;b", 'a; b="c d"', "a b"])
def test_extensions_follow_the_grammar(header: str) -> None:
    with pytest.raises(ValueError, match=r"\(RFC 6455, section 9\.1\)"):
        parse_extensions(header)
    with pytest.raises(HandshakeRefused, match="400: invalid Sec-WebSocket-Extensions"):
        ServerHandshake().receive_data(f"{REQUEST}Sec-WebSocket-Extensions: {header}\r\n\r\n".encode())


def test_the_sample_frames_of_the_rfc() -> None:
    """RFC 6455, section 5.7, each for the role that can receive it."""
    client, server = Connection(Role.CLIENT), Connection(Role.SERVER)
    assert client.receive_data(bytes.fromhex("81 05 48656c6c6f")) == ["Hello"]
    assert server.receive_data(bytes.fromhex("81 85 37fa213d 7f9f4d5158")) == ["Hello"]
    assert client.receive_data(bytes.fromhex("01 03 48656c 80 02 6c6f")) == ["Hello"]
    assert client.receive_data(bytes.fromhex("89 05 48656c6c6f")) == [Ping(b"Hello")]
    masked = Connection(Role.CLIENT, new_masking_key=lambda: bytes.fromhex("37fa213d"))
    masked.send_pong(b"Hello")
    assert masked.data_to_send() == bytes.fromhex("8a 85 37fa213d 7f9f4d5158")
    assert client.receive_data(bytes.fromhex("82 7e 0100") + b"Z" * 256) == [b"Z" * 256]
    assert client.receive_data(bytes.fromhex("82 7f 0000000000010000") + b"Z" * 65536) == [b"Z" * 65536]
