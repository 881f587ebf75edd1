"""What lists show of people, sites, open checkpoints and protocols, to whom; and the figures of whoever watches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import pytest
from small import SMALL, launch, to_setup
from sqlalchemy import insert

from protocols.errors import CommandReused, IllegalTransition, UnknownThing
from sites import commands, policy, waiting
from sites.clock import SetClock
from sites.colleagues import colleagues, seen_sites
from sites.database import Database, table
from sites.figures import figures
from sites.ledger import Ledger
from sites.library import find_readable, readable
from sites.policy import Reader
from sites.tables import Assignment, Person
from sites.vacancies import everyone


@pytest.fixture
def code(ledger: Ledger, registry: None, release: Callable[[str], str]) -> str:
    release(SMALL)
    return launch(ledger)


def reader(ledger: Ledger, person: str) -> Reader:
    with ledger.database.read() as connection:
        return policy.reader(connection, person, ledger.clock.now())


def ids(found: dict[str, Any]) -> list[str]:
    return [one["id"] for one in found["items"]]


@pytest.mark.parametrize(
    ("name", "q"), [("Étienne Œuvrard", "etienne oeu"), ("Zoë Müller", "ZOE MU"), ("Noël 100%", "noel 100%"), ("A_b", "a_")]
)
def test_a_person_is_found_however_their_accents_are_typed(ledger: Ledger, code: str, name: str, q: str) -> None:
    with ledger.database.write() as connection:
        connection.execute(insert(table(Person)).values(id="x", name=name, email="x@example.org", locale="fr", channels=[]))
        connection.execute(insert(table(Person)).values(id="y", name="Axb Noel 1000", email="y@example.org", locale="fr", channels=[]))
    assert ids(colleagues(ledger.database, reader(ledger, "project_manager"), q=q)) == ["x"]


def test_people_stand_in_the_order_of_a_dictionary(ledger: Ledger, registry: None) -> None:
    names = ["Zoé", "Élodie", "eric", "Œdipe", "Odile", "Paul"]
    with ledger.database.write() as connection:
        for number, name in enumerate(names):
            row = {"id": f"p{number}", "name": name, "email": "x@example.org", "locale": "fr", "channels": []}
            connection.execute(insert(table(Person)).values(row))
    wanted = ["Élodie", "eric", "Odile", "Œdipe", "Paul", "Zoé"]
    assert [name for _, name in everyone(ledger.database) if name in names] == wanted


def test_a_manager_of_everything_knows_everybody(ledger: Ledger, code: str) -> None:
    found = colleagues(ledger.database, reader(ledger, "project_manager"), size=4, page=2)
    assert (len(found["items"]), found["total"]) == (4, 10)
    (nurse,) = colleagues(ledger.database, reader(ledger, "project_manager"), q="NURSE.c")["items"]
    assert (nurse["email"], nurse["assignments"][0]["site"]) == ("nurse.caen@example.org", "CAEN")


def test_whoever_works_at_a_site_knows_its_people_and_those_of_every_site(ledger: Ledger, code: str) -> None:
    found = colleagues(ledger.database, reader(ledger, "nurse.caen"))
    assert {"nurse.caen", "principal_investigator", "project_manager"} <= set(ids(found))
    assert {"nurse.metz", "nobody"}.isdisjoint(ids(found))
    assert ids(colleagues(ledger.database, reader(ledger, "nurse.caen"), site="METZ")) == []
    assert ids(colleagues(ledger.database, reader(ledger, "nurse.caen"), role="site_coordinator")) == ["nurse.caen", "site_coordinator"]
    assert all("email" not in one for one in found["items"])


@pytest.mark.parametrize("person", ["sponsor", "nobody"])
def test_whoever_sees_no_names_knows_themselves(ledger: Ledger, code: str, person: str) -> None:
    assert ids(colleagues(ledger.database, reader(ledger, person))) == [person]


def test_a_role_in_another_experiment_is_not_told(ledger: Ledger, code: str) -> None:
    with ledger.database.write() as connection:
        row = {"person": "nobody", "role": "site_coordinator", "site": "CAEN", "experiment": "OTHER-1"}
        connection.execute(insert(table(Assignment)).values(row))
    assert "nobody" not in ids(colleagues(ledger.database, reader(ledger, "nurse.caen")))
    assert "nobody" in ids(colleagues(ledger.database, reader(ledger, "project_manager"), site="CAEN"))


@pytest.mark.parametrize(
    ("person", "codes", "named"),
    [
        ("project_manager", ["CAEN", "METZ", "SDEN"], True),
        ("methodologist", ["CAEN", "METZ"], True),
        ("nurse.metz", ["METZ"], True),
        ("sponsor", ["CAEN", "METZ"], False),
        ("nobody", [], True),
    ],
)
def test_sites_are_those_of_what_one_sees(ledger: Ledger, code: str, person: str, codes: Sequence[str], named: bool) -> None:
    found = seen_sites(ledger.database, reader(ledger, person))
    assert [one["code"] for one in found] == codes
    assert all(one["name"] == (f"Site of {one['code']}" if named else one["code"]) for one in found)


def test_open_checkpoints_are_those_of_the_sites_one_sees(ledger: Ledger, code: str, clock: SetClock) -> None:
    setups = to_setup(ledger, code)

    def seen(person: str, **chosen: Any) -> list[str]:
        return ids(waiting.seen(ledger.database, reader(ledger, person), clock.now(), "en", **chosen))

    assert seen("project_manager") == seen("sponsor") == setups
    assert seen("nurse.metz") == setups[1:]
    assert seen("nobody") == []
    assert seen("project_manager", site="CAEN", experiment=code, needs="answers", late=False) == setups[:1]
    assert seen("project_manager", page=2, size=1) == setups[1:]
    assert seen("project_manager", late=True) == seen("project_manager", experiment="OTHER") == []
    clock.advance(timedelta(days=6))
    assert seen("project_manager", late=True) == setups
    ledger.hold(code, "project_manager", "works", site="CAEN")
    held = waiting.seen(ledger.database, reader(ledger, "nurse.caen"), clock.now(), "en")["items"]
    assert [(one["id"], one["blocked"]) for one in held] == [(setups[0], True)]


def test_protocols_are_read_by_whoever_works_with_them(ledger: Ledger, code: str, release: Callable[[str], str]) -> None:
    release(SMALL.replace("id: small", "id: other"))

    def read(person: str) -> list[str]:
        return [row["id"] for row in readable(ledger.database, reader(ledger, person))]

    assert read("nurse.caen") == read("project_manager") == ["other", "small"]
    assert read("sponsor") == ["small"]
    assert read("nobody") == []
    with pytest.raises(UnknownThing):
        find_readable(ledger.database, reader(ledger, "sponsor"), "other", "1.0.0")


def test_figures_count_what_is_open_late_and_owed(ledger: Ledger, code: str, clock: SetClock) -> None:
    before = figures(ledger.database, clock.now())
    assert (before.experiments, before.gates, before.late, before.notices_owed) == ({"running": 1}, {"answers": 1}, 0, 1)
    assert (before.notice_age_s, before.unprojected) == (0.0, 1)
    clock.advance(timedelta(days=20))
    after = figures(ledger.database, clock.now())
    assert (after.late, after.notice_age_s) == (1, 20 * 24 * 3600.0)
    assert after.timer_age_s > 0


def test_a_claimed_id_is_done_once_or_given_back(database: Database, clock: SetClock) -> None:
    assert commands.claim(database, "x", {"do": 1}, clock.now()) is None
    with pytest.raises(IllegalTransition):
        commands.claim(database, "x", {"do": 1}, clock.now())
    commands.give_back(database, "x")
    assert not commands.is_known(database, "x")
    assert commands.claim(database, "x", {"do": 1}, clock.now()) is None
    commands.fulfil(database, "x", {"id": 7})
    assert commands.claim(database, "x", {"do": 1}, clock.now()) == {"id": 7}
    commands.give_back(database, "x")
    assert commands.is_known(database, "x")
    with pytest.raises(CommandReused):
        commands.claim(database, "x", {"do": 2}, clock.now())
