"""What stands beside a person's tasks on their page: why some cannot be done, who can help, and what waits for others."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, bindparam, select

from protocols import clocks
from protocols.clocks import Place
from protocols.model import in_locale
from protocols.needs import MANAGER
from sites import policy
from sites.board import day, iso, title_of
from sites.checkpoints import CheckpointId
from sites.database import table
from sites.folding import folded
from sites.live import IS_LIVE
from sites.names import names
from sites.policy import Reader
from sites.releases import plan_of
from sites.tables import Assignment, Experiment, FactRow, Person, Site, Step

_STEP, _EXPERIMENT, _SITE = table(Step), table(Experiment), table(Site)
_FACT, _ASSIGNMENT, _PERSON = table(FactRow), table(Assignment), table(Person)
_OTHER = _FACT.alias("other")

_SITE_NAMES = select(_SITE.c.code, _SITE.c.name).where(_SITE.c.code.in_(bindparam("codes", expanding=True)))
_HOLDS = (
    select(_EXPERIMENT.c.code, _FACT.c.site, _FACT.c.by, _FACT.c.at, _FACT.c.data)
    .join(_EXPERIMENT, _EXPERIMENT.c.id == _FACT.c.experiment_id)
    # Through the index of kinds: see sites.disclosure.
    .where(
        _EXPERIMENT.c.code.in_(bindparam("codes", expanding=True)),
        _FACT.c.seq.in_(select(_OTHER.c.seq).where(_OTHER.c.experiment_id == _EXPERIMENT.c.id, _OTHER.c.kind == "Held")),
    )
    .order_by(_FACT.c.seq)
)


def site_names(connection: Connection, codes: Iterable[str]) -> dict[str, str]:
    """The names of sites by their codes, in one statement."""
    wanted = sorted({one for one in codes if one})
    return {row.code: row.name for row in connection.execute(_SITE_NAMES, {"codes": wanted})} if wanted else {}


def holds(connection: Connection, items: Collection[Mapping[str, Any]]) -> dict[tuple[str, str], dict[str, Any]]:
    """The latest hold of each blocked item's experiment and of its sites, by (experiment, site or ""): `by, at, reason, site`.

    Read only while something is on hold. A reason given for a whole experiment may name a site, so it is not told here.
    """
    codes = sorted({one["experiment"] for one in items if one["blocked"]})
    rows = list(connection.execute(_HOLDS, {"codes": codes})) if codes else []
    said = names(connection, (row.by for row in rows))
    return {
        (row.code, row.site): {
            "by": said.get(row.by, ""),
            "at": iso(row.at),
            "reason": json.loads(row.data).get("reason", "") if row.site else "",
        }
        for row in rows
    }


def signers(connection: Connection, items: Collection[Mapping[str, Any]], now: datetime) -> dict[tuple[str, str], list[str]]:
    """The names of those who may sign what is lacking, by (experiment, site): its investigators, the managers for an investigator."""
    lacking = [one for one in items if one["lacks"]]
    if not lacking:
        return {}
    wanted = (
        _ASSIGNMENT.c.role.in_((policy.INVESTIGATOR, MANAGER)),
        _ASSIGNMENT.c.site.in_(["", *sorted({one["site"] or "" for one in lacking})]),
        _ASSIGNMENT.c.experiment.in_(["", *sorted({one["experiment"] for one in lacking})]),
        policy.in_force(clocks.local_date(now, Place())),
    )
    query = (
        select(_PERSON.c.name, _ASSIGNMENT.c.role, _ASSIGNMENT.c.site, _ASSIGNMENT.c.experiment)
        .join(_PERSON, _PERSON.c.id == _ASSIGNMENT.c.person)
        .where(*wanted)
        .order_by(folded(_PERSON.c.name))
    )
    rows = list(connection.execute(query))
    return {(one["experiment"], one["site"] or ""): _signers(one, rows) for one in lacking}


def _signers(item: Mapping[str, Any], rows: Iterable[Any]) -> list[str]:
    role = MANAGER if item["role"] == policy.INVESTIGATOR or not item["site"] else policy.INVESTIGATOR
    places, codes = ("", item["site"] or ""), ("", item["experiment"])
    return list(dict.fromkeys(row.name for row in rows if row.role == role and row.site in places and row.experiment in codes))


def waiting_for_others(connection: Connection, reader: Reader, locale: str, latest: int = 5) -> list[dict[str, Any]]:
    """What a person completed and others have still to sign, the latest first: `id, title, experiment, site, role, completed_on`."""
    held = {one.site for one in reader.in_force_at(Place())}
    where = [IS_LIVE, _STEP.c.awaits == "signature", _STEP.c.completed_by == reader.person]
    where += [_STEP.c.site.in_(sorted(held))] if "" not in held else []
    query = (
        select(
            *(_STEP.c[name] for name in ("step", "site", "round", "completed_at", "awaits_role")),
            *(_EXPERIMENT.c[name] for name in ("code", "title", "protocol", "timezone")),
        )
        .join(_EXPERIMENT, _EXPERIMENT.c.id == _STEP.c.experiment_id)
        .where(*where, _EXPERIMENT.c.state.in_(("running", "on_hold")))
        .order_by(_STEP.c.completed_at.desc())
        .limit(latest)
    )
    return [_waiting(connection, dict(row), locale) for row in connection.execute(query).mappings()]


def _waiting(connection: Connection, row: Mapping[str, Any], locale: str) -> dict[str, Any]:
    plan = plan_of(connection, row["protocol"])
    role = plan.role(row["awaits_role"])
    return {
        "id": str(CheckpointId(row["code"], row["step"], row["site"], row["round"])),
        "title": in_locale(plan.steps[row["step"]].step.title, locale),
        "experiment": row["code"],
        "experiment_title": title_of(row, plan, locale),
        "site": row["site"],
        "role": in_locale(role.title, locale) if role else row["awaits_role"],
        "completed_on": day(row["completed_at"], Place(timezone=row["timezone"])),
    }
