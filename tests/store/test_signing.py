from __future__ import annotations

import base64
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncsrv.store.signing import (
    BadSignatureError,
    KeyFileError,
    PublicKeyError,
    Signer,
    fingerprint,
    generate_key,
    parse_public_line,
    verify_raw,
    verify_sshsig,
)
from tests.store import stock


def test_openssh_accepts_what_we_sign(signer: Signer, tmp_path: Path) -> None:
    (tmp_path / "allowed").write_text(f"fw1@example.com {signer.public_line}\n")
    (tmp_path / "sig").write_bytes(signer.sshsig(b"some data", "git"))
    check = ("ssh-keygen", "-Y", "verify", "-f", tmp_path / "allowed", "-I", "fw1@example.com", "-n", "git")
    stock.run(*check, "-s", tmp_path / "sig", stdin=b"some data")
    assert stock.run(*check, "-s", tmp_path / "sig", stdin=b"some datum", check=False).returncode != 0


@pytest.mark.parametrize("hash_name", ["sha256", "sha512"])
def test_we_accept_what_openssh_signs(signer: Signer, tmp_path: Path, hash_name: str) -> None:
    (tmp_path / "data").write_bytes(b"some data")
    stock.run(
        "ssh-keygen", "-Y", "sign", "-O", f"hashalg={hash_name}", "-f", tmp_path / "key", "-n", "git", tmp_path / "data"
    )
    armored = (tmp_path / "data.sig").read_bytes()
    assert verify_sshsig(armored, b"some data", "git") == signer.public_blob
    with pytest.raises(BadSignatureError, match="does not belong"):
        verify_sshsig(armored, b"some datum", "git")
    with pytest.raises(BadSignatureError, match="namespace"):
        verify_sshsig(armored, b"some data", "file")


def test_our_key_file_is_openssh_s_and_its_line_and_fingerprint_too(signer: Signer, tmp_path: Path) -> None:
    assert (tmp_path / "key").stat().st_mode & 0o777 == 0o600
    line = stock.run("ssh-keygen", "-y", "-f", tmp_path / "key").stdout.decode().split()
    assert line[:2] == signer.public_line.split()[:2]
    assert signer.public_line.endswith(" syncsrv-fw1")
    (tmp_path / "key.pub").write_text(signer.public_line + "\n")
    assert stock.run("ssh-keygen", "-lf", tmp_path / "key.pub").stdout.decode().split()[1] == fingerprint(
        signer.public_blob
    )
    assert parse_public_line(signer.public_line + "\n") == signer.public_blob


def test_a_key_made_by_openssh_loads(tmp_path: Path) -> None:
    stock.run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "k")
    signer = Signer.load(tmp_path / "k", "x")
    assert verify_raw(signer.public_blob, signer.sign_raw(b"hash"), b"hash")
    assert not verify_raw(signer.public_blob, signer.sign_raw(b"hash"), b"cash")
    assert not verify_raw(b"nonsense", signer.sign_raw(b"hash"), b"hash")


def test_keys_that_are_refused(tmp_path: Path) -> None:
    generate_key(tmp_path / "open")
    (tmp_path / "open").chmod(0o640)
    stock.run("ssh-keygen", "-q", "-t", "ed25519", "-N", "words", "-f", tmp_path / "locked")
    stock.run("ssh-keygen", "-q", "-t", "ecdsa", "-N", "", "-f", tmp_path / "ecdsa")
    (tmp_path / "text").touch(mode=0o600)
    (tmp_path / "folder").mkdir(mode=0o700)
    for name, why in [
        ("open", "others can read it"),
        ("locked", "without a passphrase"),
        ("ecdsa", "not an Ed25519 key"),
        ("text", "no OpenSSH private key"),
        ("missing", "No such file"),
        ("folder", "not a file"),
    ]:
        with pytest.raises(KeyFileError, match=why) as caught:
            Signer.load(tmp_path / name)
        assert caught.value.remedy
    with pytest.raises(KeyFileError, match="exists already"):
        generate_key(tmp_path / "open")
    with pytest.raises(KeyFileError, match="No such file"):
        generate_key(tmp_path / "none" / "key")


@pytest.mark.parametrize(
    "line",
    [
        "",
        "ssh-ed25519",
        "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAgQ== x",
        "ssh-ed25519 !!!! x",
        "ssh-ed25519 " + base64.b64encode(b"\0\0\0\x0bssh-ed25519\0\0\0\x20short").decode(),
        "ssh-ed25519 AAAA\nssh-ed25519 AAAA",
    ],
)
def test_lines_that_are_no_key(line: str) -> None:
    with pytest.raises(PublicKeyError):
        parse_public_line(line)


def _fixed() -> Signer:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    return Signer(Ed25519PrivateKey.from_private_bytes(bytes(range(32))), "fixed")


SIGNED = _fixed().sshsig(b"data", "git")
RAW = base64.b64decode(b"".join(SIGNED.split(b"\n")[1:-2]))


def _armor(raw: bytes) -> bytes:
    return b"-----BEGIN SSH SIGNATURE-----\n" + base64.b64encode(raw) + b"\n-----END SSH SIGNATURE-----\n"


@given(st.integers(0, len(RAW) * 8 - 1))
def test_every_bit_of_a_signature_counts(bit: int) -> None:
    changed = bytearray(RAW)
    changed[bit // 8] ^= 1 << bit % 8
    with pytest.raises(BadSignatureError):
        verify_sshsig(_armor(bytes(changed)), b"data", "git")


@given(st.integers(0, len(RAW) - 1), st.binary(max_size=3))
def test_a_cut_or_longer_signature_is_none(cut: int, more: bytes) -> None:
    with pytest.raises(BadSignatureError):
        verify_sshsig(_armor(RAW[:cut]), b"data", "git")
    if more:
        with pytest.raises(BadSignatureError):
            verify_sshsig(_armor(RAW + more), b"data", "git")


@given(st.binary(max_size=300))
def test_noise_is_no_signature(noise: bytes) -> None:
    for text in (noise, _armor(noise), SIGNED[:40] + noise, b"x" * 20000):
        with pytest.raises(BadSignatureError):
            verify_sshsig(text, b"data", "git")
