"""Whether a server's TLS context has a certificate: the standard library does not tell, but a handshake does."""

from __future__ import annotations

import functools
import ssl

__all__ = ["check_certificate"]


def check_certificate(context: ssl.SSLContext) -> None:
    """Check that a context can serve TLS, by the first step of a handshake in memory.

    A context that chooses another one by the client's name, or knows clients by a key that both share, needs no
    certificate. One of another class than `ssl.SSLContext` may ask the system, and is not tried.

    Raises:
        ValueError: it has no certificate.
    """
    if type(context) is not ssl.SSLContext or context.sni_callback is not None:
        return
    if any(cipher["auth"] == "auth-psk" for cipher in context.get_ciphers()):
        return
    incoming = ssl.MemoryBIO()
    incoming.write(_client_hello())
    try:
        context.wrap_bio(incoming, ssl.MemoryBIO(), server_side=True).do_handshake()
    except ssl.SSLError as exc:  # mostly because it waits for the client's next step
        if exc.reason == "NO_SHARED_CIPHER":
            raise ValueError("option ssl_context has no certificate: load one with load_cert_chain()") from exc


@functools.cache
def _client_hello() -> bytes:
    """The first flight of a client that takes whatever it is offered."""
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
