"""Requests made from the document, asked of a real core as each role: no 500, nothing that the document does not say.

Half of them are as the document wants them, some of these with names of things that there are; half are not.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis import Case, GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    missing_required_header,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from syncsrv.control.dispatch import may
from syncsrv.core.mains import follow_main
from syncsrv.web.api.table import OPERATIONS, PREFIX, Operation
from tests.conftest import SEED
from tests.web.webkit import PASSWORD, ROLES, Site, site_of_pair

CHECKS: list[Any] = [
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    negative_data_rejection,
    missing_required_header,
    unsupported_method,
]

THERE_IS: dict[str, list[Any]] = {
    "action": ["start", "stop", "restart", "restart-all"],
    "area": ["app", "cluster"],
    "areas": [[], ["app"], ["app", "more"]],
    "before": ["main"],
    "force": [[], ["drift", "mass-deletion"]],
    "kind": ["sync", "rollback"],
    "name": ["bob", "sync 1"],
    "names": [[], ["app"]],
    "node": ["fw1", "fw2"],
    "nodes": [[], ["fw2"]],
    "path": ["/etc/app/app.conf", "/etc/app", "/etc/link", "/etc"],
    "paths": [[], ["/etc/app"]],
    "rev": ["main", "main^", "fw2", "sync/000001"],
    "revs": [[], ["main"], ["main^", "main"]],
    "target": ["", "main"],
}


@dataclass
class Asked:
    """One role's own pair of nodes: what one breaks must not hide what another may not."""

    site: Site
    role: str
    token: str
    schema: Any

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}


@pytest.fixture(scope="module", params=sorted(ROLES.values()))
def asked(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asked]:
    home: Path = tmp_path_factory.mktemp("api")
    with site_of_pair(home) as site:
        site.node.put("/etc/app/app.conf", "two")
        site.node.put("/etc/app/\udcff<b>", "a name that is not UTF-8")
        (site.node.root / "etc/app/link").symlink_to("app.conf")
        site.node.core.record(via="watch")
        assert site.pair is not None
        assert site.pair.sync(reason="there is something to show").result == "done"
        follow_main(site.node.core, "fw2", site.pair.fw2.core.recorder.head())
        people = site.node.core.people
        name = next(name for name, role in ROLES.items() if role == request.param)
        people.add(name, request.param, PASSWORD, None)
        token = people.new_token(name)
        yield Asked(site, request.param, token, schema_of(site))
        with site.app.test_client() as client:
            assert client.get(f"{PREFIX}/session", headers={"Authorization": f"Bearer {token}"}).status_code == 200


def schema_of(site: Site) -> Any:
    """The document as it is served, but for who may ask: half of what is made wrong would be the token."""
    with site.app.test_client() as client:
        document = client.get(f"{PREFIX}/openapi.json").get_json()
    del document["security"], document["components"]["securitySchemes"]
    schema = schemathesis.openapi.from_dict(document)
    schema.app = site.app
    return schema


@pytest.mark.sample(45)
@pytest.mark.parametrize("one", OPERATIONS, ids=lambda one: one.name)
def test_no_request_is_answered_otherwise_than_described(asked: Asked, one: Operation) -> None:
    ask(asked, one, 8 if may(asked.role, one.power) else 2)


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("one", OPERATIONS, ids=lambda one: one.name)
def test_no_request_of_many_is_answered_otherwise_than_described(asked: Asked, one: Operation) -> None:
    ask(asked, one, 300 if may(asked.role, one.power) else 20)


def ask(asked: Asked, one: Operation, examples: int) -> None:
    operation = asked.schema[one.path][one.method]
    seen: set[int] = set()
    asked.site.node.core.people.add("bob", "viewer", None, None)
    jobs = [job.id for job in asked.site.node.core.jobs.recent(3)]
    good = st.tuples(operation.as_strategy(generation_mode=GenerationMode.POSITIVE), known(jobs)).map(named)
    for cases in (good, operation.as_strategy(generation_mode=GenerationMode.NEGATIVE)):

        @seed(SEED)
        @settings(
            max_examples=examples,
            derandomize=False,
            database=None,
            phases=(Phase.generate,),
            suppress_health_check=list(HealthCheck),
        )
        @given(case=cases)
        def answered(case: Case[Any]) -> None:
            response = case.call_and_validate(headers=asked.headers, checks=CHECKS)
            assert response.status_code != 500, response.text
            seen.add(response.status_code)

        try:
            answered()
        except Unsatisfiable:
            assert cases is not good  # what has no fields cannot be asked wrongly
    if may(asked.role, one.power):
        assert seen - {401, 403}
    else:
        assert seen == {403}


def known(jobs: list[str]) -> st.SearchStrategy[dict[str, Any]]:
    """Some fields, or all, with names of things that there are."""
    values = {name: st.sampled_from(found) for name, found in {**THERE_IS, "job": jobs or ["none"]}.items()}
    return st.fixed_dictionaries(values) | st.fixed_dictionaries({}, optional=values)


def named(drawn: tuple[Case[Any], dict[str, Any]]) -> Case[Any]:
    """A case with those of the names that it has a place for."""
    case, values = drawn
    for place in (case.path_parameters, case.query, case.body):
        if isinstance(place, dict):
            place.update({name: value for name, value in values.items() if name in place})
    return case
