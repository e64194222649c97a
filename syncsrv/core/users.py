"""What an admin does to users, each with its receipt: who was changed, by whom and from where; never a secret."""

from __future__ import annotations

from syncsrv.control import shapes_people
from syncsrv.control.dispatch import Caller
from syncsrv.core.parts import Core
from syncsrv.core.receipts import act_receipt
from syncsrv.store.signing import fingerprint, parse_public_line


def listed(core: Core) -> shapes_people.UsersReply:
    """As shown to admins."""
    return shapes_people.UsersReply(core.people.listed())


def add(core: Core, request: shapes_people.UserAddRequest, caller: Caller) -> shapes_people.UsersReply:
    """Make a user, or give one another role, password or one more key.

    Raises:
        UsageError: a name, role, password or key that is none.
    """
    before = core.people.find(request.name)
    core.people.add(request.name, request.role, request.password, request.ssh_key)
    core.people_changed()
    if before is None:
        said = f"user {request.name} made, {request.role}"
    elif before.role != request.role:
        said = f"user {request.name} is {request.role}, and was {before.role}"
    else:
        said = f"user {request.name}, {request.role}, changed"
    if request.password is not None:
        said += ", with a password"
    if request.ssh_key is not None:
        said += f", with the key {fingerprint(parse_public_line(request.ssh_key))}"
    act_receipt(core, caller, "user-add", said)
    return listed(core)


def remove(core: Core, request: shapes_people.UserRequest, caller: Caller) -> shapes_people.UsersReply:
    """Remove a user with keys, tokens and sessions.

    Raises:
        UsageError: there is none, or it is the master's, or the last admin.
    """
    core.people.remove(request.name)
    core.login.ended(request.name)
    core.people_changed()
    act_receipt(core, caller, "user-remove", f"user {request.name} removed")
    return listed(core)


def set_password(core: Core, request: shapes_people.PasswordRequest, caller: Caller) -> shapes_people.UsersReply:
    """Give a user another password; the user's sessions end.

    Raises:
        UsageError: there is none, or it is the master's, or the password is too short.
    """
    core.people.set_password(request.name, request.password)
    core.login.ended(request.name)
    act_receipt(core, caller, "user-passwd", f"user {request.name} has another password")
    return listed(core)


def new_token(core: Core, request: shapes_people.UserRequest, caller: Caller) -> shapes_people.TokenReply:
    """A token for the API, shown once. There is none without a record of it.

    Raises:
        UsageError: there is no such user.
        UnrecordedError: its record cannot be written.
    """
    token = core.people.new_token(request.name)
    act_receipt(core, caller, "user-token", f"user {request.name} has one more token")
    return shapes_people.TokenReply(token)


def revoke(core: Core, request: shapes_people.UserRequest, caller: Caller) -> shapes_people.UsersReply:
    """No token of a user is good any more.

    Raises:
        UsageError: there is no such user.
    """
    core.people.revoke_tokens(request.name)
    act_receipt(core, caller, "user-revoke", f"no token of user {request.name} is good any more")
    return listed(core)
