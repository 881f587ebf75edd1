"""One checkpoint as somebody sees it: what is asked, answered and said there, what they may do about it, and who else may."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import date, datetime
from functools import lru_cache
from typing import Any

from sqlalchemy import Connection, bindparam, select

from protocols import clocks
from protocols.context import place_of
from protocols.engine import answers_hash, next_signature, who_acted
from protocols.errors import UnknownThing
from protocols.keys import folded
from protocols.model import FieldType, FormField, in_locale
from protocols.needs import MANAGER, awaits
from protocols.phrase import Phrase
from protocols.plan import Plan
from protocols.state import SliceTooSmall, StepStatus
from sites import policy, remarks
from sites.board import gate, iso, title_of
from sites.checkpoints import CheckpointId
from sites.database import Database, table
from sites.disclosure import foreign_sites
from sites.holding import by_place, held_at, holdings
from sites.names import names as names_of
from sites.names import of_those_there
from sites.policy import Standing, View
from sites.snapshot import Loaded, find, load
from sites.tables import Draft, FactRow, PastRound

_PAST, _DRAFT, _FACT = table(PastRound), table(Draft), table(FactRow)

_PAST_ROUNDS = (
    select(_PAST)
    .where(_PAST.c.experiment_id == bindparam("experiment"), _PAST.c.site == bindparam("site"), _PAST.c.step == bindparam("step"))
    .order_by(_PAST.c.round)
)
_DRAFTS_OF = select(_DRAFT).where(
    _DRAFT.c.experiment_id == bindparam("experiment"),
    _DRAFT.c.site == bindparam("site"),
    _DRAFT.c.step == bindparam("step"),
    _DRAFT.c.round == bindparam("round"),
    _DRAFT.c.person.in_([bindparam("person"), ""]),
)
_HELD = (
    select(_FACT.c.by, _FACT.c.at, _FACT.c.site, _FACT.c.data)
    .where(_FACT.c.experiment_id == bindparam("experiment"), _FACT.c.kind == "Held", _FACT.c.site.in_(["", bindparam("site")]))
    .order_by(_FACT.c.seq.desc())
    .limit(1)
)


def checkpoint(
    database: Database, name: str, now: datetime, *, person: str | None = None, locale: str = "fr", access: View
) -> dict[str, Any]:
    """One checkpoint: its step, form, answers, signatures, earlier rounds, drafts, remarks, and why its gate is closed.

    With `person`, also their draft (else what was typed in Prefect), what they `may` do, what they `lack` for it and `who` is awaited.
    `access` says how much: who may not read the answers gets none of them, of no round, nor remarks or drafts; whoever sees codes only
    gets no names. `answers_hash` is what a signature is bound to. The name of an earlier round shows that round. Raises UnknownThing for
    a round that has not come yet.
    """
    wanted = CheckpointId.parse(name)
    with database.read() as connection:
        row = find(connection, wanted.experiment, site=wanted.site)
        loaded = load(connection, row, wanted.key)
        try:
            shown = _asked(loaded, wanted, now, locale, access)
        except SliceTooSmall:
            loaded = load(connection, row)
            shown = _asked(loaded, wanted, now, locale, access)
        if wanted.round > shown["round"]:
            raise UnknownThing(Phrase("There is no {name} yet: the step is in round {round}.", name=name, round=shown["round"]))
        shown |= _said_there(connection, loaded, wanted, shown, person, access)
        if person is not None:
            shown |= _for_person(connection, loaded, wanted, shown, now, person, access)
        return _named(connection, shown, person, access)


def _asked(loaded: Loaded, wanted: CheckpointId, now: datetime, locale: str, access: View) -> dict[str, Any]:
    plan, state = loaded.plan, loaded.state
    planned, step = plan.steps[wanted.step].step, state.step(wanted.key)
    next_one, (place, _) = next_signature(plan.steps[wanted.step], step), place_of(state, wanted.site)
    return gate(plan, state, wanted.key, now, locale, access) | {
        "id": str(wanted),
        "experiment": wanted.experiment,
        "experiment_title": title_of(loaded.row, plan, locale),
        "experiment_state": state.status.value,
        "site_name": _site_name(loaded, wanted.site, access),
        "timezone": place.timezone,
        "today": clocks.local_date(now, place).isoformat(),
        "help": in_locale(planned.help, locale),
        "role": planned.checkpoint.role if planned.checkpoint else "",
        "awaits": awaits(plan, step)[0],
        "latest_round": step.round,
        "form": _form(plan, wanted.step, locale),
        "answers": step.answers,
        "answers_hash": answers_hash(step.answers) if step.answers is not None else None,
        "completed_by": step.completed_by,
        "completed_at": iso(step.completed_at),
        "signatures": [{"by": one.by, "role": one.role, "at": iso(one.at), "meaning": one.meaning} for one in step.signatures],
        "next_signature": {"role": next_one.role, "meaning": in_locale(next_one.meaning, locale)} if next_one else None,
        "roles": {role: in_locale(known.title, locale) for role, known in plan.protocol.roles.items()},
    }


def _site_name(loaded: Loaded, site: str, access: View) -> str:
    if not site:
        return ""
    return site if access.is_aggregate else loaded.state.sites[site].name


@lru_cache(maxsize=2048)
def _form(plan: Plan, step: str, locale: str) -> list[dict[str, Any]]:
    checkpoint = plan.steps[step].step.checkpoint
    return [form_field(field, locale) for field in checkpoint.form] if checkpoint else []


def form_field(field: FormField, locale: str) -> dict[str, Any]:
    """A form field in one language, without what it does not use."""
    shown: dict[str, Any] = field.model_dump(mode="json", exclude_defaults=True)
    shown |= {"label": in_locale(field.label, locale), "required": field.required}
    if field.help:
        shown["help"] = in_locale(field.help, locale)
    if field.options:
        shown["options"] = [{"value": one.value, "label": in_locale(one.label, locale) or one.value} for one in field.options]
    if field.accept:
        shown["accept"] = list(field.kinds)
    if field.columns:
        shown["columns"] = [form_field(column, locale) for column in field.columns]
    return shown


# ------------------------------------------------------------------ what was said there before


def _said_there(
    connection: Connection, loaded: Loaded, wanted: CheckpointId, shown: Mapping[str, Any], person: str | None, access: View
) -> dict[str, Any]:
    reads = access.reads_answers(loaded.plan, wanted.step, wanted.site)
    past = _past_rounds(connection, loaded.id, wanted) if shown["round"] > 1 else []
    over = {"late": False, "waiting_for": [], "next_signature": None, "awaits": "", "ended_at": None, "due_at": None, "due_on": None}
    found = next((one | over for one in past if one["round"] == wanted.round), {})
    own, prefect = _drafts(connection, loaded, wanted, person)
    said = remarks.about(connection, loaded.id, wanted)
    found |= {"reads_answers": reads, "earlier_rounds": past, "draft": own or prefect, "prefect_draft": prefect if own else None}
    found["remarks"] = [_remark(one) for one in said if reads or one["by"] == person]
    if reads:
        return found
    unread = {"answers": None, "answers_hash": None}
    return found | unread | {"earlier_rounds": [one | unread for one in past], "draft": None, "prefect_draft": None}


def _past_rounds(connection: Connection, experiment: int, wanted: CheckpointId) -> list[dict[str, Any]]:
    rows = connection.execute(_PAST_ROUNDS, {"experiment": experiment, "site": wanted.site, "step": wanted.step}).mappings()
    names = ("answers", "completed_by", "completed_at", "signatures")
    found = [{"round": row["round"], "status": row["status"]} | {name: row["snapshot"][name] for name in names} for row in rows]
    return [one | {"answers_hash": answers_hash(one["answers"]) if one["answers"] is not None else None} for one in found]


def _drafts(
    connection: Connection, loaded: Loaded, wanted: CheckpointId, person: str | None
) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    """What the person typed and has not completed since, and what was typed in Prefect since the last completion."""
    if person is None:
        return None, None
    asked = {"experiment": loaded.id, "site": wanted.site, "step": wanted.step, "round": wanted.round, "person": person}
    rows = {row["person"]: row for row in connection.execute(_DRAFTS_OF, asked).mappings()}
    step, found = loaded.state.step(wanted.key), []
    for whose in (person, ""):
        row = rows.get(whose)
        counts = whose == "" or step.completed_by == person
        over = row is None or (counts and step.completed_at is not None and step.completed_at >= row["saved_at"])
        shown = {name: row[name] for name in ("answers", "origin")} | {"saved_at": iso(row["saved_at"])} if row is not None else None
        found.append(None if over else shown)
    return found[0], found[1]


def _remark(row: Mapping[str, Any]) -> dict[str, Any]:
    kept = ("id", "kind", "round", "by", "text", "answer", "answered_by")
    return {name: row[name] for name in kept} | {"at": iso(row["at"]), "answered_at": iso(row["answered_at"])}


# ------------------------------------------------------------------ what a person may do


def _for_person(
    connection: Connection,
    loaded: Loaded,
    wanted: CheckpointId,
    shown: Mapping[str, Any],
    now: datetime,
    person: str,
    access: View,
) -> dict[str, Any]:
    checkpoint, on = loaded.plan.steps[wanted.step].step.checkpoint, date.fromisoformat(shown["today"])
    roles = {"complete": checkpoint.role if checkpoint else MANAGER, "manage": MANAGER}
    roles |= {"sign": shown["next_signature"]["role"]} if shown["next_signature"] else {}
    known = {role: _standing(connection, loaded, wanted, person, role, on, access) for role in dict.fromkeys(roles.values())}
    standings = {act: known[role] for act, role in roles.items()}
    acted = bool(shown["next_signature"]) and _must_be_another(loaded, wanted, person)
    may = _may(loaded, wanted, shown, standings, person, acted)
    awaited = standings.get("sign" if shown["awaits"] == "signature" else "complete")
    role = shown["next_signature"]["role"] if shown["awaits"] == "signature" else roles["complete"]
    return {
        "may": may,
        "acted_before": acted,
        "of": awaited.of if awaited else "",
        "holds": bool(awaited and awaited.holds),
        "lacks": list(awaited.lacks) if awaited and awaited.holds else [],
        "in_conflict": bool(awaited and awaited.holds and awaited.in_conflict),
        "hold": _hold(connection, loaded, wanted, access) if shown["held"] else None,
    } | _people(connection, loaded, wanted, now, role, checkpoint.form if checkpoint and may["type"] else (), access)


def _standing(connection: Connection, loaded: Loaded, wanted: CheckpointId, person: str, role: str, on: date, access: View) -> Standing:
    if role == MANAGER and not access.is_manager:
        return Standing(False, False)
    site = "" if role == MANAGER else wanted.site
    return policy.standing(connection, person, role, site=site, experiment=loaded.code, on=on, plan=loaded.plan)


def _must_be_another(loaded: Loaded, wanted: CheckpointId, person: str) -> bool:
    step = loaded.state.step(wanted.key)
    one = next_signature(loaded.plan.steps[wanted.step], step)
    return one is not None and one.different_person and folded(person) in who_acted(step)


def _may(
    loaded: Loaded, wanted: CheckpointId, shown: Mapping[str, Any], standings: Mapping[str, Standing], person: str, acted: bool
) -> dict[str, bool]:
    """Each act, and whether the ledger would let this person do it now. `type` is to fill in and keep a draft."""
    over = loaded.state.status.has_ended or loaded.state.site_is_stopped(wanted.site) or wanted.round != shown["latest_round"]
    moves = not over and not shown["held"]
    completes, manages = standings["complete"], standings["manage"].may_act
    awaited = standings.get("sign", completes) if shown["awaits"] in ("answers", "signature") else None
    declined = any((one["kind"], one["by"], one["round"]) == ("decline", person, wanted.round) for one in shown["remarks"])
    asked = loaded.plan.steps[wanted.step].step.checkpoint is not None
    return {
        "type": not over and shown["awaits"] == "answers" and completes.holds and not completes.in_conflict,
        "complete": moves and shown["awaits"] == "answers" and completes.may_act,
        "change": moves and shown["awaits"] == "signature" and completes.may_act,
        "sign": moves and "sign" in standings and standings["sign"].may_act and not acted,
        "decline": not over and awaited is not None and awaited.holds and not declined,
        "ask": bool(shown["reads_answers"]),
        "answer": manages,
        "retry": moves and shown["awaits"] == "incident" and manages,
        "reopen": moves and asked and shown["status"] == StepStatus.PASSED and (completes.may_act or manages),
        "link": moves and shown["awaits"] == "answers" and (completes.may_act or manages),
    }


def _hold(connection: Connection, loaded: Loaded, wanted: CheckpointId, access: View) -> dict[str, Any] | None:
    """Who put it on hold, when and why, as far as its reader may know."""
    row = connection.execute(_HELD, {"experiment": loaded.id, "site": wanted.site}).mappings().first()
    if row is None:
        return None
    if access.is_aggregate:
        return {"by": "", "at": iso(row["at"]), "reason": ""}
    reason = json.loads(row["data"]).get("reason", "")
    told = foreign_sites(connection, loaded.id, access).left_out(reason)
    return {"by": row["by"], "at": iso(row["at"]), "reason": told}


def _people(
    connection: Connection,
    loaded: Loaded,
    wanted: CheckpointId,
    now: datetime,
    role: str,
    form: Iterable[FormField],
    access: View,
) -> dict[str, Any]:
    """Whom the checkpoint waits for, and whom its `person` fields may name, by role; nobody for whoever sees codes only."""
    if not access.names_people:
        return {"who": [], "signers": [], "persons": {}}
    asked = {field.role or role for field in _person_fields(form)}
    # A delegation or a training is signed by an investigator of the site, their own by a project manager.
    signer = MANAGER if role == policy.INVESTIGATOR or not wanted.site else policy.INVESTIGATOR
    places = by_place(holdings(connection, loaded.row, {role, signer, *asked}, [wanted.site] if wanted.site else [], now))
    named = {one: [(held.person, held.name) for held in held_at(places, one, wanted.site)] for one in {role, signer, *asked}}
    return {
        "who": [{"id": person, "name": name} for person, name in named[role]],
        "signers": [{"id": person, "name": name} for person, name in named[signer]],
        "persons": {one: named[one] for one in asked},
    }


def _person_fields(form: Iterable[FormField]) -> Iterable[FormField]:
    for field in form:
        yield from [field] if field.type is FieldType.PERSON else _person_fields(field.columns)


# ------------------------------------------------------------------ names


def _named(connection: Connection, shown: dict[str, Any], person: str | None, access: View) -> dict[str, Any]:
    """The names of all who are named; whoever sees codes only gets neither ids nor names, but their own."""
    if not access.names_people:
        shown = _unnamed(shown, person or "")
    rounds = (shown, *shown["earlier_rounds"])
    ids = [one["completed_by"] for one in rounds] + [signed["by"] for one in rounds for signed in one["signatures"]]
    ids += [remark[name] for remark in shown["remarks"] for name in ("by", "answered_by")]
    ids += [shown["hold"]["by"]] if shown.get("hold") else []
    typed = [one["answers"][name] for one in rounds if one["answers"] for name in _named_in(shown["form"], one["answers"])]
    here = [shown["site"]] if shown["site"] else None if access.sees_every_site else []
    ids += of_those_there(connection, typed, shown["experiment"], here)
    ids += [shown["of"]] if shown.get("of") else []
    return shown | {"names": names_of(connection, ids)}


def _named_in(form: Iterable[Mapping[str, Any]], answers: Mapping[str, Any]) -> list[str]:
    """The fields that name a person."""
    return [field["id"] for field in form if field["type"] == FieldType.PERSON and isinstance(answers.get(field["id"]), str)]


def _unnamed(shown: dict[str, Any], person: str) -> dict[str, Any]:
    def own(by: str) -> str:
        return by if by == person else ""

    def without(one: Mapping[str, Any]) -> dict[str, Any]:
        signed = [signature | {"by": own(signature["by"])} for signature in one["signatures"]]
        return dict(one) | {"completed_by": own(one["completed_by"]), "signatures": signed}

    said = [one | {"answered_by": ""} for one in shown["remarks"] if one["by"] == person]
    return without(shown) | {"earlier_rounds": [without(one) for one in shown["earlier_rounds"]], "remarks": said}
