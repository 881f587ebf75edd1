"""People: the roles, who holds them where and who stands in, what delegations and trainings are in force, and where nobody is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import APIRouter, Request, Response
from sqlalchemy import Connection

from insitu.entrance.visitor import Seen, SeesExperiment
from insitu.web.experiment.frame import experiment_page, role_title
from protocols import clocks
from protocols.clocks import Place
from sites import board, policy
from sites.conflicts import conflicts
from sites.holding import Holding, by_place, held_at, holdings
from sites.qualifications import delegations, trainings

router = APIRouter()


@router.get("/experiments/{code}/people")
def people(request: Request, seen: SeesExperiment) -> Response:
    """Who holds which role; a sponsor reads how many do, and no name."""
    visitor = seen.visitor
    with visitor.doors.database.read() as connection:
        sites = board.summary(connection, seen.row, seen.plan, visitor.locale, seen.access)["sites"]
        codes = [one["code"] for one in sites if one["state"] != "stopped"]
        roles = list(dict.fromkeys([policy.MANAGER, *seen.plan.protocol.roles]))
        found = holdings(connection, seen.row, roles, codes, visitor.reader.now)
        places = by_place(found)
        return experiment_page(
            request,
            seen,
            connection,
            "people.html",
            own=[_role(seen, places, role, [""]) for role in roles if not seen.plan.is_site_role(role)],
            local=[_role(seen, places, role, codes) for role in roles if seen.plan.is_site_role(role)],
            site_names={one["code"]: one["name"] for one in sites},
            deputies=_deputies(connection, seen, found) if seen.access.names_people else {},
            **_records(seen),
        )


def _role(seen: Seen, places: Mapping[tuple[str, str], list[Holding]], role: str, sites: Sequence[str]) -> dict[str, Any]:
    """A role with its holders at each place: their names, or how many there are for whoever sees no name."""
    known = seen.plan.role(role)
    held = {site: held_at(places, role, site) for site in sites}
    return {
        "role": role,
        "title": role_title(seen, role),
        "requires": known.requires if known else (),
        "places": [{"site": site, "count": len(here), "holders": _shown(seen, here)} for site, here in held.items()],
    }


def _shown(seen: Seen, held: Sequence[Holding]) -> list[Holding]:
    return list(held) if seen.access.names_people else []


def _deputies(connection: Connection, seen: Seen, found: Sequence[Holding]) -> dict[str, list[str]]:
    """By person, the names of those who may act for them today."""
    today = clocks.local_date(seen.visitor.reader.now, Place(seen.row["territory"], seen.row["timezone"]))
    named: dict[str, list[str]] = {}
    for row in policy.deputies_of(connection, sorted({one.person for one in found}), today):
        named.setdefault(row["of"], []).append(row["name"])
    return named


def _records(seen: Seen) -> dict[str, Any]:
    """The delegations and trainings in force that the reader sees, and for managers the conflicts declared here."""
    if not seen.access.names_people:
        return {"delegations": [], "trainings": [], "conflicts": []}
    database, reader, protocol = seen.visitor.doors.database, seen.visitor.reader, seen.plan.protocol
    given = delegations(database, reader, experiment=seen.code)
    trained = trainings(database, reader, protocol=protocol.id, version=protocol.version)
    declared = conflicts(database, reader) if seen.access.is_manager else []
    return {
        "delegations": [one for one in given if one["state"] == "in_force" and seen.access.sees_site(one["site"])],
        "trainings": [one for one in trained if one["state"] == "in_force" and seen.access.sees_site(one["site"])],
        "conflicts": [one for one in declared if one["experiment"] in ("", seen.code) and one["withdrawn_at"] is None],
    }
