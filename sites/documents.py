"""The documents of an experiment: what actions rendered and what people attached, as far as a reader may read the steps they belong to."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any

from sqlalchemy import Connection, bindparam, func, select

from protocols.errors import UnknownThing
from protocols.model import FieldType, FormField
from protocols.phrase import Phrase
from protocols.plan import Plan
from sites.database import table
from sites.policy import Access
from sites.tables import Document, PastRound, Step

_STEP, _PAST, _DOCUMENT = table(Step), table(PastRound), table(Document)
_PRESENT = select(_STEP.c.step, _STEP.c.site, _STEP.c.round, _STEP.c.results, _STEP.c.answers).where(
    _STEP.c.experiment_id == bindparam("experiment"), _STEP.c.step.in_(bindparam("steps", expanding=True))
)
_PAST_ROUNDS = select(_PAST.c.step, _PAST.c.site, _PAST.c.round, _PAST.c.snapshot).where(
    _PAST.c.experiment_id == bindparam("experiment"), _PAST.c.step.in_(bindparam("steps", expanding=True))
)
_STORED = select(_DOCUMENT.c.hash, _DOCUMENT.c.media_type, func.length(_DOCUMENT.c.content).label("size"), _DOCUMENT.c.stored_at).where(
    _DOCUMENT.c.hash.in_(bindparam("hashes", expanding=True))
)
_CONTENT = select(_DOCUMENT.c.media_type, _DOCUMENT.c.content).where(_DOCUMENT.c.hash == bindparam("hash"))
RENDERED, ATTACHED = "rendered", "attached"


def documents(connection: Connection, row: Mapping[str, Any], plan: Plan, access: Access) -> list[dict[str, Any]]:
    """The documents a reader may read, in the protocol's order: `hash`, `name`, `origin` (`rendered` or `attached`), `step`, `site`,
    `round`, `media_type`, `size` (bytes), `stored_at` (aware UTC). `row` is the experiment's.

    What an action of the experiment made for its sites is told to those who see every site.
    """
    asked = {"experiment": row["id"], "steps": sorted(_holding(plan))}
    rounds = [dict(one) for one in connection.execute(_PRESENT, asked).mappings()]
    rounds += [one["snapshot"] | dict(one) for one in connection.execute(_PAST_ROUNDS, asked).mappings()]
    found = [one for each in rounds if access.reads_answers(plan, each["step"], each["site"]) for one in _of_round(plan, access, each)]
    unique = {(one["hash"], one["step"], one["site"], one["round"]): one for one in found}
    stored = _stored(connection, {one["hash"] for one in found})
    known = [one | stored[one["hash"]] for one in unique.values() if one["hash"] in stored]
    return sorted(known, key=lambda one: (plan.order[one["step"]], one["site"], one["round"], one["name"]))


def content(connection: Connection, row: Mapping[str, Any], plan: Plan, access: Access, key: str) -> tuple[str, str, bytes]:
    """The name, media type and bytes of one of these documents, by its hash. Raises UnknownThing for any other."""
    found = next((one for one in documents(connection, row, plan, access) if one["hash"] == key), None)
    stored = connection.execute(_CONTENT, {"hash": key}).first() if found else None
    if found is None or stored is None:
        raise UnknownThing(Phrase("There is no such document here that you may read."))
    return found["name"], stored.media_type, stored.content


@lru_cache(maxsize=256)
def _holding(plan: Plan) -> frozenset[str]:
    """The steps that may hold documents."""
    return frozenset(name for name, planned in plan.steps.items() if planned.step.run or any(True for _ in _files(_form(plan, name))))


def _form(plan: Plan, step: str) -> tuple[FormField, ...]:
    checkpoint = plan.steps[step].step.checkpoint
    return checkpoint.form if checkpoint else ()


def _files(form: Iterable[FormField]) -> Iterator[FormField]:
    yield from (field for field in form if field.type is FieldType.FILE or any(True for _ in _files(field.columns)))


def _of_round(plan: Plan, access: Access, each: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    where = {name: each[name] for name in ("step", "site", "round")}
    if each["site"] or access.sees_every_site:
        for result in each["results"]:
            yield from (_named(one, RENDERED) | where for one in result["result"].get("documents", ()) if _is_document(one))
    yield from (_named(one, ATTACHED) | where for one in _attached(_form(plan, each["step"]), each["answers"] or {}))


def _attached(form: Iterable[FormField], answers: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for field in _files(form):
        value = answers.get(field.id)
        if field.type is FieldType.FILE and isinstance(value, Mapping) and _is_document(value):
            yield value
        elif isinstance(value, list):
            for line in value:
                yield from _attached(field.columns, line)


def _is_document(value: Any) -> bool:
    return isinstance(value, Mapping) and isinstance(value.get("hash"), str) and isinstance(value.get("name"), str)


def _named(one: Mapping[str, Any], origin: str) -> dict[str, Any]:
    return {"hash": one["hash"], "name": one["name"], "origin": origin}


def _stored(connection: Connection, hashes: Iterable[str]) -> dict[str, dict[str, Any]]:
    wanted = sorted(hashes)
    rows = connection.execute(_STORED, {"hashes": wanted}).mappings() if wanted else ()
    return {row["hash"]: {name: row[name] for name in ("media_type", "size", "stored_at")} for row in rows}
