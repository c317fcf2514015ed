"""Validates the options that callers pass: their names, and their types against the annotations."""

from __future__ import annotations

import collections.abc
import dataclasses
import functools
import inspect
import re
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

__all__ = ["build_options", "check_positive", "merged", "with_signature_of"]

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., object])


def build_options(options_class: Callable[..., T], given: Mapping[str, object], *, where: str) -> T:
    """Build an options object from the options that a caller passed.

    Args:
        options_class: a dataclass; its annotations and defaults define the valid options.
        given: the options by name.
        where: the function that accepts these options, for error messages; for example ``connect()``.

    Raises:
        TypeError: an option is unknown (the message suggests similar names), or a value has the wrong type (the message
            names the expected one).
        ValueError: a value is out of range.
    """
    known = _annotations(options_class)
    for name, value in given.items():
        if name not in known:
            raise TypeError(_unknown_option(name, known, where))
        annotation, is_shown = known[name]
        if not _fits(value, annotation):
            shown = f" ({_abbreviated(value)})" if is_shown else ""
            raise TypeError(f"{where}: option {name} must be {_shown(annotation)}, not {type(value).__name__}{shown}")
    return options_class(**given)


def merged(options: Mapping[str, object] | None, keywords: Mapping[str, object], where: str) -> dict[str, object]:
    """Merge options passed as a mapping with options passed as keyword arguments.

    Raises:
        TypeError: the options are not a mapping, or an option was passed both ways.
    """
    if options is None:
        return dict(keywords)
    if not isinstance(options, Mapping):
        raise TypeError(f"{where}: options must be a mapping, not {type(options).__name__}")
    if twice := sorted(set(options) & set(keywords)):
        raise TypeError(f"{where}: option {twice[0]} was given twice")
    return {**options, **keywords}


def check_positive(options: object, *names: str) -> None:
    """Check that each of these attributes is None or greater than zero.

    Raises:
        ValueError: an attribute is zero or negative.
    """
    for name in names:
        value = getattr(options, name)
        if value is not None and not value > 0:
            raise ValueError(f"option {name} is {value}: expected a number above 0, or None")


def with_signature_of(options_class: type) -> Callable[[F], F]:
    """Make `help` show a function's ``**options`` as keyword arguments with their defaults and descriptions."""

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
        if function.__doc__:  # python -OO removes docstrings
            function.__doc__ = inspect.cleandoc(function.__doc__) + "\n\nOptions:\n" + _explained(options_class)
        return function

    return decorate


@functools.cache
def _explained(options_class: Any) -> str:
    """Return a paragraph per option: its type, its default, and its description from the class docstring."""
    meanings: dict[str, str] = {}
    for base in reversed(options_class.__mro__):
        _summary, _heading, attributes = inspect.cleandoc(base.__doc__ or "").partition("Attributes:\n")
        # An option starts a line indented by four spaces; continuation lines are indented further.
        for name, meaning in re.findall(r"^ {4}(\w+): (.*(?:\n {5,}.*)*)", attributes, re.MULTILINE):
            meanings[name] = " ".join(meaning.split())
    return "\n".join(
        _filled(
            f"{field.name} ({_short(_shown(field.type))}, default {_shown_default(field)}): {meanings.get(field.name)}"
        )
        for field in dataclasses.fields(options_class)
    )


def _filled(text: str) -> str:
    """Break a text into lines of up to 112 characters with a hanging indent; `textwrap` would take ten times as long.

    This runs whenever anyws is imported.
    """
    first, *others = re.findall(r"(?:^.{1,112}|.{1,104}|\S+)(?: |$)", f"    {text}")
    return "\n".join(line.rstrip() for line in [first, *(" " * 8 + line for line in others)])


def _short(shown: str) -> str:
    """Remove the module names from the types."""
    return re.sub(r"\b[a-z_.]+\.(?=[A-Z])", "", shown)


def _shown_default(field: dataclasses.Field[Any]) -> str:
    return repr(field.default if field.default_factory is dataclasses.MISSING else field.default_factory())


@functools.cache
def _annotations(options_class: Any) -> dict[str, tuple[Any, bool]]:
    """Return the type of each field, and whether its value may be shown: values left out of the repr may be secret."""
    return {field.name: (field.type, field.repr) for field in dataclasses.fields(options_class)}


def _unknown_option(name: str, known: Mapping[str, object], where: str) -> str:
    import difflib

    plain = str(name).replace("-", "_")
    nearest = difflib.get_close_matches(plain, known, n=3, cutoff=0.5)
    hint = f"; did you mean {' or '.join(nearest)}?" if nearest else f"; known options: {', '.join(sorted(known))}"
    return f"{where} has no option {name}{hint}"


def _fits(value: object, annotation: Any) -> bool:
    """Return whether the value matches the annotation, as far as can be told without iterating or calling it."""
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
    """Return the annotation in a form that reads well in a message."""
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
