"""The pages of the delegation log and of the trainings: recorded, signed after proving who one is, ended with a reason."""

from __future__ import annotations

import re
from datetime import date
from typing import Any

import pytest
from office import PASSWORD, Office

from sites.identity.access import entries
from sites.policy import reader
from sites.qualifications import NewDelegation, NewTraining, delegation, delegations, record, trainings

PDF = b"%PDF-1.4\n1 0 obj\n<<>>\nendobj\ntrailer\n<<>>\n%%EOF\n"
DAYS = {"from": "2026-03-02", "until": "2026-12-31"}


def log_of(office: Office, person: str = "project_manager") -> list[dict[str, Any]]:
    with office.doors.database.read() as connection:
        who = reader(connection, person, office.doors.clock.now())
    return delegations(office.doors.database, who)


def recorded(office: Office, person: str = "nurse.caen", site: str = "CAEN", **changed: Any) -> int:
    given = {"role": "site_coordinator", "experiment": office.ours, "by": "project_manager"} | changed
    role, experiment, by = given["role"], given["experiment"], given["by"]
    days = date(2026, 3, 1), date(2026, 3, 20)
    return record(office.doors.database, office.doors.clock, NewDelegation(person, role, site, experiment, *days), by=by)


def test_an_investigator_records_a_delegation_with_its_evidence_and_signs_it(office: Office) -> None:
    visit, path = office.visit("inv.caen"), "/admin/delegations"
    form = {"person": "nurse.caen", "role": "site_coordinator", "site": "CAEN", "experiment": office.ours, "csrf": visit.token(path)} | DAYS
    answer = visit.client.post(path, data=form, files={"evidence": ("log.pdf", PDF)})
    one = answer.headers["location"]
    assert "awaits a signature" in visit.get(one).text
    assert visit.get(f"{one}/evidence").content == PDF
    assert visit.post(f"{one}/sign", {"password": "not it"}, of=one).status_code == 422
    assert visit.post(f"{one}/sign", {"password": PASSWORD}, of=one).headers["location"] == one
    (record,) = log_of(office)
    assert (record["state"], record["signed_by"], record["signed_role"]) == ("in_force", "inv.caen", "principal_investigator")
    assert record["meaning"].startswith("I delegate to nurse.caen the tasks of the role “Coordinator” at site CAEN")
    assert record["meaning"] in visit.get(one).text


def test_a_delegation_is_ended_with_a_reason_and_what_was_typed_is_kept(office: Office) -> None:
    one = f"/admin/delegations/{recorded(office)}"
    visit = office.visit("manager.ours")
    refused = visit.post(f"{one}/end", {"on": "2026-03-09", "why": " "}, of=one)
    assert (refused.status_code, 'value="2026-03-09"' in refused.text) == (422, True)
    assert visit.post(f"{one}/end", {"on": "2026-03-09", "why": "Left the ward."}, of=one).status_code == 303
    assert "Left the ward." in visit.get(one).text


def test_a_manager_who_may_not_sign_is_told_so(office: Office) -> None:
    one = f"/admin/delegations/{recorded(office)}"
    assert office.visit().post(f"{one}/sign", {"password": PASSWORD}, of=one).status_code == 403


def test_nobody_is_offered_to_sign_a_record_of_their_own(office: Office) -> None:
    one = f"/admin/delegations/{recorded(office, 'inv.caen')}"
    assert f"{one}/sign" not in office.visit("inv.caen").get(one).text
    assert f"{one}/sign" in office.visit().get(one).text


@pytest.mark.parametrize("person", ["manager.ours", "inv.caen"])
def test_a_record_of_another_site_is_not_there(office: Office, person: str) -> None:
    number = recorded(office, "nurse.sden", "SDEN", experiment=office.theirs)
    visit = office.visit(person)
    assert {visit.get(f"/admin/delegations/{one}{part}").status_code for one in (number, 999) for part in ("", "/evidence")} == {404}
    forms = ({"password": PASSWORD}, {"on": "2026-03-09", "why": "x"})
    for act, form in zip(("sign", "end"), forms, strict=True):
        assert visit.post(f"/admin/delegations/{number}/{act}", form, of="/admin/delegations").status_code == 404
    assert "Sidonie" not in visit.get(f"/admin/delegations?person=nurse.sden&experiment={office.theirs}").text


@pytest.mark.parametrize("person", ["nurse.sden", "not.there"])
def test_whom_one_may_not_know_cannot_be_delegated(office: Office, person: str) -> None:
    form = {"person": person, "role": "site_coordinator", "site": "CAEN", "experiment": office.ours} | DAYS
    answer = office.visit("inv.caen").post("/admin/delegations", form, of="/admin/delegations")
    assert answer.status_code == 422
    assert f"There is no {person} here that you may see." in answer.text
    assert log_of(office) == []


WRONG = [
    ({"from": ""}, "from"),
    ({"until": "soon"}, "until"),
    ({"until": "2026-01-01"}, "person"),
    ({"role": "site_coordinator", "site": ""}, "person"),
    ({"experiment": "NONE-1"}, "person"),
]


@pytest.mark.parametrize(("changed", "field"), WRONG)
def test_what_cannot_be_recorded_is_said_in_the_form(office: Office, changed: dict[str, str], field: str) -> None:
    form = {"person": "nurse.caen", "role": "site_coordinator", "site": "CAEN", "experiment": office.ours} | DAYS | changed
    answer = office.visit().post("/admin/delegations", form, of="/admin/delegations")
    assert (answer.status_code, f'id="{field}-error"' in answer.text) == (422, True)
    assert log_of(office) == []


def test_a_file_that_is_not_what_it_says_is_not_kept(office: Office) -> None:
    visit, path = office.visit(), "/admin/delegations"
    form = {"person": "nurse.caen", "role": "site_coordinator", "site": "CAEN", "experiment": office.ours, "csrf": visit.token(path)} | DAYS
    answer = visit.client.post(path, data=form, files={"evidence": ("log.pdf", b"MZ\x90\x00 a program")})
    assert (answer.status_code, log_of(office)) == (422, [])


def test_a_training_is_recorded_and_signed_by_the_investigator(office: Office) -> None:
    visit, path = office.visit("inv.caen"), "/admin/trainings"
    form = {"person": "nurse.caen", "protocol": "small 1.0.0", "site": "CAEN", "on": "2026-03-02", "until": ""}
    one = visit.post(path, form, of=path).headers["location"]
    visit.post(f"{one}/sign", {"password": PASSWORD}, of=one)
    with office.doors.database.read() as connection:
        who = reader(connection, "inv.caen", office.doors.clock.now())
    (record,) = trainings(office.doors.database, who)
    means = "I confirm that nurse.caen was trained on protocol small 1.0.0 at site CAEN · Site of CAEN; this counts from Monday 2 March"
    assert record["meaning"] == f"{means} 2026 on."
    assert [one["kind"] for one in entries(office.doors.database, person="nurse.caen")] == ["TrainingSigned", "TrainingRecorded"]
    assert office.visit("manager.ours").get(f"{path}?protocol=small+1.0.0&site=CAEN").text.count(one) == 1
    assert visit.post(f"{one}/end", {"on": "2026-03-03", "why": "New version"}, of=one).status_code == 303


def test_a_training_to_come_is_refused(office: Office) -> None:
    form = {"person": "nurse.caen", "protocol": "small 1.0.0", "site": "CAEN", "on": "2026-04-01"}
    assert office.visit().post("/admin/trainings", form, of="/admin/trainings").status_code == 422


def test_the_overview_says_what_awaits_a_signature_and_what_ends_soon(office: Office) -> None:
    number = recorded(office)
    recorded(office, "nurse.sden", "SDEN", experiment=office.theirs)
    training = NewTraining("nurse.caen", "small", "1.0.0", "CAEN", date(2026, 3, 1))
    record(office.doors.database, office.doors.clock, training, by="project_manager")
    assert "2 delegations await a signature" in office.visit().get("/admin").text
    text = office.visit("inv.caen").get("/admin").text
    assert ("1 delegation awaits a signature" in text, "1 training awaits a signature" in text) == (True, True)
    visit, one = office.visit("inv.caen"), f"/admin/delegations/{number}"
    visit.post(f"{one}/sign", {"password": PASSWORD}, of=one)
    assert re.search(r"What ends within 30 days.*until 20 Mar 2026", visit.get("/admin").text, re.DOTALL)


def test_a_record_is_read_by_the_person_it_is_of(office: Office) -> None:
    number = recorded(office)
    with office.doors.database.read() as connection:
        who = reader(connection, "nurse.caen", office.doors.clock.now())
    assert delegation(office.doors.database, who, number)["person"] == "nurse.caen"
