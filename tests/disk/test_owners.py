"""Names decide, numbers count only where there is no name."""

from __future__ import annotations

import grp
import os
import pwd
from dataclasses import replace

import pytest

from syncsrv.disk.file_errors import ForbiddenEntryError, UnknownOwnerError
from syncsrv.disk.owners import Owners, unknown_owners
from syncsrv.plan.tree import ROOT, Entry, Kind, Owner

FILE = Entry(Kind.FILE, 0o644)
DAEMON = pwd.getpwnam("daemon").pw_uid
DAEMON_GROUP = grp.getgrnam("daemon").gr_gid
FREE = next(number for number in range(40_000, 60_000) if Owners().user(number).name == "")


def test_a_name_gets_the_number_that_it_has_here() -> None:
    entry = replace(FILE, user=Owner("daemon", 999), group=Owner("daemon", 998))
    assert Owners().numbers(b"f", entry) == (DAEMON, DAEMON_GROUP)


def test_a_bare_number_stays_and_reads_back_as_what_it_is_here() -> None:
    owners = Owners()
    entry = replace(FILE, user=Owner("", DAEMON), group=Owner("", FREE))
    assert owners.numbers(b"f", entry) == (DAEMON, FREE)
    assert owners.as_here(entry) == replace(FILE, user=Owner("daemon", DAEMON), group=Owner("", FREE))
    assert owners.as_here(FILE) is FILE


@pytest.mark.parametrize("name", ["no-such-one", "a\0b", "\udcff", "x" * 5000])
def test_a_name_that_is_not_here_is_an_error_unless_this_node_had_it(name: str) -> None:
    owners = Owners()
    user, group = replace(FILE, user=Owner(name, 1234)), replace(FILE, group=Owner(name, 1234))
    with pytest.raises(UnknownOwnerError) as caught:
        owners.numbers(b"f", user)
    assert (caught.value.path, caught.value.name, caught.value.kind) == (b"f", name, "user")
    with pytest.raises(UnknownOwnerError) as caught:
        owners.numbers(b"f", group)
    assert caught.value.kind == "group"
    assert owners.numbers(b"f", user, restoring=True) == (1234, 0)
    assert owners.as_here(user) == user


def test_all_that_are_missing_are_listed_once_with_the_first_path() -> None:
    ghost, host = Owner("ghost", 1), Owner("no-host", 2)
    entries = {
        b"z": replace(FILE, user=ghost),
        b"a": replace(FILE, user=ghost, group=host),
        b"k": replace(FILE, group=ghost),
        b"ok": FILE,
    }
    found = [(error.path, error.kind, error.name) for error in unknown_owners(entries)]
    assert found == [(b"a", "user", "ghost"), (b"a", "group", "no-host"), (b"k", "group", "ghost")]
    assert unknown_owners({b"f": replace(FILE, user=ROOT)}) == []


@pytest.mark.parametrize("number", [-1, 2**32 - 1, 2**64])
def test_a_number_that_means_something_else_to_the_kernel_is_refused(number: int) -> None:
    with pytest.raises(ForbiddenEntryError, match="not the number of a user or group"):
        Owners().numbers(b"f", replace(FILE, user=Owner("", number)))


def test_it_can_be_asked_anew() -> None:
    owners = Owners()
    assert owners.user(os.geteuid()) == owners.user(os.geteuid())
    owners.forget()
    assert owners.numbers(b"f", FILE) == (0, 0)
