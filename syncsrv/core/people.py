"""Who may do what: users with a role, a password hash, SSH keys and tokens (DESIGN 4.6).

``state_dir/people.json``, 0600, written durably. Passwords are kept as argon2 hashes, tokens as SHA-256 digests. A
backup takes its master's people over (never tokens); what was made here by ``init`` or on this node stays.
Nobody asks twice: each call sees the users as they are now, so what changes holds at once.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
import secrets
import threading
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from syncsrv import durable
from syncsrv.config.model import Power
from syncsrv.control.errors import SlowDownError
from syncsrv.control.shapes_people import PersonRecord, UserInfo
from syncsrv.core.passwords import SHORTEST, Passwords
from syncsrv.errors import DamagedError, SyncsrvError, UsageError
from syncsrv.store.files import writing
from syncsrv.store.signing import parse_public_line

ADMIN = "admin"
"""The user that init makes on each node; never overwritten, never sent."""

log = logging.getLogger(__name__)

_NAME = re.compile(r"[a-z_][a-z0-9_.-]{0,31}")


class UnknownUserError(UsageError):
    """No user of that name."""

    code = "unknown-user"

    def __init__(self, name: str) -> None:
        super().__init__(f"cannot find user {name}: there is none", "`syncsrv user list` shows them")


@dataclass(frozen=True, slots=True)
class User:
    """A person.

    Attributes:
        name: login name.
        role: viewer, operator or admin.
        password_hash: argon2, empty where no password is set.
        keys: OpenSSH public lines.
        tokens: SHA-256 of API tokens; never leave this node.
        local: made on this node; a master's people never replace it.
    """

    name: str
    role: Power
    password_hash: str = ""
    keys: tuple[str, ...] = ()
    tokens: tuple[str, ...] = ()
    local: bool = True

    @property
    def stamp(self) -> str:
        """Of the password: another one for another password."""
        return hashlib.sha256(self.password_hash.encode()).hexdigest()

    def record(self) -> PersonRecord:
        return PersonRecord(self.name, self.role.value, self.password_hash, self.keys)


@dataclass(frozen=True, slots=True)
class Checked:
    """Whose password it was; ``former_stamp`` where the same password is kept in another form from now on."""

    user: User
    former_stamp: str = ""


class LastAdminError(UsageError):
    """Nobody could manage users on the page any more."""

    code = "last-admin"

    def __init__(self, what: str, name: str) -> None:
        super().__init__(f"cannot {what} {name}: no other user made on this node is admin", "make another admin first")


class People:
    """The users of this node.

    Args:
        state_dir: where the file is.
        passwords: how passwords are hashed.
    """

    def __init__(self, state_dir: Path, passwords: Passwords | None = None) -> None:
        self._path = state_dir / "people.json"
        self._passwords = passwords or Passwords()
        self._lock = threading.Lock()
        self._users = self._load()

    def listed(self) -> tuple[UserInfo, ...]:
        """As shown to admins."""
        return tuple(
            UserInfo(user.name, user.role.value, user.keys, bool(user.password_hash), len(user.tokens), user.local)
            for user in self._sorted()
        )

    def add(self, name: str, role: str, password: str | None, ssh_key: str | None) -> None:
        """Make a user, or give an existing one another role, password or one more key.

        Raises:
            UsageError: a name, role or key that is none, a password that is too short.
            LastAdminError: it would take the role from the only admin.
        """
        if not _NAME.fullmatch(name):
            raise UsageError(f"cannot add user {name!r}: not a login name", "use lower-case letters, digits, . _ -")
        if role not in {power.value for power in Power}:
            raise UsageError(f"cannot add user {name}: {role!r} is no role", "use viewer, operator or admin")
        password_hash = self._passwords.hash(password) if password is not None else None
        with self._lock:
            user = self._users.get(name, User(name, Power(role)))
            if role != Power.ADMIN:
                self._keep_an_admin(user, "take the role admin from")
            user = replace(user, role=Power(role), local=True)
            if password_hash is not None:
                user = replace(user, password_hash=password_hash)
            if ssh_key is not None:
                parse_public_line(ssh_key)
                user = replace(user, keys=tuple(dict.fromkeys((*user.keys, ssh_key.strip()))))
            self._save({**self._users, name: user})

    def remove(self, name: str) -> None:
        """Remove a user with keys and tokens.

        Raises:
            UsageError: there is none, or it is the master's.
            LastAdminError: it is the only admin.
        """
        with self._lock:
            self._keep_an_admin(self._own(name, "remove"), "remove")
            self._save({other: user for other, user in self._users.items() if other != name})

    def set_password(self, name: str, password: str) -> None:
        """Give a user another password.

        Raises:
            UsageError: no such user, the password is too short, or the user is the master's.
        """
        with self._lock:
            self._own(name, "set the password of")
        password_hash = self._passwords.hash(password)
        with self._lock:
            user = self._own(name, "set the password of")
            self._save({**self._users, name: replace(user, password_hash=password_hash)})

    def find(self, name: str) -> User | None:
        """The user of that name."""
        with self._lock:
            return self._users.get(name)

    def check(self, name: str, password: str, *, known: bool = False) -> Checked | None:
        """The user whose name and password these are; a name that is none costs the same time.

        Args:
            name: as it was typed.
            password: likewise.
            known: whether somebody logged in from there before.

        Raises:
            SlowDownError: too many passwords are being looked at.
        """
        user = self.find(name)
        kept = user.password_hash if user is not None else ""
        if not self._passwords.matches(kept, password, known=known):
            return None
        renewed = kept
        if user is not None and user.local and self._passwords.outdated(kept) and len(password) >= SHORTEST:
            try:
                renewed = self._passwords.hash(password)
            except SlowDownError:  # another time
                log.debug("the password of %s is not hashed anew: too many are at work", name)
        with self._lock:
            now = self._users.get(name)
            if now is None or now.password_hash != kept:  # removed, or another password, while this one was looked at
                return None
            if renewed == kept:
                return Checked(now)
            fresh = replace(now, password_hash=renewed)
            try:
                self._save({**self._users, name: fresh})
            except SyncsrvError as error:  # the old form is good too
                log.warning("%s", error)
                return Checked(now)
            return Checked(fresh, now.stamp)

    def new_token(self, name: str) -> str:
        """A token for the API, shown once."""
        token = secrets.token_urlsafe(32)
        digest = hashlib.sha256(token.encode()).hexdigest()
        with self._lock:
            user = self._get(name)
            self._save({**self._users, name: replace(user, tokens=(*user.tokens, digest))})
        return token

    def revoke_tokens(self, name: str) -> None:
        """No token of a user is good any more.

        Raises:
            UsageError: there is no such user.
        """
        with self._lock:
            user = self._get(name)
            self._save({**self._users, name: replace(user, tokens=())})

    def by_token(self, token: str) -> User | None:
        """The user whose token this is."""
        digest = hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()
        with self._lock:
            return next((user for user in self._users.values() if digest in user.tokens), None)

    def by_key(self, blob: bytes) -> tuple[str, Power] | None:
        """The person whom an SSH key belongs to."""
        for user in self._sorted():
            if any(parse_public_line(line) == blob for line in user.keys):
                return user.name, user.role
        return None

    def keys(self) -> dict[bytes, tuple[str, Power]]:
        """Every listed key with its person."""
        return {parse_public_line(line): (user.name, user.role) for user in self._sorted() for line in user.keys}

    def shared(self) -> tuple[PersonRecord, ...]:
        """Whom a backup may take over: everybody without tokens, but for the admin that each node has of its own."""
        return tuple(user.record() for user in self._sorted() if user.name != ADMIN)

    def digest(self) -> str:
        """Changes when ``shared`` does."""
        text = json.dumps([asdict(one) for one in self.shared()], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def take_over(self, people: tuple[PersonRecord, ...], most: Power) -> None:
        """Become the master's list, but for those who were made here.

        Args:
            people: the master's.
            most: what the master may have done here; nobody whom it sends may more.

        Raises:
            UsageError: a record is none; nothing is taken over then.
        """
        with self._lock:
            users = {name: user for name, user in self._users.items() if user.local}
            for one in people:
                before = self._users.get(one.name)
                taken = _checked(one, most, before.tokens if before else ())
                users.setdefault(one.name, taken)
            if users != self._users:
                self._save(users)

    def _sorted(self) -> list[User]:
        with self._lock:
            return [self._users[name] for name in sorted(self._users)]

    def _get(self, name: str) -> User:
        user = self._users.get(name)
        if user is None:
            raise UnknownUserError(name)
        return user

    def _own(self, name: str, what: str) -> User:
        """A user of this node: what came from the master would come again."""
        user = self._get(name)
        if not user.local:
            raise UsageError(
                f"cannot {what} {name} here: the user comes from the master",
                "do it on the master; this node follows within seconds (`users: local` in node.yaml ends that)",
            )
        return user

    def _keep_an_admin(self, user: User, what: str) -> None:
        """Refuse to lose the last admin of this node's own; what the master sends, it may take away again."""
        others = [
            one for one in self._users.values() if one.local and one.role is Power.ADMIN and one.name != user.name
        ]
        if user.local and user.role is Power.ADMIN and user.name in self._users and not others:
            raise LastAdminError(what, user.name)

    def _save(self, users: dict[str, User]) -> None:
        raw = [asdict(users[name]) for name in sorted(users)]
        with writing(self._path, "the users"):
            durable.write(self._path, json.dumps(raw, indent=1).encode() + b"\n")
        self._users = users

    def _load(self) -> dict[str, User]:
        try:
            text = self._path.read_bytes()
        except FileNotFoundError:
            return {}
        try:
            raw = [
                User(**{**one, "role": Power(one["role"]), "keys": tuple(one["keys"]), "tokens": tuple(one["tokens"])})
                for one in json.loads(text)
            ]
        except (ValueError, TypeError, KeyError) as error:
            raise DamagedError(
                f"cannot read {self._path}: it is not what syncsrv writes there ({error})",
                "restore it from a backup, or remove it and add the users again",
            ) from error
        return {user.name: user for user in raw}


def _checked(one: PersonRecord, most: Power, tokens: tuple[str, ...]) -> User:
    if not _NAME.fullmatch(one.name) or one.role not in {power.value for power in Power}:
        raise UsageError(
            "cannot take over the master's people: a name or a role is none", "see `syncsrv user list` there"
        )
    for line in one.keys:
        parse_public_line(line)
    order = list(Power)
    role = order[min(order.index(Power(one.role)), order.index(most))]
    return User(one.name, role, one.password_hash, one.keys, tokens, local=False)


def create_admin(state_dir: Path) -> str:
    """Make the local user ``admin`` with a random password, and return the password; init shows it once."""
    password = secrets.token_urlsafe(12)
    People(state_dir).add(ADMIN, Power.ADMIN.value, password, None)
    return password
