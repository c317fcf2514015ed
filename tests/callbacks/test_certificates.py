"""TLS contexts from PEM text, PEM bytes and paths, and the errors for invalid ones."""

from __future__ import annotations

import dataclasses
import os
import ssl
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trustme

from anyws.callbacks._certificates import TLSOptions, client_context, server_context
from tests.pems import PASSPHRASE, Pems, encrypted, in_file


@pytest.fixture(scope="module")
def pems(certificate_authority: trustme.CA) -> Pems:
    return Pems.issued_by(certificate_authority, "localhost")


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory for temporary files, of this test alone."""
    directory = tmp_path / "temporary"
    directory.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(directory))
    return directory


def shake_hands(
    client: ssl.SSLContext, server: ssl.SSLContext, hostname: str = "localhost"
) -> tuple[ssl.SSLObject, ssl.SSLObject]:
    """Make a TLS handshake in memory; return both ends."""
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = client.wrap_bio(to_client, to_server, server_hostname=hostname)
    theirs = server.wrap_bio(to_server, to_client, server_side=True)
    waiting = [ours, theirs]
    for _ in range(10):
        for end in list(waiting):
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
            waiting.remove(end)
    assert not waiting
    return ours, theirs


def client_of(pems: Pems, **options: Any) -> ssl.SSLContext:
    return client_context(TLSOptions(**{"ca": pems.ca, **options}), check_hostname=True)


def server_of(pems: Pems, **options: Any) -> ssl.SSLContext:
    return server_context(TLSOptions(**{"cert": pems.cert, "key": pems.key, **options}))


# -- the forms of a certificate ----------------------------------------------------------------------------------------

FORMS: dict[str, Callable[[Path, bytes], Any]] = {
    "text": lambda directory, pem: pem.decode(),
    "bytes": lambda directory, pem: pem,
    "text of a path": lambda directory, pem: str(in_file(directory, "file.pem", pem)),
    "path": lambda directory, pem: in_file(directory, "file.pem", pem),
    "bytes of a path": lambda directory, pem: os.fsencode(in_file(directory, "file.pem", pem)),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_ca(pems: Pems, tmp_path: Path, form: str) -> None:
    ours, _ = shake_hands(client_of(pems, ca=FORMS[form](tmp_path, pems.ca)), server_of(pems))
    certificate = ours.getpeercert()
    assert certificate is not None
    assert certificate["subjectAltName"] == (("DNS", "localhost"),)


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_cert_and_key(pems: Pems, tmp_path: Path, temporary: Path, form: str) -> None:
    (tmp_path / "key").mkdir()
    cert, key = FORMS[form](tmp_path, pems.cert), FORMS[form](tmp_path / "key", pems.key)
    shake_hands(client_of(pems), server_of(pems, cert=cert, key=key))
    assert list(temporary.iterdir()) == []


def test_a_key_in_a_file_is_not_copied(pems: Pems, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_arguments: object, **_keywords: object) -> None:
        raise AssertionError("a temporary file")

    monkeypatch.setattr(tempfile, "mkstemp", refuse)
    cert, key = in_file(tmp_path, "cert.pem", pems.cert), in_file(tmp_path, "key.pem", pems.key)
    shake_hands(client_of(pems), server_of(pems, cert=cert, key=str(key)))


def test_a_key_within_cert(pems: Pems) -> None:
    shake_hands(client_of(pems), server_of(pems, cert=pems.key + pems.cert, key=None))


def test_text_around_the_pem_is_ignored(pems: Pems) -> None:
    cert = b"Subject: the local host\n\n" + pems.cert + b"\n# the end\n"
    for comment in ("An authority\n", "# NetLock F\u0151tan\u00fas\u00edtv\u00e1ny\n"):
        for ca in (comment + pems.ca.decode(), comment.encode() + pems.ca):
            shake_hands(client_of(pems, ca=ca), server_of(pems, cert=comment.encode() + cert))


@pytest.mark.parametrize("passphrase", [PASSPHRASE, PASSPHRASE.encode()])
def test_a_key_with_a_passphrase(pems: Pems, passphrase: str | bytes) -> None:
    shake_hands(client_of(pems), server_of(pems, key=encrypted(pems.key), passphrase=passphrase))


def test_several_cas_also_in_one_text(pems: Pems) -> None:
    others = [trustme.CA().cert_pem.bytes() for _ in range(2)]
    for ca in ([*others, pems.ca], (pems.ca.decode(), others[0]), b"".join([*others, pems.ca])):
        shake_hands(client_of(pems, ca=ca), server_of(pems))
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(client_of(pems, ca=others), server_of(pems))


# -- what cannot be used -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"passphrase": "wrong"}, "cert and key"),
        ({"passphrase": None}, "passphrase"),
    ],
)
def test_a_wrong_passphrase(pems: Pems, temporary: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        server_of(pems, key=encrypted(pems.key), **options)
    assert list(temporary.iterdir()) == []


def test_a_key_of_another_certificate(pems: Pems) -> None:
    other = Pems.issued_by(trustme.CA(), "localhost")
    with pytest.raises(ValueError, match="cert and key"):
        server_of(pems, key=other.key)


def test_a_key_without_a_certificate(pems: Pems) -> None:
    with pytest.raises(ValueError, match="key requires cert"):
        client_of(pems, key=pems.key)


def test_a_certificate_without_a_key(pems: Pems) -> None:
    with pytest.raises(ValueError, match="cert and key"):
        server_of(pems, key=None)


@pytest.mark.parametrize("ca", [b"-----BEGIN CERTIFICATE-----\nnonsense\n-----END CERTIFICATE-----\n", "key"])
def test_a_ca_that_is_not_a_certificate(pems: Pems, ca: Any) -> None:
    with pytest.raises(ValueError, match="option ca"):
        client_of(pems, ca=pems.key if ca == "key" else ca)


@pytest.mark.parametrize("content", [b"", b"\x30\x82\x01\x0a", b"no PEM"])
def test_a_file_that_is_not_pem(pems: Pems, tmp_path: Path, content: bytes) -> None:
    path = in_file(tmp_path, "file", content)
    with pytest.raises(ValueError, match="option ca"):
        client_of(pems, ca=path)
    with pytest.raises(ValueError, match="cert and key"):
        server_of(pems, cert=path)


@pytest.mark.parametrize("missing", ["/no/such/file", b"/no/such/file", Path("/no/such/file"), "", "nul\0", "x" * 5000])
def test_a_missing_file(pems: Pems, missing: Any) -> None:
    with pytest.raises(FileNotFoundError, match="option ca: neither PEM nor the path") as caught:
        client_of(pems, ca=missing)
    assert len(str(caught.value)) < 200
    for name in ("cert", "key"):
        with pytest.raises(FileNotFoundError, match=f"option {name}: neither PEM nor the path"):
            server_of(pems, **{name: missing})


def test_the_message_does_not_show_a_key(pems: Pems) -> None:
    """Given without its header, say."""
    secret = pems.key.replace(b"-----BEGIN ", b"").decode()
    with pytest.raises(FileNotFoundError) as caught:
        server_of(pems, key=secret)
    body = "".join(secret.splitlines()[1:-1])
    shown = str(caught.value)
    assert not any(body[start : start + 8] in shown for start in range(len(body) - 8))


@pytest.mark.parametrize("ca", [[0], [None], [["nested"]]])
def test_a_number_is_not_a_path(pems: Pems, ca: Any) -> None:
    """It would be read as a file descriptor, of standard input say."""
    with pytest.raises(TypeError, match="option ca"):
        client_of(pems, ca=ca)


# -- the other options -------------------------------------------------------------------------------------------------


def test_what_a_client_checks_by_default(pems: Pems) -> None:
    context = client_of(pems)
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    assert context.minimum_version >= ssl.TLSVersion.TLSv1_2
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(context, server_of(pems), "example.com")


def test_without_ca_the_system_s_authorities_are_trusted(monkeypatch: pytest.MonkeyPatch, pems: Pems) -> None:
    monkeypatch.setattr("anyws._transport.securing._thread_local", threading.local())  # no context was made before
    loaded: list[ssl.Purpose] = []
    monkeypatch.setattr(ssl.SSLContext, "load_default_certs", lambda self, purpose: loaded.append(purpose))
    client_of(pems, ca=None)
    server_context(TLSOptions(cert=pems.cert, key=pems.key), request_cert=True)
    assert loaded == [ssl.Purpose.SERVER_AUTH, ssl.Purpose.CLIENT_AUTH]
    client_of(pems)
    server_of(pems)
    assert len(loaded) == 2


def test_reject_unauthorized_false_in_a_client(pems: Pems) -> None:
    lax = client_context(TLSOptions(reject_unauthorized=False), check_hostname=True)
    shake_hands(lax, server_of(pems), "example.com")


def test_only_the_host_name_check_can_be_disabled(pems: Pems) -> None:
    context = client_context(TLSOptions(ca=pems.ca), check_hostname=False)
    shake_hands(context, server_of(pems), "example.com")
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(client_context(TLSOptions(), check_hostname=False), server_of(pems))


@pytest.mark.parametrize(("reject", "mode"), [(True, ssl.CERT_REQUIRED), (False, ssl.CERT_OPTIONAL)])
def test_request_cert(pems: Pems, reject: bool, mode: ssl.VerifyMode) -> None:
    options = TLSOptions(cert=pems.cert, key=pems.key, ca=pems.ca, reject_unauthorized=reject)
    context = server_context(options, request_cert=True)
    assert context.verify_mode is mode
    _, theirs = shake_hands(client_of(pems, cert=pems.cert, key=pems.key), context)
    certificate = theirs.getpeercert()
    assert certificate is not None
    assert certificate["subjectAltName"] == (("DNS", "localhost"),)
    assert server_of(pems).verify_mode is ssl.CERT_NONE


@pytest.mark.parametrize(("version", "expected"), [("TLSv1.2", "TLSv1.2"), ("TLSv1.3", "TLSv1.3")])
def test_versions(pems: Pems, version: str, expected: str) -> None:
    for options in ({"max_version": version, "min_version": version}, {"max_version": version}):
        ours, _ = shake_hands(client_of(pems, **options), server_of(pems))
        assert ours.version() == expected
        ours, _ = shake_hands(client_of(pems), server_of(pems, **options))
        assert ours.version() == expected


@pytest.mark.parametrize("version", ["SSLv3", "1.2", "tlsv1.2", "TLSv1_2", ""])
@pytest.mark.parametrize("option", ["min_version", "max_version"])
def test_an_unknown_version(pems: Pems, option: str, version: str) -> None:
    with pytest.raises(ValueError, match=r"expected one of TLSv1, TLSv1\.1, TLSv1\.2, TLSv1\.3"):
        client_of(pems, **{option: version})


def test_ciphers(pems: Pems) -> None:
    cipher = "ECDHE-ECDSA-AES256-GCM-SHA384"
    ours, _ = shake_hands(client_of(pems, ciphers=cipher, max_version="TLSv1.2"), server_of(pems))
    used = ours.cipher()
    assert used is not None
    assert used[0] == cipher
    with pytest.raises(ValueError, match="option ciphers: 'none such'"):
        client_of(pems, ciphers="none such")


def test_alpn_protocols(pems: Pems) -> None:
    ours, theirs = shake_hands(
        client_of(pems, alpn_protocols=("one", "two")), server_of(pems, alpn_protocols=["two", "three"])
    )
    assert ours.selected_alpn_protocol() == theirs.selected_alpn_protocol() == "two"


def test_sni_callback(pems: Pems, certificate_authority: trustme.CA) -> None:
    def choose(name: str | None) -> ssl.SSLContext | None:
        names.append(name)
        return server_of(other) if name == "other.example" else None

    names: list[str | None] = []
    other = Pems.issued_by(certificate_authority, "other.example")
    context = server_context(TLSOptions(cert=pems.cert, key=pems.key), sni_callback=choose)
    shake_hands(client_of(pems), context)
    shake_hands(client_of(pems), context, "other.example")
    assert names == ["localhost", "other.example"]


def test_a_tls_context_is_used_unchanged(client_ssl_context: ssl.SSLContext) -> None:
    options = TLSOptions(ssl_context=client_ssl_context)
    assert client_context(options, check_hostname=True) is client_ssl_context
    assert server_context(options) is client_ssl_context


def test_a_server_needs_a_certificate() -> None:
    with pytest.raises(ValueError, match="cert and key"):
        server_context(TLSOptions())


def test_client_certificates_for_one_host_are_not_valid_for_another(pems: Pems) -> None:
    """A session that was accepted for one would be resumed at the other, without a look at the certificate."""
    options = TLSOptions(cert=pems.cert, key=pems.key, ca=pems.ca)
    context = server_context(options, request_cert=True, sni_callback=lambda _: None)
    assert (context.minimum_version, context.num_tickets) == (ssl.TLSVersion.TLSv1_3, 0)
    old = dataclasses.replace(options, min_version="TLSv1.2")
    with pytest.raises(ValueError, match=r"TLSv1\.3"):
        server_context(old, request_cert=True, sni_callback=lambda _: None)
    assert server_context(old, request_cert=True).minimum_version is ssl.TLSVersion.TLSv1_2
