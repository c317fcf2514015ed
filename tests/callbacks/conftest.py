"""Fixtures for the tests of the callback API."""

from __future__ import annotations

import pytest
import trustme

from tests.pems import Pems


@pytest.fixture(scope="session")
def pems(certificate_authority: trustme.CA) -> Pems:
    """A certificate for the local host, with its key and its authority."""
    return Pems.issued_by(certificate_authority, "localhost", "127.0.0.1", "::1")
