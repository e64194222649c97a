"""Stock Git and OpenSSH beside our store: what they say of it is what counts."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

from syncsrv.store.repo import Store
from syncsrv.store.signing import Signer

ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/nonexistent",
    "LC_ALL": "C.UTF-8",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_AUTHOR_NAME": "Eve",
    "GIT_AUTHOR_EMAIL": "eve@example.com",
    "GIT_COMMITTER_NAME": "Eve",
    "GIT_COMMITTER_EMAIL": "eve@example.com",
}


def run(*argv: str | Path, stdin: bytes | None = None, check: bool = True) -> subprocess.CompletedProcess[bytes]:
    done = subprocess.run(
        [str(word) for word in argv], input=stdin, env=ENVIRONMENT, capture_output=True, timeout=60, check=False
    )
    if check and done.returncode != 0:
        raise AssertionError(f"{argv} ended with {done.returncode}: {done.stdout!r} {done.stderr!r}")
    return done


def git(repository: Path, *arguments: str | Path, stdin: bytes | None = None, check: bool = True) -> bytes:
    done = run("git", "-c", "safe.directory=*", "-C", repository, *arguments, stdin=stdin, check=check)
    return done.stdout


def assert_clean(store: Store) -> None:
    """What ``git fsck --strict`` says: nothing but of objects that nothing refers to."""
    done = run("git", "-c", "safe.directory=*", "-C", store.path, "fsck", "--strict", "--full", check=False)
    said = [
        line for line in (done.stdout + done.stderr).splitlines() if not line.startswith((b"dangling ", b"notice: "))
    ]
    assert (done.returncode, said) == (0, [])


def allow(folder: Path, signers: Sequence[Signer]) -> str:
    """The option that makes Git know these keys."""
    path = folder / "allowed_signers"
    path.write_text("".join(f"node{n}@example.com {signer.public_line}\n" for n, signer in enumerate(signers)))
    return f"gpg.ssh.allowedSignersFile={path}"
