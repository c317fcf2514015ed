"""No file, class or function of the package is longer than one can keep in mind; or its first lines say why it is."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = sorted(path for path in (ROOT / "anyws").rglob("*") if path.suffix in {".py", ".c", ".h"})

# Lines; of a function without its docstring.
FILE, CLASS, FUNCTION = 400, 300, 60


def docstring_size(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    first = function.body[0]
    is_text = (
        isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str)
    )
    return size_of(first) if is_text else 0


def size_of(node: ast.stmt) -> int:
    assert node.end_lineno is not None
    return node.end_lineno - node.lineno + 1


def too_long(path: Path, text: str) -> Iterator[str]:
    if (count := text.count("\n")) > FILE:
        yield f"{path} has {count} lines"
    if path.suffix != ".py":
        return
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ClassDef) and size_of(node) > CLASS:
            yield f"{path}: {node.name} has {size_of(node)} lines"
        elif (
            isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and size_of(node) - docstring_size(node) > FUNCTION
        ):
            yield f"{path}: {node.name}() has {size_of(node) - docstring_size(node)} lines"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_what_is_long_says_why(path: Path) -> None:
    text = path.read_text()
    first_lines = "\n".join(text.splitlines()[:8])
    if "longer than others" not in first_lines:
        assert list(too_long(path.relative_to(ROOT), text)) == []
