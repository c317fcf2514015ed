"""What tests of faults share: two of ours over memory and TLS."""

from __future__ import annotations

import functools
import ssl

import pytest
import trustme

from tests.pems import Pems

from .pairs import Below, Pair, TLSContexts, pair


@pytest.fixture
def tls_contexts(client_ssl_context: ssl.SSLContext, server_ssl_context: ssl.SSLContext) -> TLSContexts:
    """The contexts of client and server."""
    return client_ssl_context, server_ssl_context


@pytest.fixture(params=["memory", "tls"])
def below(request: pytest.FixtureRequest) -> Below:
    """What is below a connection."""
    kind: Below = request.param
    return kind


@pytest.fixture
def connected_over(below: Below, tls_contexts: TLSContexts) -> Pair:
    """What connects two of ours."""
    return functools.partial(pair, below, tls_contexts)


@pytest.fixture(scope="session")
def pems(certificate_authority: trustme.CA) -> Pems:
    """A certificate for the local host, with its key and its authority."""
    return Pems.issued_by(certificate_authority, "localhost", "127.0.0.1", "::1")
