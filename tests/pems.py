"""Certificates for the local host, as text and as files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import trustme
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

__all__ = ["PASSPHRASE", "Pems", "encrypted", "in_file"]

PASSPHRASE = "correct horse"


@dataclass(frozen=True)
class Pems:
    """What an end needs to know of certificates, as PEM bytes.

    Attributes:
        ca: the authority's certificate.
        cert: the certificate of this end.
        key: its private key.
    """

    ca: bytes
    cert: bytes
    key: bytes

    @classmethod
    def issued_by(cls, authority: trustme.CA, *names: str) -> Pems:
        """Let the authority issue a certificate for these names."""
        issued = authority.issue_cert(*names)
        cert = b"".join(pem.bytes() for pem in issued.cert_chain_pems)
        return cls(authority.cert_pem.bytes(), cert, issued.private_key_pem.bytes())


def encrypted(key: bytes) -> bytes:
    """Return the private key, encrypted with `PASSPHRASE`."""
    return load_pem_private_key(key, None).private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(PASSPHRASE.encode())
    )


def in_file(directory: Path, name: str, content: bytes) -> Path:
    """Write the content into a file and return its path."""
    path = directory / name
    path.write_bytes(content)
    return path
