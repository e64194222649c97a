"""The page's certificate: made here and renewed (``tls: auto``), or read from files and checked before web gets it."""

from __future__ import annotations

import hashlib
import ipaddress
import logging
import os
import ssl
import stat
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from syncsrv import durable
from syncsrv.config.model import TlsFiles
from syncsrv.errors import SyncsrvError
from syncsrv.store.files import writing

log = logging.getLogger(__name__)

LASTS = timedelta(days=397)
"""Longer than that browsers do not take any."""
RENEW = timedelta(days=30)
SLACK = timedelta(days=1)
"""It is good from a day ago: the browser's clock may be late."""
LARGEST = 1 << 20


class TlsError(SyncsrvError):
    """The certificate of node.yaml cannot be used."""

    code = "tls"

    def __init__(self, path: Path, why: str, remedy: str = "") -> None:
        usual = "correct `web: {tls:}` in node.yaml or the files, then reload syncsrv (SIGHUP)"
        super().__init__(f"cannot serve the page with {path}: {why}", remedy or usual)


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate with its key.

    Attributes:
        chain: PEM; the first certificate is the page's own.
        key: PEM.
        begins_utc: not good before.
        ends_utc: not good after.
        path: of the file, where node.yaml names one.
        said: what an operator should know about the files.
    """

    chain: str
    key: str
    begins_utc: datetime
    ends_utc: datetime
    path: Path | None = None
    said: str = ""

    @property
    def fingerprint(self) -> str:
        """SHA-256 as browsers show it: pairs of hexadecimal digits between colons."""
        digest = hashlib.sha256(ssl.PEM_cert_to_DER_cert(_first(self.chain))).digest()
        return digest.hex(":").upper()

    def warning(self, now_utc: datetime) -> str:
        """What an operator should know; one of our own is renewed without a word."""
        if self.path is None:
            return ""
        if now_utc >= self.ends_utc:
            return f"the certificate {self.path} ended on {self.ends_utc:%Y-%m-%d}: browsers warn"
        if now_utc < self.begins_utc:
            return f"the certificate {self.path} is good only from {self.begins_utc:%Y-%m-%d}: browsers warn"
        if now_utc >= self.ends_utc - RENEW:
            return f"the certificate {self.path} ends on {self.ends_utc:%Y-%m-%d}: put a new one there and reload"
        return self.said

    def needs_renewal(self, now_utc: datetime) -> bool:
        """Whether it ends soon, or begins only later: it was made while the clock was wrong."""
        return now_utc >= self.ends_utc - RENEW or now_utc < self.begins_utc


def own_certificate(path: Path, names: tuple[str, ...], now_utc: datetime) -> Certificate:
    """This node's own certificate; made, or made anew, where that is needed.

    Args:
        path: one file, 0600, with key and certificate: they cannot come apart.
        names: host names and addresses that it is for.
        now_utc: the time.

    Raises:
        NoSpaceError, UnwritableError: it cannot be kept.
    """
    try:
        text, _ = _read(path)
        found = _parse(path, text, text)
        if not found.needs_renewal(now_utc) and _names(found) >= set(names):
            return found
        log.info("the page gets another certificate: the one it has ends, begins later, or is for other names")
    except FileNotFoundError:
        log.info("the page gets its first certificate")
    except TlsError as error:
        log.warning("the page gets another certificate: %s", error.message)
    text = _made(names, now_utc)
    with writing(path, "the page's certificate"):
        path.parent.mkdir(mode=0o700, exist_ok=True)
        durable.write(path, text)
    return _parse(path, text, text)


def kept_certificate(path: Path) -> Certificate:
    """This node's own certificate as it is; none is made.

    Raises:
        TlsError: there is none yet, or it cannot be read.
    """
    try:
        text, _ = _read(path)
    except FileNotFoundError as error:
        raise TlsError(path, "it was not made yet", "start `syncsrv serve`, which makes it") from error
    return _parse(path, text, text)


def certificate_of_files(files: TlsFiles) -> Certificate:
    """The certificate that node.yaml names.

    Raises:
        TlsError: a file cannot be read or is none, others can read the key, or the two do not belong together.
    """
    chain, _ = _read_named(files.cert)
    key, mode = _read_named(files.key)
    if mode & 0o007:
        raise TlsError(files.key, "everybody on this machine can read or change the key", f"chmod 600 {files.key}")
    found = _parse(files.cert, chain, key, files.key)
    said = f"the group of {files.key} can read the key of the page" if mode & 0o070 else ""
    return replace(found, path=files.cert, said=said)


def _read_named(path: Path) -> tuple[bytes, int]:
    try:
        return _read(path)
    except FileNotFoundError as error:
        raise TlsError(path, "there is no such file") from error


def _read(path: Path) -> tuple[bytes, int]:
    """Content and permissions."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise TlsError(path, (error.strerror or str(error)).lower()) from error
    try:
        kind = os.fstat(handle)
        if not stat.S_ISREG(kind.st_mode):
            raise TlsError(path, "it is no file")
        if kind.st_size > LARGEST:
            raise TlsError(path, "it is larger than any certificate")
        return os.read(handle, LARGEST), stat.S_IMODE(kind.st_mode)
    except OSError as error:
        raise TlsError(path, (error.strerror or str(error)).lower()) from error
    finally:
        os.close(handle)


def _parse(path: Path, chain: bytes, key: bytes, key_path: Path | None = None) -> Certificate:
    """Both, understood and tried as the server will use them."""
    key_path = key_path or path
    try:
        certificates = x509.load_pem_x509_certificates(chain)
    except ValueError as error:
        raise TlsError(path, "it holds no certificate in PEM") from error
    try:
        private = serialization.load_pem_private_key(key, None)
    except TypeError as error:
        raise TlsError(key_path, "the key is protected by a passphrase, which nobody could type") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise TlsError(key_path, "it holds no private key in PEM") from error
    own = certificates[0]
    if _public(own.public_key()) != _public(private.public_key()):
        raise TlsError(path, f"it does not belong to the key {key_path}: its first certificate is of another one")
    found = Certificate(
        "".join(one.public_bytes(serialization.Encoding.PEM).decode() for one in certificates),
        _private(private),
        own.not_valid_before_utc,
        own.not_valid_after_utc,
    )
    _try(path, found)
    return found


def _public(key: object) -> bytes:
    raw: bytes = key.public_bytes(  # type: ignore[attr-defined]  # every kind of public key has it
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return raw


def _private(key: object) -> str:
    raw: bytes = key.private_bytes(  # type: ignore[attr-defined]  # every kind of private key has it
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return raw.decode()


def _try(path: Path, found: Certificate) -> None:
    """OpenSSL has the last word: it refuses keys that are too short, and kinds that TLS does not know."""
    memory = os.memfd_create("certificate", os.MFD_CLOEXEC)
    try:
        os.write(memory, (found.key + found.chain).encode())
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(f"/proc/self/fd/{memory}")
    except ssl.SSLError as error:
        raise TlsError(
            path, f"OpenSSL refuses it ({(error.reason or str(error)).replace('_', ' ').lower()})"
        ) from error
    finally:
        os.close(memory)


def _made(names: tuple[str, ...], now_utc: datetime) -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
    usage = x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
    signer: CertificateIssuerPrivateKeyTypes = key
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now_utc - SLACK)
        .not_valid_after(now_utc - SLACK + LASTS)
        .add_extension(x509.SubjectAlternativeName([_general(one) for one in names]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(signer, hashes.SHA256())
    )
    return _private(key).encode() + certificate.public_bytes(serialization.Encoding.PEM)


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _names(found: Certificate) -> set[str]:
    own = x509.load_pem_x509_certificate(found.chain.encode())
    try:
        listed = own.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return set()
    return {str(one.value) for one in listed}


def _first(chain: str) -> str:
    end = "-----END CERTIFICATE-----"
    return chain[: chain.index(end) + len(end)]
