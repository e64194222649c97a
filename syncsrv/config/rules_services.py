"""Rules for services: each manager's own fields, the order of starting, health. Pure."""

from __future__ import annotations

import re
import urllib.parse
from collections.abc import Iterator, Mapping

from syncsrv.config.model import ManagerKind, Service
from syncsrv.config.sight import File, Finding, Rule, Sight, did_you_mean, in_cluster

_FIELDS: Mapping[ManagerKind, tuple[tuple[str, ...], tuple[str, ...]]] = {
    ManagerKind.SYSTEMD: (("unit",), ()),
    ManagerKind.SUPERVISOR: (("program",), ()),
    ManagerKind.COMMAND: (("start", "stop", "status"), ("reload", "restart")),
}
"""For each manager what it needs and what else it may have."""


def _managers(sight: Sight) -> Iterator[Finding]:
    if sight.cluster is None:
        return
    everything = {field for needed, optional in _FIELDS.values() for field in (*needed, *optional)}
    for name, service in sight.cluster.services.items():
        needed, optional = _FIELDS[service.manager]
        for field in needed:
            if not getattr(service, field):
                message = f"cannot be left out: the manager {service.manager} needs it"
                yield Finding(File.CLUSTER, ("services", name, field), message, at_key=True)
        for field in sorted(everything.difference(needed, optional)):
            if field in service.model_fields_set:
                owner = next(kind for kind, fields in _FIELDS.items() if field in fields[0] + fields[1])
                message = f"cannot be given here: it is for the manager {owner}, and this service has {service.manager}"
                yield Finding(File.CLUSTER, ("services", name, field), message, at_key=True)


_UNIT = re.compile(r"[A-Za-z0-9:_.\\@][A-Za-z0-9:_.\\@-]{0,254}")
"""What systemd takes as it is (systemd.unit(5)); of anything else systemctl makes a pattern, a path or an option."""


def _units(sight: Sight) -> Iterator[Finding]:
    if sight.cluster is None:
        return
    for name, service in sight.cluster.services.items():
        where = in_cluster("services", name, "unit")
        if service.unit and not _UNIT.fullmatch(service.unit):
            yield where(
                f"cannot be {service.unit!r}: a unit's name has letters, digits and `:-_.\\@` only; "
                "`systemd-escape` writes others so"
            )
        elif re.search(r"@(\.\w+)?$", service.unit):
            yield where(f"cannot be {service.unit!r}: that is a template; name an instance, such as openvpn@office")


def _supervisor(sight: Sight) -> Iterator[Finding]:
    if sight.cluster is None or sight.node is None or sight.node.managers.supervisor is not None:
        return
    if any(path[:1] == ("managers",) for path in sight.node_unread):
        return
    using = [name for name, one in sight.cluster.services.items() if one.manager is ManagerKind.SUPERVISOR]
    if using:
        message = (
            f"cannot be left out: cluster.yaml has services under supervisor ({', '.join(using)}); "
            "write `managers: {supervisor: {socket: PATH}}`"
        )
        yield Finding(File.NODE, ("managers", "supervisor"), message, at_key=True)


def _after(sight: Sight) -> Iterator[Finding]:
    known = sight.services()
    if sight.cluster is None or known is None:
        return
    services = sight.cluster.services
    for name, service in services.items():
        for index, other in enumerate(service.after):
            if other not in known:
                message = f"cannot be found: there is no service {other}{did_you_mean(other, known - {name})}"
                yield in_cluster("services", name, "after", index)(message)
    for cycle in _cycles(services):
        first, second = cycle[0], cycle[1]
        index = services[first].after.index(second)
        yield in_cluster("services", first, "after", index)(f"cannot be ordered: {' after '.join(cycle)}")


def _cycles(services: Mapping[str, Service]) -> Iterator[list[str]]:
    """Each cycle of ``after`` once, closed (``[a, b, a]``), beginning with the service that stands first.

    A walk in depth without recursion; a service that was left once is never entered again.
    """
    done: set[str] = set()
    for start in services:
        trail: list[str] = []
        on_trail: dict[str, int] = {}
        pending = [(start, 0)]
        while pending:
            name, index = pending.pop()
            if index == 0:
                if name in done:
                    continue
                on_trail[name] = len(trail)
                trail.append(name)
            followers = [other for other in services[name].after if other in services]
            if index == len(followers):
                done.add(name)
                on_trail.pop(trail.pop())
                continue
            pending.append((name, index + 1))
            follower = followers[index]
            if follower in on_trail:
                cycle = trail[on_trail[follower] :]
                order = list(services)
                turn = cycle.index(min(cycle, key=order.index))
                yield [*cycle[turn:], *cycle[:turn], cycle[turn]]
            elif follower not in done:
                pending.append((follower, 0))


def _health(sight: Sight) -> Iterator[Finding]:
    if sight.cluster is None:
        return
    for name, service in sight.cluster.services.items():
        health = service.health
        if health is None:
            continue
        where = ("services", name, "health")
        probes = [probe for probe in ("tcp", "http", "exec") if getattr(health, probe)]
        if len(probes) != 1:
            fault = f"{' and '.join(probes)} are given" if probes else "none is given"
            yield in_cluster(*where)(f"cannot tell what to probe: exactly one of tcp, http and exec is needed, {fault}")
        if health.http is not None and (fault := _url_fault(health.http)):
            yield in_cluster(*where, "http")(f"cannot be {health.http!r}: {fault}")
        if "status" in health.model_fields_set and health.http is None:
            yield in_cluster(*where, "status")("cannot be given without http: it is the status that http must answer")


def _url_fault(url: str) -> str:
    """Why a URL cannot be probed; empty where it can."""
    try:
        parts = urllib.parse.urlsplit(url)
        port = parts.port
    except ValueError as error:
        return str(error)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return "write a URL such as http://127.0.0.1:8080/health"
    if port == 0:
        return "the port is a number from 1 to 65535"
    if parts.username is not None or parts.password is not None:
        return "leave out the user name and password: cluster.yaml is in Git"
    if any(not letter.isprintable() or letter.isspace() for letter in url):
        return "a URL has no spaces and no control characters"
    return ""


RULES: tuple[Rule, ...] = (_managers, _units, _supervisor, _after, _health)
