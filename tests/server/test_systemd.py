"""Sockets opened by others: passed in, inherited as from systemd, and from a tool of systemd."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest

import anyws
from tests.cli.commands import LIMIT, ROOT, start
from tests.peers import echo

# Becomes the command behind it, with the file descriptors argv[2] as 3, 4, ...
HAND_OVER = """
import os, sys
environment, descriptors = eval(sys.argv[1]), eval(sys.argv[2])
for descriptor in descriptors:
    os.dup2(descriptor, 100 + descriptors.index(descriptor))
for number in range(len(descriptors)):
    os.dup2(100 + number, 3 + number)
environment = {name: value.replace("PID", str(os.getpid())) for name, value in environment.items()}
os.execve(sys.executable, [sys.executable, *sys.argv[3:]], os.environ | environment)
"""
TELL = """
import os, sys, anyws
try:
    listeners = anyws.listeners_from_systemd(*sys.argv[1:])
    print([listener._raw_socket.getsockname() for listener in listeners])
    print([os.get_inheritable(listener._raw_socket.fileno()) for listener in listeners])
    for listener in listeners:
        listener._raw_socket.close()
except ValueError as exc:
    print("ValueError:", exc)
"""

posix_only = pytest.mark.skipif(os.name != "posix", reason="file descriptors are handed over on POSIX")


@pytest.fixture
def sockets() -> Iterator[list[socket.socket]]:
    """Two sockets that listen."""
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
        yield [one, other]


# -- sockets as listeners ----------------------------------------------------------------------------------------------


async def test_listening_sockets_are_accepted_as_listeners(sockets: list[socket.socket]) -> None:
    addresses = [given.getsockname() for given in sockets]
    async with anyws.open_server(echo, listeners=sockets) as server:
        assert server.addresses == addresses
        for host, port in addresses:
            async with anyws.connect(f"ws://{host}:{port}/") as websocket:
                await websocket.send("hello")
                assert await websocket.receive() == "hello"
    assert [given.fileno() for given in sockets] == [-1, -1]  # closed with the server


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
async def test_sockets_of_another_kind_are_rejected(kind: socket.SocketKind) -> None:
    with (
        socket.socket(socket.AF_INET, kind) as given,
        pytest.raises(ValueError, match="is not a listening stream socket"),
    ):
        await anyws.serve(echo, listeners=[given])


async def test_an_empty_list_of_listeners_is_rejected() -> None:
    with pytest.raises(ValueError, match="option listeners is empty"):
        await anyws.serve(echo, listeners=[])


async def test_the_file_of_an_inherited_unix_socket_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as given:
        given.bind(str(path))
        given.listen()
        async with (
            anyws.open_server(echo, listeners=[given]),
            anyws.connect(f"ws+unix:{path}") as websocket,
        ):
            await websocket.send("hello")
            assert await websocket.receive() == "hello"
    assert path.exists()  # systemd listens there still


# -- handed over to a process ------------------------------------------------------------------------------------------


def handed_over(
    given: list[socket.socket], environment: dict[str, str], *command: object
) -> tuple[list[object], dict[str, list[int]]]:
    descriptors = [one.fileno() for one in given]
    return [sys.executable, "-c", HAND_OVER, environment, descriptors, *command], {"pass_fds": descriptors}


def told(given: list[socket.socket], environment: dict[str, str], *names: str) -> str:
    command, options = handed_over(given, environment, "-W", "error", "-c", TELL, *names)
    with start(command, **options) as process:
        status, out, err = process.finish()
    assert (status, err) == (0, "")
    return out


@posix_only
@pytest.mark.parametrize(
    ("names", "name", "chosen"),
    [(None, [], [0, 1]), ("a:b", [], [0, 1]), ("a:b", ["b"], [1]), ("a:a", ["a"], [0, 1]), ("a:b", ["c"], [])],
)
def test_what_is_handed_over(
    sockets: list[socket.socket], names: str | None, name: list[str], chosen: list[int]
) -> None:
    environment = {"LISTEN_FDS": "2", "LISTEN_PID": "PID"} | ({"LISTEN_FDNAMES": names} if names else {})
    out = told(sockets, environment, *name)
    assert out == f"{[sockets[index].getsockname() for index in chosen]}\n{[False for _ in chosen]}\n"


@posix_only
@pytest.mark.parametrize(
    "environment",
    [{}, {"LISTEN_FDS": "2"}, {"LISTEN_FDS": "2", "LISTEN_PID": "1"}, {"LISTEN_PID": "PID"}],
)
def test_variables_for_another_process(sockets: list[socket.socket], environment: dict[str, str]) -> None:
    assert told(sockets, environment) == "[]\n[]\n"


@posix_only
@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"LISTEN_FDS": "2", "LISTEN_FDNAMES": "a"}, "LISTEN_FDS is 2, but LISTEN_FDNAMES has 1 names"),
        ({"LISTEN_FDS": "50"}, "is not a socket"),
        ({"LISTEN_FDS": "x"}, "invalid literal"),
    ],
)
def test_inconsistent_environment_variables(
    sockets: list[socket.socket], environment: dict[str, str], message: str
) -> None:
    assert message in told(sockets, {"LISTEN_PID": "PID"} | environment)


@posix_only
def test_a_connected_socket_is_not_a_listener(sockets: list[socket.socket]) -> None:
    with socket.create_connection(sockets[0].getsockname()) as connected:
        out = told([sockets[1], connected], {"LISTEN_FDS": "2", "LISTEN_PID": "PID"})
    assert "is not a listening stream socket" in out


async def hello(uri: str) -> None:
    with anyio.fail_after(LIMIT):
        async with anyws.connect(uri) as websocket:
            await websocket.send("hello")
            assert await websocket.receive() == "hello"


backends = pytest.mark.parametrize("backend", ["asyncio", "trio"])
EXAMPLE = ROOT / "examples" / "systemd_server.py"


@posix_only
@backends
def test_a_server_on_inherited_sockets(sockets: list[socket.socket], backend: str) -> None:
    environment = {"LISTEN_FDS": "2", "LISTEN_PID": "PID", "LISTEN_FDNAMES": "echo.socket:echo.socket"}
    command, options = handed_over(sockets, environment, EXAMPLE, "--backend", backend)
    uris = ["ws://{}:{}/".format(*given.getsockname()) for given in sockets]
    with start(command, **options) as process:
        process.expect_line("listening on")
        for uri in uris:
            anyio.run(hello, uri, backend=backend)
        assert process.stop(signal.SIGTERM) == (0, "", "")


@backends
@pytest.mark.skipif(shutil.which("systemd-socket-activate") is None, reason="systemd-socket-activate is not installed")
def test_a_server_that_systemd_starts(tmp_path: Path, backend: str) -> None:
    paths = [tmp_path / "one", tmp_path / "other"]
    options = [f"--listen={path}" for path in paths] + ["--fdname=one:other", "--setenv=PYTHONPATH"]
    command = ["systemd-socket-activate", *options, sys.executable, EXAMPLE, "--backend", backend]
    with start(command) as process:
        assert process.stderr is not None
        for path in paths:
            assert f"Listening on {path}" in process.stderr.readline()
        for path in paths:
            # The first connection is what starts the server.
            anyio.run(hello, f"ws+unix:{path}", backend=backend)
        process.expect_line("listening on")
        status, out, err = process.stop(signal.SIGTERM)
    assert (status, out) == (0, "")
    assert "Traceback" not in err
