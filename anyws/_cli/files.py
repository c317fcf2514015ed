"""Problems with files, in words."""

from __future__ import annotations

import ssl

__all__ = ["file_problem"]


def file_problem(exc: OSError) -> str:
    """Say why a file cannot be used, without its name and without numbers of errors."""
    if not isinstance(exc, ssl.SSLError):
        return exc.strerror or str(exc)
    if exc.reason == "KEY_VALUES_MISMATCH":
        return "the private key does not belong to the certificate"
    if exc.reason == "NO_CERTIFICATE_OR_CRL_FOUND":
        return "it contains no certificate in PEM format"
    return "expected a certificate and its private key in PEM format"
