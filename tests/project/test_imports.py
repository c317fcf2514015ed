"""``import anyws`` loads what most programs use; everything else is loaded when it is used."""

from __future__ import annotations

import subprocess
import sys

import pytest

import anyws

NOT_LOADED = [
    "anyws._cli",
    "anyws._client",
    "anyws._server",
    "anyws.callbacks",
    "anyws.routing",
    "anyws.testing",
    "asyncio",
    "anyws.topics",
    "difflib",
    "email",
    "http.client",
    "http.cookiejar",
    "http.cookies",
    "idna",
    "python_socks",
    "trio",
    "trustme",
    "urllib.request",
    "uvloop",
]


def run(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True).stdout


def test_what_few_programs_use_is_not_loaded() -> None:
    code = "import sys; before = {*sys.modules}; import anyws; print(*{*sys.modules} - before)"
    loaded = run(code).split()
    assert "anyws.protocol" in loaded
    assert sorted({*NOT_LOADED} & {*loaded}) == []


@pytest.mark.parametrize(
    ("name", "others"),
    [
        (
            "connect",
            ["anyws._client.cookie_jars", "anyws._client.reconnecting", "anyws._client.socks", "anyws._server"],
        ),
        ("serve", ["anyws._client", "anyws._server.certificate_reload"]),
    ],
)
def test_a_client_does_not_load_the_server_nor_a_server_the_client(name: str, others: list[str]) -> None:
    code = f"import sys; before = {{*sys.modules}}; from anyws import {name}; print(*{{*sys.modules}} - before)"
    assert sorted({*others, "asyncio", "trio"} & {*run(code).split()}) == []


def test_a_program_on_trio_never_loads_asyncio() -> None:
    code = """
import sys, anyws, trio
known = "asyncio" in sys.modules  # an old version of trio or AnyIO may need it
async def echo(websocket):
    async for message in websocket:
        await websocket.send(message)
async def main():
    async with anyws.open_server(echo, "127.0.0.1", 0) as server:
        async with anyws.connect(f"ws://127.0.0.1:{server.addresses[0][1]}/") as websocket:
            await websocket.send("hi")
            assert await websocket.receive() == "hi"
trio.run(main)
assert known or "asyncio" not in sys.modules
"""
    run(code)


def test_whatever_is_loaded_says_where_users_import_it_from() -> None:
    assert run("import anyws; anyws.serve; from anyws._server.server import Server; print(Server)") == (
        "<class 'anyws.Server'>\n"
    )


@pytest.mark.parametrize("name", anyws.__all__)
def test_every_public_name_can_be_imported_first(name: str) -> None:
    module = "anyio" if name in ("BusyResourceError", "WouldBlock") else "anyws"  # those are AnyIO's own
    assert run(f"from anyws import {name}; print(getattr({name}, '__module__', 'anyws'))") == f"{module}\n"


def test_importing_everything_loads_the_late_names_as_well() -> None:
    run("from anyws import *; import anyws; assert {*anyws.__all__} <= {*globals()}")


def test_late_names_are_listed_before_they_are_loaded() -> None:
    # Modules that the reference has beside them.
    modules = {"asgi", "callbacks", "exceptions", "protocol", "routing", "testing", "topics", "uvicorn"}
    # pytest rewrites the assertions of packages that have a plugin, which adds names that start with "@".
    names = {name for name in dir(anyws) if not name.startswith(("_", "@"))} | {"__version__"}
    assert {*anyws.__all__} <= names <= {*anyws.__all__, *modules}
    run("import anyws; assert {*anyws.__all__} <= {*dir(anyws)}; assert 'reconnecting' not in vars(anyws)")


def test_the_types_of_the_callback_api_need_no_import_of_their_own() -> None:
    assert run("import anyws; print(anyws.callbacks.Socket.__name__)") == "Socket\n"


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'anyws' has no attribute 'conect'"):
        anyws.conect  # type: ignore[attr-defined] # noqa: B018
