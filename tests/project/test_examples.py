"""The examples, run as a user would: those of the proposal together, and with servers that require masking."""

from __future__ import annotations

import ssl
import sys
from contextlib import AbstractContextManager
from pathlib import Path

import anyio
import pytest
import trustme

import anyws
from tests.cli.commands import LIMIT, ROOT, Process, start

# Ctrl-C must reach them also when the tests themselves run in the background, where SIGINT is ignored.
RUN = """
import runpy, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""

backends = pytest.mark.parametrize("backend", ["asyncio", "trio"])
kinds = pytest.mark.parametrize("kind", ["net", "tls"])


def start_example(name: str, *arguments: object) -> AbstractContextManager[Process]:
    """Run an example beside a block."""
    return start([sys.executable, "-c", RUN, ROOT / "examples" / f"{name}.py", *arguments])


def interrupt(process: Process) -> tuple[int, str, str]:
    """Press Ctrl-C once the program waits: Python may raise `KeyboardInterrupt` anywhere in a program that runs."""
    process.wait_until_it_waits()
    return process.stop()


@kinds
@backends
@pytest.mark.parametrize("client_backend", ["asyncio", "trio"])
def test_the_examples_of_the_proposal_talk_to_each_other(kind: str, backend: str, client_backend: str) -> None:
    with start_example(f"server_{kind}", "127.0.0.1", 0, "--backend", backend) as server:
        host, port = server.expect_line("server callback_listener").split()[-2:]
        with start_example(f"client_{kind}", host, port, "--backend", client_backend) as client:
            assert client.expect_line("") == "client callback_open"
            headers = server.expect_line("Headers(")
            for name, value in {  # the repr of Headers hides secrets
                "Authorization": "[hidden]",
                "Proxy-Authorization": "[hidden]",
                "Sec-WebSocket-Protocol": "[hidden]",
                "id": "id-string",
                "type": "type-string",
            }.items():
                assert f"({name!r}, {value!r})" in headers
            assert server.expect_line("") == "server callback_open"
            assert server.expect_line("") == "message received at server"
            assert server.expect_line("") == "hello from client"
            assert interrupt(server) == (0, "", "")
            status, out, err = client.finish()
    assert (status, err) == (0, "")
    assert out.startswith("client closed 100")


@kinds
@backends
def test_the_headers_of_the_example_arrive(kind: str, backend: str, server_ssl_context: ssl.SSLContext) -> None:
    """The server example prints them, but with the secrets hidden."""

    async def serve() -> None:
        def callback_connect(header_values: anyws.Headers, _: object, ready: anyws.callbacks.Ready) -> None:
            received.append({name: header_values.get_all(name) for name in expected})
            ready.refuse()

        received: list[dict[str, list[str]]] = []
        expected = {
            "Authorization": ["auth-string"],
            "Proxy-Authorization": ["proxy-auth"],
            "Sec-WebSocket-Protocol": ["sub-proto"],
            "id": ["id-string"],
            "type": ["type-string"],
        }
        options = {
            "callback_connect": callback_connect,
            "listener_options": {"host": "127.0.0.1", "port": 0},
            "secure": kind == "tls",
            "ssl_context": server_ssl_context if kind == "tls" else None,
        }
        async with anyws.server(options) as server:
            port = server.addresses[0][1]
            with start_example(f"client_{kind}", "127.0.0.1", port, "--backend", backend) as client:
                await anyio.to_thread.run_sync(client.finish)
        assert received == [expected]

    anyio.run(serve, backend=backend)


@kinds
@backends
def test_a_server_that_requires_masking_refuses_the_client_of_the_proposal(
    kind: str, backend: str, server_ssl_context: ssl.SSLContext
) -> None:
    async def meet() -> None:
        received: list[str | bytes] = []
        options = {
            "message_handler": received.append,
            "listener_options": {"host": "127.0.0.1", "port": 0},
            "secure": kind == "tls",
            "ssl_context": server_ssl_context if kind == "tls" else None,
        }
        async with anyws.server(options) as server:
            port = server.addresses[0][1]
            with start_example(f"client_{kind}", "127.0.0.1", port, "--backend", backend) as client:
                status, out, err = await anyio.to_thread.run_sync(client.finish)
        assert (status, err) == (0, "")
        assert "client callback_open\nclient closed 1002 " in out
        assert received == []

    anyio.run(meet, backend=backend)


@backends
def test_the_tls_server_loads_certificates_from_files(
    backend: str, certificate_authority: trustme.CA, tmp_path: Path
) -> None:
    issued = certificate_authority.issue_cert("localhost")
    pems = {"ca": certificate_authority.cert_pem, "cert": issued.cert_chain_pems[0], "key": issued.private_key_pem}
    files: list[object] = []
    for name, pem in pems.items():
        pem.write_to_path(tmp_path / name)
        files += [f"--{name}", tmp_path / name]
    context = ssl.create_default_context(cafile=tmp_path / "ca")

    async def talk(port: int) -> None:
        with anyio.fail_after(LIMIT):
            async with anyws.connect(f"wss://localhost:{port}/", ssl_context=context) as websocket:
                await websocket.send("masked")

    with start_example("server_tls", "127.0.0.1", 0, *files, "--backend", backend) as server:
        anyio.run(talk, int(server.expect_line("server callback_listener").split()[-1]), backend=backend)
        server.expect_line("masked")
        assert interrupt(server) == (0, "", "")


@kinds
@backends
def test_ctrl_c_ends_the_client(kind: str, backend: str) -> None:
    with start_example(f"server_{kind}", "127.0.0.1", 0) as server:
        port = server.expect_line("server callback_listener").split()[-1]
        with start_example(f"client_{kind}", "127.0.0.1", port, "--backend", backend) as client:
            server.expect_line("hello from client")
            assert interrupt(client)[::2] == (0, "")
        assert interrupt(server)[0] == 0


@backends
@pytest.mark.parametrize("client_backend", ["asyncio", "trio"])
def test_the_echo(backend: str, client_backend: str) -> None:
    with start_example("echo_server", "127.0.0.1", 0, "--backend", backend) as server:
        uri = server.expect_line("listening on ws://127.0.0.1").split()[-1]
        with start_example("echo_client", uri, "--backend", client_backend) as client:
            status, out, err = client.finish()
        assert interrupt(server) == (0, "received SIGINT: shutting down\n", "")
    assert (status, err) == (0, "")
    text, binary, latency, closed = out.splitlines()
    assert (text, binary, closed) == ("hello", r"b'\x00\x01\x02'", "closed 1000")
    assert latency.startswith("latency: 0.")


def test_a_trio_program() -> None:
    with start_example("nursery_trio") as process:
        assert process.finish() == (0, "HELLO\nFROM\nTRIO\nclosed 1000\n", "")


def test_an_asyncio_program() -> None:
    with start_example("taskgroup_asyncio") as process:
        status, out, err = process.finish()
    assert (status, err) == (0, "")
    expected = ["HELLO", "FROM", "ASYNCIO", "AND", "HELLO", "AGAIN", "closed 1000", "closed 1000"]
    assert sorted(out.splitlines()) == sorted(expected)
