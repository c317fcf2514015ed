"""Certificates for one run, from an authority that is thrown away; needs the package ``trustme``."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Certificates", "make_certificates"]


@dataclass(frozen=True, slots=True)
class Certificates:
    """What the document calls ``caCertificate``, ``domainCertificate`` and ``domainKey``, in PEM."""

    authority: bytes
    certificate: bytes
    key: bytes


def make_certificates(host: str) -> Certificates:
    """Return an authority, and a certificate of it for one host."""
    import trustme

    authority = trustme.CA()
    issued = authority.issue_cert(host)
    return Certificates(
        authority=authority.cert_pem.bytes(),
        certificate=b"".join(pem.bytes() for pem in issued.cert_chain_pems),
        key=issued.private_key_pem.bytes(),
    )
