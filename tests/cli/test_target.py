"""The connection options, as passed to `anyws.connect`."""

from __future__ import annotations

import argparse
import getpass
import ssl
from pathlib import Path
from typing import Any

import pytest

from anyws._cli import target
from anyws._cli.exit_status import CommandError, ExitStatus
from anyws._cli.target import read_target
from anyws._cli.target_options import add_target


def read(*arguments: object) -> target.Target:
    parser = argparse.ArgumentParser()
    add_target(parser)
    return read_target(parser, parser.parse_args([*map(str, arguments), "ws://user:secret@localhost/"]))


def read_uri(uri: str, *arguments: str) -> target.Target:
    parser = argparse.ArgumentParser()
    add_target(parser)
    return read_target(parser, parser.parse_args([*arguments, "--", uri]))


DEFAULTS: dict[str, Any] = {"headers": [], "subprotocols": [], "origin": None, "open_timeout": 10}


@pytest.mark.parametrize(
    ("arguments", "options"),
    [
        ([], {}),
        (["--header", "a: b:c", "-H", "d:e"], {"headers": [("a", "b:c"), ("d", "e")]}),
        (["--subprotocol", "a", "-s", "b"], {"subprotocols": ["a", "b"]}),
        (["--origin", "http://x"], {"origin": "http://x"}),
        (["--compress"], {"compression": True}),
        (["--cookie", "a=1", "--cookie", "b = x=y"], {"cookies": {"a": "1", "b": "x=y"}}),
        (["-L"], {"max_redirects": 10}),
        (["--max-redirects", "2"], {"max_redirects": 2}),
        (["-L", "--max-redirects", "2"], {"max_redirects": 2}),
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
    ("given", "uri"),
    [
        ("localhost", "ws://localhost/"),
        ("LOCALHOST:8765", "ws://localhost:8765/"),
        ("localhost/chat?x=a:b", "ws://localhost/chat"),
        ("app.localhost:1", "ws://app.localhost:1/"),
        ("127.0.0.1:8765/chat", "ws://127.0.0.1:8765/chat"),
        ("[::1]:8765", "ws://[::1]:8765/"),
        (":8765", "ws://localhost:8765/"),
        (":8765/chat", "ws://localhost:8765/chat"),
    ],
)
def test_this_machine_needs_no_scheme(given: str, uri: str) -> None:
    assert str(read_uri(given)) == uri


@pytest.mark.parametrize("given", ["example.com:8765", "localhost.example.com", "192.0.2.1:80", "[2001:db8::1]:80"])
def test_the_scheme_of_another_machine_is_not_guessed(given: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        read_uri(given)
    assert f"'{given}' has no scheme; did you mean 'ws://{given}'?" in capsys.readouterr().err


@pytest.mark.parametrize("given", ["", ":", "a:secret@localhost", "localhost:x", "::1", "/localhost", "ws:localhost:1"])
def test_what_only_looks_like_this_machine_is_rejected(given: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        read_uri(given)
    assert "secret" not in capsys.readouterr().err


def test_headers_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "headers"
    path.write_text("X-First: 1\n\nX-Second: zwei: 2\n")
    assert read("-H", f"@{path}", "-H", "X-Third: 3").options["headers"] == [
        ("X-First", "1"),
        ("X-Second", "zwei: 2"),
        ("X-Third", "3"),
    ]


@pytest.mark.parametrize(
    ("content", "problem"),
    [(b"A: 1\nsecret", "line 2: no colon: expected 'NAME: VALUE'"), (b"\xff", "not valid UTF-8")],
)
def test_a_file_without_headers(
    content: bytes, problem: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "headers").write_bytes(content)
    with pytest.raises(SystemExit):
        read("-H", f"@{tmp_path / 'headers'}")
    err = capsys.readouterr().err
    assert f"{tmp_path / 'headers'}" in err
    assert problem in err
    assert "secret" not in err


def test_a_user_and_a_password() -> None:
    assert read_uri("localhost", "-u", "joe:a:b").options["auth"] == ("joe", "a:b")
    assert read_uri("localhost", "-u", "joe:").options["auth"] == ("joe", "")


def test_a_password_that_is_not_given_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(getpass, "getpass", lambda prompt: f"answer to {prompt}")
    assert read_uri("localhost", "--user", "joe").options["auth"] == ("joe", "answer to password for joe: ")


@pytest.mark.parametrize("problem", [getpass.GetPassWarning("no terminal"), EOFError()])
def test_a_password_that_nobody_can_give_is_status_2(problem: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(prompt: str) -> str:
        raise problem

    monkeypatch.setattr(getpass, "getpass", fail)
    with pytest.raises(CommandError, match="no terminal to ask for the password: expected -u USER:PASSWORD") as failed:
        read_uri("localhost", "-u", "joe")
    assert failed.value.status is ExitStatus.USAGE


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
