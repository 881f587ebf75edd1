"""An address of a database means what it says, shows no secret, and the server's own settings do not matter."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from small import SMALL, launch
from town import settle

from protocols.errors import InvalidInput
from sites import inbox, releases
from sites.clock import SetClock
from sites.database import Database
from sites.ledger import Ledger
from sites.policy import EVERYTHING
from sites.readiness import make_ready
from sites.settings import Settings, without_password

NOW = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)


@pytest.mark.parametrize("names", [("a?1", "a?2"), ("a#1", "a#2"), ("a%201", "a 1"), ("é;1", "é&2")])
def test_two_homes_have_two_ledgers_each_inside_its_home(tmp_path: Path, names: tuple[str, str]) -> None:
    for name in names:
        database = Database(Settings.load(tmp_path / name, {}).database_url)
        assert make_ready(database, SetClock(NOW)), "it is the other home's"
        database.dispose()
    assert {path.name for path in tmp_path.iterdir()} == set(names)
    assert all((tmp_path / name / "insitu.db").exists() for name in names)


@pytest.mark.parametrize(
    "url",
    [
        "postgres ql://u:geheim@host/db",
        "postgresql://u:geheim@host:port/db",
        "postgresql+psycopg:/u:geheim@host",
        "geheim",
        "mysql://u:geheim@host/db",
        "postgresql://u:part@geheim@host/db",
        "postgresql://u:p@host/db?password=geheim&nonsense=1",
    ],
)
def test_an_address_that_cannot_be_used_is_refused_without_showing_its_password(url: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        Database(url).engine  # noqa: B018
    assert "geheim" not in "".join(traceback.format_exception(refused.value))


def test_settings_are_shown_without_their_secrets() -> None:
    given = {
        "INSITU_DATABASE_URL": "postgresql://u:geheim@host/db",
        "INSITU_MAIL_URL": "mailtos://u:geheim@mail.example.org",
        "PREFECT_API_URL": "http://u:geheim@prefect.example.org/api",
        "INSITU_KEY": "geheim" * 10,
        "INSITU_OIDC_CLIENT_SECRET": "geheim",
    }
    assert "geheim" not in repr(Settings.load(None, given))
    assert without_password("http://u:g@h@prefect.example.org/api") == "http://prefect.example.org/api"


SPEECH = ["DateStyle='German'", "DateStyle='SQL, MDY'", "TimeZone='America/Cayenne'", "client_encoding='LATIN1'", "bytea_output='escape'"]


@pytest.mark.parametrize("speech", SPEECH)
def test_a_server_that_writes_dates_or_texts_its_own_way_makes_no_difference(
    new_database: Callable[[str], Database], clock: SetClock, speech: str
) -> None:
    database = new_database("postgresql")
    with database.write() as connection:
        name = connection.exec_driver_sql("SELECT current_database()").scalar()
        connection.exec_driver_sql(f"ALTER DATABASE {name} SET {speech}")
    database.dispose()
    settle(database)
    releases.add(database, SMALL, clock)
    ledger = Ledger(database, clock)
    code = launch(ledger)
    ledger.complete(f"{code}:review::1", {"sound": True, "comments": "à relire « demain » ✓"}, "methodologist")
    key = ledger.store_document("plan.pdf", "application/pdf", b"\x00\xff binary")
    assert ledger.document(key)["content"] == b"\x00\xff binary"
    assert [fact["at"] for fact in inbox.journal(database, code, EVERYTHING)]
    assert inbox.experiments(database)
