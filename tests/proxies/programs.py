"""Proxies that others wrote, as processes on loopback. A test is skipped where the program is not installed."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from tests.harness import free_port, listens

__all__ = ["dante", "microsocks", "needs_socks", "nginx", "stunnel", "tinyproxy"]

needs_socks = pytest.mark.skipif(importlib.util.find_spec("python_socks") is None, reason="no python-socks")

LIMIT = 10  # seconds, for what should take a tenth of one


@contextmanager
def running(program: str, arguments: Sequence[object], port: int, directory: Path) -> Iterator[int]:
    """Run a program beside a block that begins when it listens on the port."""
    path = shutil.which(program) or shutil.which(program, path="/usr/sbin:/usr/local/sbin")
    if path is None:
        pytest.skip(f"{program} is not installed")
    log = directory / f"{program}.log"
    with (
        log.open("wb") as out,
        subprocess.Popen([path, *map(str, arguments)], stdin=subprocess.DEVNULL, stdout=out, stderr=out) as process,
    ):
        try:
            if not listens(port, process.poll, LIMIT):
                raise AssertionError(f"it does not listen: {log.read_text()}")
            yield port
        finally:
            process.terminate()
            try:
                process.wait(LIMIT)
            except subprocess.TimeoutExpired:
                process.kill()


def _written(directory: Path, name: str, text: str) -> Path:
    path = directory / name
    path.write_text(text)
    return path


def tinyproxy(directory: Path, *lines: str) -> AbstractContextManager[int]:
    """An HTTP proxy; yields its port."""
    port = free_port()
    text = "\n".join([f"Port {port}", "Listen 127.0.0.1", "LogLevel Error", "DisableViaHeader Yes", *lines, ""])
    return running("tinyproxy", ["-d", "-c", _written(directory, "tinyproxy.conf", text)], port, directory)


def stunnel(directory: Path, behind: int, pem: Path) -> AbstractContextManager[int]:
    """TLS before a port; yields its own."""
    port = free_port()
    text = f"foreground = yes\npid =\nsyslog = no\n[it]\naccept = 127.0.0.1:{port}\nconnect = 127.0.0.1:{behind}\n"
    return running("stunnel", [_written(directory, "stunnel.conf", f"{text}cert = {pem}\n")], port, directory)


def microsocks(directory: Path, *arguments: str) -> AbstractContextManager[int]:
    """A SOCKS5 proxy; yields its port."""
    port = free_port()
    return running("microsocks", ["-i", "127.0.0.1", "-p", port, *arguments], port, directory)


def dante(directory: Path) -> AbstractContextManager[int]:
    """A proxy for SOCKS4 and SOCKS5; yields its port."""
    port = free_port()
    text = f"""
        logoutput: stderr
        internal: 127.0.0.1 port = {port}
        external: lo
        clientmethod: none
        socksmethod: none
        client pass {{ from: 127.0.0.0/8 to: 0.0.0.0/0 }}
        socks pass {{ from: 127.0.0.0/8 to: 0.0.0.0/0 protocol: tcp }}
    """
    config = _written(directory, "dante.conf", text)
    return running("danted", ["-f", config, "-p", directory / "dante.pid"], port, directory)


def nginx(directory: Path, locations: str, pem: Path | None = None) -> AbstractContextManager[int]:
    """A reverse proxy with these locations, over TLS where there is a certificate; yields its port."""
    port = free_port()
    tls = "" if pem is None else f"ssl_certificate {pem}; ssl_certificate_key {pem};"
    kinds = "\n".join(f"{kind}_temp_path {directory};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    text = f"""
        daemon off;
        master_process off;
        pid {directory}/nginx.pid;
        error_log stderr;
        events {{ worker_connections 64; }}
        http {{
            access_log off;
            {kinds}
            proxy_http_version 1.1;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection "upgrade";
            proxy_set_header Host $http_host;
            proxy_buffering on;
            server {{
                listen 127.0.0.1:{port} {"" if pem is None else "ssl"};
                {tls}
                {locations}
            }}
        }}
    """
    arguments = ["-p", directory, "-e", "stderr", "-c", _written(directory, "nginx.conf", text)]
    return running("nginx", arguments, port, directory)
