"""In which order services are started, and which of them a change concerns. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from syncsrv.config.model import Area, OnChange, Service
from syncsrv.errors import SyncsrvError


class CycleError(SyncsrvError):
    """Services wait for each other; ``names`` is the circle, its first name not repeated."""

    code = "configuration"
    exit_status = 2

    def __init__(self, names: tuple[str, ...]) -> None:
        circle = " after ".join((*names, names[0]))
        super().__init__(f"cannot order services: {circle}", "remove one of these from after:")
        self.names = names


def ordered(services: Mapping[str, Service], names: Collection[str] | None = None) -> list[str]:
    """The services so that each comes behind those it is ``after``; otherwise by name. Reversed, the order to stop.

    Args:
        services: all that are configured; an ``after`` of one that is not among them counts for nothing.
        names: only these of them, ordered as among all; default all.

    Raises:
        CycleError: there is no such order.
    """
    placed: dict[str, None] = {}
    for name in sorted(services):
        _place(name, services, placed, ())
    return [name for name in placed if names is None or name in names]


def _place(name: str, services: Mapping[str, Service], placed: dict[str, None], above: tuple[str, ...]) -> None:
    if name in above:
        raise CycleError(above[above.index(name) :])
    if name in placed or name not in services:
        return
    for earlier in sorted(services[name].after):
        _place(earlier, services, placed, (*above, name))
    placed[name] = None


def concerned(
    areas: Mapping[str, Area], services: Mapping[str, Service], changed: Iterable[str]
) -> dict[str, OnChange]:
    """What each service of the changed areas wants done, each once however many of its areas changed.

    Args:
        areas: all areas.
        services: all services.
        changed: names of the areas that changed.
    """
    names = {service for area in changed if area in areas for service in areas[area].services}
    return {name: services[name].on_change for name in ordered(services, names)}
