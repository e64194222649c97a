"""From node.yaml, cluster.yaml and secrets.yaml to the file that the process carp works with (DESIGN 3.1)."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Literal

from syncsrv import durable
from syncsrv.config.load import Configuration
from syncsrv.config.model import Carp, SecretRef, Vip
from syncsrv.failover import settings as files
from syncsrv.failover.settings import BadSettingsError, Settings, VipSettings
from syncsrv.store.files import make_folder, writing

log = logging.getLogger(__name__)


def settings_of(config: Configuration, own_peers: Mapping[str, tuple[str, ...]]) -> Settings:
    """What the process carp of this node works with.

    Args:
        config: in force, which ``check`` found well: every interface and secret that a vip names is there.
        own_peers: name of each other node to the addresses that its advertisements come from.
    """
    node, carp = config.node, config.cluster.carp
    vips = tuple(_vip(config, vip) for vip in config.cluster.vips)
    return Settings(
        node=node.node,
        advskew=node.carp.advskew,
        preempt=_preempt(carp),
        preempt_delay_s=float(carp.preempt_delay_s),
        hold_down_s=float(carp.hold_down_s),
        ready_timeout_s=float(carp.ready_timeout_s),
        run_dir=str(node.run_dir),
        vips=vips,
        tracked=tuple(dict.fromkeys(vip.device for vip in vips)),
        own_peers=dict(sorted(own_peers.items())),
    )


def _vip(config: Configuration, vip: Vip) -> VipSettings:
    password = vip.password
    return VipSettings(
        vhid=vip.vhid,
        interface=vip.interface,
        device=config.node.interfaces[vip.interface],
        advbase=vip.advbase,
        addresses=vip.addresses,
        password=config.secrets[password.secret] if isinstance(password, SecretRef) else password,
        unicast=vip.unicast,
        virtual_mac=vip.mac == "virtual",
    )


def _preempt(carp: Carp) -> Literal["always", "delayed", "never"]:
    if not carp.preempt:
        return "never"
    return "delayed" if carp.preempt_delay_s > 0 else "always"


def digests(settings: Settings) -> dict[str, str]:
    """VIP (``1@lan``) to a digest of its addresses and password: equal on two nodes that understand each other.

    It is keyed by the password, and tells no more of it than the advertisements on the wire do.
    """
    return {f"{vip.vhid}@{vip.interface}": _digest(vip) for vip in settings.vips}


def _digest(vip: VipSettings) -> str:
    own = vip.own_set
    addresses = sorted(str(ipaddress.ip_address(address)) for address in own.addresses)
    text = f"{vip.vhid} {' '.join(addresses)}".encode()
    return hmac.new(own.password.encode("utf-8", "surrogateescape"), text, hashlib.sha256).hexdigest()[:16]


def addresses_only(written: Iterable[str]) -> tuple[str, ...]:
    """Those texts of a peer that are addresses, as the process carp compares them; each once, sorted."""
    found = set()
    for text in written:
        try:
            found.add(str(ipaddress.ip_address(text)))
        except ValueError:
            log.warning("a peer says that %.60r is an address of its; it is none", text)
    return tuple(sorted(found))


class ConfigFile:
    """``state_dir/carp/config.json``.

    Args:
        state_dir: of this node.
    """

    def __init__(self, state_dir: Path) -> None:
        self._path = state_dir / files.FILE
        self._text = b""
        try:
            found = files.load(state_dir)
        except BadSettingsError as error:
            log.warning("%s: it is written anew", error.message)
            found = None
        self.before = found
        """What an earlier core wrote; None where there is nothing of use."""
        if found is not None:
            self._text = self._path.read_bytes()

    def put(self, settings: Settings) -> bool:
        """Write it where it is another one than before; whether it was.

        Raises:
            NoSpaceError, UnwritableError: the old one stays.
        """
        text = files.encode(settings)
        if text == self._text:
            return False
        write(self._path, text, "the failover settings")
        self._text = text
        return True


def write(path: Path, text: bytes, what: str) -> None:
    """Replace a file of ``state_dir/carp``, and make that directory where it is missing.

    Raises:
        NoSpaceError, UnwritableError: the old one stays.
    """
    with writing(path, what):
        for folder in make_folder(path.parent):
            durable.sync_directory(folder)
        durable.write(path, text)
