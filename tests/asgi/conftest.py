"""uvicorn runs on asyncio and uvloop only."""

from __future__ import annotations

from typing import Any

import pytest

from tests.conftest import needs_uvloop


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(("asyncio", {"debug": False}), id="asyncio"),
        pytest.param(("asyncio", {"debug": False, "use_uvloop": True}), id="uvloop", marks=needs_uvloop),
    ],
)
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    """Run each async test on both event loops."""
    backend: tuple[str, dict[str, Any]] = request.param
    return backend
