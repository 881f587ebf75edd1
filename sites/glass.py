"""An emergency look (break-glass): an hour of what is not one's own, for a reason that is journaled and told. It never lets one act."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, insert, select

from protocols import clocks
from protocols.clocks import Place
from protocols.errors import InConflict, InvalidInput, NotAssigned, UnknownThing
from protocols.facts import Fact, FactKind
from protocols.forms import says_nothing
from protocols.phrase import Phrase
from sites import policy
from sites.clock import Clock, dated
from sites.database import Database, table
from sites.identity.access import AccessKind, in_place_of, note
from sites.ledger import Ledger
from sites.snapshot import find
from sites.tables import BrokenGlass, Experiment, ExperimentSite

_GLASS, _TAKES_PART, _EXPERIMENT = table(BrokenGlass), table(ExperimentSite), table(Experiment)
LASTS = timedelta(hours=1)


def break_glass(database: Database, clock: Clock, person: str, experiment: str, site: str, reason: str) -> dict[str, Any]:
    """Let a person see an experiment, or one of its sites, for an hour: `{"id", "experiment", "site", "until"}`, `until` aware UTC.

    It is in the experiment's journal and the access journal, and the project managers are told. The same again while it lasts changes
    nothing. For whoever holds a role today, a sponsor's alone excepted. Raises NotAssigned, InConflict, UnknownThing, InvalidInput
    without a reason.
    """
    if says_nothing(reason):
        raise InvalidInput(Phrase("A reason is needed: the project managers read it, and it stays in the journal."))
    with database.write() as connection:
        of = _require_role(connection, person, clock.now())
        row = _found(connection, experiment, site)
        now = dated(clock.now(), row["changed_at"])
        _refuse_in_conflict(connection, person, row, now)
        seen = {"person": person, "experiment": experiment, "site": site}
        if (lasting := _lasting(connection, seen, now)) is not None:
            return lasting
        values = seen | {"reason": reason.strip(), "at": now, "until": now + LASTS}
        key = connection.execute(insert(_GLASS).values(values)).inserted_primary_key
        assert key is not None
        said = {"number": key[0], "reason": reason.strip(), "until": (now + LASTS).isoformat()} | in_place_of(of)
        Ledger(database, clock).tell(connection, row, Fact(FactKind.GLASS_BROKEN, now, by=person, site=site, data=said))
        note(connection, AccessKind.GLASS_BROKEN, now, person=person, by=person, experiment=experiment, site=site, **said)
        return {"id": key[0], "experiment": experiment, "site": site, "until": now + LASTS}


def _found(connection: Connection, experiment: str, site: str) -> Mapping[str, Any]:
    """The experiment's row, locked, once the site is known to take part. Raises UnknownThing."""
    if not site:
        return find(connection, experiment, lock=True)
    joined = _TAKES_PART.join(_EXPERIMENT, _EXPERIMENT.c.id == _TAKES_PART.c.experiment_id)
    where = (_EXPERIMENT.c.code == experiment, _TAKES_PART.c.site == site)
    # A site that is not there must not tell, without a trace, that the experiment is.
    if connection.execute(select(_TAKES_PART.c.site).select_from(joined).where(*where)).first() is None:
        raise UnknownThing(Phrase("Site {site} takes no part in {experiment}.", site=site, experiment=experiment))
    return find(connection, experiment, lock=True)


def _require_role(connection: Connection, person: str, now: datetime) -> str:
    """Whose role lets them, "" for their own. A sponsor never sees a candidate's data; somebody without any role has no emergency here."""
    held = [one for one in policy.reader(connection, person, now).in_force_at(Place()) if one.role != policy.SPONSOR]
    if not held:
        raise NotAssigned(Phrase("Breaking the glass is for people who hold a role here today, other than the sponsor's."))
    return min(one.of for one in held)


def _refuse_in_conflict(connection: Connection, person: str, row: Mapping[str, Any], now: datetime) -> None:
    on = clocks.local_date(now, Place(row["territory"], row["timezone"]))
    if policy.standing(connection, person, "", experiment=row["code"], on=on).in_conflict:
        raise InConflict(Phrase("You have declared a conflict of interest in this experiment: it stays closed to you. Ask someone else."))


def _lasting(connection: Connection, seen: Mapping[str, str], now: datetime) -> dict[str, Any] | None:
    same = select(_GLASS).where(*(_GLASS.c[name] == value for name, value in seen.items()), _GLASS.c.until > now)
    row = connection.execute(same).mappings().first()
    return {name: row[name] for name in ("id", "experiment", "site", "until")} if row else None
