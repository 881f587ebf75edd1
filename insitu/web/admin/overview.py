"""Where the administration begins: the next steps of a newcomer, then what needs doing."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from sqlalchemy import Connection, select

from insitu.entrance.visitor import Administers, Visitor
from insitu.web.admin.frame import admin_page
from sites import attention, people, review
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
    found = {
        "registry": connection.execute(select(table(Site).c.code).limit(1)).first() is not None,
        "people": len(connection.execute(select(table(Person).c.id).limit(2)).all()) > 1,
        "accounts": len(connection.execute(select(table(Account).c.person).limit(2)).all()) > 1,
        "experiments": connection.execute(select(table(Experiment).c.id).limit(1)).first() is not None,
    }
    done = {"import": found["registry"] and found["people"], "invite": found["accounts"], "launch": found["experiments"]}
    return None if all(done.values()) else done


def _last_review(visitor: Visitor) -> dict[str, object] | None:
    return review.last_review(visitor.doors.database, visitor.reader)
