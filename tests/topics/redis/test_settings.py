"""The URLs of engines."""

from __future__ import annotations

import ssl

import pytest

from anyws.topics._redis.settings import parse_url
from anyws.topics.redis import RedisEngine


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://cache", {"addresses": (("cache", 6379),), "db": 0, "username": "", "password": ""}),
        ("valkey://cache:7000/3", {"addresses": (("cache", 7000),), "db": 3}),
        ("redis://", {"addresses": (("127.0.0.1", 6379),)}),
        ("redis://:secret@[::1]:7000", {"addresses": (("::1", 7000),), "username": "", "password": "secret"}),
        ("redis://ann:p%40ss%2Fw@cache?db=4&client_name=me", {"username": "ann", "password": "p@ss/w", "db": 4}),
        ("redis://cache?client_name=me", {"client_name": "me"}),
        ("unix:///run/redis/socket?db=2", {"addresses": ("/run/redis/socket",), "db": 2}),
        ("unix://:secret@/run/a%20b", {"addresses": ("/run/a b",), "password": "secret"}),
        ("redis+cluster://a,b:7001", {"kind": "cluster", "addresses": (("a", 6379), ("b", 7001))}),
        (
            "redis+sentinel://u:p@a,b:1/main/5?sentinel_username=s&sentinel_password=t",
            {
                "kind": "sentinel",
                "addresses": (("a", 26379), ("b", 1)),
                "service": "main",
                "db": 5,
                "password": "p",
                "sentinel_username": "s",
                "sentinel_password": "t",
            },
        ),
    ],
)
def test_urls(url: str, expected: dict[str, object]) -> None:
    settings = parse_url(url)
    assert {name: getattr(settings, name) for name in expected} == expected
    assert settings.ssl_context is None
    assert "secret" not in repr(settings)


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("cache:6379", "'cache:6379' is not the URL of an engine: expected redis://HOST:PORT/DB, rediss:// for TLS"),
        ("http://cache", "is not the URL of an engine"),
        ("redis+unix://cache", "is not the URL of an engine"),
        ("unix://", "has no path"),
        ("redis://cache/one", "has the database 'one': expected a number"),
        ("redis://cache:port", "malformed host or port: 'cache:port'"),
        ("redis://cache:70000", "malformed host or port"),
        ("redis://a,b", r"did you mean 'redis\+sentinel://' or 'redis\+cluster://'"),
        ("redis+sentinel://a,b", "does not name the service"),
        ("redis+cluster://a/1", "a cluster only has database 0"),
        ("redis://cache?databse=3", "unknown option 'databse'; known options: client_name, db"),
        ("redis://cache?ssl_ca_certs=x", "ssl_ca_certs was given with redis://, which does not use TLS"),
        ("rediss://cache?ssl_cert_reqs=maybe", "is 'maybe'; expected one of none, optional, required"),
    ],
)
def test_malformed_urls(url: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        RedisEngine(url)


def test_no_error_shows_a_password() -> None:
    with pytest.raises(ValueError, match="not the URL") as caught:
        parse_url("http://ann:secret@cache?sentinel_password=secret")
    assert "secret" not in str(caught.value)


def test_tls_is_verified_unless_you_say_otherwise() -> None:
    context = parse_url("rediss://cache").ssl_context
    assert context is not None
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)
    context = parse_url("valkeys://cache?ssl_check_hostname=false").ssl_context
    assert context is not None
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, False)
    context = parse_url("rediss+cluster://cache?ssl_cert_reqs=none").ssl_context
    assert context is not None
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_NONE, False)


def test_a_tls_context_of_your_own() -> None:
    own = ssl.create_default_context()
    assert parse_url("rediss://cache", ssl_context=own).ssl_context is own
    with pytest.raises(ValueError, match="use one of them"):
        parse_url("rediss://cache?ssl_check_hostname=no", ssl_context=own)
    with pytest.raises(ValueError, match="did you mean rediss://"):
        parse_url("redis://cache", ssl_context=own)


def test_credentials_come_from_one_place() -> None:
    async def credentials() -> tuple[str, str]:
        return "ann", "secret"

    assert parse_url("redis://cache", credentials=credentials).credentials is credentials
    with pytest.raises(ValueError, match="use one of them"):
        parse_url("redis://:secret@cache", credentials=credentials)
