"""Rules for listeners, peers and virtual addresses. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from syncsrv.config.document import KeyPath
from syncsrv.config.model import SecretRef, Vip
from syncsrv.config.problem import Severity
from syncsrv.config.sight import File, Finding, Rule, Sight, did_you_mean, in_cluster, in_node
from syncsrv.config.values import is_loopback, parse_public_key, parse_source, parse_vip, split_listen

PASSWORD_BYTES = 19
"""What every CARP implementation takes: the key is 20 bytes with a final NUL where C copies it."""


def _listeners(sight: Sight) -> Iterator[Finding]:
    node = sight.node
    if node is None:
        return
    address, port = split_listen(node.web.listen)
    if node.web.tls == "none" and not is_loopback(address) and ("web", "listen") not in sight.node_unread:
        message = f"cannot be none on {address}: passwords would cross the network in clear; only loopback may do so"
        yield in_node("web", "tls")(message)
    if (address, port) == split_listen(node.ssh.listen):
        yield in_node("web", "listen")(f"cannot be {node.web.listen}: ssh listens there")


def _peers(sight: Sight) -> Iterator[Finding]:
    if sight.node is None:
        return
    if sight.node.node in sight.peers():
        message = f"cannot be a peer: {sight.node.node} is this node's own name"
        yield Finding(File.NODE, ("peers", sight.node.node), message, at_key=True, name=True)
    owners: dict[bytes, str] = {}
    for name, peer in sight.node.peers.items():
        blob = parse_public_key(peer.key)
        if blob in owners:
            yield in_node("peers", name, "key")(f"cannot be the key of two nodes: {owners[blob]} has it too")
        owners.setdefault(blob, name)


def _vips(sight: Sight) -> Iterator[Finding]:
    if sight.cluster is None:
        return
    known = sight.interfaces()
    devices = sight.node.interfaces if sight.node else {}
    groups: set[tuple[str, int]] = set()
    addresses: set[str] = set()
    for index, vip in enumerate(sight.cluster.vips):
        where = ("vips", index)
        if known is not None and vip.interface not in known:
            message = f"cannot be found: node.yaml has no {vip.interface} under interfaces"
            yield in_cluster(*where, "interface")(message + did_you_mean(vip.interface, known))
        group = (devices.get(vip.interface, vip.interface), vip.vhid)
        if group in groups:
            message = f"cannot be {vip.vhid} twice on {vip.interface}: a vip above has it"
            yield in_cluster(*where, "vhid")(message)
        groups.add(group)
        for place, written in enumerate(vip.addresses):
            address = str(parse_vip(written).ip)
            if address in addresses:
                message = f"cannot be given twice: {address} stands above already"
                yield in_cluster(*where, "addresses", place)(message)
            addresses.add(address)
        if vip.advbase == 0 and sight.node and sight.node.carp.advskew == 0:
            yield in_cluster(*where, "advbase")("cannot be 0 while carp.advskew is 0: adverts would have no interval")
        yield from _unicast(vip, where)
        yield from _password(sight, vip, (*where, "password"))


def _unicast(vip: Vip, where: KeyPath) -> Iterator[Finding]:
    """A list that leaves a family out would leave its adverts without a receiver."""
    given = [parse_source(written) for written in vip.unicast]
    own = [parse_vip(written).ip for written in vip.addresses]
    for place, ip in enumerate(given):
        if ip in own:
            message = f"cannot be {ip}: that is an address of this vip, and moves; write the nodes' own addresses"
            yield in_cluster(*where, "unicast", place)(message)
        elif ip in given[:place]:
            yield in_cluster(*where, "unicast", place)(f"cannot be given twice: {ip} stands above already")
    missing = min({ip.version for ip in own} - {ip.version for ip in given}, default=0)
    if given and missing:
        message = f"cannot leave out IPv{missing}: the vip has an IPv{missing} address, whose adverts need a receiver"
        yield in_cluster(*where, "unicast")(message)


def _password(sight: Sight, vip: Vip, where: KeyPath) -> Iterator[Finding]:
    """CARP passwords are compared as bytes by programs that quote and cut them differently."""
    password: str | None
    if isinstance(vip.password, SecretRef):
        name = vip.password.secret
        called = f"the secret {name}"
        password = None if sight.secrets is None else sight.secrets.get(name)
        if sight.secrets is not None and password is None:
            hint = did_you_mean(name, sight.secrets) or f"; add a line `{name}: PASSWORD` there (mode 0600)"
            yield in_cluster(*where)(f"cannot be found: secrets.yaml has no {name}{hint}")
    else:
        called, password = "it", vip.password
    if not password:
        return
    size = len(password.encode("utf-8", "surrogatepass"))
    if size > PASSWORD_BYTES:
        message = f"cannot be used: {called} is {size} bytes long, and a CARP password has at most {PASSWORD_BYTES}"
        yield in_cluster(*where)(message)
    if "\0" in password:
        yield in_cluster(*where)(f"cannot be used: {called} holds a NUL character")
    odd = [
        word
        for letter, word in ((" ", "a space"), ('"', "a quote"), ("'", "a quote"), ("\\", "a backslash"))
        if letter in password
    ]
    if not password.isascii():
        odd.append("a letter outside ASCII")
    if odd:
        message = f"{called} holds {' and '.join(dict.fromkeys(odd))}, which OPNsense treats differently"
        yield Finding(File.CLUSTER, where, message, Severity.WARNING)


RULES: tuple[Rule, ...] = (_listeners, _peers, _vips)
