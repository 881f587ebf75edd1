"""The OpenAPI document of the API: complete, with an example for everything that is sent and answered."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib.metadata import version
from typing import Any

import orjson
from fastapi import APIRouter, Request, Response
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel

from insitu.api.answers import MEANINGS
from insitu.api.route import noun
from insitu.api.shapes.common import Body, Shown
from insitu.entrance.visitor import Anyone

Part = dict[str, Any]

PROBLEM = "application/problem+json"
DESCRIPTION = """\
Everything the pages can do, for other systems. Errors are problem documents (RFC 9457). Times are RFC 3339 in UTC.

Send a personal token (`Authorization: Bearer insitu_…`), made on the account page with a scope and an end. A page of insitu's own may use
its session's cookie; what it changes then needs the header `X-CSRF`.

What the caller may not see answers exactly like what does not exist. Keys and parameters that nobody reads are refused.
"""
TAGS = {
    "experiments": "Runs of a protocol at one or more sites.",
    "checkpoints": "The tasks by which people answer a gate's question.",
    "files": "Files attached to a checkpoint, and documents made for it.",
    "protocols": "Released protocols, which never change.",
    "sites": "Care settings.",
    "people": "Whoever asks, and those they work with.",
    "delegations and trainings": "Who may do what at a site, on which evidence, signed by whom.",
    "notices": "Messages sent.",
    "health": "For whoever watches over the installation.",
}
SCHEMES = {
    "token": {
        "type": "http",
        "scheme": "bearer",
        "description": "A personal token; its scope is `read` or `write`.",
    },
    "session": {
        "type": "apiKey",
        "in": "cookie",
        "name": "insitu",
        "description": "The cookie of whoever has signed in; what changes something then needs the header X-CSRF of one of insitu's pages.",
    },
}
# The parameters that the rules of the routes take (insitu.entrance.visitor).
OF_RULES = {
    "code": ("The experiment's code.", "TELEREHAB-HIP-1"),
    "checkpoint": (
        "The checkpoint's name, EXPERIMENT:step:SITE:round; the site is empty for a step of the experiment itself.",
        "TELEREHAB-HIP-1:ethics::1",
    ),
}
OPEN = frozenset({"getHealth", "getDocument"})  # to everybody
HERE = frozenset({"getMetrics"})  # to programs on this machine too


def serving(routers: Sequence[APIRouter]) -> APIRouter:
    """A router that serves the document of these and of itself."""
    router = noun("health")
    made: list[bytes] = []

    @router.get("/openapi.json", response_model=dict[str, Any], operation_id="getDocument")
    def document(request: Request, _: Anyone) -> Response:
        """Give this document

        OpenAPI 3.1, of the API alone.
        """
        if not made:
            made.append(orjson.dumps(describe([*routers, router])))
        return Response(made[0], media_type="application/json", headers={"cache-control": "public, max-age=300"})

    return router


def describe(routers: Sequence[APIRouter]) -> Part:
    """The document of some routers."""
    routes = [route for router in routers for route in router.routes]
    tags = [{"name": name, "description": said} for name, said in TAGS.items()]
    document = get_openapi(title="insitu", version=version("insitu"), description=DESCRIPTION, routes=routes, tags=tags)
    document["servers"] = [{"url": "/"}]
    document["components"]["securitySchemes"] = SCHEMES
    for name, examples in _examples():
        if name in document["components"]["schemas"]:
            document["components"]["schemas"][name]["examples"] = examples
    for operation in operations(document):
        _describe(operation, document["components"]["schemas"])
    return document


def operations(document: Part) -> Iterator[Part]:
    """Every operation of a document."""
    for path in document["paths"].values():
        yield from (operation for operation in path.values() if "operationId" in operation)


def _describe(operation: Part, schemas: Part) -> None:
    """Complete what the framework wrote: what it takes to be let in, problems as what they are, examples where people look for them."""
    operation["summary"], _, said = (operation.get("description") or operation["summary"]).partition("\n\n")
    operation["description"] = said or operation["summary"]
    keys: list[Part] = [{"token": []}, {"session": []}]
    operation["security"] = [] if operation["operationId"] in OPEN else keys + ([{}] if operation["operationId"] in HERE else [])
    for parameter in operation.get("parameters", []):
        if parameter["name"] in OF_RULES and "description" not in parameter:
            parameter["description"], parameter["example"] = OF_RULES[parameter["name"]]
    for status, answer in operation["responses"].items():
        if status.isdecimal() and answer["description"] == MEANINGS.get(int(status)):
            answer["content"] = {PROBLEM: {"schema": {"$ref": "#/components/schemas/Problem"}}}
        for content in answer.get("content", {}).values():
            _exemplify(content, schemas)
        if status == "200" and not answer["description"].strip(". "):
            answer["description"] = operation["summary"]
    for content in operation.get("requestBody", {}).get("content", {}).values():
        _exemplify(content, schemas)


def _examples() -> Iterator[tuple[str, Any]]:
    """The examples of every shape, as they are written: the framework takes their nulls out."""
    waiting: list[type[BaseModel]] = [Body, Shown]
    while waiting:
        shape = waiting.pop()
        waiting += shape.__subclasses__()
        extra = shape.model_config.get("json_schema_extra")
        if isinstance(extra, dict) and "examples" in extra:
            yield shape.__name__, extra["examples"]


def _exemplify(content: Part, schemas: Part) -> None:
    if "example" not in content and (found := _example(content.get("schema", {}), schemas)) is not None:
        content["example"] = found


def _example(schema: Part, schemas: Part) -> Any:
    if "$ref" in schema:
        return _example(schemas[schema["$ref"].rpartition("/")[2]], schemas)
    if schema.get("examples"):
        return schema["examples"][0]
    inner = _example(schema["items"], schemas) if schema.get("type") == "array" else None
    return [inner] if inner is not None else None
