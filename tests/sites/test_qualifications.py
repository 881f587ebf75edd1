"""The delegation log and the training records: who writes and signs them, what they let one do, that they are never changed."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from qualified import INVESTIGATOR, delegate, qualify_site, today, train
from small import SMALL, launch, to_setup
from sqlalchemy import insert
from strict import STRICT, launch_strict

from protocols.errors import InConflict, InsituError, InvalidInput, NotAssigned, NotQualified, Refused, UnknownThing
from sites import conflicts, deputies, inbox, policy, qualifications
from sites.clock import SetClock
from sites.database import table
from sites.evidence import OF_RECORD
from sites.files import store
from sites.identity.access import entries
from sites.ledger import Ledger
from sites.policy import EVERYTHING
from sites.qualifications import NewDelegation, NewTraining
from sites.signing import unasked
from sites.tables import Assignment, Person

MANAGER = "project_manager"
MONDAY = date(2026, 3, 2)
CAEN = {"manager": MANAGER, "investigator": "doctor.caen", "coordinator": "nurse.caen"}


@pytest.fixture
def strict(ledger: Ledger, registry: None, release: Callable[[str], str]) -> Ledger:
    release(STRICT)
    people = [("doctor.caen", INVESTIGATOR, "CAEN"), ("doctor.metz", INVESTIGATOR, "METZ"), ("second.manager", MANAGER, "")]
    with ledger.database.write() as connection:
        for person, role, site in people:
            row = {"id": person, "name": person, "email": f"{person}@example.org", "locale": "en", "channels": []}
            connection.execute(insert(table(Person)).values(row))
            connection.execute(insert(table(Assignment)).values({"person": person, "role": role, "site": site}))
    return ledger


@pytest.fixture
def code(strict: Ledger) -> str:
    """An experiment whose set-up is asked at CAEN and METZ."""
    code = launch_strict(strict)
    to_setup(strict, code)
    return code


def assign(ledger: Ledger, person: str, role: str, **limits: Any) -> None:
    with ledger.database.write() as connection:
        connection.execute(insert(table(Assignment)).values({"person": person, "role": role, "site": "", "experiment": ""} | limits))


def lacks(ledger: Ledger, name: str, person: str) -> list[str]:
    """What a person lacks to answer, by the inbox; the ledger must say the same."""
    item = next(one for one in inbox.inbox(ledger.database, person, ledger.clock.now()) if one["id"] == name)
    with pytest.raises(InsituError) as refusal:
        ledger.complete(name, {}, person)
    assert isinstance(refusal.value, NotQualified) is bool(item["lacks"])
    found: list[str] = item["lacks"]
    return found


def reader(ledger: Ledger, person: str) -> policy.Reader:
    with ledger.database.read() as connection:
        return policy.reader(connection, person, ledger.clock.now())


# ------------------------------------------------------------------ what they let one do


def test_nobody_answers_without_a_delegation_and_a_training(strict: Ledger, code: str) -> None:
    name = f"{code}:setup:CAEN:1"
    assert lacks(strict, name, "nurse.caen") == ["delegation", "training"]
    delegate(strict, code, "doctor.caen", INVESTIGATOR, "CAEN", by=MANAGER)
    train(strict, code, "doctor.caen", "CAEN", by=MANAGER)
    delegate(strict, code, "nurse.caen", "site_coordinator", "CAEN", by="doctor.caen")
    assert lacks(strict, name, "nurse.caen") == ["training"]
    train(strict, code, "nurse.caen", "CAEN", by="doctor.caen")
    assert lacks(strict, name, "nurse.caen") == []
    assert strict.complete(name, {"ready": True}, "nurse.caen")["status"] == "open"


@pytest.mark.parametrize(
    ("missing", "said"),
    [("delegation", "no signed delegation as 'site_coordinator' at CAEN"), ("training", r"no signed training on strict 1\.0\.0 at CAEN")],
)
def test_a_refusal_says_which_record_is_missing(strict: Ledger, code: str, missing: str, said: str) -> None:
    delegate(strict, code, "doctor.caen", INVESTIGATOR, "CAEN", by=MANAGER)
    train(strict, code, "doctor.caen", "CAEN", by=MANAGER)
    if missing == "training":
        delegate(strict, code, "nurse.caen", "site_coordinator", "CAEN", by="doctor.caen")
    else:
        train(strict, code, "nurse.caen", "CAEN", by="doctor.caen")
    with pytest.raises(NotQualified, match=said):
        strict.complete(f"{code}:setup:CAEN:1", {"ready": True}, "nurse.caen")


def test_what_is_refused_for_want_of_a_delegation_is_kept_as_a_draft(strict: Ledger, code: str) -> None:
    name = f"{code}:setup:CAEN:1"
    with pytest.raises(NotQualified):
        strict.complete(name, {"ready": True}, "nurse.caen")
    shown = inbox.checkpoint(strict.database, name, strict.clock.now(), person="nurse.caen", access=EVERYTHING)
    assert shown["draft"]["answers"] == {"ready": True}
    assert shown["completed_by"] == ""


def test_nobody_signs_a_checkpoint_without_them_either(strict: Ledger, code: str) -> None:
    qualify_site(strict, code, "CAEN", **CAEN)
    name = f"{code}:setup:CAEN:1"
    strict.complete(name, {"ready": True}, "nurse.caen")
    assign(strict, "nobody", INVESTIGATOR, site="CAEN")
    with pytest.raises(NotQualified, match="neither a signed delegation"):
        strict.sign(name, "nobody", prove=unasked)
    assert strict.sign(name, "doctor.caen", prove=unasked)["gate"] == "passed"


def test_a_delegation_counts_at_its_site_in_its_experiment_for_its_role(strict: Ledger, code: str) -> None:
    other = launch_strict(strict)
    to_setup(strict, other)
    assign(strict, "nurse.caen", "site_coordinator", site="METZ")
    qualify_site(strict, code, "CAEN", **CAEN)
    assert lacks(strict, f"{other}:setup:CAEN:1", "nurse.caen") == ["delegation"]  # the training is on the same protocol
    assert lacks(strict, f"{code}:setup:METZ:1", "nurse.caen") == ["delegation", "training"]


def test_a_training_counts_for_its_version_alone(strict: Ledger, code: str, release: Callable[[str], str]) -> None:
    qualify_site(strict, code, "CAEN", **CAEN)
    release(STRICT.replace("version: 1.0.0", "version: 1.1.0"))
    newer = launch_strict(strict)
    to_setup(strict, newer)
    delegate(strict, newer, "doctor.caen", INVESTIGATOR, "CAEN", by=MANAGER)
    train(strict, newer, "doctor.caen", "CAEN", by=MANAGER)
    delegate(strict, newer, "nurse.caen", "site_coordinator", "CAEN", by="doctor.caen")
    assert lacks(strict, f"{newer}:setup:CAEN:1", "nurse.caen") == ["training"]


@pytest.mark.parametrize(
    ("moment", "caen", "reunion"),
    [
        (datetime(2026, 5, 9, 19, 59, tzinfo=UTC), False, False),  # 23:59 on La Réunion
        (datetime(2026, 5, 9, 20, 0, tzinfo=UTC), False, True),
        (datetime(2026, 5, 9, 22, 0, tzinfo=UTC), True, True),
        (datetime(2026, 5, 11, 20, 0, tzinfo=UTC), True, False),  # the 12th there
        (datetime(2026, 5, 11, 22, 0, tzinfo=UTC), False, False),
    ],
)
def test_records_count_from_their_first_to_their_last_day_where_the_site_stands(
    strict: Ledger, clock: SetClock, moment: datetime, caen: bool, reunion: bool
) -> None:
    code = launch_strict(strict, "CAEN", "SDEN")
    names = to_setup(strict, code, "CAEN", "SDEN")
    for site in ("CAEN", "SDEN"):
        qualify_site(strict, code, site, manager=MANAGER, investigator=INVESTIGATOR, coordinator="site_coordinator")
        assign(strict, "nobody", "site_coordinator", site=site)
        given = ("nobody", "site_coordinator", site, code, date(2026, 5, 10), date(2026, 5, 11))
        number = qualifications.record(strict.database, clock, NewDelegation(*given), by=MANAGER)
        qualifications.sign_delegation(strict.database, clock, number, by=INVESTIGATOR, prove=unasked)
        train(strict, code, "nobody", site, by=INVESTIGATOR)
    clock.set(moment)
    assert [lacks(strict, name, "nobody") == [] for name in names] == [caen, reunion]


def test_an_ended_delegation_counts_no_more_from_that_day(strict: Ledger, clock: SetClock, code: str) -> None:
    qualify_site(strict, code, "CAEN", **CAEN)
    number = next(one["id"] for one in qualifications.delegations(strict.database, reader(strict, MANAGER), person="nurse.caen"))
    qualifications.end_delegation(strict.database, clock, number, by="doctor.caen", on=MONDAY + timedelta(days=2), why="Leaves the ward")
    name = f"{code}:setup:CAEN:1"
    assert lacks(strict, name, "nurse.caen") == []
    clock.advance(timedelta(days=2))
    assert lacks(strict, name, "nurse.caen") == ["delegation"]


# ------------------------------------------------------------------ who records, who signs


def record(ledger: Ledger, code: str, person: str, role: str, *, by: str, site: str = "CAEN", **changed: Any) -> int:
    given = (person, role, site, code, changed.pop("from_", MONDAY), changed.pop("until", None))
    return qualifications.record(ledger.database, ledger.clock, NewDelegation(*given, **changed), by=by)


def sign(ledger: Ledger, number: int, by: str) -> None:
    qualifications.sign_delegation(ledger.database, ledger.clock, number, by=by, prove=unasked)


@pytest.mark.parametrize(
    ("by", "error"),
    [(MANAGER, None), ("doctor.caen", None), ("doctor.metz", UnknownThing), ("nurse.caen", NotAssigned), ("methodologist", NotAssigned)],
)
def test_a_manager_or_an_investigator_of_the_site_records(strict: Ledger, code: str, by: str, error: type[Exception] | None) -> None:
    if error is None:
        assert record(strict, code, "nurse.caen", "site_coordinator", by=by) == 1
    else:
        with pytest.raises(error):
            record(strict, code, "nurse.caen", "site_coordinator", by=by)


def test_whoever_sees_nothing_of_an_experiment_learns_nothing_of_it(strict: Ledger, code: str) -> None:
    for known, name in ((code, code), ("STRICT-9", "STRICT-9")):
        with pytest.raises(UnknownThing, match=f"There is no {name} here that you may see"):
            record(strict, known, "nurse.caen", "site_coordinator", by="nobody")
    number = record(strict, code, "nurse.caen", "site_coordinator", by=MANAGER)
    with pytest.raises(UnknownThing, match=f"no delegation {number} here"):
        sign(strict, number, "nobody")


def test_a_manager_signs_for_the_investigator_who_signs_for_the_others(strict: Ledger, code: str) -> None:
    own, others = (
        record(strict, code, "doctor.caen", INVESTIGATOR, by=MANAGER),
        record(strict, code, "nurse.caen", "site_coordinator", by=MANAGER),
    )
    with pytest.raises(NotAssigned, match=INVESTIGATOR):
        sign(strict, others, MANAGER)
    with pytest.raises(NotQualified):  # not yet delegated themself
        sign(strict, others, "doctor.caen")
    with pytest.raises(NotAssigned, match=MANAGER):
        sign(strict, own, "doctor.caen")
    sign(strict, own, MANAGER)
    train(strict, code, "doctor.caen", "CAEN", by=MANAGER)
    sign(strict, others, "doctor.caen")


def test_an_investigator_of_another_site_signs_nothing_here(strict: Ledger, code: str) -> None:
    qualify_site(strict, code, "METZ", manager=MANAGER, investigator="doctor.metz", coordinator="nurse.metz")
    number = record(strict, code, "nurse.caen", "site_coordinator", by=MANAGER)
    with pytest.raises(UnknownThing):
        sign(strict, number, "doctor.metz")


def test_nobody_signs_a_record_of_their_own(strict: Ledger, code: str) -> None:
    assign(strict, MANAGER, INVESTIGATOR, site="CAEN")
    number = record(strict, code, MANAGER, INVESTIGATOR, by=MANAGER)
    with pytest.raises(Refused, match="Nobody signs a record of their own"):
        sign(strict, number, MANAGER)
    deputies.name_deputy(strict.database, strict.clock, MANAGER, "nobody", MONDAY, MONDAY, by=MANAGER)
    with pytest.raises(Refused, match="in the place of the person"):
        sign(strict, number, "nobody")
    sign(strict, number, "second.manager")


def test_nobody_in_conflict_records_or_signs(strict: Ledger, code: str) -> None:
    conflicts.declare(strict.database, strict.clock, MANAGER, code, "shares", by=MANAGER)
    with pytest.raises(InConflict):
        record(strict, code, "doctor.caen", INVESTIGATOR, by=MANAGER)
    number = record(strict, code, "doctor.caen", INVESTIGATOR, by="second.manager")
    with pytest.raises(InConflict):
        sign(strict, number, MANAGER)


def test_a_training_is_signed_by_a_manager_while_no_experiment_is_under_way_there(strict: Ledger) -> None:
    given = ("nurse.caen", "strict", "1.0.0", "CAEN", MONDAY, None)
    number = qualifications.record(strict.database, strict.clock, NewTraining(*given), by="doctor.caen")
    with pytest.raises(NotAssigned, match=MANAGER):
        qualifications.sign_training(strict.database, strict.clock, number, by="doctor.caen", prove=unasked)
    qualifications.sign_training(strict.database, strict.clock, number, by=MANAGER, prove=unasked)


def test_a_training_of_an_investigator_is_signed_by_a_manager(strict: Ledger, code: str) -> None:
    qualify_site(strict, code, "CAEN", **CAEN)
    assign(strict, "nobody", INVESTIGATOR, site="CAEN")
    given = ("nobody", "strict", "1.0.0", "CAEN", MONDAY, None)
    number = qualifications.record(strict.database, strict.clock, NewTraining(*given), by="doctor.caen")
    with pytest.raises(NotAssigned):
        qualifications.sign_training(strict.database, strict.clock, number, by="doctor.caen", prove=unasked)
    qualifications.sign_training(strict.database, strict.clock, number, by=MANAGER, prove=unasked)


def test_a_role_that_requires_nothing_needs_no_record(ledger: Ledger, registry: None, release: Callable[[str], str]) -> None:
    release(SMALL)
    name = to_setup(ledger, launch(ledger))[0]
    assert ledger.complete(name, {"ready": True}, "nurse.caen")["gate"] == "passed"


# ------------------------------------------------------------------ what is written stays


def test_a_signed_record_is_signed_once_and_ended_once(strict: Ledger, clock: SetClock, code: str) -> None:
    number = delegate(strict, code, "doctor.caen", INVESTIGATOR, "CAEN", by=MANAGER)
    with pytest.raises(Refused, match="signed or ended before"):
        sign(strict, number, "second.manager")

    def end(on: date) -> None:
        qualifications.end_delegation(strict.database, clock, number, by=MANAGER, on=on, why="Moved")

    end(MONDAY + timedelta(days=9))
    end(MONDAY + timedelta(days=3))  # brought forward
    for on in (MONDAY + timedelta(days=3), MONDAY + timedelta(days=9)):
        with pytest.raises(Refused, match="never put off"):
            end(on)
    shown = qualifications.delegations(strict.database, reader(strict, MANAGER))[0]
    assert (shown["ended_on"], shown["signed_by"], shown["state"]) == (MONDAY + timedelta(days=3), MANAGER, "in_force")


def test_an_ended_record_is_not_signed_any_more(strict: Ledger, clock: SetClock, code: str) -> None:
    number = record(strict, code, "doctor.caen", INVESTIGATOR, by=MANAGER)
    qualifications.end_delegation(strict.database, clock, number, by=MANAGER, on=MONDAY, why="Mistyped")
    with pytest.raises(Refused, match="signed or ended before"):
        sign(strict, number, MANAGER)


def test_the_same_record_twice_is_one_until_it_is_signed(strict: Ledger, code: str) -> None:
    first, again = (record(strict, code, "doctor.caen", INVESTIGATOR, by=MANAGER) for _ in range(2))
    assert first == again
    sign(strict, first, MANAGER)
    assert record(strict, code, "doctor.caen", INVESTIGATOR, by=MANAGER) != first


def test_every_act_is_in_the_access_journal(strict: Ledger, clock: SetClock, code: str) -> None:
    number = delegate(strict, code, "doctor.caen", INVESTIGATOR, "CAEN", by=MANAGER)
    qualifications.end_delegation(strict.database, clock, number, by="second.manager", on=MONDAY, why="Moved")
    told = [(one["kind"], one["person"], one["by"]) for one in reversed(entries(strict.database))]
    assert told == [
        ("DelegationRecorded", "doctor.caen", MANAGER),
        ("DelegationSigned", "doctor.caen", MANAGER),
        ("DelegationEnded", "doctor.caen", "second.manager"),
    ]
    assert entries(strict.database, kind="DelegationSigned")[0]["data"] == {
        "number": number,
        "role": MANAGER,
        "meaning": "I delegate to doctor.caen the tasks of the role “Investigator” at site CAEN · Site of CAEN in experiment STRICT-1, "
        "from Monday 2 March 2026 on.",
    }


@pytest.mark.parametrize(
    ("changed", "error", "said"),
    [
        ({"person": "who?"}, UnknownThing, r"There is no who\? here that you may see"),
        ({"role": "surgeon"}, UnknownThing, "has no role 'surgeon'"),
        ({"site": "SDEN"}, UnknownThing, "SDEN takes no part"),
        ({"site": ""}, InvalidInput, "role of a site"),
        ({"until": MONDAY - timedelta(days=1)}, InvalidInput, "before the first"),
        ({"evidence": "ab12"}, UnknownThing, "not a stored document"),
    ],
)
def test_what_a_delegation_cannot_be(strict: Ledger, code: str, changed: dict[str, Any], error: type[Exception], said: str) -> None:
    usual = {"person": "nurse.caen", "role": "site_coordinator", "by": MANAGER}
    with pytest.raises(error, match=said):
        record(strict, code, **usual | changed)
    assert entries(strict.database) == []


def test_a_training_to_come_is_not_recorded(strict: Ledger) -> None:
    given = ("nurse.caen", "strict", "1.0.0", "CAEN", today(strict) + timedelta(days=1), None)
    with pytest.raises(InvalidInput, match="still to come"):
        qualifications.record(strict.database, strict.clock, NewTraining(*given), by=MANAGER)


def test_evidence_is_a_stored_document(strict: Ledger, code: str) -> None:
    key = store(strict, OF_RECORD, "log.pdf", b"%PDF-1.7", by=MANAGER)["hash"]
    record(strict, code, "nurse.caen", "site_coordinator", by=MANAGER, evidence=key)
    assert qualifications.delegations(strict.database, reader(strict, MANAGER))[0]["evidence"] == key


# ------------------------------------------------------------------ who reads them


@pytest.mark.parametrize(
    ("person", "seen"),
    [
        (MANAGER, {"doctor.caen", "nurse.caen", "doctor.metz", "nurse.metz"}),
        ("doctor.caen", {"doctor.caen", "nurse.caen"}),
        ("nurse.metz", {"nurse.metz"}),
        ("sponsor", set()),
        ("nobody", set()),
    ],
)
def test_records_are_read_by_those_they_concern(strict: Ledger, code: str, person: str, seen: set[str]) -> None:
    qualify_site(strict, code, "CAEN", **CAEN)
    qualify_site(strict, code, "METZ", manager=MANAGER, investigator="doctor.metz", coordinator="nurse.metz")
    who = reader(strict, person)
    assert {one["person"] for one in qualifications.delegations(strict.database, who)} == seen
    assert {one["person"] for one in qualifications.trainings(strict.database, who)} == seen


def test_a_manager_of_one_experiment_reads_and_keeps_that_ones_log(strict: Ledger, code: str) -> None:
    other = launch_strict(strict, "METZ")
    delegate(strict, other, "doctor.metz", INVESTIGATOR, "METZ", by=MANAGER)
    delegate(strict, code, "doctor.caen", INVESTIGATOR, "CAEN", by=MANAGER)
    assign(strict, "nobody", MANAGER, experiment=code)
    assert [one["experiment"] for one in qualifications.delegations(strict.database, reader(strict, "nobody"))] == [code]
    record(strict, code, "nurse.caen", "site_coordinator", by="nobody")
    with pytest.raises(UnknownThing):
        record(strict, other, "nurse.metz", "site_coordinator", by="nobody", site="METZ")
