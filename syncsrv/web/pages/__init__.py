"""The pages: one module each, which asks core, lets a view arrange the answer and fills a template."""

from __future__ import annotations

from syncsrv.web.pages import login, overview, services, standing

BLUEPRINTS = (login.blueprint, overview.blueprint, services.blueprint, standing.blueprint)
