"""Hooks: any callable, called with as many of the documented arguments as it accepts."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from anyws.callbacks._hooks import wrap_hook
from tests.harness import await_a_cancelled_task
from tests.test_stray_cancellation import on_asyncio

seen: list[Any] = []


@pytest.fixture(autouse=True)
def nothing_seen() -> None:
    seen.clear()


def remember(*arguments: object, **keywords: object) -> None:
    seen.append((*arguments, *keywords.items()))


def none() -> None:
    remember()


def one(message: str) -> None:
    remember(message)


def two(message: str, socket: str) -> None:
    remember(message, socket)


def optional_second(message: str, socket: str = "its own") -> None:
    remember(message, socket)


def optional_third(message: str, socket: str, more: str = "its own") -> None:
    remember(message, socket, more)


def any_number(*arguments: str) -> None:
    remember(*arguments)


def one_and_the_rest(message: str, *rest: str) -> None:
    remember(message, rest)


def optional_keyword(message: str, *, flag: bool = True) -> None:
    remember(message, flag)


def any_keywords(message: str, **keywords: object) -> None:
    remember(message, keywords)


def positional_only(message: str, /) -> None:
    remember(message)


class Methods:
    def method(self, message: str) -> None:
        remember("method", message)

    @classmethod
    def of_class(cls, message: str, socket: str) -> None:
        remember("class method", message, socket)

    @staticmethod
    def static(message: str) -> None:
        remember("static method", message)

    def __call__(self, message: str, socket: str) -> None:
        remember("object", message, socket)


class Made:
    def __init__(self, message: str) -> None:
        remember("made", message)


@functools.wraps(one)
def wrapper(*arguments: str) -> None:
    one(*arguments)


HOOKS: list[tuple[Callable[..., object], tuple[object, ...]]] = [
    (none, ()),
    (one, ("m",)),
    (two, ("m", "s")),
    (optional_second, ("m", "s")),
    (optional_third, ("m", "s", "its own")),
    (any_number, ("m", "s")),
    (one_and_the_rest, ("m", ("s",))),
    (optional_keyword, ("m", True)),
    (any_keywords, ("m", {})),
    (positional_only, ("m",)),
    (lambda: remember("lambda"), ("lambda",)),
    (lambda message: remember("lambda", message), ("lambda", "m")),
    (Methods().method, ("method", "m")),
    (Methods.of_class, ("class method", "m", "s")),
    (Methods.static, ("static method", "m")),
    (Methods(), ("object", "m", "s")),
    (Made, ("made", "m")),
    (functools.partial(two, "bound"), ("bound", "m")),
    (functools.partial(two, socket="bound"), ("m", "bound")),
    (functools.partial(any_number, "bound"), ("bound", "m", "s")),
    (wrapper, ("m",)),
]


@pytest.mark.parametrize(("hook", "expected"), HOOKS)
async def test_a_hook_gets_as_many_arguments_as_it_accepts(
    hook: Callable[..., object], expected: tuple[object, ...]
) -> None:
    wrapped = wrap_hook(hook, "message_handler", "message", "socket")
    assert wrapped is not None
    assert seen == []  # only asked for its signature so far
    await wrapped("m", "s")
    assert seen == [expected]


async def test_builtins_are_hooks(capsys: pytest.CaptureFixture[str]) -> None:
    """``print`` takes any number, ``list.append`` one; of ``max`` no signature is known."""
    for hook in (print, seen.append, max):
        wrapped = wrap_hook(hook, "message_handler", "message", "socket")
        assert wrapped is not None
        await wrapped("m", "s")
    assert capsys.readouterr().out == "m s\n"
    assert seen == ["m"]


class Later:
    """Can be awaited, and is no coroutine."""

    def __await__(self) -> Any:
        remember("awaited")
        return (yield from _nothing().__await__())


async def _nothing() -> None:
    pass


async def test_an_async_hook_is_awaited() -> None:
    async def hook(message: str) -> None:
        await _nothing()
        remember(message)

    wrapped = wrap_hook(hook, "message_handler", "message", "socket")
    assert wrapped is not None
    await wrapped("m", "s")
    assert seen == [("m",)]


async def test_an_awaitable_returned_by_a_sync_hook_is_awaited() -> None:
    async def coroutine(message: str) -> None:
        remember(message)

    hooks: list[Callable[..., Awaitable[object] | int]] = [Later, lambda m: coroutine(f"{m}!"), lambda: 5]
    for hook in hooks:
        wrapped = wrap_hook(hook, "message_handler", "message", "socket")
        assert wrapped is not None
        await wrapped("m", "s")
    assert seen == [("awaited",), ("m!",)]


async def test_an_exception_in_a_hook_propagates_unchanged() -> None:
    failure = ValueError("from the hook")

    def sync_hook() -> None:
        raise failure

    async def async_hook() -> None:
        raise failure

    for hook in (sync_hook, async_hook):
        wrapped = wrap_hook(hook, "message_handler", "message", "socket")
        assert wrapped is not None
        with pytest.raises(ValueError, match="from the hook") as caught:
            await wrapped("m", "s")
        assert caught.value is failure


def test_no_hook() -> None:
    assert wrap_hook(None, "message_handler", "message", "socket") is None


def test_too_many_required_arguments_are_named() -> None:
    def three(message: str, socket: str, more: str) -> None:
        pass

    with pytest.raises(TypeError) as caught:
        wrap_hook(three, "message_handler", "message", "socket")
    assert str(caught.value) == (
        "message_handler requires 3 arguments (message, socket, more), but is called with 2 (message, socket)"
    )


def test_the_arguments_of_a_method_are_counted_without_self() -> None:
    class Three:
        def method(self, one: str, two: str, three: str) -> None:
            pass

    with pytest.raises(TypeError, match=r"requires 3 arguments \(one, two, three\)"):
        wrap_hook(Three().method, "callback_open", "err", "socket")


def keyword_required(message: str, *, flag: bool) -> None:
    pass


def keyword_required_only(*, flag: bool) -> None:
    pass


def keyword_required_behind_any_number(*arguments: str, flag: bool) -> None:
    pass


@pytest.mark.parametrize("hook", [keyword_required, keyword_required_only, keyword_required_behind_any_number])
def test_a_required_keyword_can_never_be_given(hook: Callable[..., object]) -> None:
    """Found out when the hook is given, not when it is called."""
    with pytest.raises(TypeError, match=r"callback_open .*\bflag\b"):
        wrap_hook(hook, "callback_open", "err", "socket")


@on_asyncio
async def test_a_stray_cancellederror_is_an_exception_that_names_the_hook() -> None:
    wrapped = wrap_hook(await_a_cancelled_task, "callback_open", "err", "socket")
    assert wrapped is not None
    with pytest.raises(RuntimeError, match="callback_open awaited a task that was cancelled"):
        await wrapped(None, None)
