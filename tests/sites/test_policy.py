"""Who may act: the role, at the site, in the experiment, on that day where the site stands."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from qualified import delegate, qualify_site, qualify_town, train
from small import SMALL, gate, launch, to_ethics, to_setup
from sqlalchemy import insert
from strict import STRICT, launch_strict

from protocols.clocks import Place
from protocols.errors import IllegalTransition, InConflict, InvalidAnswers, NotAssigned, NotQualified, Refused
from sites import attention, conflicts, holding, inbox, policy, portfolio, vacancies
from sites.clock import SetClock
from sites.database import table
from sites.deputies import end_deputy, name_deputy
from sites.identity import accounts
from sites.ledger import Ledger
from sites.policy import EVERYTHING
from sites.signing import unasked
from sites.snapshot import find
from sites.tables import Assignment, Conflict, Delegation, Deputy, Remark, Training

MONDAY = date(2026, 3, 2)


@pytest.fixture
def small(ledger: Ledger, registry: None, release: Callable[[str], str]) -> Ledger:
    release(SMALL)
    return ledger


def assign(ledger: Ledger, person: str, role: str, **limits: Any) -> None:
    with ledger.database.write() as connection:
        connection.execute(insert(table(Assignment)).values({"person": person, "role": role, "site": "", "experiment": ""} | limits))


def may(ledger: Ledger, name: str, person: str) -> bool:
    """Whether the ledger lets a person answer, which the inbox must agree with."""
    listed = name in [item["id"] for item in inbox.inbox(ledger.database, person, ledger.clock.now())]
    try:
        ledger.save_draft(name, person, {})
    except NotAssigned:
        assert not listed
        return False
    assert listed
    return True


@pytest.mark.parametrize(
    ("person", "can"),
    [("nurse.caen", True), ("nurse.metz", False), ("site_coordinator", True), ("methodologist", False), ("nobody", False)],
)
def test_a_site_role_counts_at_its_site(small: Ledger, person: str, can: bool) -> None:
    name = to_setup(small, launch(small))[0]
    assert may(small, name, person) is can
    if not can:
        with pytest.raises(NotAssigned, match=f"{person} does not hold the role 'site_coordinator' at CAEN .* --site CAEN"):
            small.complete(name, {"ready": True}, person)


def test_a_role_in_one_experiment_does_not_count_in_another(small: Ledger) -> None:
    codes = [launch(small), launch(small)]
    assign(small, "nobody", "methodologist", experiment=codes[0])
    assert [may(small, f"{code}:review::1", "nobody") for code in codes] == [True, False]


def test_somebody_unknown_is_said_to_be(small: Ledger) -> None:
    with pytest.raises(NotAssigned, match=r"There is no person 'm\.rossi' to complete"):
        small.complete(f"{launch(small)}:review::1", {"sound": True}, "m.rossi")


@pytest.mark.parametrize(
    ("moment", "caen", "reunion"),
    [
        (datetime(2026, 5, 9, 19, 59, tzinfo=UTC), False, False),  # 23:59 on La Réunion
        (datetime(2026, 5, 9, 20, 0, tzinfo=UTC), False, True),  # the 10th has begun there, two hours before France
        (datetime(2026, 5, 9, 22, 0, tzinfo=UTC), True, True),
        (datetime(2026, 5, 11, 19, 59, tzinfo=UTC), True, True),
        (datetime(2026, 5, 11, 20, 0, tzinfo=UTC), True, False),
        (datetime(2026, 5, 11, 22, 0, tzinfo=UTC), False, False),
    ],
)
def test_an_assignment_holds_from_its_first_to_its_last_day_where_the_site_stands(
    small: Ledger, clock: SetClock, moment: datetime, caen: bool, reunion: bool
) -> None:
    names = to_setup(small, launch(small, "CAEN", "SDEN"), "CAEN", "SDEN")
    assign(small, "nobody", "site_coordinator", from_date=date(2026, 5, 10), until_date=date(2026, 5, 11))
    clock.set(moment)
    assert [may(small, name, "nobody") for name in names] == [caen, reunion]


def test_only_a_holder_of_the_role_signs(small: Ledger) -> None:
    name = to_ethics(small, launch(small))
    small.complete(name, {"opinion": "yes"}, "ethics_officer")
    with pytest.raises(NotAssigned, match=r"'ethics_officer'.* needed to sign"):
        small.sign(name, "methodologist", prove=unasked)


@pytest.mark.parametrize("act", ["hold", "release", "stop"])
def test_only_a_project_manager_holds_releases_and_stops(small: Ledger, act: str) -> None:
    code = launch(small)
    with pytest.raises(NotAssigned, match="project_manager"):
        getattr(small, act)(code, "methodologist", "because")


# ------------------------------------------------------------------ conflicts of interest


def test_whoever_declared_a_conflict_of_interest_does_nothing_in_that_experiment(small: Ledger, clock: SetClock) -> None:
    codes = [launch(small), launch(small)]
    conflicts.declare(small.database, clock, "methodologist", codes[0], "Shares", by="methodologist")
    conflicts.declare(small.database, clock, "project_manager", codes[0], "Shares", by="project_manager")
    with pytest.raises(InConflict, match="methodologist has declared a conflict of interest"):
        small.complete(f"{codes[0]}:review::1", {"sound": True}, "methodologist")
    for act in (small.hold, small.stop):
        with pytest.raises(InConflict):
            act(codes[0], "project_manager", "because")
    assert [item["experiment"] for item in inbox.inbox(small.database, "methodologist", clock.now())] == [codes[1]]
    small.complete(f"{codes[1]}:review::1", {"sound": True}, "methodologist")


def test_a_conflict_of_interest_in_everything_forbids_a_launch(small: Ledger, clock: SetClock) -> None:
    conflicts.declare(small.database, clock, "project_manager", "", "Holder's family", by="project_manager")
    with pytest.raises(InConflict, match="launch small"):
        launch(small)


# ------------------------------------------------------------------ deputies


def test_a_deputy_acts_and_the_fact_says_for_whom(small: Ledger, clock: SetClock) -> None:
    code = launch(small)
    number = name_deputy(small.database, clock, "methodologist", "nobody", MONDAY, MONDAY, by="project_manager")
    (item,) = inbox.inbox(small.database, "nobody", clock.now())
    assert (item["id"], item["of"], item["role"]) == (f"{code}:review::1", "methodologist", "methodologist")
    small.complete(item["id"], {"sound": True}, "nobody")
    fact = next(fact for fact in inbox.journal(small.database, code, EVERYTHING) if fact["kind"] == "CheckpointCompleted")
    assert (fact["by"], fact["role"], fact["data"]["of"]) == ("nobody", "methodologist", "methodologist")
    end_deputy(small.database, clock, number, by="project_manager")
    with pytest.raises(NotAssigned):
        small.complete(f"{launch(small)}:review::1", {"sound": True}, "nobody")


def test_what_one_holds_oneself_is_not_done_for_another(small: Ledger, clock: SetClock) -> None:
    code = launch(small)
    assign(small, "nobody", "methodologist")
    name_deputy(small.database, clock, "methodologist", "nobody", MONDAY, MONDAY, by="project_manager")
    assert [item["of"] for item in inbox.inbox(small.database, "nobody", clock.now())] == [""]
    small.complete(f"{code}:review::1", {"sound": True}, "nobody")
    assert "of" not in next(fact for fact in inbox.journal(small.database, code, EVERYTHING) if fact["by"] == "nobody")["data"]


def test_a_managers_deputy_launches_holds_and_stops_for_them(small: Ledger, clock: SetClock) -> None:
    name_deputy(small.database, clock, "project_manager", "nobody", MONDAY, MONDAY, by="project_manager")
    code = small.launch("small", ["CAEN"], {"target": 1}, "nobody")["code"]
    small.hold(code, "nobody", "Recall")
    small.release(code, "nobody", "Checked")
    small.stop(code, "nobody", "Over")
    told = [(fact["kind"], fact["data"].get("of")) for fact in inbox.journal(small.database, code, EVERYTHING) if fact["by"]]
    assert told == [(kind, "project_manager") for kind in ("ExperimentLaunched", "Held", "Released", "ExperimentStopped")]


def test_a_conflict_is_the_deputys_own(small: Ledger, clock: SetClock) -> None:
    code = launch(small)
    name_deputy(small.database, clock, "methodologist", "nobody", MONDAY, MONDAY, by="project_manager")
    conflicts.declare(small.database, clock, "methodologist", code, "Shares", by="methodologist")
    assert may(small, f"{code}:review::1", "nobody")
    conflicts.declare(small.database, clock, "nobody", code, "Shares too", by="nobody")
    with pytest.raises(InConflict):
        small.complete(f"{code}:review::1", {"sound": True}, "nobody")
    assert inbox.inbox(small.database, "nobody", clock.now()) == []


def test_four_eyes_see_through_a_deputy(small: Ledger, clock: SetClock) -> None:
    """Whoever answered cannot sign as another's deputy, nor can a deputy who signed sign again as themself."""
    name = to_ethics(small, launch(small))
    small.complete(name, {"opinion": "yes"}, "ethics_officer")
    name_deputy(small.database, clock, "ethics_officer", "second.officer", MONDAY, MONDAY, by="ethics_officer")
    name_deputy(small.database, clock, "second.officer", "ethics_officer", MONDAY, MONDAY, by="second.officer")
    small.sign(name, "ethics_officer", prove=unasked)
    with pytest.raises(Refused, match="must be another person's"):
        small.sign(name, "ethics_officer", prove=unasked)
    assert inbox.inbox(small.database, "ethics_officer", clock.now()) == []
    assert small.sign(name, "second.officer", prove=unasked)["gate"] == "passed"


def test_deputies_of_people_are_told_with_whom_they_stand_in_for(small: Ledger, clock: SetClock) -> None:
    name_deputy(small.database, clock, "nurse.caen", "nobody", MONDAY, MONDAY, by="project_manager")
    name_deputy(small.database, clock, "nurse.metz", "nobody", MONDAY + timedelta(days=1), MONDAY + timedelta(days=1), by="project_manager")
    with small.database.read() as connection:
        found = {
            day: [(one["id"], one["of"]) for one in policy.deputies_of(connection, ["nurse.caen", "nurse.metz", "sponsor"], day)]
            for day in (MONDAY, MONDAY + timedelta(days=1), MONDAY + timedelta(days=2))
        }
    assert list(found.values()) == [[("nobody", "nurse.caen")], [("nobody", "nurse.metz")], []]


def test_a_deputy_needs_a_delegation_and_a_training_of_their_own(small: Ledger, clock: SetClock, release: Callable[[str], str]) -> None:
    release(STRICT)
    code = launch_strict(small)
    name = to_setup(small, code)[0]
    qualify_site(small, code, "CAEN", manager="project_manager", investigator="principal_investigator", coordinator="nurse.caen")
    name_deputy(small.database, clock, "nurse.caen", "nobody", MONDAY, MONDAY, by="project_manager")
    with pytest.raises(NotQualified):
        small.complete(name, {"ready": True}, "nobody")
    delegate(small, code, "nobody", "site_coordinator", "CAEN", by="principal_investigator")
    train(small, code, "nobody", "CAEN", by="principal_investigator")
    assert small.complete(name, {"ready": True}, "nobody")["status"] == "open"


# ------------------------------------------------------------------ the inbox says what the ledger does


def test_an_incident_is_for_a_manager_of_the_whole_experiment(small: Ledger, clock: SetClock) -> None:
    code = launch(small)
    ethics = to_ethics(small, code)
    small.complete(ethics, {"opinion": "yes"}, "ethics_officer")
    small.sign(ethics, "ethics_officer", prove=unasked)
    small.sign(ethics, "second.officer", prove=unasked)
    name = f"{code}:setup:CAEN:1"
    small.record_action(name, 0, error="no template")
    assign(small, "nobody", "project_manager", site="CAEN")
    assert inbox.inbox(small.database, "nobody", clock.now()) == []
    with pytest.raises(NotAssigned):
        small.retry_action(name, "nobody")
    assert [item["id"] for item in inbox.inbox(small.database, "project_manager", clock.now())] == [name]
    small.retry_action(name, "project_manager")


def test_the_inbox_says_that_somebody_declined(small: Ledger, clock: SetClock) -> None:
    code = launch(small)
    with small.database.write() as connection:
        row = {"experiment_id": 1, "step": "review", "site": "", "round": 1, "kind": "decline", "by": "methodologist", "text": "Away"}
        connection.execute(insert(table(Remark)).values(row | {"at": clock.now(), "answer": "", "answered_by": ""}))
    other = launch(small)
    declined = {item["experiment"]: item["declined"] for item in inbox.inbox(small.database, "methodologist", clock.now())}
    assert declined == {code: True, other: False}


@pytest.mark.parametrize("seed", range(8))
def test_the_inbox_lists_what_the_ledger_lets_one_do_and_says_what_is_lacking(
    small: Ledger, release: Callable[[str], str], clock: SetClock, seed: int
) -> None:
    """Random roles, dates, deputies, conflicts and records, asked around the midnights of three sites."""
    release(STRICT)
    chance = random.Random(seed)
    codes = [launch_strict(small, "CAEN", "SDEN"), launch_strict(small, "METZ", "SDEN"), launch(small)]
    names = [
        name for code, sites in zip(codes, (("CAEN", "SDEN"), ("METZ", "SDEN")), strict=False) for name in to_setup(small, code, *sites)
    ]
    names.append(f"{codes[2]}:review::1")
    qualify_town(small, codes[0])
    small.complete(names[1], {"ready": True}, "site_coordinator")  # it waits for a signature, by another person
    people = ["nobody", "nurse.caen", "nurse.metz", "site_coordinator", "principal_investigator", "methodologist"]
    grant(small, chance, people, codes)
    accounts.disable(small.database, clock, chance.choice(people), by="project_manager")
    for hours in (-14, 0, 6, 9, 12, 14, 30):
        clock.set(max(clock.now(), datetime(2026, 3, 2, 12, tzinfo=UTC) + timedelta(hours=hours)))
        for person in people:
            listed = {item["id"]: item for item in inbox.inbox(small.database, person, clock.now())}
            allowed = {name: outcome for name in names if (outcome := let(small, name, person)) is not None}
            assert {name: bool(item["lacks"]) for name, item in listed.items()} == allowed, (person, clock.now())


@pytest.mark.parametrize("seed", range(3))
def test_to_hold_a_role_is_the_same_thing_wherever_it_is_asked(
    small: Ledger, release: Callable[[str], str], clock: SetClock, seed: int
) -> None:
    """The ledger, the reader's own list, whom notices go to, the board and the launch's readiness, on random days and closed accounts."""
    release(STRICT)
    chance = random.Random(seed)
    codes = [launch_strict(small, "CAEN", "SDEN"), launch(small)]
    people = ["nobody", "nurse.caen", "nurse.metz", "site_coordinator", "principal_investigator", "methodologist"]
    grant(small, chance, people, codes)
    closed = set(chance.sample(people, 2))
    for person in closed:
        accounts.disable(small.database, clock, person, by="project_manager")
    found = 0
    for days in (-2, -1, 0, 1):
        clock.set(datetime(2026, 3, 2, 12, tzinfo=UTC) + timedelta(days=days))  # noon: the same date at all three sites
        readers = [reader_of(small, person) for person in people]
        for role in ("site_coordinator", "principal_investigator", "methodologist"):
            for site in ("", "CAEN", "SDEN"):
                held = {person for person in people if holds(small, person, role, site, codes[0])}
                assert held == set(told(small, role, site, codes[0]))
                assert held == boarded(small, role, site, codes[0])
                assert held == read(readers, role, site, codes[0])
                assert manned_by(small, role, site) <= held
                assert not held & closed
                found += len(held)
    assert found > 20
    assert not any(inbox.inbox(small.database, person, clock.now()) for person in closed)


def holds(ledger: Ledger, person: str, role: str, site: str, code: str) -> bool:
    """Whether the ledger takes the person for a holder of the role themselves."""
    with ledger.database.read() as connection:
        found = policy.standing(connection, person, role, site=site, experiment=code, on=ledger.clock.now().date())
    return found.holds and not found.of


def told(ledger: Ledger, role: str, site: str, code: str) -> list[str]:
    with ledger.database.read() as connection:
        return [one["id"] for one in policy.holders(connection, [role], sites=[site], experiment=code, on=ledger.clock.now().date())]


def boarded(ledger: Ledger, role: str, site: str, code: str) -> set[str]:
    with ledger.database.read() as connection:
        found = holding.holdings(connection, find(connection, code), [role], [site], ledger.clock.now())
    return {one.person for one in holding.held_at(holding.by_place(found), role, site)}


def read(readers: list[policy.Reader], role: str, site: str, code: str) -> set[str]:
    return {
        reader.person
        for reader in readers
        for one in reader.in_force_at(Place())
        if one.role == role and one.site in ("", site) and one.experiment in ("", code) and not one.of
    }


def manned_by(ledger: Ledger, role: str, site: str) -> set[str]:
    protocol = inbox.protocol_of(ledger.database, inbox.experiments(ledger.database)[0]["code"])
    found = vacancies.manned(ledger.database, protocol, ledger.clock.now())
    return {person for (named, at), held in found.held.items() if named == role and at in ("", site) for person, _ in held}


def test_whoever_left_holds_nothing_and_lends_nothing_until_the_account_is_opened_again(small: Ledger, clock: SetClock) -> None:
    code = launch(small)
    name_deputy(small.database, clock, "methodologist", "nobody", MONDAY, MONDAY, by="project_manager")
    assert gate(small, code, "review")["vacant"] == []
    accounts.disable(small.database, clock, "methodologist", by="project_manager")
    with pytest.raises(NotAssigned, match="The account of methodologist is closed"):
        small.complete(f"{code}:review::1", {"sound": True}, "methodologist")
    with pytest.raises(NotAssigned):
        small.complete(f"{code}:review::1", {"sound": True}, "nobody")
    assert [inbox.inbox(small.database, person, clock.now()) for person in ("methodologist", "nobody")] == [[], []]
    assert gate(small, code, "review")["vacant"] == ["methodologist"]
    manager = reader_of(small, "project_manager")
    with small.database.read() as connection:
        missed = [(one["experiment"], one["role"]) for one in attention.vacancies(connection, manager)]
    assert missed == [(code, "methodologist")]
    shown = inbox.checkpoint(small.database, f"{code}:review::1", clock.now(), person="project_manager", access=EVERYTHING)
    assert shown["who"] == []
    (stuck,) = portfolio.experiments(small.database, manager, clock.now() + timedelta(days=30), "en")["items"]
    assert [one["persons"] for one in stuck["stuck_on"]] == [[]]
    protocol = inbox.protocol_of(small.database, code)
    assert "methodologist" in vacancies.manned(small.database, protocol, clock.now()).vacant
    accounts.enable(small.database, clock, "methodologist", by="project_manager")
    small.complete(f"{code}:review::1", {"sound": True}, "nobody")


def reader_of(ledger: Ledger, person: str) -> policy.Reader:
    with ledger.database.read() as connection:
        return policy.reader(connection, person, ledger.clock.now())


def grant(ledger: Ledger, chance: random.Random, people: list[str], codes: list[str]) -> None:
    """Roles, deputies, conflicts and records for people, all at random."""
    sites, roles = ["", "CAEN", "METZ", "SDEN"], ["site_coordinator", "principal_investigator", "methodologist"]
    now, signed = ledger.clock.now(), {"signed_by": "x", "signed_role": "x", "meaning": "x"}
    kept = {"evidence": "", "recorded_by": "x", "recorded_at": now, "ended_by": "", "ended_why": "", "signed_at": now} | signed

    def day(spread: int = 2) -> date:
        return MONDAY + timedelta(days=chance.randint(-spread, 1))

    held = {(chance.choice(people), chance.choice(roles), chance.choice(sites), chance.choice(["", *codes])) for _ in range(12)}
    known = {("site_coordinator", "site_coordinator", ""), ("principal_investigator", "principal_investigator", "")}
    known |= {
        ("methodologist", "methodologist", ""),
        ("nurse.caen", "site_coordinator", "CAEN"),
        ("nurse.metz", "site_coordinator", "METZ"),
    }
    for person, role, site, code in sorted(held):
        if code or (person, role, site) not in known:
            assign(
                ledger, person, role, site=site, experiment=code, from_date=day(), until_date=day() + timedelta(days=chance.randint(0, 2))
            )
    with ledger.database.write() as connection:
        for _ in range(4):
            lender, deputy = chance.sample(people, 2)
            row = {"person": lender, "deputy": deputy, "from_date": day(), "recorded_by": lender, "recorded_at": now, "ended_by": ""}
            connection.execute(insert(table(Deputy)).values(row | {"until_date": day(0) + timedelta(days=1)}))
        for person in chance.sample(people, 2):
            row = {"person": person, "experiment": chance.choice(["", *codes]), "reason": "x", "declared_by": person, "declared_at": now}
            connection.execute(insert(table(Conflict)).values(row | {"withdrawn_by": "", "withdrawn_at": chance.choice([None, now])}))
        for _ in range(25):
            ends = {"until_date": chance.choice([None, day(0)]), "ended_on": chance.choice([None, None, day(0)])}
            whose = {"person": chance.choice(people), "site": chance.choice(sites[1:])}
            row = whose | {"role": chance.choice(roles[:2]), "experiment": chance.choice(codes[:2]), "from_date": day()}
            connection.execute(insert(table(Delegation)).values(kept | ends | row))
            row = whose | {"protocol": "strict", "version": chance.choice(["1.0.0", "1.0.0", "0.9.0"]), "on_date": day()}
            connection.execute(insert(table(Training)).values(kept | ends | row))


def let(ledger: Ledger, name: str, person: str) -> bool | None:
    """Whether someone who may act in the role lacks what it requires; None for whoever may not. Nothing is completed or signed."""
    shown = inbox.checkpoint(ledger.database, name, ledger.clock.now(), access=EVERYTHING)
    try:
        if shown["next_signature"]:
            ledger.sign(name, person, shown="0" * 64, prove=unasked)
        else:
            ledger.complete(name, {}, person)
    except (InvalidAnswers, IllegalTransition):
        return False
    except NotQualified:
        return None if person == shown["completed_by"] else True  # and qualified they would still not be another person
    except (NotAssigned, InConflict, Refused):
        return None
    raise AssertionError("it was done")
