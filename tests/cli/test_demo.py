"""`anyws demo`: as a process, and what it prints when an example does not run as expected."""

from __future__ import annotations

import dataclasses

import pytest

from anyws.__main__ import main
from anyws._cli import demo
from anyws._cli.certificates import make_certificates
from anyws._cli.examples import EXAMPLES, HOST

from .commands import run_anyws, start_anyws


def test_all_examples_run_as_expected() -> None:
    status, out, err = run_anyws("demo")
    assert (status, err) == (0, ""), out
    assert out.endswith(f"{2 * len(EXAMPLES)} of {2 * len(EXAMPLES)} examples ran as expected\n")
    for backend in ("trio", "asyncio"):
        assert f"{backend}: TLS\n" in out
        assert f"{backend}: plain TCP\n" in out
    assert out.count("client  closed: 1002 (") == 4
    assert out.count("\n  As expected.\n") == 2 * len(EXAMPLES)


def test_an_unexpected_result_is_status_1(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    accepting = dataclasses.replace(EXAMPLES[0], accept_unmasked=True, expected=EXAMPLES[-1].expected)
    monkeypatch.setattr(demo, "EXAMPLES", [accepting])
    assert main(["demo"]) == 1
    out = capsys.readouterr().out
    assert "UNEXPECTED: the client should have reported: " in out
    assert out.endswith("0 of 2 examples ran as expected\n")


def test_an_exception_is_reported(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    ours, theirs = make_certificates(HOST), make_certificates(HOST)
    monkeypatch.setattr(demo, "make_certificates", lambda host: dataclasses.replace(ours, authority=theirs.authority))
    monkeypatch.setattr(demo, "EXAMPLES", [EXAMPLES[1]])
    assert main(["demo"]) == 1
    assert "client  SSLCertVerificationError (" in capsys.readouterr().out


def test_ctrl_c_ends_it_with_status_130() -> None:
    with start_anyws("demo") as process:
        process.expect_line("callback_listener")
        status, out, err = process.stop()
    assert (status, err) == (130, "")
    assert "examples ran as expected" not in out
