"""Who may act: the role, at the site, in the experiment, on that day where the site stands."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any

import pytest
from small import SMALL, launch, to_ethics, to_setup
from sqlalchemy import insert

from protocols.errors import NotAssigned
from sites import inbox
from sites.clock import SetClock
from sites.database import table
from sites.ledger import Ledger
from sites.tables import Assignment


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
        small.sign(name, "methodologist")


@pytest.mark.parametrize("act", ["hold", "release", "stop"])
def test_only_a_project_manager_holds_releases_and_stops(small: Ledger, act: str) -> None:
    code = launch(small)
    with pytest.raises(NotAssigned, match="project_manager"):
        getattr(small, act)(code, "methodologist", "because")
