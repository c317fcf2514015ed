"""`anyws connect`, as a process with pipes."""

from __future__ import annotations

import re
import select
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from anyws.protocol.server_handshake import ServerHandshake
from tests.harness import free_port

from .commands import LIMIT, run_anyws, run_main, start_anyws

backends = pytest.mark.parametrize("backend", ["asyncio", "trio", "uvloop"])


@backends
def test_a_pipe_gets_its_responses(server: str, backend: str) -> None:
    status, out, err = run_anyws("connect", "--backend", backend, server, input="hi\n\r\n\ngrüße\nno end")
    assert (status, out) == (0, "hi\n\n\ngrüße\nno end\n")
    assert err == f"connected to {server}/\nclosed: 1000\n"


def run_with_bytes(input: bytes, *arguments: str) -> tuple[int, bytes]:
    """Run ``anyws connect`` with bytes, and return the exit status and the bytes that it printed."""
    command = [sys.executable, "-X", "utf8", "-m", "anyws", "connect", *arguments]
    done = subprocess.run(command, input=input, stdout=subprocess.PIPE, timeout=LIMIT, check=False)
    return done.returncode, done.stdout


LARGE = bytes(range(256)) * 2000


@pytest.mark.parametrize(
    ("arguments", "sent", "printed"),
    [
        ("--input nul --output nul", b"two\nlines\0\0caf\xc3\xa9", b"two\nlines\0\0caf\xc3\xa9\0"),
        ("--input length --output length", b"\0\0\0\2hi\0\0\0\0", b"\0\0\0\2hi\0\0\0\0"),
        ("--input length --output line --binary", b"\0\0\0\2\xff\0", b"[binary, 2 bytes] ff00\n"),
        ("--input line --output raw", b"a\nb\n", b"ab"),
        ("--input whole", b"a\nb\n", b"a\nb\n\n"),
        ("--input whole --output length", "grüße".encode(), b"\0\0\0\7" + "grüße".encode()),
        ("--input whole --output length", b"", b""),
        ("--binary --input whole --output raw", LARGE, LARGE),
        ("--binary --output raw", b"\xff\n\xfe", b"\xff\xfe"),
        ("--json", b'{"a":1}\nno {\n', b'{\n  "a": 1\n}\nno {\n'),
    ],
)
def test_framings(server: str, arguments: str, sent: bytes, printed: bytes) -> None:
    assert run_with_bytes(sent, *arguments.split(), server) == (0, printed)


@pytest.mark.parametrize("arguments", ["--input length", "--input whole"])
def test_an_input_that_contradicts_its_options_is_status_1(server: str, arguments: str) -> None:
    assert run_with_bytes(b"\0\0\1\0\xff", *arguments.split(), server) == (1, b"")


@backends
def test_it_closes_after_count_messages(server: str, backend: str) -> None:
    with start_anyws("connect", "--backend", backend, "-n", 2, f"{server}/greet") as process:
        assert process.wait(LIMIT) == 0  # though the input has not ended
        status, out, err = process.finish()
        assert (status, out, err) == (
            0,
            "grüße\n[binary, 3 bytes] 00ff10\n",
            f"connected to {server}/greet\nclosed: 1000\n",
        )


def test_with_a_count_the_end_of_the_input_does_not_close(server: str) -> None:
    assert run_anyws("connect", "--one", f"{server}/late", input="1\n")[:2] == (0, "1\n")
    assert run_anyws("connect", "-1", f"{server}/close/1000")[0] == 1  # there was none


@backends
def test_it_closes_after_the_timeout_with_status_6(server: str, backend: str) -> None:
    status, out, err = run_anyws("connect", "--backend", backend, "--one", "--timeout", 0.2, server)
    assert (status, out) == (6, "")
    assert err.endswith("anyws: timed out after 0.2 s\nclosed: 1000\n")


def test_a_server_that_does_not_answer_in_time_is_status_3() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        uri = f"ws://127.0.0.1:{listener.getsockname()[1]}/"
        status, out, err = run_anyws("connect", "--connect-timeout", 0.2, uri)
    assert (status, out) == (3, "")
    assert err.startswith(f"anyws: cannot connect to {uri}: ")


def test_a_message_above_the_limit_is_status_5(server: str) -> None:
    status, out, err = run_anyws("connect", "--max-size", "1K", f"{server}/flood")
    assert (status, out) == (5, "")
    assert "max_message_size is 1024, received 10000" in err


def test_messages_are_compressed_if_the_server_agrees() -> None:
    with start_anyws("serve", "--port", 0, "tests.cli.peers:handler") as serving:
        uri = serving.expect_line("ws://")
        _, out, _ = run_anyws("connect", "--compress", f"{uri}headers")
        assert "\nSec-WebSocket-Extensions: permessage-deflate" in out
        _, out, _ = run_anyws("connect", f"{uri}headers")
        assert "Extensions" not in out
        assert serving.stop()[0] == 0


def test_the_latency_is_printed_to_stderr(server: str) -> None:
    with start_anyws("connect", "--latency", "--ping-interval", 0.01, server) as process:
        assert process.stderr is not None
        lines = [process.stderr.readline() for _ in range(4)]
        assert lines[0] == f"connected to {server}/\n"
        for line in lines[1:]:
            assert re.fullmatch(r"latency: \d+\.\d{3} ms\n", line)
        assert process.stop()[0] == 0


def tunnel(listener: socket.socket, asked: list[bytes]) -> None:
    """Be a proxy that makes one way to where it is asked for (RFC 9110, 9.3.6)."""
    client, _ = listener.accept()
    with client:
        head = b""
        while b"\r\n\r\n" not in head:
            head += client.recv(65536)
        asked.append(head.partition(b"\r\n")[0])
        host, port = head.split()[1].split(b":")
        with socket.create_connection((host.decode(), int(port))) as server:
            client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            while ready := select.select([client, server], [], [], LIMIT)[0]:
                data = ready[0].recv(65536)
                if not data:
                    return
                (server if ready[0] is client else client).sendall(data)


def test_through_a_proxy(server: str) -> None:
    asked: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=tunnel, args=[listener, asked], daemon=True)
        thread.start()
        proxy = f"http://127.0.0.1:{listener.getsockname()[1]}"
        assert run_anyws("connect", "--proxy", proxy, server, input="hello\n")[:2] == (0, "hello\n")
        thread.join(LIMIT)
    assert asked == [f"CONNECT {server.removeprefix('ws://')} HTTP/1.1".encode()]


def test_lines_from_a_pipe_are_not_commands(server: str) -> None:
    assert run_anyws("connect", server, input="/close 4000\n//x\n")[:2] == (0, "/close 4000\n//x\n")


def test_a_long_input_comes_back_whole(server: str) -> None:
    lines = "".join(f"{number} {'x' * 100}\n" for number in range(5000))
    assert run_anyws("connect", server, input=lines)[:2] == (0, lines)


def test_it_waits_while_responses_arrive(server: str) -> None:
    assert run_anyws("connect", f"{server}/late", input="1\n2\n3\n4\n5\n")[1] == "1\n2\n3\n4\n5\n"


def test_texts_of_the_command_line_are_sent_instead_of_stdin(server: str) -> None:
    with start_anyws("connect", "--send", "/close 1", "--send", "zwei", server) as process:
        assert process.wait(LIMIT) == 0  # though stdin has not ended
        assert process.finish() == (0, "/close 1\nzwei\n", f"connected to {server}/\nclosed: 1000\n")


def test_without_waiting_the_close_follows_the_input(server: str) -> None:
    assert run_anyws("connect", "--wait", 0, f"{server}/late", input="1\n")[:2] == (0, "")


def test_with_an_infinite_wait_the_peer_closes(server: str) -> None:
    with start_anyws("connect", "--wait", "inf", f"{server}/greet") as process:
        assert process.stdin is not None
        process.stdin.close()
        process.stdin = None
        process.expect_line("red")
        status, _, err = process.stop()
        assert (status, err) == (0, f"connected to {server}/greet\nclosed: 1000\n")


def test_without_any_input(server: str) -> None:
    assert run_anyws("connect", server)[0] == 0
    command = f'"{sys.executable}" -m anyws connect {server} <&-'
    assert subprocess.run(command, shell=True, check=False, capture_output=True, timeout=30).returncode == 0


def test_binary_is_marked_and_text_is_unchanged(server: str) -> None:
    status, out, _ = run_anyws("connect", f"{server}/greet")
    assert (status, out) == (0, "grüße\n[binary, 3 bytes] 00ff10\ntwo\nlines \x1b[31mred\n")


@backends
@pytest.mark.parametrize(
    ("code", "status", "line"),
    [
        (1000, 0, "closed: 1000 (the reason)"),
        (1001, 0, "closed: 1001 (the reason)"),
        (0, 0, "closed: no code"),
        (1011, 5, "closed: 1011 (the reason)"),
        (4000, 5, "closed: 4000 (the reason)"),
    ],
)
def test_it_ends_when_the_peer_closes_though_it_waits_for_input(
    server: str, backend: str, code: int, status: int, line: str
) -> None:
    with start_anyws("connect", "--backend", backend, f"{server}/close/{code}") as process:
        assert process.wait(timeout=30) == status
        assert process.finish() == (status, "", f"connected to {server}/close/{code}\n{line}\n")


@backends
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_closes_cleanly(server: str, backend: str, number: int) -> None:
    with start_anyws("connect", "--backend", backend, server) as process:
        process.write_line("hello")
        process.expect_line("hello")
        assert process.stop(number) == (0, "", f"connected to {server}/\nclosed: 1000\n")


def accept_without_answer(listener: socket.socket) -> socket.socket:
    """Accept a connection and read the request; nothing more."""
    connection, _ = listener.accept()
    connection.settimeout(30)
    while b"\r\n\r\n" not in connection.recv(65536):
        pass
    return connection


def test_a_signal_while_connecting_interrupts() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        uri = f"ws://127.0.0.1:{listener.getsockname()[1]}/"
        with start_anyws("connect", uri) as process, accept_without_answer(listener):
            assert process.stop() == (1, "", "anyws: interrupted\n")


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (
            b"HTTP/1.1 403 No\r\nContent-Length: 11\r\n\r\nnot\r\nyou \x1b!",
            "the server responded with 403 No: not you \\x1b!",
        ),
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", "the server responded with 404 Not Found"),
        (
            b"HTTP/1.1 500 Oh\r\nContent-Length: 500\r\n\r\n" + b"x" * 500,
            f"the server responded with 500 Oh: {'x' * 200}...",
        ),
        (b"no HTTP\r\n\r\n", None),
        (b"", None),
    ],
)
def test_a_refusal_is_one_line_and_status_4(answer: bytes, problem: str | None) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        uri = f"ws://127.0.0.1:{listener.getsockname()[1]}/"
        with start_anyws("connect", uri) as process:
            with accept_without_answer(listener) as connection:
                connection.sendall(answer)
            status, out, err = process.finish()
    assert (status, out) == (4, "")
    assert err.count("\n") == 1
    assert err.startswith(f"anyws: cannot connect to {uri}: {problem or ''}")


def test_a_peer_that_breaks_the_protocol_is_status_5() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        uri = f"ws://127.0.0.1:{listener.getsockname()[1]}/"
        with start_anyws("connect", uri) as process:
            connection, _ = listener.accept()
            with connection:
                connection.settimeout(LIMIT)
                handshake = ServerHandshake()
                while handshake.receive_data(connection.recv(65536)) is None:
                    pass
                connection.sendall(handshake.data_to_send(handshake.accept()) + b"\x83\x00")
                assert b"\x88" in connection.recv(65536)
                connection.sendall(b"\x88\x02\x03\xea")
                connection.shutdown(socket.SHUT_WR)
                status, out, err = process.finish()
    assert (status, out) == (5, "")
    assert re.fullmatch(rf"connected to {uri}\nfailed: .*opcode.*\n", err)


def test_connection_refused() -> None:
    port = free_port()
    status, out, err = run_anyws("connect", f"ws://user:secret@127.0.0.1:{port}/")
    assert (status, out) == (3, "")
    assert re.fullmatch(rf"anyws: cannot connect to ws://127.0.0.1:{port}/: Connection refused.*\n", err)


def test_a_lost_connection_is_status_5(server: str) -> None:
    with start_anyws("serve", "--port", 0, stderr=None) as serving:
        uri = serving.expect_line("ws://")
        with start_anyws("connect", uri) as process:
            process.write_line("hello")
            process.expect_line("hello")
            serving.kill()
            status, _, err = process.finish()
    assert status == 5
    assert re.fullmatch(rf"connected to {uri}\nconnection lost: .+\n", err)


def test_headers_subprotocols_and_origin_are_sent() -> None:
    with start_anyws("serve", "--port", 0, "tests.cli.peers:handler") as serving:
        origin = serving.expect_line("ws://").replace("ws://127.0.0.1", "http://localhost").removesuffix("/")
        options = ["--header", "X-First: 1", "--header", "X-Second:two: 2", "--origin", origin]
        status, out, err = run_anyws(
            "connect", *options, "--subprotocol", "a", "--subprotocol", "b", f"{origin.replace('http:', 'ws:')}/headers"
        )
        assert serving.stop()[0] == 0
    assert status == 0, err
    sent = [tuple(line.split(": ", 1)) for line in out.splitlines()]
    wanted = [("X-First", "1"), ("X-Second", "two: 2"), ("Origin", origin), ("Sec-WebSocket-Protocol", "a, b")]
    assert [header for header in wanted if header not in sent] == []


def test_tls(pem_files: dict[str, Path]) -> None:
    with start_anyws("serve", "--port", 0, "--cert", pem_files["both"]) as serving:
        uri = serving.expect_line("wss://")
        for options in (["--cacert", pem_files["ca"]], ["--insecure"]):
            assert run_anyws("connect", *options, uri, input="hi\n")[:2] == (0, "hi\n")
        status, out, err = run_anyws("connect", uri, input="hi\n")
        assert (status, out) == (3, "")
        assert re.fullmatch(r"anyws: cannot connect .*: its certificate is not trusted \(.+\); see --cacert.*\n", err)
        assert serving.stop()[0] == 0


def test_an_unusable_authority_is_one_line_and_status_1() -> None:
    status, out, err = run_anyws("connect", "--cacert", "/none", "wss://localhost/")
    assert (status, out) == (1, "")
    assert re.fullmatch(r"anyws: cannot use /none: .*\n", err)


def test_a_line_that_is_not_text_ends_the_input_with_status_1(server: str) -> None:
    command = [sys.executable, "-X", "utf8", "-m", "anyws", "connect", server]
    done = subprocess.run(command, input=b"first\n\xff\nlast\n", capture_output=True, timeout=30, check=False)
    assert (done.returncode, done.stdout) in [(1, b"first\n"), (1, b"")]
    assert b"anyws: a message is not valid utf-8 (invalid start byte); sending stopped\n" in done.stderr


@backends
def test_it_exits_when_nobody_reads_its_output(server: str, backend: str) -> None:
    with start_anyws("connect", "--backend", backend, f"{server}/flood") as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.wait(timeout=30) == 1
        assert process.stderr is not None
        assert process.stderr.read() == f"connected to {server}/flood\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_one_line_and_status_1(server: str) -> None:
    with open("/dev/full", "w") as full, start_anyws("connect", f"{server}/greet", stdout=full) as process:
        status, _, err = process.finish()
    assert status == 1
    assert re.fullmatch(r"connected to .*\nanyws: cannot print: .*\n", err)


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ((), "the following arguments are required: URI"),
        (("example.com:8765",), "did you mean 'ws://example.com:8765'?"),
        (("ws://x/#fragment",), "fragment"),
        (("--header", "none", "ws://x"), "no colon: expected 'NAME: VALUE'"),
        (("--header", "b@d: x", "ws://x"), "b@d"),
        (("--subprotocol", "a b", "ws://x"), "subprotocols[0] is not a token"),
        (("--header", "@/none", "ws://x"), "argument -H/--header: cannot read /none: No such file or directory"),
        (("--cookie", "a", "ws://x"), "argument --cookie: no equals sign: expected NAME=VALUE"),
        (("--cacert", "/none", "ws://x"), "argument --cacert: the URI does not use TLS: expected wss:// or https://"),
        (("-k", "ws://x"), "argument -k/--insecure: the URI does not use TLS"),
        (("-x", "http://x", "ws+unix:/x"), "argument -x/--proxy: not allowed with the URI of a unix socket"),
        (("-u", "a:b", "ws://c:d@x"), "argument -u/--user: the URI has a user name already"),
        (("-u", "a:b", "-H", "Authorization: c", "ws://x"), "either the option auth or the header Authorization"),
        (("--send", "x", "--binary", "ws://x"), "argument --send: not allowed with arguments --binary and --input"),
        (("--max-redirects", "0", "ws://x"), "expected a number of at least 1"),
        (("--wait", "long", "ws://x"), "argument --wait: 'long': expected a number of seconds, or inf"),
        (("--wait=-1", "ws://x"), "'-1': expected"),
        (("--wait", "nan", "ws://x"), "'nan': expected"),
        (("--count", "0", "ws://x"), "expected a number of at least 1"),
        (("-n", "2", "--one", "ws://x"), "not allowed with argument"),
        (("--input", "json", "ws://x"), "invalid choice: 'json'"),
        (("--timeout", "0", "ws://x"), "expected a number of seconds greater than 0"),
        (("--backend", "curio", "ws://x"), "invalid choice: 'curio'"),
    ],
)
def test_wrong_usage_is_status_2(arguments: tuple[str, ...], problem: str, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = run_main(capsys, "connect", *arguments)
    assert (status, out) == (2, "")
    assert problem in err
    assert err.startswith("anyws connect: ")
    assert err.endswith(" (see anyws connect --help)\n")
    assert err.count("\n") == 1
