"""The API: everything that the page does, for programs; and what watches over a node asks."""

from __future__ import annotations

from syncsrv.web.api import probes, routes

BLUEPRINTS = (routes.blueprint, probes.blueprint)
