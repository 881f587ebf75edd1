"""The same act meets the same rule whichever door it comes through; whom and where one may not see is told as nobody and nowhere."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from caller import Caller
from keyboard import Terminal
from sqlalchemy import delete, func, insert, select
from two_sites import FOREIGN, HOME, TwoSites, settle
from visit import Visit, doors_on

from protocols.errors import InsituError
from sites import conflicts, deputies, qualifications, registry
from sites.checkpoint_links import send_link
from sites.clock import SetClock
from sites.database import Database, table
from sites.preferences import set_channels, set_preference
from sites.qualifications import NewDelegation, NewTraining
from sites.tables import Assignment, Conflict, Delegation, Deputy, Person, Site, Token, Training

DAY = date(2026, 3, 2)
UNKNOWN_PERSON, FOREIGN_PERSON = "not.there", "zz.alone"
UNKNOWN_SITE, FOREIGN_SITE = "NOWHERE", "ZZALONE"
PEOPLE = ("nurse", "doctor", "one.manager", "sponsor", "nobody")


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TwoSites]:
    """The two sites' house, and beside them somebody and a site that belong to the second experiment alone, or to none."""
    database = Database(f"sqlite:///{tmp_path_factory.mktemp('doors') / 'insitu.db'}")
    database.migrate()
    made = settle(doors_on(database, SetClock(datetime(2026, 3, 2, 9, tzinfo=UTC))))
    with database.write() as connection:
        alone = {"id": FOREIGN_PERSON, "name": "Zz Alone", "email": "zz@example.org", "locale": "en", "channels": []}
        connection.execute(insert(table(Person)).values(alone))
        held = {"person": FOREIGN_PERSON, "role": "site_coordinator", "site": FOREIGN, "experiment": made.foreign}
        connection.execute(insert(table(Assignment)).values(held))
        place = {"name": "Alone", "kind": "clinic", "territory": "FR", "timezone": "Europe/Paris"}
        connection.execute(insert(table(Site)).values(place | {"code": FOREIGN_SITE}))
    yield made
    database.dispose()


def count(house: TwoSites) -> list[int]:
    tables = (Delegation, Training, Deputy, Conflict, Assignment)
    with house.doors.database.read() as connection:
        return [connection.execute(select(func.count()).select_from(table(one))).scalar_one() for one in tables]


# ------------------------------------------------------------------ in the core, which every door asks

Act = Callable[[TwoSites, str, str, str], object]

ACTS: dict[str, Act] = {
    "delegation": lambda house, by, person, site: qualifications.record(
        house.doors.database, house.doors.clock, NewDelegation(person, "site_coordinator", site, house.shared, DAY), by=by
    ),
    "training": lambda house, by, person, site: qualifications.record(
        house.doors.database, house.doors.clock, NewTraining(person, "two-sites", "1.0.0", site, DAY), by=by
    ),
    "deputy": lambda house, by, person, _: deputies.name_deputy(house.doors.database, house.doors.clock, by, person, DAY, DAY, by=by),
    "deputy of another": lambda house, by, person, _: deputies.name_deputy(
        house.doors.database, house.doors.clock, person, by, DAY, DAY, by=by
    ),
    "conflict": lambda house, by, person, _: conflicts.declare(
        house.doors.database, house.doors.clock, person, house.shared, "shares", by=by
    ),
    "role": lambda house, by, person, site: registry.assign(
        house.doors.database, person, "site_coordinator", site, house.shared, by=by, clock=house.doors.clock
    ),
    "link": lambda house, by, person, _: send_link(
        house.doors.database, house.doors.clock, f"{house.shared}:setup:{HOME}:1", person, by=by
    ),
    "wishes": lambda house, by, person, _: set_preference(house.doors.database, house.doors.clock, person, by, digest=True),
    "channels": lambda house, by, person, _: set_channels(house.doors.database, house.doors.clock, person, by, []),
    "launch": lambda house, by, _, site: house.doors.ledger.launch("two-sites", [site], {"aim": "x"}, by),
}


def outcome(house: TwoSites, act: str, by: str, person: str, site: str) -> str:
    """What somebody is told, the names they gave left out."""
    try:
        ACTS[act](house, by, person, site)
    except InsituError as error:
        return f"{type(error).__name__}: {neutral(str(error))}"
    return "done"


def neutral(text: str) -> str:
    return re.sub("|".join(map(re.escape, (UNKNOWN_PERSON, FOREIGN_PERSON, UNKNOWN_SITE, FOREIGN_SITE))), "X", text)


@pytest.mark.parametrize("by", PEOPLE)
@pytest.mark.parametrize("act", ACTS)
def test_whom_or_where_one_may_not_see_is_refused_as_nobody_and_nowhere(house: TwoSites, act: str, by: str) -> None:
    before = count(house)
    about = {outcome(house, act, by, person, HOME) for person in (UNKNOWN_PERSON, FOREIGN_PERSON)} if act != "launch" else set()
    there = {outcome(house, act, by, "nurse", site) for site in (UNKNOWN_SITE, FOREIGN_SITE)} if act in WITH_SITE else {"refused"}
    assert len(about) <= 1
    assert len(there) == 1
    assert "done" not in about | there
    assert count(house) == before


WITH_SITE = ("delegation", "training", "role", "launch")


def test_an_investigator_records_about_the_people_of_the_site_and_nobody_elsewhere(house: TwoSites) -> None:
    for act, by, person, site, expected in (
        ("delegation", "doctor", "nurse", HOME, "done"),
        ("training", "doctor", "nurse", HOME, "done"),
        ("delegation", "doctor", "nurse", FOREIGN, "UnknownThing"),  # a site of the experiment that the doctor does not see
        ("training", "doctor", "nurse", FOREIGN, "UnknownThing"),
        ("delegation", "doctor", "zz.nurse", HOME, "UnknownThing"),
        ("delegation", "nurse", "nurse", HOME, "NotAssigned"),
        ("training", "nurse", "nurse", HOME, "NotAssigned"),
        ("delegation", "boss", "zz.nurse", FOREIGN, "done"),
        ("training", "one.manager", "zz.nurse", FOREIGN, "done"),
        ("training", "one.manager", "zz.nurse", FOREIGN_SITE, "UnknownThing"),
    ):
        assert outcome(house, act, by, person, site).partition(":")[0] == expected, (act, by, person, site)


# ------------------------------------------------------------------ through each door


def by_api(house: TwoSites, what: str, person: str, site: str) -> tuple[int, Any, str]:
    body = {"person": person, "site": site, "experiment": house.shared, "role": "site_coordinator", "from": str(DAY)}
    if what == "trainings":
        body = {"person": person, "site": site, "protocol": "two-sites", "version": "1.0.0", "on": str(DAY)}
    answer = Caller(house.doors, "doctor").post(f"/{what}", body)
    return answer.status_code, sorted(answer.json()), neutral(str(answer.json().get("detail")))


def by_page(house: TwoSites, what: str, person: str, site: str) -> tuple[int, Any]:
    form = {"person": person, "site": site, "experiment": house.shared, "role": "site_coordinator", "from": str(DAY)}
    if what == "trainings":
        form = {"person": person, "site": site, "protocol": "two-sites 1.0.0", "on": str(DAY)}
    answer = Visit(house.doors).sign_in("doctor").post(f"/admin/{what}", form, of=f"/admin/{what}")
    return answer.status_code, re.sub(r'name="csrf" value="[^"]+"', "", neutral(answer.text))


def by_command(house: TwoSites, what: str, person: str, site: str) -> tuple[int, Any]:
    file = house.doors.database.file
    assert file is not None
    given = (
        ("site_coordinator", "--experiment", house.shared, "--from", str(DAY)) if what == "delegations" else ("two-sites", "--on", str(DAY))
    )
    said = Terminal(Path(file.parent)).type(what.removesuffix("s"), "record", person, *given, "--site", site, "--as", "doctor")
    return said.status, (neutral(said.out), neutral(said.err))


DOORS = {"api": by_api, "page": by_page, "command": by_command}


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("what", ["delegations", "trainings"])
def test_every_door_tells_of_a_foreign_person_and_site_what_it_tells_of_none(house: TwoSites, what: str, door: str) -> None:
    record, before = DOORS[door], count(house)
    people = [record(house, what, person, HOME) for person in (UNKNOWN_PERSON, FOREIGN_PERSON, UNKNOWN_PERSON)]
    sites = [record(house, what, "nurse", site) for site in (UNKNOWN_SITE, FOREIGN_SITE)]
    assert people[0] == people[1] == people[2]
    assert sites[0] == sites[1]
    assert count(house) == before
    assert people[0][0] in {"api": (404,), "page": (404, 422), "command": (2, 3)}[door]
    with house.doors.database.write() as connection:
        connection.execute(delete(table(Token)))
