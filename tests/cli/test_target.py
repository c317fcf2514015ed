"""The connection options, as passed to `anyws.connect`."""

from __future__ import annotations

import argparse
import ssl
from pathlib import Path
from typing import Any

import pytest

import anyws
from anyws._cli import target
from anyws._cli.exit_status import CommandError, ExitStatus
from anyws._cli.target import add_target, open_target, read_target


def read(*arguments: object) -> target.Target:
    parser = argparse.ArgumentParser()
    add_target(parser)
    return read_target(parser, parser.parse_args([*map(str, arguments), "ws://user:secret@localhost/"]))


DEFAULTS: dict[str, Any] = {"headers": [], "subprotocols": [], "origin": None, "open_timeout": 10}


@pytest.mark.parametrize(
    ("arguments", "options"),
    [
        ([], {}),
        (["--header", "a: b:c", "-H", "d:e"], {"headers": [("a", "b:c"), ("d", "e")]}),
        (["--subprotocol", "a", "-s", "b"], {"subprotocols": ["a", "b"]}),
        (["--origin", "http://x"], {"origin": "http://x"}),
        (["--compress"], {"compression": True}),
        (["--connect-timeout", "2.5"], {"open_timeout": 2.5}),
        (["--max-size", "64K"], {"max_message_size": 65536}),
        (["--max-size", "1MiB"], {"max_message_size": 1048576}),
        (["--max-size", "0"], {"max_message_size": None}),
        (["--ping-interval", "0.5"], {"ping_interval": 0.5}),
        (["--ping-interval", "0"], {"ping_interval": None}),
    ],
)
def test_options(arguments: list[str], options: dict[str, Any]) -> None:
    assert read(*arguments).options == {**DEFAULTS, **options}


def test_the_proxy_is_passed_on_if_it_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(target, "build_options", lambda *arguments, **keywords: None)  # whether or not it is known
    assert read("--proxy", "http://proxy:3128").options == {**DEFAULTS, "proxy": "http://proxy:3128"}
    assert read("--proxy", "none").options == {**DEFAULTS, "proxy": None}


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (OSError("x"), ExitStatus.NOT_CONNECTED),
        (TimeoutError("x"), ExitStatus.NOT_CONNECTED),
        (anyws.HandshakeError("x"), ExitStatus.REFUSED),
        (ImportError("x"), ExitStatus.USAGE),
        (anyws.InvalidURI("uri", "x"), ExitStatus.USAGE),
    ],
)
async def test_connection_errors(error: Exception, status: ExitStatus, monkeypatch: pytest.MonkeyPatch) -> None:
    def connect(uri: str, **options: Any) -> None:
        raise error

    monkeypatch.setattr(anyws, "connect", connect)
    with pytest.raises(CommandError, match="cannot connect to ws://localhost/: x") as failed:
        async with open_target(read()):
            pass
    assert failed.value.status is status


def test_the_uri_is_shown_without_credentials() -> None:
    assert str(read()) == "ws://localhost/"


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--key", "x"], "argument --key: requires --cert"),
        (["--max-size", "lots"], "expected a number of bytes"),
        (["--connect-timeout", "0"], "expected a number of seconds greater than 0"),
        (["--ping-interval", "-2"], "expected"),
        (["--origin", "a\nb"], "Origin"),
    ],
)
def test_wrong_usage(arguments: list[str], problem: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        read(*arguments)
    assert problem in capsys.readouterr().err


def read_secure(*arguments: object) -> ssl.SSLContext:
    parser = argparse.ArgumentParser()
    add_target(parser)
    options = read_target(parser, parser.parse_args([*map(str, arguments), "wss://localhost/"])).options
    context = options["ssl_context"]
    assert isinstance(context, ssl.SSLContext)
    return context


def test_tls(pem_files: dict[str, Path]) -> None:
    context = read_secure("--cacert", pem_files["ca"])
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)
    assert len(context.get_ca_certs()) == 1
    read_secure("--cert", pem_files["cert"], "--key", pem_files["key"])
    read_secure("--cert", pem_files["both"])
    context = read_secure("--insecure")
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_NONE, False)


@pytest.mark.parametrize(("option", "name"), [("--cacert", "none"), ("--cert", "none"), ("--cert", "ca")])
def test_a_file_that_cannot_be_used(option: str, name: str, pem_files: dict[str, Path]) -> None:
    path = pem_files.get(name, Path("/none"))
    with pytest.raises(CommandError, match=f"cannot use {path}: ") as failed:
        read_secure(option, path)
    assert failed.value.status is ExitStatus.FAILED
