"""Checks what callers pass as options: the names, and the types that the annotations promise."""

from __future__ import annotations

import collections.abc
import dataclasses
import difflib
import functools
import inspect
import re
import textwrap
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

__all__ = ["build_options", "check_positive", "merged", "with_signature_of"]

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., object])


def build_options(options_class: Callable[..., T], given: Mapping[str, object], *, where: str) -> T:
    """Make the options from what a caller gave.

    Args:
        options_class: a dataclass; its annotations and defaults say what is allowed.
        given: names and values.
        where: what takes these options, for the messages, such as ``connect()``.

    Raises:
        TypeError: an unknown option (the message names the nearest known one), or a value of the wrong type (it says
            what was expected).
        ValueError: a value out of its range.
    """
    known = _annotations(options_class)
    for name, value in given.items():
        if name not in known:
            raise TypeError(_unknown_option(name, known, where))
        annotation, is_shown = known[name]
        if not _fits(value, annotation):
            shown = f" ({_abbreviated(value)})" if is_shown else ""
            raise TypeError(f"{where}: option {name} is {_shown(annotation)}, not {type(value).__name__}{shown}")
    return options_class(**given)


def merged(options: Mapping[str, object] | None, keywords: Mapping[str, object], where: str) -> dict[str, object]:
    """Join options given as one mapping and as keywords.

    Raises:
        TypeError: the options are no mapping, or an option is given in both ways.
    """
    if options is None:
        return dict(keywords)
    if not isinstance(options, Mapping):
        raise TypeError(f"{where}: options are a mapping, not {type(options).__name__}")
    if twice := sorted(set(options) & set(keywords)):
        raise TypeError(f"{where}: option {twice[0]} is given twice")
    return {**options, **keywords}


def check_positive(options: object, *names: str) -> None:
    """Check that these attributes are None or numbers above zero.

    Raises:
        ValueError: one is not.
    """
    for name in names:
        value = getattr(options, name)
        if value is not None and not value > 0:
            raise ValueError(f"option {name} is {value}: expected a number above 0, or None")


def with_signature_of(options_class: type) -> Callable[[F], F]:
    """Let `help` show a function's ``**options`` as the keywords that they are, with their defaults and meaning."""

    def decorate(function: F) -> F:
        signature = inspect.signature(function)
        positional = [p for p in signature.parameters.values() if p.kind is not p.VAR_KEYWORD]
        taken = {parameter.name for parameter in positional}
        keywords = [
            parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)
            for parameter in inspect.signature(options_class).parameters.values()
            if parameter.name not in taken
        ]
        ordered = sorted([*positional, *keywords], key=lambda parameter: parameter.kind)
        returned = signature.return_annotation
        if inspect.isasyncgenfunction(inspect.unwrap(function)):
            returned = str(returned).replace("AsyncGenerator", "AbstractAsyncContextManager").replace(", None]", "]")
        function.__signature__ = signature.replace(  # type: ignore[attr-defined]
            parameters=ordered, return_annotation=returned
        )
        if function.__doc__:  # there is none with -OO
            function.__doc__ = inspect.cleandoc(function.__doc__) + "\n\nOptions:\n" + _explained(options_class)
        return function

    return decorate


def _explained(options_class: Any) -> str:
    """Return a paragraph for each option: its type, its default, and what the docstring of its class says."""
    meanings: dict[str, str] = {}
    for base in reversed(options_class.__mro__):
        _summary, _heading, attributes = inspect.cleandoc(base.__doc__ or "").partition("Attributes:\n")
        # an option begins a line at an indentation of four; the lines that go on with it have more
        for name, meaning in re.findall(r"^ {4}(\w+): (.*(?:\n {5,}.*)*)", attributes, re.MULTILINE):
            meanings[name] = " ".join(meaning.split())
    return "\n".join(
        textwrap.fill(
            f"{field.name} ({_short(_shown(field.type))}, default {_shown_default(field)}): {meanings.get(field.name)}",
            width=112,
            initial_indent=" " * 4,
            subsequent_indent=" " * 8,
            break_long_words=False,
            break_on_hyphens=False,
        )
        for field in dataclasses.fields(options_class)
    )


def _short(shown: str) -> str:
    """Leave out the modules in which the types stand."""
    return re.sub(r"\b[a-z_.]+\.(?=[A-Z])", "", shown)


def _shown_default(field: dataclasses.Field[Any]) -> str:
    return repr(field.default if field.default_factory is dataclasses.MISSING else field.default_factory())


@functools.cache
def _annotations(options_class: Any) -> dict[str, tuple[Any, bool]]:
    """The types of the fields, and whether their values may be shown: what is not in the repr may be a secret."""
    return {field.name: (field.type, field.repr) for field in dataclasses.fields(options_class)}


def _unknown_option(name: str, known: Mapping[str, object], where: str) -> str:
    plain = str(name).replace("-", "_")
    nearest = difflib.get_close_matches(plain, known, n=3, cutoff=0.5)
    hint = f"; did you mean {' or '.join(nearest)}?" if nearest else f"; known are {', '.join(sorted(known))}"
    return f"{where} has no option {name}{hint}"


def _fits(value: object, annotation: Any) -> bool:
    """Say whether the value is of the annotated type, as far as that can be told without consuming or calling it."""
    if annotation is None or annotation is types.NoneType:
        return value is None
    origin = typing.get_origin(annotation)
    if origin in (typing.Union, types.UnionType):
        return any(_fits(value, choice) for choice in typing.get_args(annotation))
    if origin is typing.Literal:
        return value in typing.get_args(annotation)
    if origin is collections.abc.Callable:
        return callable(value)
    expected = origin or annotation
    if not isinstance(expected, type):
        return True
    if issubclass(expected, collections.abc.Iterable) and isinstance(value, str | bytes):
        return issubclass(type(value), expected) and expected in (str, bytes)
    if expected in (int, float) and isinstance(value, bool):
        return False
    return isinstance(value, int | float if expected is float else expected)


def _shown(annotation: Any) -> str:
    """The annotation as a reader would write it."""
    origin = typing.get_origin(annotation)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(_shown(choice) for choice in typing.get_args(annotation))
    if annotation is types.NoneType:
        return "None"
    if origin is collections.abc.Callable:
        return "a callable"
    if origin is collections.abc.Sequence:
        (element,) = typing.get_args(annotation)
        if typing.get_origin(element) is collections.abc.Callable:
            return "a sequence of callables"
    if origin is None and isinstance(annotation, type):
        return annotation.__name__
    return str(annotation).replace("collections.abc.", "").replace("typing.", "")


def _abbreviated(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
