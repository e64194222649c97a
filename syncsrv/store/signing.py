"""Ed25519 keys and signatures: raw ones for SSH handshakes, SSHSIG ones for tags and commits.

The only module that knows cryptography's signing half. SSHSIG is OpenSSH's PROTOCOL.sshsig; what is made here is
accepted by stock ``git verify-tag`` and ``ssh-keygen -Y verify``. Everything fails closed: whatever is not exactly a
good signature raises.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import stat
import struct
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from syncsrv import durable
from syncsrv.errors import SyncsrvError

NAMESPACE = "git"
"""The namespace that Git signs tags and commits under."""

_KEY_TYPE = b"ssh-ed25519"
_MAGIC = b"SSHSIG"
_HASHES = {b"sha256": hashlib.sha256, b"sha512": hashlib.sha512}
_BEGIN = b"-----BEGIN SSH SIGNATURE-----"
_END = b"-----END SSH SIGNATURE-----"
_MAX_ARMORED = 16 * 1024
_MAX_KEY_FILE = 64 * 1024


class BadSignatureError(SyncsrvError):
    """A signature is not one, is of a kind that is not accepted, or does not belong to the data."""

    code = "bad-signature"

    def __init__(self, why: str) -> None:
        super().__init__(f"cannot accept the signature: {why}")
        self.why = why


class KeyFileError(SyncsrvError):
    """A private key file cannot be used."""

    code = "key-file"

    def __init__(self, path: Path, why: str, remedy: str) -> None:
        super().__init__(f"cannot use the key {path}: {why}", remedy)
        self.path = path


class PublicKeyError(SyncsrvError):
    """A text is not one line of an Ed25519 public key."""

    code = "public-key"
    exit_status = 2

    def __init__(self, why: str) -> None:
        super().__init__(
            f"cannot read the public key: {why}", "give one line that begins with ssh-ed25519, as `syncsrv key` prints"
        )


def generate_key(path: Path) -> None:
    """Make a new key in OpenSSH's format, mode 0600.

    Raises:
        KeyFileError: the file exists already, or cannot be written.
    """
    if path.exists() or path.is_symlink():
        raise KeyFileError(path, "it exists already", "keep it, or move it away if peers shall pin a new key")
    text = Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    )
    try:
        durable.write(path, text)
    except OSError as error:
        raise KeyFileError(path, error.strerror or str(error), "make its directory writable for this user") from error


class Signer:
    """A private key that never leaves this object.

    Args:
        key: the key.
        comment: what stands behind the key in its public line, ``syncsrv-NODE``.
    """

    def __init__(self, key: Ed25519PrivateKey, comment: str) -> None:
        self._key = key
        self.public_blob = _blob(key.public_key())
        self.fingerprint = fingerprint(self.public_blob)
        self.public_line = f"{_KEY_TYPE.decode()} {base64.b64encode(self.public_blob).decode()} {comment}"

    @classmethod
    def load(cls, path: Path, comment: str = "syncsrv") -> Signer:
        """Read an OpenSSH private key.

        Raises:
            KeyFileError: it is missing, readable by others, has a passphrase, or is no Ed25519 key.
        """
        try:
            key = serialization.load_ssh_private_key(_secret_bytes(path), password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise KeyFileError(
                path,
                f"it is no OpenSSH private key without a passphrase ({error})",
                "make one with `syncsrv init`, or with `ssh-keygen -t ed25519 -N ''`",
            ) from error
        if not isinstance(key, Ed25519PrivateKey):
            raise KeyFileError(path, "it is not an Ed25519 key", "make one with `ssh-keygen -t ed25519 -N ''`")
        return cls(key, comment)

    def sign_raw(self, data: bytes) -> bytes:
        """The 64 bytes of an Ed25519 signature over ``data`` as it is. The caller decides what may be signed."""
        return self._key.sign(data)

    def sshsig(self, data: bytes, namespace: str = NAMESPACE) -> bytes:
        """An armored SSH signature, as ``ssh-keygen -Y sign -n NAMESPACE`` makes."""
        name = namespace.encode()
        signature = self._key.sign(_to_be_signed(data, name, b"sha512"))
        blob = b"".join(
            (
                _MAGIC,
                struct.pack(">I", 1),
                _string(self.public_blob),
                _string(name),
                _string(b""),
                _string(b"sha512"),
                _string(_string(_KEY_TYPE) + _string(signature)),
            )
        )
        text = base64.b64encode(blob)
        lines = [text[at : at + 70] for at in range(0, len(text), 70)]
        return b"\n".join((_BEGIN, *lines, _END, b""))


def verify_raw(public_blob: bytes, signature: bytes, data: bytes) -> bool:
    """Whether ``signature`` (64 bytes) over ``data`` was made with the key of ``public_blob``."""
    try:
        _public_key(public_blob).verify(signature, data)
    except (BadSignatureError, InvalidSignature):
        return False
    return True


def verify_sshsig(armored: bytes, data: bytes, namespace: str = NAMESPACE) -> bytes:
    """Check an armored SSH signature over ``data``.

    Returns:
        The public key blob that made it. Whether that key is trusted is the caller's to decide.

    Raises:
        BadSignatureError: it is anything but a good Ed25519 signature under this namespace.
    """
    reader = _Reader(_dearmor(armored))
    if reader.take(len(_MAGIC)) != _MAGIC or reader.take(4) != struct.pack(">I", 1):
        raise BadSignatureError("it is not an SSH signature of version 1")
    public_blob = reader.string()
    if reader.string() != namespace.encode():
        raise BadSignatureError(f"it was not made for the namespace {namespace}")
    if reader.string():
        raise BadSignatureError("its reserved field is not empty")
    hash_name = reader.string()
    if hash_name not in _HASHES:
        raise BadSignatureError("its hash is neither sha512 nor sha256")
    inner = _Reader(reader.string())
    reader.end()
    if inner.string() != _KEY_TYPE:
        raise BadSignatureError("it is not an Ed25519 signature")
    signature = inner.string()
    inner.end()
    try:
        _public_key(public_blob).verify(signature, _to_be_signed(data, namespace.encode(), hash_name))
    except InvalidSignature as error:
        raise BadSignatureError("it does not belong to this content") from error
    return public_blob


def parse_public_line(text: str) -> bytes:
    """The key blob of one ``ssh-ed25519 AAAA… [comment]`` line.

    Raises:
        PublicKeyError: it is not one.
    """
    parts = text.strip().split(maxsplit=2)
    if len(parts) < 2 or "\n" in text.strip():
        raise PublicKeyError("it is not one line of type, key and comment")
    if parts[0] != _KEY_TYPE.decode():
        raise PublicKeyError(f"its type is {parts[0][:40]!r}, only ssh-ed25519 is used")
    try:
        blob = base64.b64decode(parts[1], validate=True)
        _public_key(blob)
    except (binascii.Error, ValueError, BadSignatureError) as error:
        raise PublicKeyError("what follows the type is not an Ed25519 key") from error
    return blob


def fingerprint(public_blob: bytes) -> str:
    """``SHA256:…`` as ``ssh-keygen -l`` prints it."""
    return "SHA256:" + base64.b64encode(hashlib.sha256(public_blob).digest()).decode().rstrip("=")


def _secret_bytes(path: Path) -> bytes:
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise KeyFileError(path, error.strerror or str(error), "make the key with `syncsrv init`") from error
    try:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            raise KeyFileError(path, "it is not a file", "make the key with `syncsrv init`")
        if status.st_mode & 0o077:
            raise KeyFileError(
                path,
                f"others can read it (mode {stat.S_IMODE(status.st_mode):04o})",
                f"`chmod 600 {path}`, and consider whether somebody has read it",
            )
        return os.read(handle, _MAX_KEY_FILE)
    finally:
        os.close(handle)


def _blob(key: Ed25519PublicKey) -> bytes:
    raw = key.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    return _string(_KEY_TYPE) + _string(raw)


def _public_key(blob: bytes) -> Ed25519PublicKey:
    reader = _Reader(blob)
    if reader.string() != _KEY_TYPE:
        raise BadSignatureError("its key is not an Ed25519 key")
    raw = reader.string()
    reader.end()
    try:
        return Ed25519PublicKey.from_public_bytes(raw)
    except ValueError as error:
        raise BadSignatureError("its key has the wrong length") from error


def _to_be_signed(data: bytes, namespace: bytes, hash_name: bytes) -> bytes:
    digest = _HASHES[hash_name](data).digest()
    return _MAGIC + _string(namespace) + _string(b"") + _string(hash_name) + _string(digest)


def _dearmor(armored: bytes) -> bytes:
    if len(armored) > _MAX_ARMORED:
        raise BadSignatureError("it is too long")
    lines = armored.strip().splitlines()
    if len(lines) < 3 or lines[0] != _BEGIN or lines[-1] != _END:
        raise BadSignatureError("it is not an armored SSH signature")
    try:
        return base64.b64decode(b"".join(lines[1:-1]), validate=True)
    except binascii.Error as error:
        raise BadSignatureError("its armor is damaged") from error


def _string(data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + data


class _Reader:
    """SSH's wire strings, one after the other."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def take(self, count: int) -> bytes:
        taken = self._data[self._at : self._at + count]
        if len(taken) != count:
            raise BadSignatureError("it ends early")
        self._at += count
        return taken

    def string(self) -> bytes:
        return self.take(int.from_bytes(self.take(4), "big"))

    def end(self) -> None:
        if self._at != len(self._data):
            raise BadSignatureError("something follows where it should end")
