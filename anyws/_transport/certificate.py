"""Finds out whether a server's TLS context has a certificate. The `ssl` module cannot tell, but a handshake can."""

from __future__ import annotations

import functools
import ssl

__all__ = ["check_certificate"]


def check_certificate(context: ssl.SSLContext) -> None:
    """Check that a context can serve TLS by running the first step of a handshake in memory.

    Contexts with an SNI callback or with pre-shared keys need no certificate and are not checked. Neither are
    subclasses of `ssl.SSLContext`, which may access the system.

    Raises:
        ValueError: the context has no certificate.
    """
    if type(context) is not ssl.SSLContext or context.sni_callback is not None:
        return
    if any(cipher["auth"] == "auth-psk" for cipher in context.get_ciphers()):
        return
    incoming = ssl.MemoryBIO()
    incoming.write(_client_hello())
    try:
        context.wrap_bio(incoming, ssl.MemoryBIO(), server_side=True).do_handshake()
    except ssl.SSLError as exc:  # usually SSLWantReadError: the handshake waits for the client
        if exc.reason == "NO_SHARED_CIPHER":
            raise ValueError("option ssl_context has no certificate: load one with load_cert_chain()") from exc


@functools.cache
def _client_hello() -> bytes:
    """Return the ClientHello of a client that accepts any cipher and certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_ciphers("ALL:@SECLEVEL=0")
    outgoing = ssl.MemoryBIO()
    try:
        context.wrap_bio(ssl.MemoryBIO(), outgoing).do_handshake()
    except ssl.SSLWantReadError:
        pass
    return outgoing.read()
