"""A server for the client commands, and certificate files."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from . import peers
from .commands import start_anyws


@pytest.fixture(scope="session")
def server() -> Iterator[str]:
    """The URI, without a slash at its end, of a server with the handler of `peers`."""
    with start_anyws("serve", "--port", 0, peers.NAME, stderr=None) as process:
        yield process.expect_line("ws://").removesuffix("/")
        assert process.stop(signal.SIGTERM)[0] == 0


@pytest.fixture(scope="session")
def pem_files(certificate_authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The files ``ca``, ``cert``, ``key`` and ``both``: certificate and key in one."""
    directory = tmp_path_factory.mktemp("certificates")
    issued = certificate_authority.issue_cert("localhost", "127.0.0.1")
    contents = {
        "ca": certificate_authority.cert_pem,
        "cert": issued.cert_chain_pems[0],
        "key": issued.private_key_pem,
        "both": issued.private_key_and_cert_chain_pem,
    }
    for name, content in contents.items():
        content.write_to_path(directory / name)
    return {name: directory / name for name in contents}
