"""Where the administration begins: the next steps of a newcomer, then what needs doing."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response
from sqlalchemy import Connection, func, select

from insitu.entrance.visitor import Administers, Visitor
from insitu.web.admin.frame import admin_page
from sites import attention, keys, people, review
from sites.database import table
from sites.offered import offered
from sites.tables import Account, Experiment, Person, Site

router = APIRouter()

FEW = 8


@router.get("/admin")
def overview(request: Request, visitor: Administers) -> Response:
    """What needs doing, as far as the visitor may do it."""
    reader = visitor.reader
    with visitor.doors.database.read() as connection:
        manages = reader.is_some_manager
        absent = people.without_account(connection, reader, FEW) if manages else (0, [])
        return admin_page(
            request,
            visitor,
            "overview.html",
            begun=_begun(connection) if reader.is_manager else None,
            twins=keys.twins(connection) if reader.is_manager else [],
            without_account={"count": absent[0], "first": absent[1]},
            vacancies=attention.vacancies(connection, reader) if manages else [],
            unsigned=attention.unsigned(connection, reader, FEW),
            ending=attention.ending(connection, reader, FEW),
            dormant=review.dormant(connection, reader) if manages else 0,
            last_review=_last_review(visitor) if manages else None,
            offered=offered(connection, reader, visitor.locale),
        )


def _begun(connection: Connection) -> dict[str, bool] | None:
    """Which of a newcomer's three steps are done; None once all of them are."""
    found = connection.execute(_BEGUN).one()
    done = {"import": found.sites > 0 and found.people > 1, "invite": found.accounts > 1, "launch": found.experiments > 0}
    return None if all(done.values()) else done


def _some(column: Any) -> Any:
    """How many there are, two at most: more says nothing more."""
    return select(func.count()).select_from(select(column).limit(2).subquery()).scalar_subquery()


_BEGUN = select(
    _some(table(Site).c.code).label("sites"),
    _some(table(Person).c.id).label("people"),
    _some(table(Account).c.person).label("accounts"),
    _some(table(Experiment).c.id).label("experiments"),
)


def _last_review(visitor: Visitor) -> dict[str, object] | None:
    return review.last_review(visitor.doors.database, visitor.reader)
