"""People as project managers see them: what they hold, whether they can sign in, and one person with all that concerns them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, RowMapping, Select, and_, func, or_, select

from sites.database import Database, table
from sites.folding import folded, mentions
from sites.identity.seen import last_seen
from sites.policy import Reader, in_force
from sites.policy.acting import dated
from sites.policy.administering import require_seen_person, seen_assignments, seen_people, today
from sites.tables import Account, Assignment, Link, Person

_PERSON, _ACCOUNT, _ASSIGNMENT, _LINK = table(Person), table(Account), table(Assignment), table(Link)

# What a person's account is like: `none`, `invited` (a link waits for them), `open`, `locked` (too many failures), `closed`.
ACCOUNT_STATES = ("none", "invited", "open", "locked", "closed")
_CAN_PROVE = or_(_ACCOUNT.c.password != "", _ACCOUNT.c.subject.is_not(None))


def people(
    database: Database, reader: Reader, *, q: str = "", site: str = "", role: str = "", account: str = "", page: int = 1, size: int = 50
) -> dict[str, Any]:
    """A page of the people a project manager sees, by name: `{"items", "total", "page", "pages"}`.

    Each has `id`, `name`, `email`, `locale`, the state of their `account`, `seen_at`, and the `assignments` in force that the reader sees.
    `q` looks in id, name and e-mail; `site` and `role` keep those who hold something there or as that; `account` one of `ACCOUNT_STATES`.
    """
    with database.read() as connection:
        seen = and_(seen_assignments(connection, reader), dated(today(reader)))
        wanted = [seen_people(connection, reader), *_searched(q), *_holding(seen, site, role), *_accounts_like(account, reader.now)]
        joined = _PERSON.outerjoin(_ACCOUNT, _ACCOUNT.c.person == _PERSON.c.id)
        total = connection.execute(select(func.count()).select_from(joined).where(*wanted)).scalar_one()
        pages = max(1, -(-total // size))
        number = min(max(page, 1), pages)
        query = (
            _with_account(reader.now).where(*wanted).order_by(folded(_PERSON.c.name), _PERSON.c.id).limit(size).offset(size * (number - 1))
        )
        items = [_shown(row, reader.now) for row in connection.execute(query).mappings()]
        held = _held(connection, seen, [item["id"] for item in items])
    found = [item | {"assignments": held.get(item["id"], [])} for item in items]
    return {"items": found, "total": total, "page": number, "pages": pages}


def person(connection: Connection, reader: Reader, name: str) -> dict[str, Any]:
    """One person as `people` shows them, with the kinds of their `channels`, whether a `second_factor` is asked, `locked_until`, and all
    the `assignments` that the reader sees, past and future ones too. Raises UnknownThing."""
    require_seen_person(connection, reader, name)
    row = connection.execute(_with_account(reader.now).where(_PERSON.c.id == name)).mappings().one()
    held = _held(connection, seen_assignments(connection, reader), [name]).get(name, [])
    channels = [address.partition("://")[0] for address in row["channels"]]
    kept = {"channels": channels, "second_factor": bool(row["totp"]), "locked_until": row["locked_until"], "oidc": bool(row["subject"])}
    return _shown(row, reader.now) | kept | {"assignments": [one | {"state": state_on(one, today(reader))} for one in held]}


def assignments(
    database: Database,
    reader: Reader,
    *,
    person: str = "",
    site: str = "",
    role: str = "",
    experiment: str = "",
    ended: bool = False,
    page: int = 1,
    size: int = 50,
) -> dict[str, Any]:
    """A page of the assignments a project manager sees, by the person's name: `{"items", "total", "page", "pages"}`.

    Each has its columns, `name` and `state` (`to_come`, `in_force`, `over`) on the date in France. Those that are over are left out unless
    `ended`. `person` looks in id and name.
    """
    with database.read() as connection:
        named = [_ASSIGNMENT.c[name] == value for name, value in (("site", site), ("role", role), ("experiment", experiment)) if value]
        lasting = [] if ended else [or_(_ASSIGNMENT.c.until_date.is_(None), _ASSIGNMENT.c.until_date >= today(reader))]
        wanted = [seen_assignments(connection, reader), *named, *lasting, *_searched(person, email=False)]
        joined = _ASSIGNMENT.join(_PERSON, _PERSON.c.id == _ASSIGNMENT.c.person)
        total = connection.execute(select(func.count()).select_from(joined).where(*wanted)).scalar_one()
        pages = max(1, -(-total // size))
        number = min(max(page, 1), pages)
        order = (folded(_PERSON.c.name), _PERSON.c.id, _ASSIGNMENT.c.role, _ASSIGNMENT.c.site, _ASSIGNMENT.c.experiment)
        query = select(_ASSIGNMENT, _PERSON.c.name).select_from(joined).where(*wanted).order_by(*order)
        rows = [dict(row) for row in connection.execute(query.limit(size).offset(size * (number - 1))).mappings()]
    return {"items": [row | {"state": state_on(row, today(reader))} for row in rows], "total": total, "page": number, "pages": pages}


def named(connection: Connection, where: ColumnElement[bool], most: int = 200) -> list[tuple[str, str]]:
    """The ids and names of people, by name, at most so many: what a form offers to choose from."""
    query = select(_PERSON.c.id, _PERSON.c.name).where(where).order_by(folded(_PERSON.c.name), _PERSON.c.id).limit(most)
    return [(row.id, row.name) for row in connection.execute(query)]


def without_account(connection: Connection, reader: Reader, most: int) -> tuple[int, list[dict[str, Any]]]:
    """How many people the reader sees hold a role in force and cannot sign in, and the first of them, those not invited before others."""
    holding = select(_ASSIGNMENT.c.person).where(seen_assignments(connection, reader), in_force(today(reader)))
    never = or_(_ACCOUNT.c.person.is_(None), and_(_ACCOUNT.c.disabled_at.is_(None), ~_CAN_PROVE))
    wanted = (seen_people(connection, reader), _PERSON.c.id.in_(holding), never)
    query = _with_account(reader.now).add_columns(func.count().over().label("count")).where(*wanted)
    rows = connection.execute(query.order_by(_invited(reader.now), folded(_PERSON.c.name)).limit(most)).mappings().all()
    return rows[0]["count"] if rows else 0, [_shown(row, reader.now) for row in rows]


# ------------------------------------------------------------------ how it is asked


def _invited(now: datetime) -> ColumnElement[bool]:
    pending = (_LINK.c.used_at.is_(None), _LINK.c.revoked_at.is_(None), or_(_LINK.c.expires_at.is_(None), _LINK.c.expires_at > now))
    return select(_LINK.c.id).where(_LINK.c.person == _PERSON.c.id, _LINK.c.purpose == "invitation", *pending).exists()


def _with_account(now: datetime) -> Select[Any]:
    names = ("password", "totp", "subject", "locked_until", "disabled_at")
    account, came = [_ACCOUNT.c[name] for name in names], last_seen()
    columns = [*_PERSON.c, *account, came.c.seen_at, _ACCOUNT.c.person.label("account"), _invited(now).label("invited")]
    joined = _PERSON.outerjoin(_ACCOUNT, _ACCOUNT.c.person == _PERSON.c.id).outerjoin(came, came.c.person == _PERSON.c.id)
    return select(*columns).select_from(joined)


def _accounts_like(state: str, now: datetime) -> list[ColumnElement[bool]]:
    """The WHERE that keeps the people whose account is in a state, as `_state` names it."""
    opened = and_(_ACCOUNT.c.disabled_at.is_(None), func.coalesce(_CAN_PROVE, False))
    missing = and_(_ACCOUNT.c.disabled_at.is_(None), or_(_ACCOUNT.c.person.is_(None), ~_CAN_PROVE))
    locked = func.coalesce(_ACCOUNT.c.locked_until > now, False)
    known = {
        "none": and_(missing, ~_invited(now)),
        "invited": and_(missing, _invited(now)),
        "open": and_(opened, ~locked),
        "locked": and_(opened, locked),
        "closed": _ACCOUNT.c.disabled_at.is_not(None),
    }
    return [known[state]] if state in known else []


def _state(row: RowMapping, now: datetime) -> str:
    if row["account"] and row["disabled_at"]:
        return "closed"
    if not row["password"] and not row["subject"]:
        return "invited" if row["invited"] else "none"
    return "locked" if row["locked_until"] and row["locked_until"] > now else "open"


def _shown(row: RowMapping, now: datetime) -> dict[str, Any]:
    return {name: row[name] for name in ("id", "name", "email", "locale", "seen_at")} | {"account": _state(row, now)}


def _searched(q: str, *, email: bool = True) -> list[ColumnElement[bool]]:
    return mentions(q, _PERSON.c.id, _PERSON.c.name, *((_PERSON.c.email,) if email else ()))


def _holding(seen: ColumnElement[bool], site: str, role: str) -> list[ColumnElement[bool]]:
    asked = [_ASSIGNMENT.c[name] == value for name, value in (("site", site), ("role", role)) if value]
    return [_PERSON.c.id.in_(select(_ASSIGNMENT.c.person).where(seen, *asked))] if asked else []


def _held(connection: Connection, seen: ColumnElement[bool], ids: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
    order = (_ASSIGNMENT.c.role, _ASSIGNMENT.c.site, _ASSIGNMENT.c.experiment)
    query = select(_ASSIGNMENT).where(_ASSIGNMENT.c.person.in_(ids), seen).order_by(*order)
    found: dict[str, list[dict[str, Any]]] = {}
    for row in connection.execute(query).mappings() if ids else ():
        found.setdefault(row["person"], []).append(dict(row))
    return found


def state_on(assignment: Mapping[str, Any], day: date) -> str:
    """Whether an assignment is `to_come`, `in_force` or `over` on a local date."""
    begins, ends = assignment["from_date"], assignment["until_date"]
    if ends is not None and (ends < day or (begins is not None and ends < begins)):
        return "over"
    return "to_come" if begins is not None and begins > day else "in_force"
