"""How much of a fact is told to whom: the journal as its reader may read it."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, bindparam, func, select, tuple_

from protocols.facts import FactKind
from protocols.plan import Plan
from sites.database import Database, table
from sites.policy import SPONSOR, Access, Everything, View
from sites.releases import plan_of
from sites.snapshot import find
from sites.tables import ExperimentSite, FactRow

_FACT, _SITE = table(FactRow), table(ExperimentSite)
_OTHER = _FACT.alias("other")
_SITES_OF = select(_SITE.c.site, _SITE.c.name).where(_SITE.c.experiment_id == bindparam("experiment"))

# Every fact of an experiment, and those at some sites, each with its `place` among them. Built once: see sites.snapshot.
_IN_EXPERIMENT = _FACT.c.experiment_id == bindparam("experiment")
_EVERY = select(*_FACT.c, _FACT.c.seq.label("place")).where(_IN_EXPERIMENT).subquery()
_SEEN = (
    select(*_FACT.c, func.row_number().over(order_by=_FACT.c.seq).label("place"))
    .where(_IN_EXPERIMENT, _FACT.c.site.in_(bindparam("sites", expanding=True)))
    .subquery()
)

NAMES = ("seq", "kind", "by", "role", "step", "site", "round", "protocol", "hash")
# What people typed or machines found: read by those who may read the step's answers.
TYPED = frozenset({"answers", "result", "text", "question", "answer"})
# What a launch says that would tell how many sites there are, and where.
COUNTED = frozenset({"pending", "territory", "timezone"})
# All that is told to whoever sees codes and statuses only.
AGGREGATE = frozenset(
    {
        *("protocol", "title", "sites", "territory", "timezone", "working", "due_at", "computation", "index", "do", "leads_to"),
        *("answers_hash", "meaning", "to", "because", "occasion", "through", "pending"),
    }
)
LEFT_OUT = "[…]"


@dataclass(frozen=True, slots=True)
class Foreign:
    """The sites of an experiment that a reader does not see, by their codes and names."""

    words: frozenset[str]
    pattern: re.Pattern[str] | None

    @classmethod
    def of(cls, words: Collection[str]) -> Foreign:
        known = sorted((one for one in words if one), key=len, reverse=True)
        found = re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, known))})(?!\w)", re.IGNORECASE) if known else None
        return cls(frozenset(known), found)

    def left_out(self, value: Any) -> Any:
        """The value without these sites: their entries gone from lists and maps, their names gone from sentences."""
        if self.pattern is None:
            return value
        if isinstance(value, str):
            return self.pattern.sub(LEFT_OUT, value)
        if isinstance(value, Mapping):
            return {name: self.left_out(one) for name, one in value.items() if name not in self.words}
        if isinstance(value, list):
            return [self.left_out(one) for one in value if not self._is_about(one)]
        return value

    def _is_about(self, value: Any) -> bool:
        if isinstance(value, Mapping):
            return any(value.get(name) in self.words for name in ("code", "site"))
        return isinstance(value, str) and value in self.words


NONE_FOREIGN = Foreign.of(())


def journal(
    database: Database,
    code: str,
    access: View,
    *,
    after: int = 0,
    before: int | None = None,
    limit: int | None = None,
    newest_first: bool = False,
    kinds: Collection[str] = (),
    places: Collection[tuple[str, str, int]] | None = None,
    step: str = "",
    site: str = "",
    by: str = "",
    since: datetime | None = None,
    until: datetime | None = None,
) -> list[dict[str, Any]]:
    """An experiment's facts with the hash of each, oldest first: those numbered above `after` and below `before`, at most `limit`.

    `kinds`, `places` (step, site, round), `step`, `site`, `by` and the moments from `since` (included) to `until` (excluded) choose among
    them; site "-" means the experiment's own. `access` says how much is told: facts of the sites seen, without what was typed where its
    reader may not read that (`withheld` lists the names left out), without names for whoever sees aggregates only. To a reader of some
    sites facts are numbered among those they see: the journal's own numbers would tell how much happens elsewhere. Raises UnknownThing.
    """
    if not access.names_people and by not in ("", access.person):
        return []
    if any("\x00" in word for word in (*kinds, step, site, by)):  # no text of the ledger holds one, and PostgreSQL refuses to look for it
        return []
    with database.read() as connection:
        row = find(connection, code)
        plan = plan_of(connection, row["protocol"])
        sites = None if access.sites is None else ["", *sorted(access.sites)]
        rows = _EVERY if sites is None else _SEEN
        chosen = [*_chosen(rows.c, kinds, step, site, by, since, until), rows.c.place > after]
        chosen += [tuple_(rows.c.step, rows.c.site, rows.c.round).in_(sorted(places))] if places is not None else []
        chosen += [rows.c.place < before] if before is not None else []
        query: Select[Any] = select(rows).where(*chosen).order_by(rows.c.place.desc() if newest_first else rows.c.place)
        found = [dict(one) for one in connection.execute(query.limit(limit), {"experiment": row["id"], "sites": sites}).mappings()]
        foreign = foreign_sites(connection, row["id"], access)
    return [told(_fact(one), access, plan, foreign) for one in found]


def _chosen(
    columns: Any, kinds: Collection[str], step: str, site: str, by: str, since: datetime | None, until: datetime | None
) -> list[ColumnElement[bool]]:
    # Through the index of kinds, which SQLite reads only where it need not look further: its own key is the whole row.
    of_kind = select(_OTHER.c.seq).where(_OTHER.c.experiment_id == bindparam("experiment"), _OTHER.c.kind.in_(sorted(kinds)))
    found: list[ColumnElement[bool]] = [columns.seq.in_(of_kind)] if kinds else []
    found += [columns.step == step] if step else []
    found += [columns.site == ("" if site == "-" else site)] if site else []
    found += [columns.by == by] if by else []
    found += [columns.at >= since] if since else []
    return found + ([columns.at < until] if until else [])


def foreign_sites(connection: Connection, experiment: int, access: View) -> Foreign:
    """The sites of the experiment that a reader does not see."""
    if access.sites is None:
        return NONE_FOREIGN
    rows = [row for row in connection.execute(_SITES_OF, {"experiment": experiment}) if not access.sees_site(row.site)]
    return Foreign.of([word for row in rows for word in (row.site, row.name)])


def _fact(row: Mapping[str, Any]) -> dict[str, Any]:
    at: datetime = row["at"]
    told_at = at.isoformat().replace("+00:00", "Z")
    return {name: row[name] for name in NAMES} | {"seq": row["place"], "at": told_at, "data": json.loads(row["data"])}


def told(fact: Mapping[str, Any], access: View, plan: Plan, foreign: Foreign = NONE_FOREIGN) -> dict[str, Any]:
    """A fact as a reader may read it. Pure; says nothing of facts at sites they do not see: leave these out."""
    if isinstance(access, Everything):
        return dict(fact)
    kept = {name: foreign.left_out(value) for name, value in fact["data"].items() if name not in _hidden(fact, access, plan)}
    shown = dict(fact) | {"data": kept, "withheld": sorted(fact["data"].keys() - kept.keys())}
    return shown if access.names_people or fact["by"] == access.person else _unnamed(shown)


def _hidden(fact: Mapping[str, Any], access: Access, plan: Plan) -> Iterable[str]:
    """The names in a fact's data that a reader is not told."""
    step, site, data = fact["step"], fact["site"], fact["data"]
    hidden = {"launch"} if not _reads_launch(access, plan) else set()
    if step and not (access.reads_answers(plan, step, site) or (fact["by"] == access.person and "answers" not in data)):
        hidden |= TYPED | ({"reason"} if fact["kind"] == FactKind.CHECKPOINT_DECLINED else set())
    if fact["kind"] == FactKind.GLASS_BROKEN and not access.is_manager and fact["by"] != access.person:
        hidden |= {"reason"}  # free words for the managers: they may name a person or another site
    if not site and not access.sees_every_site:
        # An action of the experiment gathers the sites: their documents, their figures.
        hidden |= COUNTED | {"result", "error", "message", "key"}
    return hidden | (data.keys() - AGGREGATE if access.is_aggregate and not _is_asked(access, plan, step) else set())


def _is_asked(access: Access, plan: Plan, step: str) -> bool:
    """Whether a step is asked of whoever else sees aggregates only: of the sponsor."""
    return bool(step) and access.reads_answers(plan, step, "")


def _reads_launch(access: Access, plan: Plan) -> bool:
    """Whether a reader is told what was filled in at the launch: as for the answers to a step of the experiment."""
    if access.is_manager or "" in access.glass:
        return True
    return any(not at and not plan.is_site_role(role) and role != SPONSOR for role, at in access.held)


def _unnamed(fact: dict[str, Any]) -> dict[str, Any]:
    sites = [{"code": one["code"]} for one in fact["data"].get("sites", ()) if isinstance(one, Mapping)]
    data = {name: value for name, value in fact["data"].items() if name != "of"} | ({"sites": sites} if sites else {})
    return fact | {"by": "", "data": data}
