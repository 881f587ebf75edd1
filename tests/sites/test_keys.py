"""Keys that differ by capitals alone are the same key, in every import, form and signature; twins of old still load, and are told of."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from small import SMALL, launch, to_ethics
from sqlalchemy import insert, select

from protocols.errors import InvalidImport, InvalidInput, Refused, UnknownThing
from protocols.keys import are_alike, are_same, folded
from sites import inbox, keys, registry
from sites.clock import SetClock
from sites.database import Database, table
from sites.identity.accounts import set_up
from sites.keys import KeyTaken
from sites.ledger import Ledger
from sites.policy import EVERYTHING
from sites.signing import unasked
from sites.tables import Assignment, Person, Site

PASSWORD = "a long sentence nobody guesses"
PEOPLE = "people:\n  - {id: %s, name: Claire Dupont, email: c@example.org}\n"
SITES = "sites:\n  - {code: %s, name: X, kind: clinic, territory: FR, timezone: Europe/Paris}\n"


def put_twin(database: Database) -> None:
    """A second ethics officer and a second site, let in before this was refused."""
    with database.write() as connection:
        connection.execute(insert(table(Person)).values(id="Ethics_Officer", name="E", email="e@example.org", locale="en", channels=[]))
        connection.execute(insert(table(Assignment)).values(person="Ethics_Officer", role="ethics_officer", site="", experiment=""))
        place = {"name": "X", "kind": "clinic", "territory": "FR", "timezone": "Europe/Paris"}
        connection.execute(insert(table(Site)).values(code="Caen", **place))


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("c.dupont", "C.DUPONT", True),
        ("CAEN", "Caen", True),
        ("k.hoarau", "\u212a.hoarau", True),  # the Kelvin sign
        ("c.dupont", "\uff43.dupont", True),  # a full-width letter
        ("strasse", "stra\u00dfe", True),
        ("c.dupont", "c.dupond", False),
        ("c.dupont", "cdupont", False),
    ],
)
def test_keys_are_the_same_but_for_capitals_and_look_alikes(one: str, other: str, same: bool) -> None:
    assert are_same(one, other) is same
    assert folded(folded(other)) == folded(other)


@pytest.mark.parametrize(("text", "known"), [(PEOPLE % "NURSE.CAEN", "nurse.caen"), (SITES % "Caen", "CAEN")])
def test_an_import_refuses_what_is_there_in_other_letters_and_names_it(
    database: Database, registry_of_town: None, text: str, known: str
) -> None:
    before = registry.people(database), registry.sites(database)
    with pytest.raises(InvalidImport, match=f"is there already, written '{known}'") as caught:
        registry.import_file(database, text, "x.yaml")
    assert (caught.value.problems[0].line, caught.value.problems[0].code) == (2, "duplicate")
    assert (registry.people(database), registry.sites(database)) == before


SHEET = "code;name;kind;territory;timezone\n%s;X;clinic;FR;Europe/Paris\n"
CARDS = "id;name;email\n%s;Claire Dupont;c@example.org\n"


@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [("0075", "75", True), ("000", "0", True), ("0075", "750", False), ("0A", "A", False), ("CAEN", "caen", True), ("2A04", "2A4", False)],
)
def test_numbers_are_alike_but_for_zeros_in_front(one: str, other: str, alike: bool) -> None:
    assert are_alike(one, other) is are_alike(other, one) is alike


@pytest.mark.parametrize(
    ("text", "file"), [(SITES, "x.yaml"), (SHEET, "x.csv"), (PEOPLE, "x.yaml"), (CARDS, "x.csv")], ids=["sites", "sheet", "people", "cards"]
)
@pytest.mark.parametrize(("there", "given"), [("0075", "75"), ("75", "0075")])
def test_an_import_refuses_what_is_there_but_for_zeros_in_front(database: Database, text: str, file: str, there: str, given: str) -> None:
    quoted = "'%s'" if file.endswith(".yaml") else "%s"
    registry.import_file(database, text % (quoted % there), file)
    before = registry.people(database), registry.sites(database)
    with pytest.raises(InvalidImport, match=f"'{given}' is there already, written '{there}': zeros in front") as caught:
        registry.import_file(database, text % (quoted % given), file)
    assert (caught.value.problems[0].line, caught.value.problems[0].code) == (2, "duplicate")
    registry.import_file(database, text % (quoted % there), file)
    assert (registry.people(database), registry.sites(database)) == before


@pytest.mark.parametrize(("text", "file"), [(SITES + SITES.partition("\n")[2], "x.yaml"), (SHEET + SHEET.partition("\n")[2], "x.csv")])
def test_a_file_that_names_one_site_with_and_without_its_zeros_is_refused(database: Database, text: str, file: str) -> None:
    given = ("'0075'", "'75'") if file.endswith(".yaml") else ("0075", "75")
    with pytest.raises(InvalidImport, match="'75' is in the file as '0075' too, on line 2") as caught:
        registry.import_file(database, text % given, file)
    assert [(one.line, one.code) for one in caught.value.problems] == [(3, "duplicate")]
    assert registry.sites(database) == []


def test_two_sites_that_were_let_in_so_before_are_imported_as_they_are(database: Database) -> None:
    place = {"name": "X", "kind": "clinic", "territory": "FR", "timezone": "Europe/Paris"}
    with database.write() as connection:
        connection.execute(insert(table(Site)), [{"code": code} | place for code in ("0075", "75")])
    found = registry.import_file(database, SHEET % "0075" + SHEET.partition("\n")[2] % "75", "x.csv")
    assert (found["sites"]["unchanged"], found["warnings"]) == (2, [])


def test_a_role_at_a_site_without_its_zeros_names_the_one_that_is_there(database: Database, registry_of_town: None) -> None:
    registry.import_file(database, SHEET % "0075", "x.csv")
    with pytest.raises(InvalidImport, match="written '0075'"):
        registry.import_file(database, "person;role;site\nnurse.caen;site_coordinator;75\n", "x.csv")


@pytest.fixture
def registry_of_town(registry: None) -> None:
    """The tests' town, under a name that leaves `registry` to the module."""


def test_a_role_for_an_id_in_other_letters_names_the_one_that_is_there(database: Database, registry_of_town: None) -> None:
    with pytest.raises(InvalidImport, match=r"written 'nurse\.caen'"):
        registry.assign(database, "Nurse.Caen", "site_coordinator")
    with pytest.raises(InvalidImport, match="written 'CAEN'"):
        registry.assign(database, "nurse.caen", "site_coordinator", "caen")


def test_a_form_refuses_it_too(database: Database, clock: SetClock, registry_of_town: None) -> None:
    person = {"id": "Nurse.CAEN", "name": "N", "email": "n@example.org", "locale": "en"}
    with pytest.raises(InvalidImport, match=r"There is one already: nurse\.caen"):
        registry.save_person(database, clock, person, by="project_manager", new=True)
    site = {"code": "caen", "name": "X", "kind": "clinic", "territory": "FR", "timezone": "Europe/Paris"}
    with pytest.raises(InvalidImport, match="There is one already: CAEN"):
        registry.save_site(database, clock, site, by="project_manager", new=True)
    registry.save_site(database, clock, site | {"code": "0075"}, by="project_manager", new=True)
    with pytest.raises(InvalidImport, match="There is one already: 0075"):
        registry.save_site(database, clock, site | {"code": "75"}, by="project_manager", new=True)


def test_the_first_manager_is_not_a_twin_of_somebody_imported(database: Database, clock: SetClock, registry_of_town: None) -> None:
    given = {"id": "Nurse.Caen", "name": "N", "email": "n@example.org", "locale": "en"}
    with pytest.raises(KeyTaken, match=r"written 'nurse\.caen'"):
        set_up(database, clock, given, PASSWORD)
    assert set_up(database, clock, given | {"id": "nurse.caen"}, PASSWORD)


def test_two_imports_at_once_do_not_each_add_a_twin(database: Database) -> None:
    """They take their turn before they look."""
    outcomes: list[str] = []
    ready = threading.Barrier(2)

    def run(name: str) -> None:
        ready.wait()
        try:
            registry.import_file(database, PEOPLE % name, "x.yaml")
            outcomes.append("added")
        except InvalidImport:
            outcomes.append("refused")

    for number in range(5):
        threads = [threading.Thread(target=run, args=(name,)) for name in (f"c.dupont{number}", f"C.DUPONT{number}")]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=60)
    assert sorted(outcomes) == ["added"] * 5 + ["refused"] * 5


def test_a_launch_names_the_site_that_is_meant_and_takes_no_twins(
    ledger: Ledger, registry_of_town: None, release: Callable[[str], str]
) -> None:
    release(SMALL)
    with pytest.raises(UnknownThing, match="written 'CAEN'"):
        launch(ledger, "caen")
    put_twin(ledger.database)
    with pytest.raises(InvalidInput, match="Caen and CAEN differ by capitals alone"):
        launch(ledger, "CAEN", "Caen")
    assert launch(ledger, "Caen")


def test_nobody_signs_after_themself_under_other_letters(ledger: Ledger, registry_of_town: None, release: Callable[[str], str]) -> None:
    release(SMALL)
    put_twin(ledger.database)
    name = to_ethics(ledger, launch(ledger))
    ledger.complete(name, {"opinion": "yes"}, "ethics_officer")
    ledger.sign(name, "ethics_officer", prove=unasked)
    with pytest.raises(Refused, match="must be another person's"):
        ledger.sign(name, "Ethics_Officer", prove=unasked)
    assert inbox.inbox(ledger.database, "Ethics_Officer", ledger.clock.now()) == []
    shown = inbox.checkpoint(ledger.database, name, ledger.clock.now(), person="Ethics_Officer", access=EVERYTHING)
    assert not shown["may"]["sign"]
    assert ledger.sign(name, "second.officer", prove=unasked)["gate"] == "passed"


def test_twins_of_old_still_load_are_imported_as_they_are_and_are_told_of(database: Database, registry_of_town: None) -> None:
    assert twins(database) == []
    put_twin(database)
    assert twins(database) == [["Ethics_Officer", "ethics_officer"], ["CAEN", "Caen"]]
    done = registry.import_file(database, PEOPLE % "Ethics_Officer", "x.yaml")
    assert done["people"]["changed"] == 1
    assert any("Ethics_Officer, ethics_officer differ by capitals alone" in one for one in done["warnings"])
    with pytest.raises(InvalidImport, match="written"):
        registry.import_file(database, PEOPLE % "ETHICS_officer", "x.yaml")
    with database.read() as connection:
        assert connection.execute(select(table(Person).c.id).where(table(Person).c.name == "Claire Dupont")).scalars().all() == [
            "Ethics_Officer"
        ]


def twins(database: Database) -> list[Any]:
    with database.read() as connection:
        return keys.twins(connection)
