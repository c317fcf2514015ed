"""How uvicorn's own tests are run with anyws."""

from __future__ import annotations

import pytest

from compliance.uvicorn_suite import EXPECTED, problems, with_protocol

FIXTURES = """
@pytest.fixture(params=[1, 2])
def before(request): ...


@pytest.fixture(
    params=[
        pytest.param("uvicorn:One", marks=[], id="one"),
        pytest.param("uvicorn:Two", id="two"),
    ]
)
def ws_protocol_cls(request):
    return import_from_string(request.param)


@pytest.fixture(params=[3])
def after(request): ...
"""


def report(**outcomes: str) -> str:
    cases = "".join(f'<testcase name="{name}[x]">{outcome}</testcase>' for name, outcome in outcomes.items())
    return f"<testsuites><testsuite>{cases}</testsuite></testsuites>"


FAILED, PASSED = "<failure/>", ""
AS_EXPECTED = {"test_fine": PASSED, "test_skipped": "<skipped/>"} | dict.fromkeys(EXPECTED, FAILED)


def test_only_the_list_of_protocols_is_replaced() -> None:
    replaced = with_protocol(FIXTURES)
    assert replaced.count('params=["anyws.uvicorn:Protocol"]\n)\ndef ws_protocol_cls(') == 1
    assert "uvicorn:One" not in replaced
    assert "params=[1, 2]" in replaced
    assert "params=[3]" in replaced


def test_a_list_that_is_not_found_is_an_error() -> None:
    with pytest.raises(ValueError, match="found 0 times"):
        with_protocol("")


def test_expected_failures_are_no_problem() -> None:
    assert problems(report(**AS_EXPECTED)) == []


@pytest.mark.parametrize(
    ("outcomes", "problem"),
    [
        ({"test_other": FAILED}, "test_other failed 1 times"),
        ({"test_other": "<error/>"}, "test_other failed 1 times"),
        ({next(iter(EXPECTED)): PASSED}, f"{next(iter(EXPECTED))} passed, but is expected to fail"),
        ({"test_fine": FAILED}, "no test has passed"),
    ],
)
def test_anything_else_is_a_problem(outcomes: dict[str, str], problem: str) -> None:
    (found,) = problems(report(**AS_EXPECTED | outcomes))
    assert found.startswith(problem)


def test_an_expected_failure_that_does_not_exist_anymore_is_a_problem() -> None:
    name = next(iter(EXPECTED))
    (found,) = problems(report(**{key: value for key, value in AS_EXPECTED.items() if key != name}))
    assert found.startswith(f"{name} was not found")
