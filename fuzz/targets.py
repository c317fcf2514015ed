"""The fuzz targets. Each accepts any bytes, and raises an exception if a check fails.

Targets check that only documented exceptions are raised, that the result is the same in one piece and byte by byte, and
that the output is bounded.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from http.cookiejar import CookieJar

from anyws._client.backoff import retry_after
from anyws._client.cookies import cookie_header, store_cookies
from anyws._client.options import ClientOptions
from anyws._client.redirects import Redirects
from anyws._connection.websocket import WebSocket
from anyws._server.authentication import parse_basic
from anyws.protocol import (
    ClientHandshake,
    Codec,
    Connection,
    DeflateParameters,
    ExtensionOffer,
    HandshakeError,
    HandshakeRefused,
    Headers,
    InvalidURI,
    PerMessageDeflate,
    RemoteProtocolError,
    Request,
    Response,
    Role,
    ServerHandshake,
    WebSocketURI,
    parse_extensions,
    parse_uri,
    serialize_extensions,
)
from anyws.protocol.deflate import DeflateCodec
from anyws.protocol.errors import RedirectError
from anyws.protocol.negotiation import accept_offers, create_codecs
from anyws.protocol.origins import ForeignOrigin, OriginPolicy
from anyws.routing import Router

__all__ = ["TARGETS"]

_LIMIT = 1000  # bytes of one message
_NONCE = b"the sample nonce"
_QUEUE = 17 * 131 + 133  # bytes: 16 automatic Pongs and one more, and a Close, all of maximum size
_BITS = [str(bits) for bits in range(8, 16)]
_URI = WebSocketURI(secure=False, host="localhost", port=80)


def _byte_by_byte(data: bytes) -> Iterable[bytes]:
    return (data[start : start + 1] for start in range(len(data)))


def decoder(data: bytes) -> None:
    """Decode frames. The first byte selects the role (bit 0), compression (bit 1) and limits (bit 2)."""
    options, wire = data[:1], data[1:]
    if not options:
        return
    role = Role.SERVER if options[0] & 1 else Role.CLIENT
    compressed, limited = bool(options[0] & 2), bool(options[0] & 4)
    whole = _receive(role, compressed, limited, [wire])
    single = _receive(role, compressed, limited, _byte_by_byte(wire))
    if compressed and limited and {whole[1], single[1]} == {1007, 1009}:
        return  # Both apply, and which one is detected first depends on the chunks.
    assert whole == single, (whole, single)


def _receive(role: Role, compressed: bool, limited: bool, chunks: Iterable[bytes]) -> tuple[list[object], int | None]:
    codecs = [DeflateCodec(DeflateParameters(), PerMessageDeflate(), is_server=role is Role.SERVER)]
    connection = Connection(
        role,
        max_message_size=_LIMIT,
        max_frame_size=100 if limited else None,
        max_fragments=5 if limited else None,
        codecs=codecs if compressed else (),
    )
    events: list[object] = []
    for chunk in chunks:
        for event in connection.receive_data(chunk):
            events.append(event)
            if isinstance(event, str | bytes):
                assert len(event) <= _LIMIT
        assert connection.partial_size <= _LIMIT
    assert len(connection.data_to_send()) <= _QUEUE
    return events, None if connection.failure is None else connection.failure.close_code


def request_head(data: bytes) -> None:
    """Read a request as a server, and respond to it."""
    assert _respond(data, [data]) == _respond(data, _byte_by_byte(data))


def _respond(data: bytes, chunks: Iterable[bytes]) -> tuple[object, bytes]:
    """Return the request and the response to it, or (None, b"") if the request is incomplete."""
    server = ServerHandshake(subprotocols=["chat", "superchat"], extensions=[PerMessageDeflate()], origins=["*"])
    fed = 0
    for chunk in chunks:
        fed += len(chunk)
        try:
            request = server.receive_data(chunk)
            if request is None:
                continue
            response = server.accept()
        except HandshakeRefused as exc:
            return server.request, server.data_to_send(exc.response)
        assert data.endswith(server.trailing_data + data[fed:])
        return request, server.data_to_send(response)
    return None, b""


def response_head(data: bytes) -> None:
    """Read a response as a client."""
    assert _result(data, [data]) == _result(data, _byte_by_byte(data))


def _result(data: bytes, chunks: Iterable[bytes]) -> tuple[object, ...]:
    """Return the response, the bytes after it and what was negotiated; or the error."""
    client = ClientHandshake(
        _URI, subprotocols=["chat"], extensions=[PerMessageDeflate()], nonce=_NONCE, max_body_bytes=50
    )
    client.data_to_send()
    fed = 0
    try:
        for chunk in chunks:
            fed += len(chunk)
            if chunk and (response := client.receive_data(chunk)) is not None:
                return response, client.trailing_data + data[fed:], client.subprotocol, len(client.codecs)
        response = client.receive_data(b"")
    except HandshakeError as exc:
        result = (type(exc), str(exc), exc.response)
    else:
        raise AssertionError(f"the end of the stream was treated as a response: {response}")
    assert result[2] is None or len(result[2].body) <= 50
    return result


def headers(data: bytes) -> None:
    """Parse a header value from a peer as each of the headers that anyws parses."""
    value = data.decode("latin-1")
    try:
        Response(200, {"X": value})
    except ValueError:  # the HTTP parser rejects this value
        return
    assert 0 <= retry_after(Response(503, {"Retry-After": value})) <= 86400
    _set_cookies(value)
    _redirect(value)
    for origin, host in ((value, "localhost"), ("https://localhost", value)):
        try:
            OriginPolicy(None, ["localhost"]).check(origin, host)
        except ForeignOrigin:
            pass
    parse_basic(value)
    parse_basic(f"Basic {value}")
    if re.fullmatch(r"[\x21-\x7e]+", value):  # targets that h11 accepts
        _ROUTER.on_request(Request(target=value, headers=Headers({"Host": "localhost"})))
    _ROUTER.on_request(Request(target="/", headers=Headers({"Host": value})))


async def _handle(websocket: WebSocket, **parameters: object) -> None:
    """Do nothing: only the routing is tested."""


_ROUTER = Router()
_ROUTER.route("/<int:number>/<path:rest>")(_handle)
_ROUTER.route("/", host="<name>.localhost")(_handle)
_ROUTER.redirect("/old/<name>", "/new/<name>")


def _set_cookies(value: str) -> None:
    """Check that the next request can be sent, whatever cookies a server sets."""
    for target in (_URI, WebSocketURI(secure=True, host="www.example.com", port=443, resource="/a/b?c")):
        jar = CookieJar()
        store_cookies(jar, target, Headers({"Set-Cookie": value}))
        if (cookies := cookie_header(jar, target)) is not None:
            ClientHandshake(target, headers={"Cookie": cookies}, nonce=_NONCE)


def _redirect(value: str) -> None:
    """Check that a redirect leads to a server, or raises RedirectError."""
    redirects = Redirects(_URI, 1)
    refused = HandshakeRefused("", response=Response(302, {"Location": value}))
    try:
        following = redirects.follow(refused, ClientOptions(max_redirects=1))
    except RedirectError:
        return
    assert following is not None
    there, _ = following
    assert ClientHandshake(there, nonce=_NONCE).data_to_send().startswith(f"GET {there.resource} ".encode())


def extensions(data: bytes) -> None:
    """Parse ``Sec-WebSocket-Extensions``, and negotiate extensions."""
    text = data.decode("latin-1")
    try:
        offers = parse_extensions(text)
    except ValueError:
        return
    assert parse_extensions(serialize_extensions(offers)) == offers
    answers, codecs = accept_offers([PerMessageDeflate()], offers)
    assert len(answers) == len(codecs) <= 1
    if codecs:
        # A client that made the same offer must be able to accept the response.
        server_bits, client_bits = (_bits(offers, f"{side}_max_window_bits") for side in ("server", "client"))
        theirs = PerMessageDeflate(server_max_window_bits=server_bits, client_max_window_bits=client_bits)
        try:
            [codec] = create_codecs([theirs], parse_extensions(serialize_extensions(answers)))
        except ValueError:
            assert len(offers) > 1  # the response is to another of the offers
            return
        _check_pair(codecs[0], codec)
    try:
        agreed = create_codecs([PerMessageDeflate()], offers)
    except ValueError:
        return
    assert len(agreed) == len(offers) == 1


def _bits(offers: list[ExtensionOffer], name: str) -> int | None:
    value = next((dict(offer.parameters).get(name) for offer in offers), None)
    return None if value is None or value not in _BITS else int(value)


def _check_pair(one: Codec, other: Codec) -> None:
    for sender, receiver in ((one, other), (other, one)):
        for _ in range(2):
            payload, _changed = sender.encode(b"Hello" * 100, first=True, fin=True, compress=True)
            assert receiver.decode(payload, fin=True, limit=500) == b"Hello" * 100


def inflate(data: bytes) -> None:
    """Decompress two messages. The first byte selects the parameters, the second is the length of the first message."""
    if len(data) < 2:
        return
    options, cut, messages = data[0], 2 + data[1], data[2:]
    bits = 8 + (options & 7)
    parameters = DeflateParameters(client_max_window_bits=bits, client_no_context_takeover=bool(options & 8))
    both = (messages[: cut - 2], messages[cut - 2 :])
    whole = _inflate(parameters, [[message] for message in both])
    single = _inflate(parameters, [list(_byte_by_byte(message)) or [b""] for message in both])
    if bits == 15:  # Whether zlib detects a distance beyond a smaller window depends on how its input is split.
        assert whole == single, (whole, single)


def _inflate(parameters: DeflateParameters, messages: Iterable[list[bytes]]) -> list[object]:
    codec = DeflateCodec(parameters, PerMessageDeflate(), is_server=True)
    results: list[object] = []
    for message in messages:
        output = b""
        try:
            for number, piece in enumerate(message, 1):
                output += codec.decode(piece, fin=number == len(message), limit=_LIMIT - len(output))
                assert len(output) <= _LIMIT
        except (RemoteProtocolError, OverflowError) as exc:
            return [*results, type(exc)]
        results.append(output)
    return results


def uri(data: bytes) -> None:
    """Parse a URI, and create the request for it."""
    text = data.decode(errors="surrogatepass") if _is_text(data) else data.decode("latin-1")
    try:
        value = parse_uri(text)
    except InvalidURI:
        return
    assert 1 <= value.port <= 65535
    if value.username is None:
        assert parse_uri(str(value)) == value, (value, str(value))
    try:
        request = ClientHandshake(value, nonce=_NONCE).data_to_send()
    except (
        ValueError
    ):  # Basic authentication allows no colon in a user name, and no control characters (RFC 7617, section 2).
        assert re.search(r":|[\x00-\x1f\x7f-\x9f]", f"{value.username}{value.password or ''}")
        return
    assert request.startswith(f"GET {value.resource} HTTP/1.1\r\n".encode())
    assert request.count(b"\r\n\r\n") == 1
    server = ServerHandshake()
    try:
        received = server.receive_data(request)
    except HandshakeRefused:  # A client looks up some names that a server does not accept as host names.
        return
    assert isinstance(server.accept(), Response)
    assert received is not None
    assert received.target == value.resource


def _is_text(data: bytes) -> bool:
    try:
        data.decode(errors="surrogatepass")
    except UnicodeDecodeError:
        return False
    return True


TARGETS: dict[str, Callable[[bytes], None]] = {
    target.__name__: target for target in (decoder, request_head, response_head, headers, extensions, inflate, uri)
}
"""The targets by name."""
