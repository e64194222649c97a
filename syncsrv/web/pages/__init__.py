"""The pages: one module each, which asks core, lets a view arrange the answer and fills a template."""

from __future__ import annotations

from syncsrv.web.pages import audit, changes, history, jobs, login, overview, services, settings, standing, vips

BLUEPRINTS = (
    audit.blueprint,
    changes.blueprint,
    history.blueprint,
    jobs.blueprint,
    login.blueprint,
    overview.blueprint,
    services.blueprint,
    settings.blueprint,
    standing.blueprint,
    vips.blueprint,
)
