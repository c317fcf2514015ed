"""Which pages may connect, and invalid entries of ``origins`` and ``allowed_hosts``."""

from __future__ import annotations

from typing import Any

import pytest

from anyws._server.options import AcceptOptions
from anyws.protocol.origins import ForeignOrigin, OriginPolicy


@pytest.mark.parametrize("length", [10, 1000])
def test_a_policy_decides_the_same_again(length: int) -> None:
    """The decision is the same whether it was cached or is too long for that."""
    host = "a" * length
    policy = OriginPolicy(None, None)
    for _ in range(2):
        policy.check(f"http://{host}", host)
        policy.check(f"https://{host}", f"{host}:443")
        for origin, of_server in ((f"http://{host}", f"{host}:81"), ("null", host)):
            with pytest.raises(ForeignOrigin, match="is not allowed"):
                policy.check(origin, of_server)


def refusal(policy: OriginPolicy, origin: str, host: str = "a") -> ForeignOrigin:
    with pytest.raises(ForeignOrigin) as raised:
        policy.check(origin, host)
    return raised.value


def test_a_rejection_names_the_page_and_the_option() -> None:
    text = "Origin 'http://localhost:5173' is not allowed; to allow it, add it to the option origins"
    assert str(refusal(OriginPolicy(None, None), "http://localhost:5173", "localhost:8765")) == text
    assert str(refusal(OriginPolicy([], None), "http://localhost:5173", "localhost:8765")) == text
    of_host = "Host 'b' is not allowed for web pages; to allow it, add it to the option allowed_hosts"
    assert str(refusal(OriginPolicy(["*"], ["a"]), "http://a", "b")) == of_host


@pytest.mark.parametrize("origin", ["", "http://\xe9", "http://a, http://b", "a", "http://a/"])
def test_what_no_browser_sends_is_not_reported(origin: str) -> None:
    refused = refusal(OriginPolicy(None, None), origin, "b")
    assert not refused.is_first_rejection
    assert str(refused) == f"Origin {origin!r} is not allowed"


def test_each_page_is_reported_once_and_a_flood_of_them_is_not() -> None:
    policy = OriginPolicy(None, None)
    assert [refusal(policy, "http://b").is_first_rejection for _ in range(3)] == [True, False, False]
    assert refusal(policy, "http://c").is_first_rejection
    assert not refusal(policy, "http://" + "d" * 1000).is_first_rejection
    first = [refusal(policy, f"http://{number}.example").is_first_rejection for number in range(1000)]
    assert sum(first) < 130
    assert not first[-1]


@pytest.mark.parametrize(
    "origin",
    [
        "https://example.com",
        "HTTPS://Example.COM",
        "http://localhost:5173",
        "https://xn--bcher-kva.example",
        "https://[::1]:8443",
        "http://127.0.0.1",
        "http://my_host",
        "*",
        "null",
        "file://",
        "chrome-extension://mdpfkcjmlafnhipjkkjcpfgnofhcnbdc",
        "tauri://localhost",
    ],
)
def test_an_origin_that_a_browser_may_send(origin: str) -> None:
    policy = OriginPolicy([origin], None)
    if origin != "*":
        policy.check(origin, "anywhere")
    AcceptOptions(origins=[origin])


@pytest.mark.parametrize(
    ("origin", "advice"),
    [
        ("https://example.com/", "expected 'https://example.com'"),
        ("https://example.com/app?x", "expected 'https://example.com'"),
        ("example.com", "expected 'https://example.com'"),
        ("localhost:5173", "expected 'https://localhost:5173'"),
        ("https://example.com:443", "expected 'https://example.com', because browsers omit the default port"),
        ("http://example.com:80", "expected 'http://example.com', because browsers"),
        ("http://example.com:70000", "expected 'http://example.com'"),
        ("https://*.example.com", "use '*' alone for any origin, list each origin"),
        ("https://*", "use '*' alone for any origin"),
        ("wss://example.com", "the origin of a page starts with https://, not with wss://"),
        ("ws://example.com", "the origin of a page starts with http://"),
        ("https://bücher.example", "expected 'https://xn--bcher-kva.example'"),
        ("https://[0:0:0:0:0:0:0:1]", "expected 'https://[::1]'"),
        ("https://[1:2]", "At least 3 parts expected"),
        ("https://", "expected 'https://example.com'"),
        ("https://me@example.com", "expected a scheme and a host, such as 'https://example.com'"),
        ("", "expected a scheme and a host"),
        (" https://example.com", "expected a scheme and a host"),
    ],
)
def test_an_origin_that_no_browser_sends(origin: str, advice: str) -> None:
    for make in (lambda: OriginPolicy([origin], None), lambda: AcceptOptions(origins=[origin])):
        with pytest.raises(ValueError, match=r"option origins contains .*, which cannot match any request") as raised:
            make()
        assert advice in str(raised.value)


@pytest.mark.parametrize("host", ["localhost", "App.Local", "xn--bcher-kva.example", "127.0.0.1", "::1", "a_b", "a."])
def test_a_host_that_a_request_may_have(host: str) -> None:
    OriginPolicy(["*"], [host])


@pytest.mark.parametrize(
    ("host", "advice"),
    [
        ("app.local:8765", "expected 'app.local', without scheme, port or path"),
        ("https://app.local", "expected 'app.local'"),
        ("app.local/", "expected 'app.local'"),
        ("*", "without this option any name is allowed"),
        ("*.example.com", "list each name"),
        ("bücher.example", "expected 'xn--bcher-kva.example'"),
        ("[::1]", "expected '::1'"),
        ("", "expected 'example.com'"),
    ],
)
def test_a_host_that_no_request_has(host: str, advice: str) -> None:
    with pytest.raises(ValueError, match=r"option allowed_hosts contains .*, which cannot match any request") as raised:
        AcceptOptions(allowed_hosts=[host])
    assert advice in str(raised.value)


@pytest.mark.parametrize("option", ["origins", "allowed_hosts"])
def test_a_single_str_is_not_a_list(option: str) -> None:
    given: dict[str, Any] = {"origins": None, "allowed_hosts": None, option: "https://example.com"}
    with pytest.raises(TypeError, match=f"{option} must be a sequence"):
        OriginPolicy(**given)
