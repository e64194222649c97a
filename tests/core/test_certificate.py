"""The page's certificate: made, renewed, read from files, and refused with the reason where it is no use."""

from __future__ import annotations

import hashlib
import os
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import NameOID

from syncsrv.config.model import TlsFiles
from syncsrv.core.certificate import (
    LASTS,
    RENEW,
    SLACK,
    TlsError,
    certificate_of_files,
    kept_certificate,
    own_certificate,
)
from syncsrv.errors import SyncsrvError

NOW = datetime(2026, 11, 23, 2, 13, tzinfo=UTC)
NAMES = ("fw1", "localhost", "127.0.0.1", "::1", "2001:db8::1")

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey


def private(key: Key, password: bytes | None = None) -> bytes:
    lock = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, lock)


def issued(key: Key, *, begins: datetime = NOW - SLACK, ends: datetime = NOW + LASTS, name: str = "page") -> bytes:
    """A certificate by whoever the customer's authority is."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    authority = ec.generate_private_key(ec.SECP256R1())
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begins)
        .not_valid_after(ends)
        .sign(authority, hashes.SHA256())
    )
    return made.public_bytes(serialization.Encoding.PEM)


@pytest.fixture
def files(tmp_path: Path) -> TlsFiles:
    """A good pair, with the authority's certificate behind the page's own."""
    key = ec.generate_private_key(ec.SECP256R1())
    found = TlsFiles(cert=tmp_path / "page.crt", key=tmp_path / "page.key")
    found.cert.write_bytes(issued(key) + issued(ec.generate_private_key(ec.SECP256R1()), name="authority"))
    found.key.write_bytes(private(key))
    found.key.chmod(0o600)
    return found


def test_the_own_one_is_for_the_names_and_kept_for_its_owner(tmp_path: Path) -> None:
    path = tmp_path / "web" / "page.pem"
    found = own_certificate(path, NAMES, NOW)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    made = x509.load_pem_x509_certificate(found.chain.encode())
    key = made.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    assert key.curve.name == "secp256r1"
    listed = made.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert {str(one.value) for one in listed} == set(NAMES)
    assert not made.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert found.ends_utc - found.begins_utc <= timedelta(days=398)
    digest = hashlib.sha256(ssl.PEM_cert_to_DER_cert(found.chain)).hexdigest().upper()
    assert found.fingerprint.replace(":", "") == digest
    assert own_certificate(path, NAMES, NOW) == found
    assert own_certificate(path, NAMES[:2], NOW) == found, "more names than needed do no harm"


@pytest.mark.parametrize(
    ("later", "same"),
    [
        (LASTS - SLACK - RENEW - timedelta(seconds=1), True),
        (LASTS - SLACK - RENEW, False),
        (LASTS * 2, False),
        (-SLACK, True),
        (-timedelta(days=400), False),
    ],
)
def test_the_own_one_is_renewed_before_it_ends_and_when_the_clock_was_wrong(
    tmp_path: Path, later: timedelta, *, same: bool
) -> None:
    path = tmp_path / "page.pem"
    before = own_certificate(path, NAMES, NOW)
    after = own_certificate(path, NAMES, NOW + later)
    assert (after == before) == same
    assert not after.needs_renewal(NOW + later)


def test_another_name_makes_another_certificate(tmp_path: Path) -> None:
    before = own_certificate(tmp_path / "page.pem", NAMES[:3], NOW)
    assert own_certificate(tmp_path / "page.pem", NAMES, NOW) != before


@pytest.mark.parametrize("damage", [b"", b"garbage", b"\x00" * 100, None])
def test_a_damaged_own_one_is_made_anew(tmp_path: Path, damage: bytes | None, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "page.pem"
    before = own_certificate(path, NAMES, NOW)
    text = path.read_bytes()
    path.write_bytes(text[: len(text) // 2] if damage is None else damage)
    after = own_certificate(path, NAMES, NOW)
    assert after != before
    assert "another certificate" in caplog.text


def test_the_own_one_is_looked_at_without_being_made(tmp_path: Path) -> None:
    path = tmp_path / "page.pem"
    with pytest.raises(TlsError, match="was not made yet") as caught:
        kept_certificate(path)
    assert "syncsrv serve" in caught.value.remedy
    assert not path.exists()
    assert own_certificate(path, NAMES, NOW).fingerprint == kept_certificate(path).fingerprint


def test_where_it_cannot_be_kept_it_is_said(tmp_path: Path) -> None:
    (tmp_path / "web").write_text("a file in the way")
    with pytest.raises(SyncsrvError, match=r"page's certificate|not a directory"):
        own_certificate(tmp_path / "web" / "page.pem", NAMES, NOW)


def test_files_are_taken_with_the_whole_chain(files: TlsFiles) -> None:
    found = certificate_of_files(files)
    assert found.chain.count("BEGIN CERTIFICATE") == 2
    assert found.warning(NOW) == ""
    own = x509.load_pem_x509_certificate(files.cert.read_bytes())
    assert found.fingerprint == own.fingerprint(hashes.SHA256()).hex(":").upper()


@pytest.mark.parametrize("kind", ["rsa", "ec384"])
def test_other_good_kinds_of_keys_are_taken(files: TlsFiles, kind: str) -> None:
    key: Key = rsa.generate_private_key(65537, 2048) if kind == "rsa" else ec.generate_private_key(ec.SECP384R1())
    files.cert.write_bytes(issued(key))
    files.key.write_bytes(private(key))
    assert certificate_of_files(files).chain


def test_what_does_not_fit_is_refused_with_both_names(files: TlsFiles) -> None:
    files.key.write_bytes(private(ec.generate_private_key(ec.SECP256R1())))
    with pytest.raises(TlsError) as caught:
        certificate_of_files(files)
    assert caught.value.message == (
        f"cannot serve the page with {files.cert}: it does not belong to the key {files.key}: "
        "its first certificate is of another one"
    )
    assert "SIGHUP" in caught.value.remedy


@pytest.mark.parametrize(
    ("which", "content", "said"),
    [
        ("cert", b"", "it holds no certificate in PEM"),
        ("cert", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "it holds no certificate in PEM"),
        ("key", b"", "it holds no private key in PEM"),
        ("key", b"garbage", "it holds no private key in PEM"),
        ("key", b"x" * (2 << 20), "it is larger than any certificate"),
        ("key", private(ec.generate_private_key(ec.SECP256R1()), b"secret"), "protected by a passphrase"),
    ],
)
def test_what_is_none_is_refused_and_nothing_of_it_is_shown(
    files: TlsFiles, which: str, content: bytes, said: str
) -> None:
    path = files.cert if which == "cert" else files.key
    path.write_bytes(content)
    with pytest.raises(TlsError, match=said) as caught:
        certificate_of_files(files)
    assert str(path) in caught.value.message
    assert len(caught.value.message) < 300


@pytest.mark.parametrize("which", ["cert", "key"])
@pytest.mark.parametrize("what", ["nothing", "folder", "pipe", "link"])
def test_what_is_no_file_is_refused_and_never_waited_for(files: TlsFiles, which: str, what: str) -> None:
    path = files.cert if which == "cert" else files.key
    path.unlink()
    if what == "folder":
        path.mkdir()
    elif what == "pipe":
        os.mkfifo(path)
    elif what == "link":
        path.symlink_to(path)
    with pytest.raises(TlsError, match=str(path)):
        certificate_of_files(files)


@pytest.mark.parametrize("mode", [0o604, 0o644, 0o602, 0o601])
def test_a_key_that_everybody_can_read_is_refused(files: TlsFiles, mode: int) -> None:
    files.key.chmod(mode)
    with pytest.raises(TlsError, match="everybody on this machine") as caught:
        certificate_of_files(files)
    assert caught.value.remedy == f"chmod 600 {files.key}"


def test_a_key_that_a_group_can_read_is_said(files: TlsFiles) -> None:
    files.key.chmod(0o640)
    assert certificate_of_files(files).warning(NOW) == f"the group of {files.key} can read the key of the page"


def test_a_key_that_openssl_finds_too_short_is_refused(files: TlsFiles) -> None:
    key = rsa.generate_private_key(65537, 1024)
    files.cert.write_bytes(issued(key))
    files.key.write_bytes(private(key))
    with pytest.raises(TlsError, match="OpenSSL refuses it"):
        certificate_of_files(files)


@pytest.mark.parametrize(
    ("begins", "ends", "said"),
    [
        (-9, -1, "ended on 2026-11-22: browsers warn"),
        (1, 90, "is good only from 2026-11-24: browsers warn"),
        (-9, 29, "ends on 2026-12-22: put a new one there and reload"),
        (-9, 31, ""),
    ],
)
def test_when_it_is_good_is_said(files: TlsFiles, begins: int, ends: int, said: str) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    files.cert.write_bytes(issued(key, begins=NOW + timedelta(days=begins), ends=NOW + timedelta(days=ends)))
    files.key.write_bytes(private(key))
    warning = certificate_of_files(files).warning(NOW)
    assert said in warning
    assert bool(said) == bool(warning)
