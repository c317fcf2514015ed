"""What all tests share: three event loops, a time limit, certificates for the local host."""

from __future__ import annotations

import functools
import gc
import importlib
import importlib.util
import inspect
import os
import ssl
from typing import Any, Literal

import anyio
import pytest
import trustme
from hypothesis import settings

from . import peers
from .harness import in_memory, over_tcp

# The same examples in each run, and no failure because the machine was slow.
settings.register_profile("anyws", deadline=None, derandomize=True)
settings.load_profile("anyws")

needs_uvloop = pytest.mark.skipif(importlib.util.find_spec("uvloop") is None, reason="uvloop is not installed")


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(("asyncio", {"debug": False}), id="asyncio"),
        pytest.param(("asyncio", {"debug": False, "use_uvloop": True}), id="uvloop", marks=needs_uvloop),
        pytest.param(("trio", {}), id="trio"),
    ],
)
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    """Run each async test on each event loop."""
    backend: tuple[str, dict[str, Any]] = request.param
    return backend


@pytest.fixture(scope="module", autouse=True)
def small_heap() -> None:
    """Hide thousands of tests from the garbage collector, which some tests call hundreds of times."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def no_proxy_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a test know no other proxies than its own."""
    for name in list(os.environ):
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)


@pytest.fixture
def short_failure_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten the half second for which a violation waits for a program that does not receive."""
    monkeypatch.setattr("anyws._connection.life.FAILURE_GRACE", 0.02)


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> None:
    """Fail an async test that hangs, and go on with the next."""
    test = pyfuncitem.obj
    if inspect.iscoroutinefunction(test):

        @functools.wraps(test)
        async def test_with_limit(**fixtures: Any) -> None:
            with anyio.fail_after(30):
                await test(**fixtures)

        pyfuncitem.obj = test_with_limit


@pytest.fixture(scope="session")
def certificate_authority() -> trustme.CA:
    """The authority that `client_ssl_context` trusts and that signed the server's certificate."""
    return trustme.CA()


@pytest.fixture(scope="session")
def server_ssl_context(certificate_authority: trustme.CA) -> ssl.SSLContext:
    """A server's context, with a certificate for ``localhost``, ``127.0.0.1`` and ``::1``."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    certificate_authority.issue_cert("localhost", "127.0.0.1", "::1").configure_cert(context)
    return context


@pytest.fixture(scope="session")
def client_ssl_context(certificate_authority: trustme.CA) -> ssl.SSLContext:
    """A client's context that trusts `certificate_authority` and checks the host name."""
    context = ssl.create_default_context()
    certificate_authority.configure_trust(context)
    return context


@pytest.fixture(params=["client", "server"])
def ours(request: pytest.FixtureRequest) -> Literal["client", "server"]:
    """Which side anyws is, in a test that holds for both."""
    side: Literal["client", "server"] = request.param
    return side


@pytest.fixture(params=[pytest.param(in_memory, id="memory"), pytest.param(over_tcp, id="tcp")])
def meeting(request: pytest.FixtureRequest) -> peers.Meeting:
    """What connects anyws to a `Peer`, over each transport."""
    return functools.partial(peers.meeting, transport=request.param)


@pytest.fixture(params=["zlib", "zlib_ng.zlib_ng", None])
def library(request: pytest.FixtureRequest) -> Any:
    """Each value of ``zlib=``: both modules, and the default."""
    if request.param is None:
        return None
    try:
        return importlib.import_module(request.param)
    except ModuleNotFoundError:
        pytest.skip(f"{request.param} is not installed")
