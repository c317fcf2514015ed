"""The certificate of proxies that speak TLS."""

from __future__ import annotations

from pathlib import Path

import pytest
import trustme


@pytest.fixture(scope="session")
def pem(certificate_authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Key and certificate for the local host, in one file."""
    path = tmp_path_factory.mktemp("proxies") / "localhost.pem"
    certificate_authority.issue_cert("localhost", "127.0.0.1").private_key_and_cert_chain_pem.write_to_path(path)
    return path
