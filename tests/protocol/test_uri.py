"""WebSocket URIs (RFC 6455, section 3)."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given, strategies as st

from anyws.protocol import InvalidURI, WebSocketError, WebSocketURI, parse_uri


def plain(host: str = "a", port: int = 80, resource: str = "/", **others: Any) -> WebSocketURI:
    return WebSocketURI(secure=False, host=host, port=port, resource=resource, **others)


def secure(host: str = "a", port: int = 443, resource: str = "/", **others: Any) -> WebSocketURI:
    return WebSocketURI(secure=True, host=host, port=port, resource=resource, **others)


# (uri, value) where str() gives the same URI again.
CANONICAL = [
    pytest.param("ws://a/", plain(), id="plain"),
    pytest.param("wss://a/", secure(), id="secure"),
    pytest.param("ws://a:443/", plain(port=443), id="port-of-the-other-scheme"),
    pytest.param("wss://a:8443/", secure(port=8443), id="port"),
    pytest.param("ws://a:65535/", plain(port=65535), id="highest-port"),
    pytest.param("ws://a/chat/room", plain(resource="/chat/room"), id="path"),
    pytest.param("ws://a//b", plain(resource="//b"), id="double-slash"),
    pytest.param("ws://a/?x=1&y=/?", plain(resource="/?x=1&y=/?"), id="query"),
    pytest.param("ws://a/x?y", plain(resource="/x?y"), id="path-and-query"),
    pytest.param("ws://a/%23%2F%20", plain(resource="/%23%2F%20"), id="percent-encoded-stays"),
    pytest.param("ws://a/a;b=c@d:e!$'()*+,~", plain(resource="/a;b=c@d:e!$'()*+,~"), id="path-characters"),
    pytest.param("ws://[::1]/", plain("::1"), id="ipv6"),
    pytest.param("ws://[2001:db8::1]:8080/", plain("2001:db8::1", 8080), id="ipv6-port"),
    pytest.param("ws://127.0.0.1/", plain("127.0.0.1"), id="ipv4"),
    pytest.param("ws://a.example./", plain("a.example."), id="dot-of-the-root"),
    pytest.param("ws://a_b-.example/", plain("a_b-.example"), id="name-that-no-registry-sells"),
    pytest.param(f"ws://{'a' * 63}.example/", plain(f"{'a' * 63}.example"), id="longest-label"),
    pytest.param("ws://[fe80::1%25eth0]/", plain("fe80::1%eth0"), id="zone"),
    pytest.param("ws://[fe80::1%25Eth-0.1]:8/", plain("fe80::1%Eth-0.1", 8), id="zone-and-port"),
    pytest.param("ws+unix:/run/a.sock:/", plain("localhost", socket_path="/run/a.sock"), id="unix"),
    pytest.param("wss+unix:/a:/b:c?d=e:f", secure("localhost", resource="/b:c?d=e:f", socket_path="/a"), id="unix-tls"),
    pytest.param("ws+unix:/a%20b%3A%25:/", plain("localhost", socket_path="/a b:%"), id="unix-percent-encoded"),
    pytest.param("ws+unix:////a:/", plain("localhost", socket_path="//a"), id="unix-two-slashes"),
]

# Other ways to write one.
OTHER = [
    pytest.param("http://a/", plain(), id="http"),
    pytest.param("https://a/", secure(), id="https"),
    pytest.param("WSS://A.Example/B", secure("a.example", resource="/B"), id="upper-case"),
    pytest.param("ws://a", plain(), id="no-path"),
    pytest.param("ws://a?x", plain(resource="/?x"), id="query-without-path"),
    pytest.param("ws://a/?", plain(), id="empty-query"),
    pytest.param("ws://a:/", plain(), id="empty-port"),
    pytest.param("ws://a:80/", plain(), id="default-port"),
    pytest.param("wss://a:443/", secure(), id="default-port-secure"),
    pytest.param("ws://a/b\xfc?c=\u20ac", plain(resource="/b%C3%BC?c=%E2%82%AC"), id="not-ascii-resource"),
    pytest.param('ws://a/<"[{|}]">', plain(resource="/%3C%22%5B%7B%7C%7D%5D%22%3E"), id="unsafe-resource"),
    pytest.param("ws://b\xfccher.example/", plain("xn--bcher-kva.example"), id="idna"),
    pytest.param("ws://B\xdcCHER.example/", plain("xn--bcher-kva.example"), id="idna-upper-case"),
    pytest.param("ws://[FE80::A%25Eth0]/", plain("fe80::a%Eth0"), id="zone-keeps-its-case"),
    pytest.param("ws://b\xfccher.example./", plain("xn--bcher-kva.example."), id="idna-dot-of-the-root"),
    pytest.param("ws://\uff41.example/", plain("a.example"), id="idna-full-width"),
    pytest.param("ws://u:p@a/", plain(username="u", password="p"), id="userinfo"),
    pytest.param("ws://u%40x:p%3A%C3%A9@a/", plain(username="u@x", password="p:\xe9"), id="userinfo-encoded"),
    pytest.param("ws://u@a/", plain(username="u"), id="user-only"),
    pytest.param("ws+unix:///run/a", plain("localhost", socket_path="/run/a"), id="unix-slashes"),
    pytest.param("ws+unix:/run/a", plain("localhost", socket_path="/run/a"), id="unix-no-resource"),
    pytest.param("ws+unix:/run/a:", plain("localhost", socket_path="/run/a"), id="unix-empty-resource"),
    pytest.param("WS+Unix:/run/a", plain("localhost", socket_path="/run/a"), id="unix-upper-case"),
]

INVALID = [
    pytest.param("", "the URI has no scheme: expected ws, wss", id="empty"),
    pytest.param("a", "has no scheme", id="no-scheme"),
    pytest.param("//a/", "has no scheme", id="relative"),
    pytest.param("ftp://a/", "scheme 'ftp' is not supported", id="other-scheme"),
    pytest.param("ws:", "has no host: expected ws://host", id="scheme-only"),
    pytest.param("ws:///chat", "has no host: expected ws://host", id="no-host"),
    pytest.param("ws:a", "has no host: expected ws://host", id="no-slashes"),
    pytest.param("ws://:80/", "has no host: expected ws://host", id="port-without-host"),
    pytest.param("ws://u@/", "has no host: expected ws://host", id="user-without-host"),
    pytest.param("ws://a/#", "must not contain a fragment; write %23", id="empty-fragment"),
    pytest.param("ws://a/b#c", "must not contain a fragment; write %23", id="fragment"),
    pytest.param("ws+unix:/a:/b#c", "must not contain a fragment; write %23", id="unix-fragment"),
    pytest.param("ws://a:0/", "port 0: expected 1 to 65535", id="port-0"),
    pytest.param("ws://a:65536/", "invalid port 65536: expected 1 to 65535$", id="port-too-high"),
    pytest.param("ws://a:-1/", "invalid port -1:", id="port-negative"),
    pytest.param("ws://a:x/", "invalid port: expected", id="port-letters"),
    pytest.param("ws://[::1/", "invalid URI", id="open-bracket"),
    pytest.param("ws://a\u2100b/", "invalid URI", id="slash-by-normalization"),
    pytest.param("ws://\xfc..example/", "is not a domain name", id="idna-empty-label"),
    pytest.param("ws://[::1]a/", "host '\\[::1\\]' is followed by text after its", id="text-behind-the-bracket"),
    pytest.param("ws://[::1]80/", "text after its bracket", id="port-without-colon"),
    pytest.param("ws://[127.0.0.1]/", "invalid URI|is not an IPv6 address", id="ipv4-in-brackets"),
    pytest.param("ws://[a]/", "invalid URI|is not an IPv6 address", id="name-in-brackets"),
    pytest.param("ws://[v1.a]/", "invalid URI|is not an IPv6 address", id="address-of-the-future"),
    pytest.param("ws://[]/", "invalid URI|is not an IPv6 address", id="empty-brackets"),
    pytest.param("ws://[::1%eth0]/", "write %25", id="zone-not-encoded"),
    pytest.param("ws://[fe80::1%25]/", "no valid zone", id="empty-zone"),
    pytest.param("ws://[fe80::1%25a%20b]/", "no valid zone|invalid URI", id="zone-with-a-space"),
    pytest.param("ws://[fe80::1%25a%0Ab]/", "no valid zone|invalid URI", id="zone-with-a-line-break"),
    pytest.param("ws://a\\b/", "host .* contains a backslash", id="backslash"),
    pytest.param("ws://a\\@b/", "invalid host", id="backslash-before-at"),
    pytest.param("ws://./", "has an empty label", id="only-the-root"),
    pytest.param("ws://a..b/", "host 'a..b' has an empty label", id="empty-label"),
    pytest.param("ws://.a/", "has an empty label", id="leading-dot"),
    pytest.param("ws://a../", "has an empty label", id="two-dots-at-the-end"),
    pytest.param(f"ws://{'a' * 64}/", "a label of more than 63 characters", id="long-label"),
    pytest.param(f"ws://{'a.' * 127}a/", "more than 253 characters", id="long-name"),
    pytest.param("ws://" + 60 * "\xfc" + ".example/", "is not a domain name", id="long-idna-label"),
    pytest.param("ws://" + 5000 * "\xfc" + "/", "more than 253 characters", id="very-long-idna-name"),
    *(
        pytest.param(f"ws://a{each}b/", f"contains {re.escape(repr(each))}, which is", id=f"forbidden-{each}")
        for each in "<>^|%"
    ),
    pytest.param("ws://a%2eb/", "contains '%'", id="percent-encoded-host"),
    pytest.param("ws://a /", "contains a space at position 6; percent-encode it", id="space"),
    pytest.param("ws://a/\r\nX: y", r"contains character '\\r' at position 7; percent-encode it", id="line-break"),
    pytest.param("\tws://a/", r"contains character '\\t' at position 0", id="leading-tab"),
    pytest.param("ws://a/\x7f", r"contains character '\\x7f' at position 7", id="delete"),
    pytest.param("ws://a/\ud800", r"contains character '\\ud800' at position 7", id="lone-surrogate"),
    pytest.param("ws+unix:a", "ws\\+unix:/the/socket", id="unix-relative"),
    pytest.param("ws+unix:/a:b", "ws\\+unix:/the/socket", id="unix-relative-resource"),
    pytest.param("ws+unix:", "ws\\+unix:/the/socket", id="unix-empty"),
]


@pytest.mark.parametrize(("uri", "value"), CANONICAL)
def test_parse_and_str_are_inverses(uri: str, value: WebSocketURI) -> None:
    assert parse_uri(uri) == value
    assert str(value) == uri


@pytest.mark.parametrize(("uri", "value"), OTHER)
def test_other_spellings(uri: str, value: WebSocketURI) -> None:
    assert parse_uri(uri) == value


@pytest.mark.parametrize(("uri", "problem"), INVALID)
def test_anything_else_is_refused(uri: str, problem: str) -> None:
    with pytest.raises(InvalidURI, match=problem) as caught:
        parse_uri(uri)
    assert caught.value.uri == uri
    assert isinstance(caught.value, ValueError)
    assert isinstance(caught.value, WebSocketError)


@pytest.mark.parametrize("uri", [b"ws://a/", None, 1])
def test_anything_but_a_str_is_a_type_error(uri: Any) -> None:
    with pytest.raises(TypeError, match=f"the URI must be a str, not {type(uri).__name__}"):
        parse_uri(uri)


@pytest.mark.parametrize(
    "uri",
    [
        "ftp://user:secret@a/",
        "ws://user:secret@a:0/",
        "ws://user:secret@a/#b",
        "ws://user:secret@a..b/",
        "ws://user:x@secret..@a..b/",
        "ws://user:secret\u2100x@a/",
        "ws://user:[secret]@a/",
        "ws://user:secret\\@a/",
        "secret:x@a/",
    ],
)
def test_the_error_does_not_show_the_password(uri: str) -> None:
    with pytest.raises(InvalidURI) as caught:
        parse_uri(uri)
    assert "secret" not in str(caught.value)


def test_str_does_not_show_the_password() -> None:
    assert str(parse_uri("ws://user:secret@a/b")) == "ws://a/b"


@pytest.mark.parametrize(
    ("uri", "host", "origin"),
    [
        pytest.param("ws://a.example/", "a.example", "http://a.example", id="plain"),
        pytest.param("wss://a.example/", "a.example", "https://a.example", id="secure"),
        pytest.param("ws://a:80/", "a", "http://a", id="default-port"),
        pytest.param("wss://a:443/", "a", "https://a", id="default-port-secure"),
        pytest.param("wss://a:80/", "a:80", "https://a:80", id="port-80-over-tls"),
        pytest.param("ws://a:9000/", "a:9000", "http://a:9000", id="port"),
        pytest.param("ws://[::1]/", "[::1]", "http://[::1]", id="ipv6"),
        pytest.param("ws://[::1]:9000/", "[::1]:9000", "http://[::1]:9000", id="ipv6-port"),
        pytest.param("ws://u:p@a/", "a", "http://a", id="no-userinfo"),
        pytest.param("ws+unix:/a", "localhost", "http://localhost", id="unix"),
        pytest.param("ws://[fe80::1%25eth0]:9/", "[fe80::1]:9", "http://[fe80::1]:9", id="zone"),
        pytest.param("wss://a.example./", "a.example.", "https://a.example.", id="dot-of-the-root"),
    ],
)
def test_host_header_and_origin(uri: str, host: str, origin: str) -> None:
    """No default port (RFC 6455, section 4.1), brackets for IPv6 (RFC 3986, section 3.2.2), no zone (RFC 6874)."""
    assert parse_uri(uri).host_header == host
    assert parse_uri(uri).origin == origin


@given(
    st.text(st.characters(), max_size=20), st.sampled_from(["", "ws://a/", "ws://", "ws+unix:/", "ws://a:", "ws://["])
)
def test_any_text_is_a_uri_or_an_invalid_uri(text: str, prefix: str) -> None:
    try:
        value = parse_uri(prefix + text)
    except InvalidURI:
        return
    assert value.resource.startswith("/")
    assert value.resource.isascii()
    if value.username is None and value.host.isascii():
        assert parse_uri(str(value)) == value


def test_an_error_does_not_show_a_password() -> None:
    """According to the grammar, ``ws://user:pa/ss@host`` has the port ``pa``."""
    with pytest.raises(InvalidURI) as caught:
        parse_uri("ws://user:secret/word@host/")
    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None
