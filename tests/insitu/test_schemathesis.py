"""Whatever is sent to the API, well formed or not: no failure of ours, and only answers that the document tells of."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import schemathesis
from figures import keep, skip_if_done
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.generation import GenerationMode
from schemathesis.python.asgi import get_client
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from two_sites import FOREIGN, HOME, TwoSites, settle
from visit import doors_on

from insitu.api import ROUTERS
from insitu.api.document import describe, operations
from insitu.app import create_app
from sites import qualifications
from sites.clock import SetClock
from sites.database import Database
from sites.identity.tokens import create_token

CHECKS: Any = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
OPERATIONS = [one["operationId"] for one in operations(describe(ROUTERS))]
WITH_A_BODY = [one["operationId"] for one in operations(describe(ROUTERS)) if "requestBody" in one]
BODIES, WITHOUT = -(-10_000 // len(WITH_A_BODY)), 50  # ten thousand bodies in all
ENDING = ("holdExperiment", "stopExperiment")  # of an experiment that nothing else needs


@dataclass(frozen=True)
class World:
    """A filled installation, a client of it, and names of things that are there, by the parameters that take them."""

    schema: Any
    client: Any
    tokens: tuple[str, ...]
    known: dict[str, list[Any]]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    database = Database(f"sqlite:///{tmp_path_factory.mktemp('fuzzed') / 'insitu.db'}")
    database.migrate()
    yield from worlds(database)


@pytest.fixture(scope="module")
def world_on_postgresql(postgres: Any) -> Iterator[World]:
    yield from worlds(Database(postgres.url(postgres.fresh())))


def worlds(database: Database) -> Iterator[World]:
    clock = SetClock(datetime(2026, 3, 2, 9, tzinfo=UTC))
    house = settle(doors_on(database, clock))
    fill(house)
    app = create_app(house.doors)
    tokens = tuple(create_token(database, clock, person, "fuzz", "write", 30) for person in ("boss", "nurse", "doctor", "sponsor"))
    schema = schemathesis.openapi.from_asgi("/api/v1/openapi.json", app)
    with get_client(app) as client:
        yield World(schema, client, tokens, known_in(house))
    database.dispose()


def fill(house: TwoSites) -> None:
    """Beside the two experiments: one to end, an open signature, a late step, a question, a file, records."""
    doors, clock = house.doors, house.doors.clock
    doors.ledger.complete(f"{house.shared}:setup:{HOME}:1", {"words": "ready", "beds": 12, "agreed": True}, "nurse")
    doors.ledger.ask(f"{house.shared}:setup:{HOME}:1", "nurse", "Which form?")
    doors.ledger.launch("two-sites", [HOME], {"aim": "to be ended"}, "boss")
    given = ("nurse", "site_coordinator", HOME, house.shared, clock.now().date(), None)
    qualifications.record(doors.database, clock, qualifications.NewDelegation(*given), by="boss")
    training = qualifications.NewTraining("nurse", "two-sites", "1.0.0", HOME, clock.now().date())
    qualifications.record(doors.database, clock, training, by="boss")
    clock.advance(timedelta(days=20))  # type: ignore[attr-defined]


def known_in(house: TwoSites) -> dict[str, list[Any]]:
    steps = (f"setup:{HOME}", f"setup:{FOREIGN}", f"visit:{FOREIGN}", "review:", "closure:")
    return {
        "code": [house.shared, house.foreign],
        "checkpoint": [f"{house.shared}:{step}:{number}" for step in steps for number in (1, 2)],
        "hash": [house.paper],
        "id": ["two-sites"],
        "version": ["1.0.0"],
        "number": [1, 2],
        "remark": [1],
        "site": [HOME, FOREIGN],
        "experiment": [house.shared, house.foreign],
        "person": ["nurse", "zz.nurse"],
        "role": ["site_coordinator"],
        "field": ["paper", "words"],
        "protocol": ["two-sites"],
    }


def often_real(data: st.DataObject, known: dict[str, list[Any]], given: Any) -> None:
    """Put names of things that are there in the place of invented ones, two times in three."""
    for name in given if isinstance(given, dict) else ():
        if name in known and data.draw(st.integers(0, 2)):
            given[name] = data.draw(st.sampled_from(known[name]))


def send(data: st.DataObject, world: World, name: str) -> None:
    operation = world.schema.find_operation_by_id(name)
    known = world.known | ({"code": ["TWO-SITES-3"]} if name in ENDING else {})
    mode = data.draw(st.sampled_from([GenerationMode.POSITIVE, GenerationMode.POSITIVE, GenerationMode.NEGATIVE]))
    case = data.draw(operation.as_strategy(mode))
    for part in (case.path_parameters, case.query, case.body):
        often_real(data, known, part)
    headers = {"authorization": f"Bearer {data.draw(st.sampled_from(world.tokens))}"}
    case.validate_response(case.call(session=world.client, headers=headers), checks=CHECKS)


def run(world: World, name: str, examples: int) -> None:
    @settings(
        max_examples=examples,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(data=st.data())
    def sent(data: st.DataObject) -> None:
        send(data, world, name)

    sent()


@pytest.mark.parametrize("name", OPERATIONS)
def test_whatever_is_sent_the_answer_is_one_of_the_documents(world: World, name: str) -> None:
    run(world, name, 12)


@pytest.mark.soak
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", OPERATIONS)
def test_whatever_is_sent_for_longer(world_on_postgresql: World, name: str) -> None:
    skip_if_done(done := f"hostile bodies {name}")
    run(world_on_postgresql, name, examples := BODIES if name in WITH_A_BODY else WITHOUT)
    keep(done, requests=examples, bodies=examples if name in WITH_A_BODY else 0, failures=0)
