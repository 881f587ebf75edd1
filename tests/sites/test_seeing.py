"""Who sees what: each role at its site, elsewhere and nowhere; deputies, sponsors, emergencies; lists that say what experiments say."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from importlib import import_module
from inspect import isfunction, signature
from pkgutil import walk_packages
from types import ModuleType
from typing import Any

import pytest
from small import SMALL, kinds, launch, to_setup
from sqlalchemy import insert, select
from strict import STRICT, launch_strict

from protocols.errors import InConflict, InsituError, InvalidInput, NotAssigned, UnknownThing
from sites import conflicts, inbox, policy
from sites.clock import SetClock
from sites.database import Database, table
from sites.deputies import end_deputy, name_deputy
from sites.glass import break_glass
from sites.identity.access import entries
from sites.journal import verify
from sites.ledger import Ledger
from sites.policy import EVERYTHING
from sites.releases import plan_of
from sites.tables import Assignment, Deputy, Experiment, ExperimentSite, Notice

MONDAY = date(2026, 3, 2)
SITES = ("CAEN", "METZ", "SDEN")


@pytest.fixture
def small(ledger: Ledger, registry: None, release: Callable[[str], str]) -> Ledger:
    release(SMALL)
    return ledger


def assign(database: Database, person: str, role: str, **limits: Any) -> None:
    with database.write() as connection:
        connection.execute(insert(table(Assignment)).values({"person": person, "role": role, "site": "", "experiment": ""} | limits))


def reader(ledger: Ledger, person: str) -> policy.Reader:
    with ledger.database.read() as connection:
        return policy.reader(connection, person, ledger.clock.now())


def access(ledger: Ledger, person: str, code: str) -> policy.Access | None:
    """What a person sees of an experiment, which the list of experiments must agree with."""
    with ledger.database.read() as connection:
        who = policy.reader(connection, person, ledger.clock.now())
        row = connection.execute(select(table(Experiment)).where(table(Experiment).c.code == code)).mappings().one()
        found = policy.access_to(connection, who, dict(row))
        listed = select(table(Experiment).c.code).where(policy.seen_experiments(connection, who))
        assert (code in connection.execute(listed).scalars().all()) is (found is not None)
    return found


def sites(found: policy.Access | None) -> set[str] | None:
    """The sites seen, None for nothing of it."""
    return None if found is None else {site for site in SITES if found.sees_site(site)}


# ------------------------------------------------------------------ each role


@pytest.mark.parametrize(
    ("person", "seen", "is_aggregate"),
    [
        ("project_manager", {"CAEN", "METZ", "SDEN"}, False),
        ("methodologist", {"CAEN", "METZ", "SDEN"}, False),
        ("site_coordinator", {"CAEN", "METZ", "SDEN"}, False),  # held everywhere
        ("sponsor", {"CAEN", "METZ", "SDEN"}, True),
        ("nurse.caen", {"CAEN"}, False),
        ("nurse.metz", {"METZ"}, False),
        ("nobody", None, False),
    ],
)
def test_a_role_shows_its_sites(small: Ledger, person: str, seen: set[str] | None, is_aggregate: bool) -> None:
    found = access(small, person, launch(small, *SITES))
    assert sites(found) == seen
    assert found is None or (found.is_aggregate, found.names_people) == (is_aggregate, not is_aggregate)


def test_a_site_that_takes_no_part_shows_nothing(small: Ledger) -> None:
    assert access(small, "nurse.metz", launch(small, "CAEN")) is None


def test_a_role_that_the_protocol_does_not_have_shows_nothing(small: Ledger) -> None:
    assign(small.database, "nobody", "data_protection_officer")
    assert access(small, "nobody", launch(small)) is None


def test_a_role_in_one_experiment_does_not_show_another(small: Ledger) -> None:
    codes = [launch(small), launch(small)]
    assign(small.database, "nobody", "methodologist", experiment=codes[0])
    assert [access(small, "nobody", code) is None for code in codes] == [False, True]


@pytest.mark.parametrize(
    ("person", "reads"),
    [
        ("project_manager", {"review", "ethics", "setup@CAEN", "setup@METZ", "closure"}),
        ("methodologist", {"review", "ethics", "closure"}),
        ("site_coordinator", {"setup@CAEN", "setup@METZ"}),
        ("nurse.caen", {"setup@CAEN"}),
        ("sponsor", set()),
    ],
)
def test_answers_are_read_by_those_who_work_with_them(small: Ledger, person: str, reads: set[str]) -> None:
    found = access(small, person, launch(small))
    assert found is not None
    with small.database.read() as connection:
        plan = plan_of(connection, connection.execute(select(table(Experiment).c.protocol)).scalar_one())
    places = [("review", ""), ("ethics", ""), ("setup", "CAEN"), ("setup", "METZ"), ("closure", "")]
    assert {f"{step}@{site}".rstrip("@") for step, site in places if found.reads_answers(plan, step, site)} == reads


def test_a_sponsor_with_a_part_at_a_site_sees_that_site_and_no_other(small: Ledger) -> None:
    code = launch(small)
    assign(small.database, "sponsor", "site_coordinator", site="CAEN")
    found = access(small, "sponsor", code)
    assert (sites(found), found and found.is_aggregate) == ({"CAEN"}, False)


# ------------------------------------------------------------------ dates and deputies


@pytest.mark.parametrize(
    ("moment", "seen"),
    [
        (datetime(2026, 5, 9, 19, 59, tzinfo=UTC), None),  # 23:59 on La Réunion
        (datetime(2026, 5, 9, 20, 0, tzinfo=UTC), {"SDEN"}),
        (datetime(2026, 5, 9, 22, 0, tzinfo=UTC), {"CAEN", "SDEN"}),
        (datetime(2026, 5, 11, 20, 0, tzinfo=UTC), {"CAEN"}),
        (datetime(2026, 5, 11, 22, 0, tzinfo=UTC), None),
    ],
)
def test_a_role_at_a_site_shows_it_on_its_days_there(small: Ledger, clock: SetClock, moment: datetime, seen: set[str] | None) -> None:
    code = launch(small, "CAEN", "SDEN")
    for site in ("CAEN", "SDEN"):
        assign(small.database, "nobody", "site_coordinator", site=site, from_date=date(2026, 5, 10), until_date=date(2026, 5, 11))
    clock.set(moment)
    assert sites(access(small, "nobody", code)) == seen


def test_a_deputy_sees_what_the_other_sees_while_it_lasts(small: Ledger, clock: SetClock) -> None:
    code = launch(small)
    number = name_deputy(
        small.database, clock, "nurse.caen", "nobody", MONDAY + timedelta(days=1), MONDAY + timedelta(days=5), by="project_manager"
    )
    seen = []
    for _ in range(7):
        seen.append(sites(access(small, "nobody", code)))
        clock.advance(timedelta(days=1))
    assert seen == [None, {"CAEN"}, {"CAEN"}, {"CAEN"}, {"CAEN"}, {"CAEN"}, None]
    clock.set(datetime(2026, 3, 4, 12, tzinfo=UTC))
    end_deputy(small.database, clock, number, by="nurse.caen")
    assert access(small, "nobody", code) is None


def test_a_deputys_deputy_sees_nothing(small: Ledger, clock: SetClock) -> None:
    code = launch(small)
    name_deputy(small.database, clock, "nurse.caen", "nurse.metz", MONDAY, MONDAY, by="project_manager")
    name_deputy(small.database, clock, "nurse.metz", "nobody", MONDAY, MONDAY, by="project_manager")
    assert sites(access(small, "nobody", code)) == {"METZ"}


@pytest.mark.parametrize(
    ("by", "allowed"), [("nurse.caen", True), ("project_manager", True), ("nobody", False), ("nurse.metz", False), ("sponsor", False)]
)
def test_one_names_ones_own_deputy_and_a_manager_anyones(small: Ledger, clock: SetClock, by: str, allowed: bool) -> None:
    if allowed:
        assert name_deputy(small.database, clock, "nurse.caen", "site_coordinator", MONDAY, MONDAY, by=by) == 1
    else:
        with pytest.raises(NotAssigned):
            name_deputy(small.database, clock, "nurse.caen", "site_coordinator", MONDAY, MONDAY, by=by)


def test_a_managers_deputy_names_no_deputy(small: Ledger, clock: SetClock) -> None:
    name_deputy(small.database, clock, "project_manager", "nobody", MONDAY, MONDAY, by="project_manager")
    assert reader(small, "nobody").is_manager
    with pytest.raises(NotAssigned, match="not a deputy"):
        name_deputy(small.database, clock, "project_manager", "nobody", MONDAY, MONDAY + timedelta(days=300), by="nobody")


@pytest.mark.parametrize(
    ("changed", "error", "said"),
    [
        ({"deputy": "nurse.caen"}, InvalidInput, "own deputy"),
        ({"deputy": "who?"}, UnknownThing, r"There is no who\? here that you may see"),
        ({"until": MONDAY - timedelta(days=1)}, InvalidInput, "before the first"),
        ({"until": MONDAY + timedelta(days=400)}, InvalidInput, "a year at most"),
        ({"from_": MONDAY - timedelta(days=9), "until": MONDAY - timedelta(days=5)}, InvalidInput, "past already"),
    ],
)
def test_what_a_deputy_cannot_be(small: Ledger, clock: SetClock, changed: dict[str, Any], error: type[InsituError], said: str) -> None:
    usual: dict[str, Any] = {"person": "nurse.caen", "deputy": "site_coordinator", "from_": MONDAY, "until": MONDAY, "by": "nurse.caen"}
    with pytest.raises(error, match=said):
        name_deputy(small.database, clock, **usual | changed)
    assert entries(small.database) == []


# ------------------------------------------------------------------ emergencies


def test_breaking_the_glass_shows_for_an_hour_and_is_journaled_and_told(small: Ledger, clock: SetClock) -> None:
    code = launch(small)
    seen = break_glass(small.database, clock, "nurse.metz", code, "CAEN", "Device alarm at Caen")
    assert sites(access(small, "nurse.metz", code)) == {"CAEN", "METZ"}
    assert kinds(small, code, "GlassBroken") == ["GlassBroken"]
    fact = next(fact for fact in inbox.journal(small.database, code, EVERYTHING) if fact["kind"] == "GlassBroken")
    assert (fact["by"], fact["site"], fact["data"]["reason"]) == ("nurse.metz", "CAEN", "Device alarm at Caen")
    assert [(one["kind"], one["by"]) for one in entries(small.database)] == [("GlassBroken", "nurse.metz")]
    with small.database.read() as connection:
        owed = connection.execute(select(table(Notice)).where(table(Notice).c.kind == "glass")).mappings().one()
    assert (owed["roles"], owed["details"]["person"]) == (["project_manager"], "nurse.metz")
    assert seen["until"] == clock.now() + timedelta(hours=1)
    clock.advance(timedelta(hours=1))
    assert sites(access(small, "nurse.metz", code)) == {"METZ"}
    assert verify(small.database)["ok"]


def test_a_glass_broken_for_one_site_shows_no_answer_of_the_others(small: Ledger, clock: SetClock) -> None:
    code = launch(small, *SITES)
    break_glass(small.database, clock, "nurse.metz", code, "CAEN", "Alarm")
    found = access(small, "nurse.metz", code)
    assert found is not None
    with small.database.read() as connection:
        plan = plan_of(connection, connection.execute(select(table(Experiment).c.protocol)).scalar_one())
    assert [found.reads_answers(plan, "setup", site) for site in SITES] == [True, True, False]
    assert not found.reads_answers(plan, "review", "")


def test_a_broken_glass_never_lets_one_act(small: Ledger, clock: SetClock) -> None:
    code = launch(small)
    name = to_setup(small, code)[0]
    break_glass(small.database, clock, "nurse.metz", code, "", "Alarm")
    with pytest.raises(NotAssigned):
        small.complete(name, {"ready": True}, "nurse.metz")
    with pytest.raises(NotAssigned):
        small.hold(code, "nurse.metz", "Alarm")


def test_the_reason_of_an_emergency_is_for_the_managers_and_for_whoever_gave_it(small: Ledger, clock: SetClock) -> None:
    code = launch(small)
    break_glass(small.database, clock, "nurse.metz", code, "", "Mrs Durand fell at Caen")
    read = {}
    for person in ("project_manager", "nurse.metz", "methodologist", "nurse.caen", "sponsor"):
        told = inbox.journal(small.database, code, access(small, person, code))
        read[person] = ["reason" in fact["data"] for fact in told if fact["kind"] == "GlassBroken"]
    assert read == {"project_manager": [True], "nurse.metz": [True], "methodologist": [False], "nurse.caen": [False], "sponsor": [False]}


def test_a_sponsor_is_not_told_for_whom_a_deputy_acted(small: Ledger, clock: SetClock) -> None:
    code = launch(small)
    name_deputy(small.database, clock, "methodologist", "nobody", MONDAY, MONDAY, by="project_manager")
    small.complete(f"{code}:review::1", {"sound": True}, "nobody")
    assert "nobody" not in str(inbox.journal(small.database, code, access(small, "sponsor", code)))
    assert "methodologist'" not in str([fact["data"] for fact in inbox.journal(small.database, code, access(small, "sponsor", code))])


def test_a_glass_at_a_site_that_is_not_there_tells_of_no_experiment(small: Ledger, clock: SetClock) -> None:
    code, told = launch(small), set()
    for experiment in (code, "OTHER-1"):
        with pytest.raises(UnknownThing) as caught:
            break_glass(small.database, clock, "nurse.metz", experiment, "NOWHERE", "Alarm")
        told.add(str(caught.value).replace(experiment, "X"))
    assert len(told) == 1
    assert entries(small.database) == []


def test_the_same_glass_again_within_the_hour_is_one(small: Ledger, clock: SetClock) -> None:
    code = launch(small)
    first, again = (break_glass(small.database, clock, "nurse.metz", code, "CAEN", "Alarm") for _ in range(2))
    assert first == again
    assert len(entries(small.database)) == len(kinds(small, code, "GlassBroken")) == 1


def test_an_ended_experiment_is_looked_at_too(small: Ledger, clock: SetClock) -> None:
    code = launch(small)
    small.stop(code, "project_manager", "Over")
    break_glass(small.database, clock, "nurse.metz", code, "CAEN", "Late event")
    assert kinds(small, code)[-1] == "GlassBroken"


@pytest.mark.parametrize(
    ("person", "site", "reason", "error"),
    [
        ("nobody", "", "Alarm", NotAssigned),  # holds no role
        ("sponsor", "", "Alarm", NotAssigned),
        ("nurse.metz", "", "  ", InvalidInput),
        ("nurse.metz", "SDEN", "Alarm", UnknownThing),
        ("ethics_officer", "", "Alarm", InConflict),
    ],
)
def test_who_cannot_break_the_glass(small: Ledger, clock: SetClock, person: str, site: str, reason: str, error: type[InsituError]) -> None:
    code = launch(small)
    conflicts.declare(small.database, clock, "ethics_officer", code, "Shares", by="ethics_officer")
    with pytest.raises(error):
        break_glass(small.database, clock, person, code, site, reason)
    assert kinds(small, code, "GlassBroken") == []


# ------------------------------------------------------------------ conflicts of interest


def test_a_conflict_is_declared_by_its_person_and_lifted_by_another_manager(small: Ledger, clock: SetClock) -> None:
    code = launch(small)
    number = conflicts.declare(small.database, clock, "project_manager", code, "Shares", by="project_manager")
    assert conflicts.declare(small.database, clock, "project_manager", code, "Again", by="project_manager") == number
    with pytest.raises(InConflict):
        conflicts.withdraw(small.database, clock, number, by="project_manager")
    assign(small.database, "nobody", "project_manager", experiment=code)
    assert [one["id"] for one in conflicts.conflicts(small.database, reader(small, "nobody"))] == [number]
    conflicts.withdraw(small.database, clock, number, by="nobody")
    small.hold(code, "project_manager", "May again")


def test_a_conflict_is_read_by_those_it_concerns_and_tells_nobody_of_an_experiment(small: Ledger, clock: SetClock) -> None:
    code = launch(small)
    number = conflicts.declare(small.database, clock, "nurse.caen", code, "Family", by="nurse.caen")
    seen = {who: len(conflicts.conflicts(small.database, reader(small, who))) for who in ("nurse.caen", "nurse.metz", "project_manager")}
    assert seen == {"nurse.caen": 1, "nurse.metz": 0, "project_manager": 1}
    with pytest.raises(UnknownThing):
        conflicts.withdraw(small.database, clock, number, by="nurse.metz")
    with pytest.raises(NotAssigned):
        conflicts.declare(small.database, clock, "nurse.caen", code, "Spite", by="nurse.metz")
    for known in (code, "SMALL-99"):
        with pytest.raises(UnknownThing, match="here that you may see"):
            conflicts.declare(small.database, clock, "nobody", known, "Curious", by="nobody")


# ------------------------------------------------------------------ lists say what experiments say


@pytest.mark.parametrize("seed", range(6))
def test_lists_show_what_each_experiment_shows_whatever_is_held(
    small: Ledger, release: Callable[[str], str], clock: SetClock, seed: int
) -> None:
    """Random roles, places, dates, deputies and broken glass, looked at around the midnights of every site."""
    release(STRICT.replace("  sponsor: {", "  monitor: {scope: experiment, title: {fr: M, en: M}}\n  sponsor: {"))
    chance = random.Random(seed)
    codes = [launch(small, *chance.sample(SITES, chance.randint(1, 3))) for _ in range(3)]
    codes.append(launch_strict(small, "SDEN", "METZ"))
    people = ["nobody", "nurse.caen", "nurse.metz", "second.officer", "sponsor"]
    roles = ["project_manager", "methodologist", "sponsor", "site_coordinator", "principal_investigator", "monitor", "unheard_of"]
    held: set[tuple[str, str, str, str]] = set()
    for _ in range(12):
        one = (chance.choice(people), chance.choice(roles), chance.choice(["", *SITES]), chance.choice(["", "", *codes]))
        if one not in held and one[:3] not in {("sponsor", "sponsor", ""), ("nurse.caen", "site_coordinator", "CAEN")}:
            held.add(one)
            assign(small.database, one[0], one[1], site=one[2], experiment=one[3], from_date=a_day(chance), until_date=a_day(chance, 3))
    with small.database.write() as connection:
        for _ in range(3):
            lender, deputy = chance.sample([*people, "project_manager", "ethics_officer"], 2)
            row = {"person": lender, "deputy": deputy, "from_date": MONDAY + timedelta(days=chance.randint(-1, 1)), "recorded_by": lender}
            row |= {"until_date": row["from_date"] + timedelta(days=chance.randint(0, 2)), "recorded_at": clock.now(), "ended_by": ""}
            connection.execute(insert(table(Deputy)).values(row))
    for hours in (-14, 0, 6, 9, 12, 14, 30):
        clock.set(datetime(2026, 3, 2, 12, tzinfo=UTC) + timedelta(hours=hours))
        if hours == 6:
            break_glass(small.database, clock, "methodologist", codes[0], "", "Alarm")
        for person in [*people, "methodologist", "project_manager"]:
            agrees(small, person, codes)


def a_day(chance: random.Random, later: int = 0) -> date | None:
    return MONDAY + timedelta(days=chance.randint(-2, 1) + later * chance.randint(0, 1)) if chance.random() < 0.7 else None


def agrees(ledger: Ledger, person: str, codes: list[str]) -> None:
    """The lists of experiments and of sites hold what `access_to` shows of each, and nothing else."""
    experiment, part = table(Experiment), table(ExperimentSite)
    with ledger.database.read() as connection:
        who = policy.reader(connection, person, ledger.clock.now())
        rows = {row["code"]: dict(row) for row in connection.execute(select(experiment)).mappings()}
        found = {code: policy.access_to(connection, who, rows[code]) for code in codes}
        listed = connection.execute(select(experiment.c.code).where(policy.seen_experiments(connection, who))).scalars().all()
        joined = select(experiment.c.code, part.c.site).join_from(part, experiment, experiment.c.id == part.c.experiment_id)
        narrowed = joined.where(policy.seen_experiments(connection, who), policy.seen_rows(connection, who, part.c.site))
        places = {tuple(row) for row in connection.execute(narrowed)}
        every = {tuple(row) for row in connection.execute(joined)}
    assert sorted(listed) == sorted(code for code, one in found.items() if one), person
    shown = {(code, site) for code, site in every if (one := found[code]) is not None and one.sees_site(site)}
    assert places == shown, (person, ledger.clock.now(), who.held)


def test_no_read_gives_everything_to_whoever_forgot_to_say_how_much() -> None:
    """`access` has no default anywhere, and `None` is not a way to say everything: `EVERYTHING` is, by its name."""
    found = {
        f"{module.__name__}.{name}": function for module in modules() for name, function in vars(module).items() if takes_access(function)
    }
    assert {"sites.board.status", "sites.asked.checkpoint", "sites.disclosure.journal", "notifications.sent.sent"} <= found.keys()
    for name, function in found.items():
        parameter = signature(function).parameters["access"]
        assert parameter.default is parameter.empty, name
        assert "None" not in str(parameter.annotation), name


def modules() -> list[ModuleType]:
    rooms = [import_module(name) for name in ("sites", "notifications")]
    names = [one.name for room in rooms for one in walk_packages(room.__path__, f"{room.__name__}.") if ".migrations" not in one.name]
    return [import_module(name) for name in names]


def takes_access(value: Any) -> bool:
    return isfunction(value) and "access" in signature(value).parameters
