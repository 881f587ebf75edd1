"""While the database is locked or away: reads go on where they can, everything else is 503 at once, whoever asks and however."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta

import pytest
from caller import Caller, kind_of
from small import SMALL, launch
from sqlalchemy import select
from town import settle
from visit import Visit, doors_on

from insitu.entrance.visitor import COOKIE
from sites import releases
from sites.clock import SetClock
from sites.database import Database, table
from sites.identity.accounts import create_account
from sites.ledger import Ledger
from sites.tables import Experiment

PASSWORD = "a long enough pass phrase"
PAGES = ("/", "/today", "/experiments", "/experiments/EXP-2026-001", "/library", "/account", "/sign-in", "/admin")
CALLS = ("/experiments", "/me", "/experiments/EXP-2026-001", "/checkpoints", "/protocols")


def filled(database: Database, clock: SetClock) -> Database:
    """Somebody has an account, and something is launched."""
    settle(database)
    with database.write() as connection:
        create_account(connection, "project_manager", PASSWORD, clock.now(), by="")
    releases.add(database, SMALL, clock)
    launch(Ledger(database, clock))
    return database


@contextmanager
def locked(database: Database) -> Iterator[None]:
    """Another program that holds the SQLite file's write lock and hangs."""
    holder = sqlite3.connect(database.file or "", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    yield
    holder.execute("ROLLBACK")
    holder.close()


@pytest.fixture
def gone(request: pytest.FixtureRequest, clock: SetClock) -> Iterator[Callable[[], tuple[Caller, Visit, Visit]]]:
    """Makes a caller with a token, a visit with a session and one without, on a PostgreSQL database that is gone since."""
    postgres = request.getfixturevalue("postgres")
    name = postgres.fresh()
    database = Database(postgres.url(name))
    settle(database)

    def ask() -> tuple[Caller, Visit, Visit]:
        doors = doors_on(database, clock)
        caller, visit = Caller(doors, "project_manager"), Visit(doors, locale="fr").sign_in("project_manager")
        assert visit.get("/today").status_code == 200
        postgres.drop(name)
        return caller, visit, Visit(doors, locale="en")

    yield ask
    database.dispose()


def test_every_call_is_503_with_the_documented_problem_while_the_database_is_away(gone: Callable[[], tuple[Caller, Visit, Visit]]) -> None:
    caller, visit, _ = gone()
    answers = [caller.get(path) for path in CALLS]
    answers += [visit.get(f"/api/v1{path}") for path in CALLS]
    answers += [caller.post("/experiments", {"protocol": "small"}, key="k")]
    for answer in answers:
        assert kind_of(answer) == (503, "DatabaseUnavailable")
        assert answer.headers["retry-after"] == "5"


def test_every_page_is_503_in_the_browsers_language_while_the_database_is_away(gone: Callable[[], tuple[Caller, Visit, Visit]]) -> None:
    _, signed_in, stranger = gone()
    for path in PAGES:
        answer = signed_in.get(path)
        assert (answer.status_code, answer.headers.get("retry-after")) == (503, "5"), path
        assert 'lang="fr"' in answer.text
    answer = stranger.get("/sign-in")
    assert (answer.status_code, answer.headers.get("retry-after")) == (503, "5")
    assert 'lang="en"' in answer.text
    sent = stranger.client.post("/sign-in", data={"name": "project_manager", "password": PASSWORD})
    assert sent.status_code == 503
    assert stranger.client.get("/api/v1/health").json()["ledger"] == "away"


def test_while_a_writer_hangs_reads_go_on_and_writes_are_503(sqlite_database: Database, clock: SetClock) -> None:
    doors = doors_on(filled(sqlite_database, clock), clock)
    visit, caller = Visit(doors).sign_in("project_manager"), Caller(doors, "project_manager")
    token = visit.token("/account")
    clock.advance(timedelta(minutes=2))  # so that being seen would be written
    with locked(sqlite_database):
        for path in ("/today", "/experiments", "/account"):
            assert visit.get(path).status_code == 200, path
        assert caller.get("/experiments").status_code == 200
        health = caller.get("/health")
        assert (health.status_code, health.json()["status"], health.json()["ledger"]) == (200, "degraded", "locked")
        leaving = visit.client.post("/sign-out", data={"csrf": token})
        entering = Visit(doors).post("/sign-in", {"name": "project_manager", "password": PASSWORD}, of="/sign-in")
        for answer in (leaving, entering):
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    assert visit.client.post("/sign-out", data={"csrf": token}).status_code == 303
    assert caller.get("/health").json()["ledger"] == "ok"


def test_while_a_writer_hangs_on_postgresql_others_sign_in_and_write(postgresql_database: Database, clock: SetClock) -> None:
    doors = doors_on(filled(postgresql_database, clock), clock)
    with postgresql_database.write() as holder:
        holder.execute(select(table(Experiment)).with_for_update())
        entering = Visit(doors)
        signed = entering.post("/sign-in", {"name": "project_manager", "password": PASSWORD}, of="/sign-in")
        assert signed.status_code == 303
        assert entering.get("/today").status_code == 200
        assert Caller(doors, "project_manager").get("/health").json()["status"] == "ok"


def test_a_cookie_that_nobody_could_look_up_does_not_sign_anybody_out(gone: Callable[[], tuple[Caller, Visit, Visit]]) -> None:
    _, signed_in, _ = gone()
    before = signed_in.client.cookies.get(COOKIE)
    signed_in.get("/today")
    assert signed_in.client.cookies.get(COOKIE) == before
