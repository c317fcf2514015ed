"""Temporary certificates from a temporary CA; requires the package ``trustme``."""

from __future__ import annotations

import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Certificates", "certificate_files", "make_certificates"]


@dataclass(frozen=True, slots=True)
class Certificates:
    """The ``caCertificate``, ``domainCertificate`` and ``domainKey`` of the node:websocket proposal, in PEM."""

    authority: bytes
    certificate: bytes
    key: bytes


def make_certificates(*hosts: str) -> Certificates:
    """Create a CA and a certificate for some hosts."""
    import trustme

    authority = trustme.CA()
    issued = authority.issue_cert(*hosts)
    return Certificates(
        authority=authority.cert_pem.bytes(),
        certificate=b"".join(pem.bytes() for pem in issued.cert_chain_pems),
        key=issued.private_key_pem.bytes(),
    )


@contextmanager
def certificate_files(*hosts: str) -> Generator[Path, None, None]:
    """Create `Certificates` as the files ``ca.pem``, ``cert.pem`` and ``key.pem``; the block gets their directory."""
    made = make_certificates(*hosts)
    with tempfile.TemporaryDirectory(prefix="anyws-") as name:  # readable only by us
        folder = Path(name)
        for file, content in (("ca.pem", made.authority), ("cert.pem", made.certificate), ("key.pem", made.key)):
            (folder / file).write_bytes(content)
        yield folder
