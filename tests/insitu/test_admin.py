"""The administration: managers of everything, managers of one experiment, and what neither shows the other."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from urllib.parse import quote

import pytest
from office import HOSTILE, PASSWORD, Office
from sqlalchemy import insert
from visit import Visit, doors_on

from sites import registry
from sites.anchors.keeper import Keeper
from sites.clock import SetClock
from sites.database import Database, table
from sites.identity.access import entries
from sites.tables import Person

PAGES = (
    *("/admin", "/admin/sites", "/admin/people", "/admin/assignments", "/admin/delegations", "/admin/trainings"),
    *("/admin/deputies", "/admin/conflicts", "/admin/access", "/admin/people/nurse.caen", "/admin/access.csv"),
)
WHOLE = (
    *("/admin/import", "/admin/new-site", "/admin/sites/CAEN", "/admin/new-person", "/admin/people/nurse.caen/edit"),
    *("/admin/people/nurse.caen/notices", "/admin/access/journal", "/admin/anchors", "/admin/registry.yaml"),
    *("/admin/sites.csv", "/admin/people.csv", "/admin/assignments.csv"),
)


def noted(office: Office, kind: str) -> list[dict[str, object]]:
    return entries(office.doors.database, kind=kind)


# ------------------------------------------------------------------ who comes in


def test_the_overview_names_what_is_there_twice_but_for_capitals(office: Office) -> None:
    assert "The same but for capitals" not in office.visit().get("/admin").text
    with office.doors.database.write() as connection:
        twin = {"id": "Nurse.Caen", "name": "Another", "email": "n@example.org", "locale": "en", "channels": []}
        connection.execute(insert(table(Person)).values(twin))
    assert "Nurse.Caen, nurse.caen" in office.visit().get("/admin").text
    assert "The same but for capitals" not in office.visit("manager.ours").get("/admin").text


def test_a_manager_of_everything_reads_every_page(office: Office) -> None:
    visit = office.visit()
    assert {path: visit.get(path).status_code for path in (*PAGES, *WHOLE)} == dict.fromkeys((*PAGES, *WHOLE), 200)


def test_a_manager_of_one_experiment_reads_what_belongs_to_it_and_nothing_of_the_rest(office: Office) -> None:
    visit = office.visit("manager.ours")
    read = {path: visit.get(path) for path in PAGES}
    assert {path: answer.status_code for path, answer in read.items()} == dict.fromkeys(PAGES, 200)
    assert [path for path, answer in read.items() if any(word in answer.text for word in (office.theirs, "SDEN", "Sidonie"))] == []
    assert {visit.get(path).status_code for path in WHOLE} == {403}


def test_an_investigator_reads_the_logs_alone(office: Office) -> None:
    visit = office.visit("inv.caen")
    logs = ("/admin", "/admin/delegations", "/admin/trainings")
    assert {visit.get(path).status_code for path in logs} == {200}
    assert {visit.get(path).status_code for path in ("/admin/people", "/admin/sites", "/admin/access", *WHOLE)} == {403}


def test_whoever_manages_nothing_is_turned_away(office: Office) -> None:
    closed = [path for path in (*PAGES, *WHOLE) if path not in ("/admin/deputies", "/admin/conflicts")]
    assert {office.visit("nurse.caen").get(path).status_code for path in closed} == {403}


def test_a_person_one_may_not_see_answers_as_one_who_is_not(office: Office) -> None:
    visit = office.visit("manager.ours")
    foreign, nobody = visit.get("/admin/people/nurse.sden"), visit.get("/admin/people/nobody.at.all")
    assert (foreign.status_code, nobody.status_code) == (404, 404)
    assert foreign.text.replace("nurse.sden", "X") == nobody.text.replace("nobody.at.all", "X")


# ------------------------------------------------------------------ the overview


def test_a_newcomer_is_told_the_next_three_steps(sqlite_database: Database, clock: SetClock, registry_on_sqlite: None) -> None:
    text = Visit(doors_on(sqlite_database, clock)).sign_in("project_manager").get("/admin").text
    assert [address in text for address in ("/admin/import", "/admin/people?account=none", "/launch")] == [True] * 3


def test_the_overview_names_the_roles_that_nobody_holds_at_an_active_site(office: Office) -> None:
    database = office.doors.database
    for one in registry.assignments(database):
        if one["role"] == "site_coordinator" and not one["site"]:
            office.assign("site_coordinator", "site_coordinator", until=date(2026, 1, 1))
    office.assign("nurse.metz", "site_coordinator", "METZ", until=date(2026, 1, 1))
    text = office.visit("manager.ours").get("/admin").text
    assert "Roles that nobody holds" in text
    assert re.search(rf"Coordinator – METZ, in {office.ours}", text)
    assert not re.search(r"Coordinator – CAEN", text)


# ------------------------------------------------------------------ sites and people


def test_a_site_is_added_and_changed_but_its_code_stays(office: Office) -> None:
    visit = office.visit()
    site = {"code": "LYON", "name": "Clinic", "kind": "private_clinic", "territory": "FR", "timezone": "Europe/Paris"}
    assert visit.post("/admin/new-site", site, of="/admin/new-site").status_code == 303
    visit.post("/admin/sites/LYON", site | {"code": "OTHER", "name": "Renamed"}, of="/admin/sites/LYON")
    assert [one["name"] for one in registry.sites(office.doors.database) if one["code"] in ("LYON", "OTHER")] == ["Renamed"]
    assert [one["by"] for one in noted(office, "SiteChanged")] == ["project_manager"] * 2


def test_what_is_wrong_with_a_site_stands_beside_its_field_and_nothing_typed_is_lost(office: Office) -> None:
    typed = {"code": "CAEN", "name": "Typed & kept", "kind": "other", "territory": "XX", "timezone": "Europe/Pari"}
    answer = office.visit().post("/admin/new-site", typed, of="/admin/new-site")
    assert answer.status_code == 422
    assert "Typed &amp; kept" in answer.text
    assert all(f'id="{name}-error"' in answer.text for name in ("code", "territory", "timezone"))


def test_a_persons_name_is_shown_safely_and_kept_exactly(office: Office) -> None:
    visit = office.visit()
    person = {"id": "mad.x", "name": "<script>alert(1)</script>", "email": "x@example.org", "locale": "fr"}
    assert visit.post("/admin/new-person", person, of="/admin/new-person").headers["location"] == "/admin/people/mad.x"
    for path in ("/admin/people", "/admin/people/mad.x", "/admin/people/odd.one", "/admin/assignments"):
        text = visit.get(path).text
        assert "<script>alert" not in text
        assert "<b>" not in text
    assert [one["name"] for one in registry.people(office.doors.database) if one["id"] in ("mad.x", "odd.one")] == [person["name"], HOSTILE]


def test_a_change_of_e_mail_is_noted_as_one_of_contact(office: Office) -> None:
    visit, path = office.visit(), "/admin/people/nurse.caen/edit"
    visit.post(path, {"name": "nurse.caen", "email": "new@example.org", "locale": "en"}, of=path)
    assert [one["data"] for one in noted(office, "ContactChanged")] == [
        {"changed": {"email": ["nurse.caen@example.org", "new@example.org"]}}
    ]
    assert noted(office, "PersonChanged") == []


def test_people_are_found_by_name_role_and_account_a_page_at_a_time(office: Office) -> None:
    visit = office.visit()
    rows = [f"  - {{id: many.{number:03}, name: Many {number:03}, email: m@example.org}}" for number in range(60)]
    registry.import_file(office.doors.database, "people:\n" + "\n".join(rows), "many.yaml")
    first, second = (visit.get(f"/admin/people?q=many&page={page}").text for page in (1, 2))
    assert ("Many 000" in first, "Many 059" in first, "Many 059" in second) == (True, False, True)
    assert "Irene" in visit.get("/admin/people?account=open").text
    assert "Irene" not in visit.get("/admin/people?account=none").text
    assert "nurse.metz" not in visit.get("/admin/people?site=CAEN").text
    assert "Nobody fits" in visit.get("/admin/people?q=100%25").text


@pytest.mark.parametrize("page", ["0", "-1", "99999999999999999999", "two"])
def test_a_page_that_is_not_there_gives_the_nearest(office: Office, page: str) -> None:
    assert office.visit().get(f"/admin/people?page={page}").status_code == 200


# ------------------------------------------------------------------ files


def test_a_file_with_a_problem_changes_nothing_and_says_every_line(office: Office) -> None:
    text = (
        "sites:\n  - {code: NICE, name: N, kind: clinic, territory: FRR, timezone: Europe/Paris}\npeople:\n  - {id: a, name: A, email: b}\n"
    )
    answer = office.visit().post("/admin/import", {"text": text}, of="/admin/import")
    assert answer.status_code == 422
    assert ("Line 2:" in answer.text, "Line 4:" in answer.text, "code: NICE" in answer.text) == (True, True, True)
    assert "NICE" not in {one["code"] for one in registry.sites(office.doors.database)}


def test_a_file_is_imported_whole_and_journaled(office: Office) -> None:
    text = "id;name;email\nz.new;=1+1;z@example.org\n"
    stolen = {"csrf": office.visit("manager.ours").token("/admin/people")}
    assert office.visit().client.post("/admin/import", data=stolen, files={"file": ("people.csv", b"")}).status_code == 403
    visit = office.visit()
    form = {"csrf": visit.token("/admin/import")}
    answer = visit.client.post("/admin/import", data=form, files={"file": ("people.csv", text.encode("cp1252"))})
    assert "People: 1 added" in answer.text
    (entry,) = noted(office, "RegistryImported")
    assert (entry["by"], entry["data"]["file"]) == ("project_manager", "people.csv")  # type: ignore[index]


def test_what_is_exported_is_defused_and_comes_back_unchanged(office: Office) -> None:
    visit, database = office.visit(), office.doors.database
    registry.import_file(database, "id,name,email,channels\nf.x,=cmd|' /C calc'!A0,f@example.org,tgram://1:secret/2\n", "p.csv")
    sheet, whole = visit.get("/admin/people.csv").text, visit.get("/admin/registry.yaml").text
    assert ";'=cmd|' /C calc'!A0;" in sheet
    assert "secret" not in sheet + whole
    before = registry.people(database)
    assert registry.import_file(database, sheet, "people.csv")["people"]["changed"] == 0
    assert registry.import_file(database, whole, "all.yaml")["people"]["changed"] == 0
    assert registry.people(database) == before
    assert len(noted(office, "Exported")) == 2


# ------------------------------------------------------------------ assignments


def test_a_role_is_given_and_ended_and_never_deleted(office: Office) -> None:
    visit, database = office.visit("manager.ours"), office.doors.database
    given = {"person": "nurse.caen", "role": "site_coordinator", "site": "METZ", "experiment": office.ours}
    assert visit.post("/admin/assignments", given, of="/admin/assignments").status_code == 303
    text = visit.get("/admin/assignments?person=nurse.caen").text
    (number,) = re.findall(r"/admin/assignments/(\d+)/end", text)  # the one held everywhere is not theirs to end
    assert visit.post(f"/admin/assignments/{number}/end", of="/admin/assignments").status_code == 303
    held = [one for one in registry.assignments(database) if one["experiment"] == office.ours and one["person"] == "nurse.caen"]
    assert [one["until"] for one in held] == ["2026-03-02"]
    assert [len(noted(office, kind)) for kind in ("RoleAssigned", "RoleEnded")] == [1, 1]


REFUSED = [
    ({"person": "nurse.caen", "role": "site_coordinator", "site": "CAEN"}, 403),  # in every experiment
    ({"person": "nurse.caen", "role": "site_coordinator", "site": "SDEN", "experiment": "THEIRS"}, 403),
    ({"person": "nurse.caen", "role": "site_coordinator", "site": "SDEN", "experiment": "OURS"}, 422),
    ({"person": "nurse.sden", "role": "site_coordinator", "site": "CAEN", "experiment": "OURS"}, 422),
    ({"person": "nurse.caen", "role": "site_coordinator", "experiment": "OURS", "from": "yesterday"}, 422),
]


@pytest.mark.parametrize(("given", "status"), REFUSED)
def test_a_manager_of_one_experiment_gives_roles_in_it_alone(office: Office, given: dict[str, str], status: int) -> None:
    before = registry.assignments(office.doors.database)
    named = {"OURS": office.ours, "THEIRS": office.theirs}
    form = {name: named.get(value, value) for name, value in given.items()}
    assert office.visit("manager.ours").post("/admin/assignments", form, of="/admin/assignments").status_code == status
    assert registry.assignments(office.doors.database) == before


def test_another_managers_assignment_cannot_be_ended_nor_guessed(office: Office) -> None:
    text = office.visit().get("/admin/assignments?person=nurse.sden").text
    (number,) = re.findall(r"/admin/assignments/(\d+)/end", text)
    visit = office.visit("manager.ours")
    assert visit.post(f"/admin/assignments/{number}/end", of="/admin/assignments").status_code == 404
    assert visit.post("/admin/assignments/99999/end", of="/admin/assignments").status_code == 404
    assert visit.post("/admin/assignments/99999999999999999999/end", of="/admin/assignments").status_code == 422


def test_the_last_who_manages_everything_stays(office: Office) -> None:
    visit = office.visit()
    text = visit.get("/admin/assignments?person=project_manager").text
    (number,) = re.findall(r"/admin/assignments/(\d+)/end", text)
    assert visit.post(f"/admin/assignments/{number}/end", of="/admin/assignments").status_code == 409
    yesterday = (date(2026, 3, 2) - timedelta(days=1)).isoformat()
    form = {"person": "project_manager", "role": "project_manager", "until": yesterday}
    assert visit.post("/admin/assignments", form, of="/admin/assignments").status_code == 409


# ------------------------------------------------------------------ accounts


def test_a_person_is_invited_closed_out_and_let_in_again(office: Office) -> None:
    visit, path = office.visit(), "/admin/people/nurse.caen"

    def act(name: str) -> int:
        return visit.post(f"{path}/account", {"act": name}, of=path).status_code

    assert (act("disable"), act("enable"), act("invite")) == (303, 303, 303)
    assert "invited" in visit.get(path).text
    assert act("nothing") == 422


def test_a_second_factor_is_taken_away_by_whoever_proves_who_they_are(office: Office) -> None:
    from sqlalchemy import update

    from sites.database import table
    from sites.tables import Account

    with office.doors.database.write() as connection:
        connection.execute(update(table(Account)).where(table(Account).c.person == "inv.caen").values(totp="sealed"))
    visit, path = office.visit(), "/admin/people/inv.caen"
    wrong = visit.post(f"{path}/account", {"act": "reset", "password": "not it"}, of=path)
    right = visit.post(f"{path}/account", {"act": "reset", "password": PASSWORD}, of=path)
    assert (wrong.status_code, right.status_code) == (422, 303)
    assert len(noted(office, "SecondFactorRemoved")) == 1


# ------------------------------------------------------------------ the review and the journal


def test_a_review_is_signed_with_the_password_and_kept_with_a_mark(office: Office) -> None:
    visit = office.visit("manager.ours")
    wrong = visit.post("/admin/access/reviewed", {"password": "not it"}, of="/admin/access")
    assert (wrong.status_code, noted(office, "AccessReviewed")) == (422, [])
    assert visit.post("/admin/access/reviewed", {"password": PASSWORD}, of="/admin/access").status_code == 303
    (entry,) = noted(office, "AccessReviewed")
    assert entry["data"]["experiments"] == [office.ours]  # type: ignore[index]
    assert "Last signed by Olive" in visit.get("/admin/access").text
    assert "Never signed" in office.visit().get("/admin/access").text


def test_the_journal_is_narrowed_paged_and_verified(office: Office) -> None:
    visit = office.visit()
    assert "Signed in" in visit.get("/admin/access/journal?kind=SignedIn").text
    for _ in range(60):
        office.visit("manager.ours")
    text = visit.get("/admin/access/journal?person=manager.ours").text
    (later,) = re.findall(r'rel="next" href="([^"]+)"', text)
    assert visit.get(later.replace("&amp;", "&")).status_code == 200
    assert "none was changed" in visit.post("/admin/access/journal", of="/admin/access/journal").text


def test_the_page_of_the_anchors_shows_the_key_and_its_fingerprint(office: Office, tmp_path: Path) -> None:
    assert "another does" in office.visit().get("/admin/anchors").text
    doors = office.doors
    settings = replace(doors.settings, data=tmp_path, anchors=tmp_path / "anchors")
    keeping = Office(replace(doors, settings=settings), office.ours, office.theirs)
    assert "none yet" in keeping.visit().get("/admin/anchors").text
    line = Keeper(doors.database, doors.clock, settings).anchor()
    text = keeping.visit().get("/admin/anchors").text
    assert [
        word for word in (line.key.replace("+", "&#43;"), line.signer, line.hash, line.date) if word not in text.replace("+", "&#43;")
    ] == []
    (tmp_path / "anchor-key").write_text("no key")
    assert "cannot be read" in keeping.visit().get("/admin/anchors").text


# ------------------------------------------------------------------ deputies and conflicts


def test_everybody_names_their_own_deputy_among_those_they_work_with(office: Office) -> None:
    visit = office.visit("nurse.caen")
    days = {"from": "2026-03-02", "until": "2026-03-20"}
    assert visit.post("/admin/deputies", {"deputy": "inv.caen"} | days, of="/admin/deputies").status_code == 303
    foreign = visit.post("/admin/deputies", {"deputy": "nurse.sden"} | days, of="/admin/deputies")
    nobody = visit.post("/admin/deputies", {"deputy": "not.there"} | days, of="/admin/deputies")
    assert (foreign.status_code, nobody.status_code) == (422, 422)
    (number,) = re.findall(r"/admin/deputies/(\d+)/end", visit.get("/admin/deputies").text)
    assert visit.post(f"/admin/deputies/{number}/end", of="/admin/deputies").status_code == 303


def test_a_conflict_is_declared_by_oneself_and_ended_by_a_manager(office: Office) -> None:
    form = {"experiment": office.ours, "reason": "I hold shares of the maker."}
    assert office.visit("nurse.caen").post("/admin/conflicts", form, of="/admin/conflicts").status_code == 303
    manager = office.visit("manager.ours")
    (number,) = re.findall(r"/admin/conflicts/(\d+)/withdraw", manager.get("/admin/conflicts").text)
    assert manager.post(f"/admin/conflicts/{number}/withdraw", of="/admin/conflicts").status_code == 303
    assert manager.post("/admin/conflicts", form | {"person": "nurse.sden"}, of="/admin/conflicts").status_code == 422


def test_an_address_made_of_an_odd_id_is_a_safe_one(office: Office) -> None:
    assert office.visit().get(f"/admin/people/{quote('<x>', safe='')}").status_code == 404
