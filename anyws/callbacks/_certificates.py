"""TLS contexts from the options of the node:websocket proposal: certificates as PEM text, PEM bytes or paths."""

# No `from __future__ import annotations`: the annotations are the types that options are checked against.

import os
import ssl
import tempfile
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields

from anyws._server.virtual_hosts import HostSelector
from anyws._transport.securing import default_context

__all__ = ["PEM", "ServerNameHook", "TLSOptions", "client_context", "server_context"]

PEM = str | bytes | os.PathLike[str]
"""A certificate or a key: PEM text, PEM bytes, or the path of a PEM file."""

ServerNameHook = Callable[[str | None], ssl.SSLContext | None]
"""Receives the host name that a client requests (SNI); returns the context to use, or None for the default one."""

_BEGIN = "-----BEGIN "


@dataclass(frozen=True, slots=True, kw_only=True)
class TLSOptions:
    """TLS options of clients and servers, as in Node's ``tls.createSecureContext``.

    Attributes:
        ca: CA certificates to trust, instead of the system's.
        cert: the certificate chain of this side.
        key: its private key; by default read from ``cert``.
        passphrase: the passphrase of the private key.
        alpn_protocols: protocols for ALPN, in order of preference.
        min_version: minimum TLS version, such as ``"TLSv1.2"``; by default Python's.
        max_version: maximum TLS version; by default Python's.
        ciphers: the ciphers, in OpenSSL's format.
        reject_unauthorized: whether to reject a peer whose certificate is not trusted. True.
        ssl_context: a TLS context to use instead of all these options.
    """

    ca: PEM | Sequence[PEM] | None = None
    cert: PEM | None = field(default=None, repr=False)  # may include the key
    key: PEM | None = field(default=None, repr=False)
    passphrase: str | bytes | None = field(default=None, repr=False)
    alpn_protocols: Sequence[str] | None = None
    min_version: str | None = None
    max_version: str | None = None
    ciphers: str | None = None
    reject_unauthorized: bool = True
    ssl_context: ssl.SSLContext | None = None


def client_context(options: TLSOptions, *, check_hostname: bool) -> ssl.SSLContext:
    """Return a client context; if all options have their defaults, the one from `default_context`.

    Raises:
        ValueError: a certificate, key, version or cipher is invalid.
        OSError: a file cannot be read.
    """
    if options.ssl_context is not None:
        return options.ssl_context
    if check_hostname and all(getattr(options, each.name) == each.default for each in fields(TLSOptions)):
        return default_context()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = check_hostname and options.reject_unauthorized
    context.verify_mode = ssl.CERT_REQUIRED if options.reject_unauthorized else ssl.CERT_NONE
    if options.ca is None:
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    _configure(context, options)
    return context


def server_context(
    options: TLSOptions, *, request_cert: bool = False, sni_callback: ServerNameHook | None = None
) -> ssl.SSLContext:
    """Return a server context.

    Raises:
        ValueError: there is no certificate; ``request_cert`` is combined with ``sni_callback`` and TLS before 1.3; or a
            certificate, key, version or cipher is invalid.
        OSError: a file cannot be read.
    """
    if options.ssl_context is not None:
        return options.ssl_context
    if options.cert is None:
        raise ValueError(
            "secure=True requires server_options with cert and key, or with ssl_context; use secure=False for no TLS"
        )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    if request_cert:
        context.verify_mode = ssl.CERT_REQUIRED if options.reject_unauthorized else ssl.CERT_OPTIONAL
        if options.ca is None:
            context.load_default_certs(ssl.Purpose.CLIENT_AUTH)
    if sni_callback is not None:
        context.sni_callback = HostSelector(lambda name: sni_callback(name) or context)
    _configure(context, options)
    if request_cert and sni_callback is not None:
        # OpenSSL would resume a session of one host at another without checking the client's certificate there.
        if options.min_version is None:
            context.minimum_version = ssl.TLSVersion.TLSv1_3
        elif context.minimum_version is not ssl.TLSVersion.TLSv1_3:
            raise ValueError(
                "request_cert with sni_callback requires TLSv1.3: "
                "with older versions, a session of one host can be resumed at another"
            )
        context.num_tickets = 0
    return context


def _configure(context: ssl.SSLContext, options: TLSOptions) -> None:
    if options.ca is not None:
        for authority in [options.ca] if isinstance(options.ca, str | bytes | os.PathLike) else options.ca:
            text = _text(authority, "ca").encode("ascii", "replace").decode()  # comments may be in any language
            try:
                context.load_verify_locations(cadata=text)
            except (ssl.SSLError, ValueError) as exc:
                raise ValueError(f"option ca: not a PEM certificate ({exc})") from exc
    if options.cert is not None:
        _load_certificate(context, options.cert, options.key, options.passphrase)
    elif options.key is not None:
        raise ValueError("option key requires cert")
    if options.alpn_protocols is not None:
        context.set_alpn_protocols(list(options.alpn_protocols))
    if options.min_version is not None:
        context.minimum_version = _version(options.min_version)
    if options.max_version is not None:
        context.maximum_version = _version(options.max_version)
    if options.ciphers is not None:
        try:
            context.set_ciphers(options.ciphers)
        except ssl.SSLError as exc:
            raise ValueError(f"option ciphers: {options.ciphers!r} contains no known cipher") from exc


def _load_certificate(context: ssl.SSLContext, cert: PEM, key: PEM | None, passphrase: str | bytes | None) -> None:
    def password() -> str | bytes:
        if passphrase is None:
            raise ValueError("option key is encrypted: give the option passphrase")
        return passphrase

    with _as_file(cert, "cert") as certificate_path, _as_file(key, "key") as key_path:
        try:
            context.load_cert_chain(certificate_path or "", key_path, password)
        except ssl.SSLError as exc:
            reason = exc.reason or "no certificate and key in it"
            raise ValueError(f"options cert and key: not a PEM certificate with its key ({reason})") from exc


def _text(pem: PEM, name: str) -> str:
    """Return the PEM text; a `str` or bytes without a PEM header is treated as a path."""
    pem = _as_str(pem, name)
    if _BEGIN in pem:
        return pem
    try:
        with open(pem, encoding="latin-1") as file:
            return file.read()
    except (OSError, ValueError) as exc:
        raise _not_found(pem, name) from exc


def _as_str(pem: PEM, name: str) -> str:
    if not isinstance(pem, str | bytes | os.PathLike):  # open() would treat a number as a file descriptor
        raise TypeError(f"option {name} must be PEM text, PEM bytes or a path, not {type(pem).__name__}")
    if isinstance(pem, bytes):
        return pem.decode("latin-1") if _BEGIN.encode() in pem else os.fsdecode(pem)
    return os.fspath(pem)


def _not_found(pem: str, name: str) -> FileNotFoundError:
    # Several lines or a long text are not a path but may be a key, which must not appear in a message.
    shown = "a text" if "\n" in pem or len(pem) > 255 else repr(pem)
    return FileNotFoundError(f"option {name}: neither PEM nor the path of a readable file: {shown}")


@contextmanager
def _as_file(pem: PEM | None, name: str) -> Generator[str | None, None, None]:
    """Return the path of a file with the PEM text for the duration of a block: `ssl` loads these from files only."""
    if pem is None:
        yield None
        return
    pem = _as_str(pem, name)
    if _BEGIN not in pem:
        try:
            with open(pem, "rb"):
                pass
        except (OSError, ValueError) as exc:
            raise _not_found(pem, name) from exc
        yield pem
        return
    descriptor, path = tempfile.mkstemp(suffix=".pem")  # readable only by us
    try:
        with open(descriptor, "w", encoding="latin-1") as file:
            file.write(pem)
        yield path
    finally:
        os.unlink(path)


def _version(name: str) -> ssl.TLSVersion:
    known = {"TLSv1": "TLSv1", "TLSv1.1": "TLSv1_1", "TLSv1.2": "TLSv1_2", "TLSv1.3": "TLSv1_3"}
    if name not in known:
        raise ValueError(f"TLS version {name!r}: expected one of {', '.join(known)}")
    return ssl.TLSVersion[known[name]]
