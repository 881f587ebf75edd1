"""What was sent to whom, when, by which channel and with which result, as far as a reader may know."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, Select, and_, or_, select

from sites.database import Database, table
from sites.policy import Access, Everything, View
from sites.tables import Assignment, Delivery, Experiment, Notice

_NOTICE, _DELIVERY, _EXPERIMENT, _ASSIGNMENT = table(Notice), table(Delivery), table(Experiment), table(Assignment)


def sent(
    database: Database,
    experiment: str | None,
    access: View,
    *,
    before: int | None = None,
    limit: int | None = None,
    state: str = "",
    person: str = "",
    step: str = "",
    site: str = "",
) -> list[dict[str, Any]]:
    """What was sent to whom, when, by which channel and with which result, oldest first; of one experiment, or with None of all.

    `state` is `sending`, `sent`, `failed` (will be tried again), `refused` (will not), or what was decided instead of sending:
    `postponed`, `digested`, `muted`, `dropped`; times are aware UTC. With a `limit`, so many of the newest, newest first, each with its
    `id`; `before` such an id goes on from there. `access` says how much is told: of the sites seen, and of the experiment's own what was
    sent to people one sees there; an error's words are for managers. Whoever sees aggregates only reads what was sent to them.
    """
    if any("\x00" in word for word in (state, person, step, site)):  # PostgreSQL refuses to look for it
        return []
    query = _sent_query(experiment, access).where(*_chosen(state, person, step, site))
    if limit is None:
        query = query.order_by(_DELIVERY.c.at, _DELIVERY.c.id)
    else:
        query = query.add_columns(_DELIVERY.c.id).order_by(_DELIVERY.c.id.desc()).limit(limit)
    query = query.where(_DELIVERY.c.id < before) if before is not None else query
    with database.read() as connection:
        rows = [dict(row) for row in connection.execute(query).mappings()]
    return rows if access.is_manager else [row | {"error": ""} for row in rows]


def _sent_query(experiment: str | None, access: View) -> Select[Any]:
    told = _DELIVERY.join(_NOTICE, _NOTICE.c.id == _DELIVERY.c.notice_id).join(_EXPERIMENT, _EXPERIMENT.c.id == _NOTICE.c.experiment_id)
    of_delivery = (_DELIVERY.c[name] for name in ("person", "channel", "subject", "state", "attempts", "error", "at"))
    of_notice = (_NOTICE.c[name] for name in ("key", "kind", "step", "site", "round"))
    query = select(_EXPERIMENT.c.code.label("experiment"), *of_notice, *of_delivery).select_from(told)
    query = query.where(_EXPERIMENT.c.code == experiment) if experiment is not None else query
    return query if isinstance(access, Everything) else query.where(_told_to(access))


def _told_to(access: Access) -> ColumnElement[bool]:
    """The deliveries that a reader of an experiment sees."""
    if access.is_aggregate:
        return and_(_EXPERIMENT.c.code == access.experiment, _DELIVERY.c.person == access.person)
    if access.sites is None:
        return _EXPERIMENT.c.code == access.experiment
    own = sorted(access.sites)
    here = (_ASSIGNMENT.c.site.in_(["", *own]), _ASSIGNMENT.c.experiment.in_(["", access.experiment]))
    of_all = and_(_NOTICE.c.site == "", _DELIVERY.c.person.in_(select(_ASSIGNMENT.c.person).where(*here)))
    to_self = and_(_NOTICE.c.site == "", _DELIVERY.c.person == access.person)
    return and_(_EXPERIMENT.c.code == access.experiment, or_(_NOTICE.c.site.in_(own), of_all, to_self))


def _chosen(state: str, person: str, step: str, site: str) -> list[ColumnElement[bool]]:
    wanted = ((_DELIVERY.c.state, state), (_DELIVERY.c.person, person), (_NOTICE.c.step, step), (_NOTICE.c.site, site))
    return [column == value for column, value in wanted if value]
