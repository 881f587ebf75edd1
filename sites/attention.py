"""What needs a project manager's or an investigator's eye: roles that nobody holds, records to sign, rights that end soon."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, Table, and_, exists, func, or_, select, true

from sites.database import table
from sites.policy import Reader, in_force
from sites.policy.administering import today
from sites.qualifications import seen_delegations, seen_trainings
from sites.releases import plan_of
from sites.tables import Assignment, Delegation, Experiment, ExperimentSite, Person, Training

_ASSIGNMENT, _PERSON = table(Assignment), table(Person)
_EXPERIMENT, _TAKES_PART = table(Experiment), table(ExperimentSite)
_DELEGATION, _TRAINING = table(Delegation), table(Training)

SOON = timedelta(days=30)
MOST = 20


def vacancies(connection: Connection, reader: Reader, most: int = MOST) -> list[dict[str, str]]:
    """The roles nobody holds today in a running experiment that the reader manages: `{"experiment", "site", "role"}`, at most so many.

    Roles of a site are looked for at its active sites; those of the whole experiment have site "".
    """
    on = today(reader)
    everywhere = {(row.role, row.site) for row in connection.execute(_held_in_all(on))}
    found: list[dict[str, str]] = []
    for protocol, sites in _running(connection, reader).items():
        roles = plan_of(connection, protocol).protocol.roles
        wanted = {(name, site) for name, role in roles.items() for site in _places(role.scope, sites)}
        missing = sorted(pair for pair in wanted if pair not in everywhere and (pair[0], "") not in everywhere)
        if missing and len(found) < most:
            found += _unheld(connection, reader, protocol, missing, on, most - len(found))
    return found


def _places(scope: str, sites: list[str]) -> list[str]:
    return sites if scope == "site" else [""]


def _held_in_all(on: date) -> Any:
    """The roles and sites that someone holds in every experiment, whichever: whoever does holds them in each of these."""
    return select(_ASSIGNMENT.c.role, _ASSIGNMENT.c.site).where(_ASSIGNMENT.c.experiment == "", in_force(on)).distinct()


def _managed(reader: Reader) -> ColumnElement[bool]:
    managed = reader.managed
    return true() if managed is None else _EXPERIMENT.c.code.in_(sorted(managed))


def _running(connection: Connection, reader: Reader) -> dict[str, list[str]]:
    """The sites active in running experiments, by the hash of their protocol."""
    joined = _TAKES_PART.join(_EXPERIMENT, _EXPERIMENT.c.id == _TAKES_PART.c.experiment_id)
    under_way = (_EXPERIMENT.c.state == "running", _TAKES_PART.c.state == "active", _managed(reader))
    query = select(_EXPERIMENT.c.protocol, _TAKES_PART.c.site).select_from(joined).where(*under_way).distinct()
    found: dict[str, list[str]] = {}
    for row in connection.execute(query.order_by(_EXPERIMENT.c.protocol, _TAKES_PART.c.site)):
        found.setdefault(row.protocol, []).append(row.site)
    return found


def _unheld(
    connection: Connection, reader: Reader, protocol: str, pairs: list[tuple[str, str]], on: date, most: int
) -> list[dict[str, str]]:
    """Of these roles and sites, those that nobody holds in one experiment of the protocol alone either."""
    found: list[dict[str, str]] = []
    for role in dict.fromkeys(role for role, _ in pairs):
        sites = [site for name, site in pairs if name == role]
        column = _TAKES_PART.c.site if sites != [""] else None
        held = exists().where(
            _ASSIGNMENT.c.role == role,
            _ASSIGNMENT.c.site.in_(["", column]) if column is not None else _ASSIGNMENT.c.site == "",
            _ASSIGNMENT.c.experiment == _EXPERIMENT.c.code,
            in_force(on),
        )
        running = (_EXPERIMENT.c.protocol == protocol, _EXPERIMENT.c.state == "running", _managed(reader), ~held)
        query = select(_EXPERIMENT.c.code, *([column] if column is not None else [])).where(*running).limit(most - len(found))
        if column is not None:
            query = query.join(_TAKES_PART, _TAKES_PART.c.experiment_id == _EXPERIMENT.c.id)
            query = query.where(_TAKES_PART.c.state == "active", column.in_(sites)).order_by(_EXPERIMENT.c.id, column)
        found += [{"experiment": row[0], "site": row[1] if column is not None else "", "role": role} for row in connection.execute(query)]
        if len(found) >= most:
            break
    return found


def unsigned(connection: Connection, reader: Reader, most: int = MOST) -> dict[str, Any]:
    """The records that wait for a signature, as far as the reader sees them: `{"delegations", "trainings"}`, each `{"count", "first"}`."""
    waiting = {"delegations": (_DELEGATION, seen_delegations(reader)), "trainings": (_TRAINING, seen_trainings(reader))}
    return {name: _some(connection, log, and_(seen, _waits(log, today(reader))), log.c.id, most) for name, (log, seen) in waiting.items()}


def _waits(log: Table, on: date) -> ColumnElement[bool]:
    return and_(log.c.signed_at.is_(None), log.c.ended_on.is_(None), or_(log.c.until_date.is_(None), log.c.until_date >= on))


def ending(connection: Connection, reader: Reader, most: int = MOST) -> dict[str, Any]:
    """The delegations and trainings that count today and end within thirty days, the next to end first; shaped as `unsigned`."""
    on = today(reader)
    logs = {"delegations": (_DELEGATION, seen_delegations(reader)), "trainings": (_TRAINING, seen_trainings(reader))}
    return {name: _some(connection, log, and_(seen, _ends(log, on)), log.c.until_date, most) for name, (log, seen) in logs.items()}


def _ends(log: Table, on: date) -> ColumnElement[bool]:
    lasts = or_(log.c.ended_on.is_(None), log.c.ended_on > on)
    return and_(log.c.signed_at.is_not(None), lasts, log.c.until_date >= on, log.c.until_date <= on + SOON)


def _some(connection: Connection, log: Table, where: ColumnElement[bool], order: Any, most: int) -> dict[str, Any]:
    named = log.join(_PERSON, _PERSON.c.id == log.c.person)
    # Counted apart: a window over all of them takes SQLite five times as long.
    count = connection.execute(select(func.count()).select_from(log).where(where)).scalar_one()
    first = select(log, _PERSON.c.name).select_from(named).where(where).order_by(order, log.c.id).limit(most)
    rows = [dict(row) for row in connection.execute(first).mappings()] if count else []
    return {"count": int(count), "first": rows}
