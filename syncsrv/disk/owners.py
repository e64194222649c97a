"""Users and groups of this node: numbers for writing, names for reading.

A name decides, since two hosts number their daemons differently; the number counts only for an entry without a name.
Answers are kept until ``forget``, which each job begins with: a directory service may be asked over the network.
"""

from __future__ import annotations

import grp
import pwd
from collections.abc import Mapping
from dataclasses import replace

from syncsrv.disk.file_errors import ForbiddenEntryError, UnknownOwnerError
from syncsrv.plan.tree import Entry, Owner
from syncsrv.watch import reading

_NO_ID = 2**32 - 1


class Owners:
    """The user database of this host, as asked so far."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Ask anew from here on."""
        self._names = reading.Owners()
        self._uids: dict[str, int] = {}
        self._gids: dict[str, int] = {}

    def user(self, uid: int) -> Owner:
        """The owner that a uid is here; without a name where it has none."""
        return self._names.user(uid)

    def group(self, gid: int) -> Owner:
        """The group that a gid is here; without a name where it has none."""
        return self._names.group(gid)

    def numbers(self, path: bytes, entry: Entry, *, restoring: bool = False) -> tuple[int, int]:
        """The uid and gid that an entry gets on this node.

        Args:
            path: for the error.
            entry: what is to be written.
            restoring: the entry was read on this node, so where a name has gone meanwhile its number still holds.

        Raises:
            UnknownOwnerError: this node has no such user or group.
            ForbiddenEntryError: a number that is none; -1 would mean "leave as it is" to the kernel.
        """
        uid = self._uid(entry.user)
        gid = self._gid(entry.group)
        if restoring:
            uid = entry.user.number if uid is None else uid
            gid = entry.group.number if gid is None else gid
        if uid is None:
            raise UnknownOwnerError(path, entry.user.name, "user")
        if gid is None:
            raise UnknownOwnerError(path, entry.group.name, "group")
        for number in (uid, gid):
            if not 0 <= number < _NO_ID:
                raise ForbiddenEntryError(path, f"{number} is not the number of a user or group")
        return uid, gid

    def unknown(self, entries: Mapping[bytes, Entry]) -> list[UnknownOwnerError]:
        """Every user and group that entries need and this node lacks, each once, with the first path that needs it."""
        found: dict[tuple[str, str], UnknownOwnerError] = {}
        for path, entry in sorted(entries.items()):
            if self._uid(entry.user) is None:
                found.setdefault(("user", entry.user.name), UnknownOwnerError(path, entry.user.name, "user"))
            if self._gid(entry.group) is None:
                found.setdefault(("group", entry.group.name), UnknownOwnerError(path, entry.group.name, "group"))
        return list(found.values())

    def as_here(self, entry: Entry, *, restoring: bool = False) -> Entry:
        """The entry as it reads back once written here.

        A bare number that has a name on this node gets that name, and of two names for one number the first counts.

        Args:
            entry: what is, or will be, written.
            restoring: see ``numbers``.
        """
        uid, gid = self._uid(entry.user), self._gid(entry.group)
        if restoring:
            uid = entry.user.number if uid is None else uid
            gid = entry.group.number if gid is None else gid
        user = entry.user if uid is None else self.user(uid)
        group = entry.group if gid is None else self.group(gid)
        if user == entry.user and group == entry.group:
            return entry
        return replace(entry, user=user, group=group)

    def _uid(self, owner: Owner) -> int | None:
        if not owner.name:
            return owner.number
        if owner.name not in self._uids:
            try:
                self._uids[owner.name] = pwd.getpwnam(owner.name).pw_uid
            except (KeyError, ValueError):  # ValueError: a name that no database can hold, such as one with a NUL
                return None
        return self._uids[owner.name]

    def _gid(self, owner: Owner) -> int | None:
        if not owner.name:
            return owner.number
        if owner.name not in self._gids:
            try:
                self._gids[owner.name] = grp.getgrnam(owner.name).gr_gid
            except (KeyError, ValueError):  # ValueError: a name that no database can hold, such as one with a NUL
                return None
        return self._gids[owner.name]


def unknown_owners(entries: Mapping[bytes, Entry]) -> list[UnknownOwnerError]:
    """The preflight: every user and group that these entries need and this node lacks."""
    return Owners().unknown(entries)
