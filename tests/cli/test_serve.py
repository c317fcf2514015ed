"""`anyws serve`, as a process."""

from __future__ import annotations

import re
import signal
import socket
import ssl
from pathlib import Path

import anyio
import pytest

import anyws

from . import peers
from .commands import LIMIT, run_anyws, run_main, start_anyws

backends = pytest.mark.parametrize("backend", ["asyncio", "trio", "uvloop"])


def exchange(uri: str, message: str, *, context: ssl.SSLContext | None = None) -> str | bytes:
    """Connect, send one message, and return the answer."""

    async def talk() -> str | bytes:
        with anyio.fail_after(LIMIT):
            async with anyws.connect(uri, ssl_context=context) as websocket:
                await websocket.send(message)
                return await websocket.receive()

    return anyio.run(talk)


@backends
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_echoes_by_default_and_a_signal_stops_it_with_status_0(backend: str, number: int) -> None:
    with start_anyws("serve", "--port", 0, "--backend", backend) as process:
        uri = process.expect_line("ws://127.0.0.1:")
        assert exchange(uri, "hello") == "hello"
        assert process.stop(number) == (0, "", "")


def test_a_signal_closes_open_connections_with_1001() -> None:
    async def talk() -> None:
        with anyio.fail_after(LIMIT), start_anyws("serve", "--echo", "--port", 0) as process:
            async with anyws.connect(process.expect_line("ws://")) as websocket:
                process.send_signal(signal.SIGTERM)
                with pytest.raises(anyws.ConnectionClosedOK):
                    await websocket.receive()
                assert websocket.close_code == 1001
            assert process.finish()[0] == 0

    anyio.run(talk)


@backends
def test_a_second_signal_stops_it_at_once_with_status_1(backend: str) -> None:
    async def talk() -> None:
        with anyio.fail_after(LIMIT), start_anyws("serve", "--port", 0, "--backend", backend, peers.NAME) as process:
            uri = process.expect_line("ws://")
            async with anyws.connect(f"{uri}slow-end") as websocket:
                process.send_signal(signal.SIGINT)
                with pytest.raises(anyws.ConnectionClosedOK):
                    await websocket.receive()
                process.send_signal(signal.SIGINT)
            assert process.finish() == (1, "", "")

    anyio.run(talk)


@pytest.mark.parametrize("workers", [[], ["--workers", "1"]])
def test_pages_of_an_allowed_origin_may_connect(workers: list[str]) -> None:
    async def talk() -> None:
        with anyio.fail_after(LIMIT), start_anyws("serve", "--port", 0, *options) as process:
            uri = process.expect_line("ws://")
            async with anyws.connect(uri, origin="https://example.com") as websocket:
                await websocket.ping()
            with pytest.raises(anyws.HandshakeRefused):
                async with anyws.connect(uri, origin="https://evil.example"):
                    pytest.fail("let in")
            assert process.stop()[0] == 0

    options = ["--origin", "http://localhost:5173", "--origin", "https://example.com", *workers]
    anyio.run(talk)


def test_broadcast_sends_to_all_others() -> None:
    async def talk() -> None:
        with anyio.fail_after(LIMIT), start_anyws("serve", "--broadcast", "--port", 0) as process:
            uri = process.expect_line("ws://")
            async with anyws.connect(uri) as first, anyws.connect(uri) as second, anyws.connect(uri) as third:
                for websocket in (first, second, third):
                    await websocket.ping()
                await first.send("from the first")
                assert await second.receive() == "from the first"
                assert await third.receive() == "from the first"
                await second.send(b"from the second")
                assert await first.receive() == b"from the second"
            assert process.stop()[0] == 0

    anyio.run(talk)


def test_a_handler_of_the_working_directory(tmp_path: Path) -> None:
    (tmp_path / "chat.py").write_text(
        "class Chat:\n"
        "    @staticmethod\n"
        "    async def handler(websocket):\n"
        "        async for message in websocket:\n"
        "            await websocket.send(message.upper())\n"
    )
    with start_anyws("serve", "--port", 0, "chat:Chat.handler", cwd=tmp_path) as process:
        assert exchange(process.expect_line("ws://"), "hello") == "HELLO"
        assert process.stop() == (0, "", "")


def test_an_exception_in_the_handler_is_logged_and_the_server_continues() -> None:
    with start_anyws("serve", "--port", 0, peers.NAME) as process:
        uri = process.expect_line("ws://")
        with pytest.raises(anyws.ConnectionClosedError, match="1011"):
            exchange(f"{uri}crash", "hello")
        assert exchange(uri, "hello") == "hello"
        status, _, err = process.stop()
        assert status == 0
        assert "RuntimeError: the handler crashed" in err


@pytest.mark.parametrize("files", [("cert", "key"), ("both", None)])
def test_tls(files: tuple[str, str | None], pem_files: dict[str, Path], client_ssl_context: ssl.SSLContext) -> None:
    cert, key = files
    arguments = ["--cert", pem_files[cert], *([] if key is None else ["--key", pem_files[key]])]
    with start_anyws("serve", "--port", 0, *arguments) as process:
        uri = process.expect_line("wss://127.0.0.1:")
        assert exchange(uri, "hello", context=client_ssl_context) == "hello"
        assert process.stop() == (0, "", "")


def test_a_unix_socket(tmp_path: Path) -> None:
    with start_anyws("serve", "--path", "the socket", cwd=tmp_path) as process:
        assert process.expect_line("ws+unix:") == "ws+unix:the%20socket"
        assert exchange(f"ws+unix:{tmp_path}/the%20socket", "hello") == "hello"
        assert process.stop() == (0, "", "")


def test_every_address_is_printed() -> None:
    with start_anyws("serve", "--port", 0, "--host", "::1") as process:
        assert re.fullmatch(r"ws://\[::1\]:\d+/", process.expect_line("ws://"))
        assert process.stop() == (0, "", "")


def test_verbose_logs_what_the_connections_do() -> None:
    with start_anyws("-v", "serve", "--port", 0) as process:
        exchange(process.expect_line("ws://"), "hello")
        assert "DEBUG anyws.server: [127.0.0.1:" in process.stop()[2]


def test_a_self_signed_certificate_that_clients_can_trust() -> None:
    with start_anyws("serve", "--port", 0, "--self-signed") as process:
        uri = process.expect_line("wss://127.0.0.1:")
        assert process.stderr is not None
        found = re.search(r"--cacert (\S+)\n", process.stderr.readline())
        assert found is not None
        context = ssl.create_default_context(cafile=found[1])
        assert exchange(uri, "hello", context=context) == "hello"
        assert exchange(uri.replace("127.0.0.1", "localhost"), "hello", context=context) == "hello"
        assert process.stop() == (0, "", "")
        assert not Path(found[1]).parent.exists()


def test_logs_go_to_a_file(tmp_path: Path) -> None:
    log = tmp_path / "the log"
    with start_anyws("serve", "--port", 0, "--log-level", "info", "--log-file", log) as process:
        uri = process.expect_line("ws://")
        with socket.create_connection(("127.0.0.1", int(uri.rstrip("/").rpartition(":")[2]))) as stranger:
            stranger.sendall(b"no HTTP\r\n\r\n")
            while stranger.recv(65536):
                pass
        assert process.stop() == (0, "", "")
    assert re.search(
        r"^\d{4}-\S+ \S+ \d+ INFO anyws.server: \[127.0.0.1:\d+\] opening handshake failed: ", log.read_text()
    )


def test_a_log_that_cannot_be_written_is_one_line_and_status_1() -> None:
    status, out, err = run_anyws("serve", "--log-file", "/none/log")
    assert (status, out) == (1, "")
    assert re.fullmatch(r"anyws: cannot log to /none/log: .*\n", err)


def test_a_port_in_use_is_one_line_and_status_1() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        status, out, err = run_anyws("serve", "--port", taken.getsockname()[1])
    assert (status, out) == (1, "")
    assert re.fullmatch(r"anyws: cannot listen: .*in use.*\n", err)


def test_a_path_that_cannot_be_used_is_named() -> None:
    status, out, err = run_anyws("serve", "--path", "/none/socket")
    assert (status, out, err) == (1, "", "anyws: cannot listen: No such file or directory: /none/socket\n")


def test_a_port_in_use_is_named_by_workers_too() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        status, out, err = run_anyws("serve", "--port", port, "--workers", 2)
    assert (status, out, err) == (1, "", f"anyws: cannot listen: Address already in use: 127.0.0.1 port {port}\n")


@pytest.mark.parametrize("workers", [[], ["--workers", "1"]])
def test_options_of_connections(workers: list[str]) -> None:
    async def talk() -> None:
        with anyio.fail_after(LIMIT), start_anyws("serve", "--port", 0, *options) as process:
            uri = process.expect_line("ws://")
            async with anyws.connect(uri, subprotocols=["a", "chat"], compression=True) as websocket:
                assert websocket.subprotocol == "chat"
                assert "permessage-deflate" in websocket.response.headers["Sec-WebSocket-Extensions"]
                with pytest.raises(anyws.HandshakeRefused) as refused:
                    async with anyws.connect(uri):
                        pytest.fail("let in")
                assert refused.value.status == 503
                await websocket.send("x" * 2049)
                with pytest.raises(anyws.ConnectionClosed, match="1009"):
                    await websocket.receive()
            assert process.stop()[0] == 0

    options = ["--max-size", "2K", "-s", "chat", "--compress", "--max-connections", 1, *workers]
    anyio.run(talk)


def test_without_a_maximum_size() -> None:
    with start_anyws("serve", "--port", 0, "--max-size", 0) as process:
        uri = process.expect_line("ws://")
        _, out, _ = run_anyws("connect", "--max-size", 0, "--input", "whole", uri, input="x" * 3_000_000)
        assert len(out) == 3_000_001
        assert process.stop() == (0, "", "")


def test_an_unusable_certificate_is_one_line_and_status_1(pem_files: dict[str, Path]) -> None:
    for cert in ("/none", pem_files["ca"]):
        status, out, err = run_anyws("serve", "--cert", cert)
        assert (status, out) == (1, "")
        assert re.fullmatch(rf"anyws: cannot use the certificate {cert}: .*\n", err)


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ("--port 65536", "argument --port: '65536': expected a number from 0 to 65535"),
        ("--port http", "argument --port: 'http': expected a number from 0 to 65535"),
        ("--path /x --port 1", "argument --path: not allowed with arguments --host and --port"),
        ("--key /x", "argument --key: requires --cert"),
        ("--echo --broadcast", "argument --broadcast: not allowed with argument --echo"),
        ("--echo a:b", "not allowed with argument --echo"),
        ("json", "argument MODULE:HANDLER: 'json': expected MODULE:HANDLER"),
        ("no_such_module:x", "'no_such_module:x': No module named 'no_such_module'"),
        ("json:nothing", "has no attribute 'nothing'"),
        ("json:__name__", "'json:__name__': the handler must be an async function, not str"),
        (
            "shutil:copy",
            "'shutil:copy': the handler copy must accept one argument, the connection: missing",
        ),
        ("--self-signed --cert /x", "argument --self-signed: not allowed with argument --cert"),
        ("--workers 0", "expected a number of at least 1"),
        ("--workers 2 --path /x", "argument --workers: not allowed with argument --path"),
        ("--reload-dir /x", "argument --reload-dir: requires --reload"),
        ("--log-level loud", "invalid choice: 'loud'"),
        (
            "--origin http://localhost:5173/",
            "argument --origin: option origins contains 'http://localhost:5173/', which",
        ),
        ("--subprotocol a,b", "argument -s/--subprotocol: subprotocols[0] is not a token"),
        ("--max-size x", "argument --max-size: 'x': expected a number of bytes"),
        ("--backend curio", "invalid choice: 'curio'"),
    ],
)
def test_wrong_usage_is_status_2(arguments: str, problem: str, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = run_main(capsys, "serve", *arguments.split())
    assert (status, out) == (2, "")
    assert problem in err
    assert err.startswith("anyws serve: ")
    assert err.count("\n") == 1
