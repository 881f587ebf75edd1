"""The OpenAPI document: every request of the API is in it, whole, with examples that are what they say."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from caller import Caller
from fastapi.routing import iter_route_contexts
from jsonschema import Draft202012Validator
from jsonschema.protocols import Validator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012
from visit import doors_on

from insitu.api import ROUTERS
from insitu.api.document import PROBLEM, describe, operations
from insitu.api.route import Route
from insitu.app import create_app
from insitu.entrance.doors import Doors
from insitu.entrance.refusals import STATUSES
from sites.clock import SetClock
from sites.database import Database

DOCUMENT = describe(ROUTERS)
OPERATIONS = {one["operationId"]: one for one in operations(DOCUMENT)}
METHODS = {f"{method} {path}": operation for path, there in DOCUMENT["paths"].items() for method, operation in there.items()}
WRITES = {name: one for name, one in METHODS.items() if not name.startswith("get ")}
SUCCESSES = ("200", "201")


def validator(schema: dict[str, Any]) -> Validator:
    whole = Resource.from_contents({"$id": "urn:openapi", **DOCUMENT}, default_specification=DRAFT202012)
    return Draft202012Validator(absolute(schema), registry=Registry().with_resource("urn:openapi", whole))


def absolute(part: Any) -> Any:
    """The schema with its references into the document."""
    if isinstance(part, dict):
        return {name: f"urn:openapi{value}" if name == "$ref" else absolute(value) for name, value in part.items()}
    return [absolute(one) for one in part] if isinstance(part, list) else part


def contents(operation: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """What an operation takes and gives: what it is, its media type, and the document's part."""
    for media_type, content in operation.get("requestBody", {}).get("content", {}).items():
        yield "body", media_type, content
    for status, answer in operation["responses"].items():
        for media_type, content in answer.get("content", {}).items():
            yield status, media_type, content


@pytest.fixture
def doors(sqlite_database: Database, clock: SetClock) -> Doors:
    return doors_on(sqlite_database, clock)


def test_the_document_is_served_to_everybody_and_says_what_it_is(doors: Doors) -> None:
    served = Caller(doors).get("/openapi.json")
    assert (served.json(), served.headers["content-type"]) == (DOCUMENT, "application/json")
    assert DOCUMENT["openapi"].startswith("3.1")
    assert set(DOCUMENT["components"]["securitySchemes"]) == {"token", "session"}


def test_every_route_below_api_is_in_the_document_and_read_as_the_api_reads(doors: Doors) -> None:
    served = [route for route in iter_route_contexts(create_app(doors).routes) if str(route.path).startswith("/api/")]
    there = {f"{method.lower()} {route.path}" for route in served for method in route.methods or ()}
    assert there == set(METHODS)
    assert all(isinstance(route, Route) for router in ROUTERS for route in router.routes)
    assert not any(path for path in DOCUMENT["paths"] if not path.startswith("/api/v1/"))


def test_names_of_operations_are_stable() -> None:
    assert sorted(OPERATIONS) == sorted(NAMES.split())


NAMES = """
launchExperiment listExperiments getExperiment listGates listFacts holdExperiment releaseExperiment stopExperiment listDeadlines
listCheckpoints getCheckpoint saveDraft completeCheckpoint signCheckpoint declineCheckpoint askAboutCheckpoint answerQuestion retryAction
reopenCheckpoint listDocuments downloadDocument listSignatures storeFile listProtocols getProtocol releaseProtocol listSites getMe
listPeople getDelegation getTraining listDelegations recordDelegation signDelegation endDelegation listTrainings recordTraining
signTraining endTraining listNotices
getHealth getMetrics getDocument
"""


@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operation_says_what_it_does_takes_and_gives(name: str) -> None:
    operation = OPERATIONS[name]
    assert operation["summary"]
    assert len(operation["summary"]) < 60
    assert operation["description"] != operation["summary"]
    assert set(operation["tags"]) <= {tag["name"] for tag in DOCUMENT["tags"]}
    assert [one["name"] for one in operation.get("parameters", []) if not one.get("description")] == []
    assert [status for status, answer in operation["responses"].items() if not answer["description"]] == []
    assert any(status in SUCCESSES for status in operation["responses"])
    if name not in ("getDocument", "downloadDocument"):
        assert [part for part in contents(operation) if "example" not in part[2]] == []


@pytest.mark.parametrize("name", OPERATIONS)
def test_an_example_is_what_its_schema_says(name: str) -> None:
    for part, media_type, content in contents(OPERATIONS[name]):
        if "example" in content:
            wrong = [f"{part} {media_type}: {error.message}" for error in validator(content["schema"]).iter_errors(content["example"])]
            assert wrong == []
    for parameter in OPERATIONS[name].get("parameters", []):
        for example in parameter.get("schema", {}).get("examples", []):
            assert validator(parameter["schema"]).is_valid(example), parameter["name"]


@pytest.mark.parametrize("name", OPERATIONS)
def test_a_refusal_is_a_problem_document(name: str) -> None:
    for status, answer in OPERATIONS[name]["responses"].items():
        if status not in SUCCESSES and not (name == "getHealth" and status == "503"):
            assert list(answer["content"]) == [PROBLEM], status
            assert answer["content"][PROBLEM]["schema"]["$ref"].endswith("/Problem")


@pytest.mark.parametrize("name", WRITES)
def test_a_write_lists_every_refusal_there_is_and_takes_a_key(name: str) -> None:
    operation = WRITES[name]
    known = {str(status) for _, status, _ in STATUSES if status != 500} | {"400", "413", "415"}
    assert known <= operation["responses"].keys()
    assert "Idempotency-Key" in {one["name"] for one in operation["parameters"]}
    success = next(answer for status, answer in operation["responses"].items() if status in SUCCESSES)
    assert "Idempotency-Replayed" in success["headers"]


def test_a_read_of_one_thing_may_not_find_it() -> None:
    found = {name: operation["responses"] for name, operation in METHODS.items() if name.startswith("get ") and "{" in name}
    assert [name for name, responses in found.items() if "404" not in responses] == []
    closed = {name: one["responses"] for name, one in METHODS.items() if one["security"]}
    assert [name for name, responses in closed.items() if not {"401", "422", "429", "503"} <= responses.keys()] == []


def test_bodies_refuse_keys_that_nobody_reads() -> None:
    for name, operation in WRITES.items():
        for part, _, content in contents(operation):
            schema = content["schema"]
            if part == "body":
                found = DOCUMENT["components"]["schemas"][schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema
                assert found["additionalProperties"] is False, name


def test_what_is_open_says_so() -> None:
    assert {name for name, one in OPERATIONS.items() if not one["security"]} == {"getHealth", "getDocument"}
