"""The access review: who may do what, where, by which assignment, and when they last came (ICH E6(R3) §4: access is reviewed).

A review is a signed entry of the access journal, with a mark of the list as it stood: what was added later was not reviewed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import orjson
from sqlalchemy import ColumnElement, Connection, Select, Subquery, func, literal_column, or_, select, union_all

from protocols.errors import NotAssigned
from protocols.phrase import Phrase
from sites import policy
from sites.clock import Clock
from sites.database import Database, queue_up, table
from sites.folding import folded, mentions
from sites.identity.access import AccessKind, entries, in_place_of, note
from sites.identity.seen import last_seen
from sites.meanings import ACCESS_REVIEW
from sites.policy import Reader
from sites.policy.acting import dated, lent
from sites.policy.administering import seen_assignments, today
from sites.signing import Prove, meaning_to_keep
from sites.tables import Account, Assignment, Deputy, Person

_ASSIGNMENT, _ACCOUNT, _DEPUTY = table(Assignment), table(Account), table(Deputy)
_PERSON, _OTHER = table(Person), table(Person).alias("other")

DORMANT = timedelta(days=90)
NAMES = ("person", "name", "role", "site", "experiment", "assignment", "of", "of_name", "from", "until", "seen_at", "account", "dormant")


def rights(
    database: Database, reader: Reader, *, q: str = "", site: str = "", role: str = "", only: str = "", page: int = 1, size: int = 50
) -> dict[str, Any]:
    """A page of who may act today, as whom, where, by the person's name: `{"items", "total", "page", "pages"}`.

    Each item has `NAMES`: `assignment` is the number of the one it rests on, `of` the person it is held for as a deputy ("" for oneself),
    `account` one of `none`, `open`, `closed`, `dormant` whether they have not come for 90 days by any way, or never. `only="dormant"`
    keeps these.
    """
    with database.read() as connection:
        held = _rights(connection, reader)
        wanted = _narrowed(held, reader, q, site, role, only)
        total = connection.execute(select(func.count()).select_from(held).where(*wanted)).scalar_one()
        pages = max(1, -(-total // size))
        number = min(max(page, 1), pages)
        query = select(held).where(*wanted).order_by(*_order(held)).limit(size).offset(size * (number - 1))
        items = [_shown(dict(row), reader) for row in connection.execute(query).mappings()]
    return {"items": items, "total": total, "page": number, "pages": pages}


def all_rights(connection: Connection, reader: Reader) -> Iterator[dict[str, Any]]:
    """Every item of `rights`, for an export or for the mark of a review."""
    held = _rights(connection, reader)
    return (_shown(dict(row), reader) for row in connection.execute(select(held).order_by(*_order(held))).mappings())


def dormant(connection: Connection, reader: Reader) -> int:
    """How many people hold a role today, can sign in, and have not come for 90 days."""
    held = _rights(connection, reader)
    where = (held.c.account.is_not(None), held.c.disabled_at.is_(None), _is_dormant(held, reader))
    return int(connection.execute(select(func.count(held.c.person.distinct())).where(*where)).scalar_one())


def sign_review(database: Database, clock: Clock, *, by: str, prove: Prove, meaning: str | None = None) -> dict[str, Any]:
    """Note that a project manager has gone through the rights they see, as these stand now: `{"rights", "mark"}`.

    `prove` is called first. `meaning` is the text as shown to the signer, else it is the one in their language (`sites.meanings`). `mark`
    is the SHA-256 of the list. Raises NotProven, NotAssigned, InvalidInput for a meaning of the signer's own.
    """
    prove()
    with database.write() as connection:
        queue_up(connection)
        reader = policy.reader(connection, by, clock.now())
        if not reader.is_some_manager:
            raise NotAssigned(Phrase("Only project managers review who may do what."))
        locale = connection.execute(select(_PERSON.c.locale).where(_PERSON.c.id == by)).scalar_one()
        said = meaning_to_keep(ACCESS_REVIEW, meaning, locale)
        done = _marked(connection, reader)
        told: dict[str, Any] = done | {"meaning": said, "experiments": sorted(reader.managed or ())}
        told |= in_place_of(*(() if reader.in_own_right.managed == reader.managed else reader.deputises))
        note(connection, AccessKind.ACCESS_REVIEWED, clock.now(), person=by, by=by, **told)
    return done


def last_review(database: Database, reader: Reader) -> dict[str, Any] | None:
    """The last review that covered all that the reader sees: an entry of the access journal; None for none among the last 50.

    A manager of some experiments is told of their own alone.
    """
    found = entries(database, kind=AccessKind.ACCESS_REVIEWED, person=None if reader.is_manager else reader.person, limit=50)
    managed = reader.managed
    return next((one for one in found if _covers(set(one["data"]["experiments"]), managed)), None)


def _covers(reviewed: set[str], managed: frozenset[str] | None) -> bool:
    return not reviewed or (managed is not None and managed <= reviewed)


def _marked(connection: Connection, reader: Reader) -> dict[str, Any]:
    told = [[str(one[name] or "") for name in NAMES if name != "seen_at"] for one in all_rights(connection, reader)]
    return {"rights": len(told), "mark": hashlib.sha256(orjson.dumps(told)).hexdigest()}


# ------------------------------------------------------------------ how it is asked


def _rights(connection: Connection, reader: Reader) -> Any:
    """Assignments in force with their holders, and again with the deputies of these, as one table, closed accounts among them."""
    on, seen = today(reader), seen_assignments(connection, reader)
    columns = [_ASSIGNMENT.c[name] for name in ("role", "site", "experiment", "from_date", "until_date")]
    came = last_seen()
    account = [came.c.seen_at, _ACCOUNT.c.disabled_at, _ACCOUNT.c.person.label("account")]
    number = _ASSIGNMENT.c.id.label("assignment")
    nobody: tuple[Any, ...] = (literal_column("''").label("of"), literal_column("''").label("of_name"))
    own = select(_PERSON.c.id.label("person"), _PERSON.c.name, *columns, number, *nobody, *account)
    own = _joined(own.join_from(_ASSIGNMENT, _PERSON, _PERSON.c.id == _ASSIGNMENT.c.person), came, seen, on)
    of = (_ASSIGNMENT.c.person.label("of"), _OTHER.c.name.label("of_name"))
    theirs = select(_PERSON.c.id.label("person"), _PERSON.c.name, *columns, number, *of, *account)
    theirs = theirs.join_from(_ASSIGNMENT, _DEPUTY, _DEPUTY.c.person == _ASSIGNMENT.c.person)
    theirs = theirs.join(_PERSON, _PERSON.c.id == _DEPUTY.c.deputy).join(_OTHER, _OTHER.c.id == _ASSIGNMENT.c.person)
    theirs = _joined(theirs, came, seen, on).where(lent(on))
    return union_all(own, theirs).subquery("held")


def _joined(query: Select[Any], came: Subquery, seen: ColumnElement[bool], on: Any) -> Select[Any]:
    query = query.outerjoin(_ACCOUNT, _ACCOUNT.c.person == _PERSON.c.id).outerjoin(came, came.c.person == _PERSON.c.id)
    return query.where(seen, dated(on))


def _order(held: Any) -> tuple[Any, ...]:
    return folded(held.c.name), held.c.person, held.c.role, held.c.site, held.c.experiment, held.c.of, held.c.assignment


def _narrowed(held: Any, reader: Reader, q: str, site: str, role: str, only: str) -> list[ColumnElement[bool]]:
    wanted: list[ColumnElement[bool]] = [held.c[name] == value for name, value in (("site", site), ("role", role)) if value]
    wanted += mentions(q, held.c.person, held.c.name)
    return [*wanted, _is_dormant(held, reader)] if only == "dormant" else wanted


def _is_dormant(held: Any, reader: Reader) -> ColumnElement[bool]:
    return or_(held.c.seen_at.is_(None), held.c.seen_at < reader.now - DORMANT)


def _shown(row: dict[str, Any], reader: Reader) -> dict[str, Any]:
    account = "none" if row["account"] is None else "closed" if row["disabled_at"] else "open"
    idle = row["seen_at"] is None or row["seen_at"] < reader.now - DORMANT
    known = row | {"from": row["from_date"], "until": row["until_date"], "account": account, "dormant": idle}
    return {name: known[name] for name in NAMES}
