"""Each request of the API, and the story of an experiment told by it."""

from __future__ import annotations

from datetime import timedelta

import pytest
from caller import Caller
from keyboard import Terminal
from small import SMALL
from visit import doors_on

from insitu.entrance.doors import Doors
from sites import releases
from sites.clock import SetClock, SystemClock
from sites.database import Database
from sites.identity.accounts import create_account
from sites.signing import unasked

PASSWORD = "the words that only I know"
LAUNCH = {"protocol": "small", "sites": ["CAEN", "METZ"], "launch": {"target": 10}}


@pytest.fixture
def doors(sqlite_database: Database, clock: SetClock, registry_on_sqlite: None) -> Doors:
    releases.add(sqlite_database, SMALL, clock)
    return doors_on(sqlite_database, clock)


@pytest.fixture
def manager(doors: Doors) -> Caller:
    return Caller(doors, "project_manager")


@pytest.fixture
def code(manager: Caller) -> str:
    return str(manager.ok(manager.post("/experiments", LAUNCH))["code"])


def let_sign(doors: Doors, *people: str) -> None:
    with doors.database.write() as connection:
        for person in people:
            create_account(connection, person, PASSWORD, doors.clock.now(), by="")


# ------------------------------------------------------------------ experiments


def test_an_experiment_is_launched_and_says_where_it_is(manager: Caller) -> None:
    answer = manager.post("/experiments", LAUNCH | {"title": "Ours"})
    assert answer.status_code == 201
    assert answer.headers["location"] == "/api/v1/experiments/SMALL-1"
    assert answer.json() == {"code": "SMALL-1", "protocol": "small", "version": "1.0.0", "state": "running"}
    assert manager.ok(manager.get("/experiments/SMALL-1"))["title"] == "Ours"


def test_experiments_are_listed_and_chosen(manager: Caller, code: str) -> None:
    manager.ok(manager.post("/experiments", LAUNCH | {"sites": ["SDEN"]}))
    listed = manager.get("/experiments")
    assert [one["code"] for one in listed.json()] == ["SMALL-2", "SMALL-1"]
    assert {"state", "phase", "progress", "active", "open", "late", "stuck_on", "next_due_at"} <= listed.json()[0].keys()
    for query, found in (
        ({"site": "SDEN"}, ["SMALL-2"]),
        ({"q": "mall-1"}, ["SMALL-1"]),
        ({"state": "closed"}, []),
        ({"protocol": "small", "state": "running"}, ["SMALL-2", "SMALL-1"]),
        ({"protocol": "other"}, []),
    ):
        assert [one["code"] for one in manager.ok(manager.get("/experiments", **query))] == found, query


def test_a_list_comes_in_pages_that_lead_to_each_other(manager: Caller, code: str) -> None:
    for _ in range(2):
        manager.ok(manager.post("/experiments", LAUNCH))
    answer = manager.get("/experiments", size=1, page=2, state="running")
    assert (len(answer.json()), answer.headers["x-total-count"]) == (1, "3")
    assert answer.links["next"]["url"] == "/api/v1/experiments?size=1&state=running&page=3"
    assert answer.links["prev"]["url"].endswith("state=running&page=1")
    assert "next" not in manager.get("/experiments", size=1, page=3).links


def test_an_experiment_shows_its_state_its_sites_and_its_gates(manager: Caller, code: str) -> None:
    board = manager.ok(manager.get(f"/experiments/{code}"))
    assert (board["state"], board["phase"], board["progress"]) == ("running", "preparation", 0.0)
    assert [site["code"] for site in board["sites"]] == ["CAEN", "METZ"]
    gates = manager.ok(manager.get(f"/experiments/{code}/gates"))
    assert gates == board["gates"]
    assert {"step", "site", "round", "status", "opened_at", "due_at", "waiting_for"} <= gates[0].keys()
    assert gates[0]["waiting_for"][0].keys() == {"what", "role", "since"}
    assert gates[0]["opened_at"] == "2026-03-02T09:00:00Z"


def test_the_journal_is_read_in_parts(manager: Caller, code: str) -> None:
    first = manager.get(f"/experiments/{code}/journal", limit=1)
    assert [fact["kind"] for fact in first.json()] == ["ExperimentLaunched"]
    rest = manager.client.get(first.links["next"]["url"]).json()
    assert [fact["kind"] for fact in rest] == ["StepOpened"]
    assert manager.ok(manager.get(f"/experiments/{code}/journal", kind="StepOpened", step="review")) == rest
    assert manager.ok(manager.get(f"/experiments/{code}/journal", after=2)) == []


def test_an_experiment_is_held_released_and_a_site_stopped(manager: Caller, code: str) -> None:
    assert manager.ok(manager.post(f"/experiments/{code}/hold", {"reason": "works"})) == {"code": code, "state": "on_hold"}
    assert manager.ok(manager.post(f"/experiments/{code}/release", {"reason": "done"}))["state"] == "running"
    assert manager.ok(manager.post(f"/experiments/{code}/stop", {"reason": "left", "site": "METZ"}))["state"] == "running"
    assert [site["state"] for site in manager.ok(manager.get(f"/experiments/{code}"))["sites"]] == ["active", "stopped"]


def test_the_deadlines_ahead_are_listed(manager: Caller, code: str) -> None:
    (deadline,) = manager.ok(manager.get("/deadlines"))
    assert (deadline["experiment"], deadline["step"], deadline["due_on"]) == (code, "review", "2026-03-12")
    assert manager.ok(manager.get("/deadlines", days=3)) == []


# ------------------------------------------------------------------ checkpoints


def test_the_inbox_is_ones_own_and_everything_open_is_ones_sight(manager: Caller, code: str) -> None:
    assert manager.ok(manager.get("/checkpoints")) == []
    mine = Caller(manager.doors, "methodologist")
    (item,) = mine.ok(mine.get("/checkpoints", state="open", mine="true"))
    assert (item["id"], item["needs"], item["late"]) == (f"{code}:review::1", "answers", False)
    (open_one,) = manager.ok(manager.get("/checkpoints", mine="false"))
    assert open_one.items() <= item.items()
    assert mine.ok(mine.get("/checkpoints", late="true")) == manager.ok(manager.get("/checkpoints", mine="false", late="true")) == []
    manager.doors.clock.advance(timedelta(days=20))  # type: ignore[attr-defined]
    assert mine.ok(mine.get("/checkpoints", late="true"))[0]["id"] == item["id"]
    assert manager.ok(manager.get("/checkpoints", mine="false", late="true", experiment=code))[0]["late"] is True
    assert manager.ok(manager.get("/checkpoints", mine="false", site="CAEN")) == []


def test_a_draft_is_kept_and_shown_with_its_checkpoint(manager: Caller, code: str) -> None:
    mine, name = manager.as_("methodologist"), f"{code}:review::1"
    assert mine.ok(mine.put(f"/checkpoints/{name}/draft", {"answers": {"comments": "so far"}}))["saved_at"].endswith("Z")
    shown = mine.ok(mine.get(f"/checkpoints/{name}"))
    assert {"step", "form", "draft", "earlier_rounds", "signatures"} <= shown.keys()
    assert [field["id"] for field in shown["form"]] == ["sound", "comments"]
    assert (shown["draft"]["answers"], shown["draft"]["origin"]) == ({"comments": "so far"}, "person")
    assert manager.ok(manager.get(f"/checkpoints/{name}"))["draft"] is None


def test_launch_complete_and_sign_by_token_alone(manager: Caller) -> None:
    let_sign(manager.doors, "ethics_officer", "second.officer")
    code = manager.ok(manager.post("/experiments", LAUNCH))["code"]
    method, ethics, second = (manager.as_(person) for person in ("methodologist", "ethics_officer", "second.officer"))
    done = method.ok(method.post(f"/checkpoints/{code}:review::1/complete", {"answers": {"sound": True}}))
    assert (done["status"], done["gate"]) == ("passed", "passed")
    name = f"{code}:ethics::1"
    answered = ethics.ok(ethics.post(f"/checkpoints/{name}/complete", {"answers": {"opinion": "yes"}}))
    assert (answered["status"], "gate" in answered) == ("open", False)
    assert answered["waiting_for"][0]["since"].endswith("Z")
    shown = ethics.ok(ethics.get(f"/checkpoints/{name}"))
    signing = {"meaning": shown["next_signature"]["meaning"], "shown": shown["answers_hash"], "password": PASSWORD}
    assert ethics.ok(ethics.post(f"/checkpoints/{name}/sign", signing))["status"] == "open"
    assert second.ok(second.post(f"/checkpoints/{name}/sign", {"password": PASSWORD}))["gate"] == "passed"
    signed = manager.ok(manager.get(f"/checkpoints/{name}"))["signatures"]
    assert [(one["by"], one["meaning"]) for one in signed] == [("ethics_officer", "I certify"), ("second.officer", "Seen")]


def test_nobody_signs_without_proving_who_they_are(manager: Caller, code: str) -> None:
    let_sign(manager.doors, "ethics_officer")
    manager.doors.ledger.complete(f"{code}:review::1", {"sound": True}, "methodologist")
    manager.doors.ledger.complete(f"{code}:ethics::1", {"opinion": "yes"}, "ethics_officer")
    ethics = manager.as_("ethics_officer")
    for body in ({}, {"password": "a guess"}):
        refused = ethics.post(f"/checkpoints/{code}:ethics::1/sign", body)
        assert (refused.status_code, refused.json()["type"]) == (403, "urn:insitu:problem:NotProven")
    assert ethics.ok(ethics.get(f"/checkpoints/{code}:ethics::1"))["signatures"] == []


def test_a_checkpoint_is_declined_and_asked_about_and_the_question_answered(manager: Caller, code: str) -> None:
    mine, path = manager.as_("methodologist"), f"/checkpoints/{code}:review::1"
    assert mine.ok(mine.post(f"{path}/decline", {"reason": "I wrote it"}))["id"] == f"{code}:review::1"
    number = mine.ok(mine.post(f"{path}/ask", {"text": "Which version?"}))["remark"]
    manager.ok(manager.post(f"{path}/remarks/{number}/answer", {"text": "The second."}))
    kinds = [fact["kind"] for fact in manager.ok(manager.get(f"/experiments/{code}/journal"))]
    assert kinds[-3:] == ["CheckpointDeclined", "QuestionAsked", "QuestionAnswered"]


def test_a_failed_action_is_tried_again_and_a_passed_gate_taken_back(manager: Caller, code: str) -> None:
    ledger, method = manager.doors.ledger, manager.as_("methodologist")
    method.ok(method.post(f"/checkpoints/{code}:review::1/complete", {"answers": {"sound": True}}))
    reopened = method.ok(method.post(f"/checkpoints/{code}:review::1/reopen", {"reason": "a page was missing"}))
    assert reopened["round"] == 1
    method.ok(method.post(f"/checkpoints/{code}:review::2/complete", {"answers": {"sound": True}}))
    ledger.complete(f"{code}:ethics::2", {"opinion": "yes"}, "ethics_officer")
    ledger.sign(f"{code}:ethics::2", "ethics_officer", prove=unasked)
    ledger.sign(f"{code}:ethics::2", "second.officer", prove=unasked)
    ledger.record_action(f"{code}:setup:CAEN:1", 0, error="no paper")
    assert manager.ok(manager.post(f"/checkpoints/{code}:setup:CAEN:1/retry"))["status"] == "working"


def test_signatures_are_listed_with_whether_they_count(manager: Caller, code: str) -> None:
    ledger = manager.doors.ledger
    ledger.complete(f"{code}:review::1", {"sound": True}, "methodologist")
    ledger.complete(f"{code}:ethics::1", {"opinion": "yes"}, "ethics_officer")
    ledger.sign(f"{code}:ethics::1", "ethics_officer", prove=unasked)
    ledger.complete(f"{code}:ethics::1", {"opinion": "again"}, "ethics_officer", change=True)
    (one,) = manager.ok(manager.get(f"/experiments/{code}/signatures"))
    assert (one["by"], one["meaning"], one["validity"]) == ("ethics_officer", "I certify", "void")


# ------------------------------------------------------------------ files


WITH_A_FILE = SMALL.replace(
    "- {id: comments, type: long_text", "- {id: paper, type: file, accept: [txt], max_mb: 0.001}\n        - {id: comments, type: long_text"
).replace("version: 1.0.0", "version: 1.2.0")


def test_a_file_is_stored_answered_with_and_downloaded(manager: Caller) -> None:
    releases.add(manager.doors.database, WITH_A_FILE, manager.doors.clock)
    code = manager.ok(manager.post("/experiments", LAUNCH))["code"]
    mine, where = manager.as_("methodologist"), f"/files?checkpoint={code}:review::1&field=paper"
    stored = mine.ok(mine.post(where, files={"file": ("été.txt", b"words", "text/plain")}))
    assert (stored["name"], stored["size"]) == ("été.txt", 5)
    mine.ok(mine.post(f"/checkpoints/{code}:review::1/complete", {"answers": {"sound": True, "paper": stored}}))
    (listed,) = manager.ok(manager.get(f"/experiments/{code}/documents"))
    assert (listed["hash"], listed["origin"], listed["name"]) == (stored["hash"], "attached", "été.txt")
    got = manager.get(f"/experiments/{code}/documents/{stored['hash']}")
    assert (got.content, got.headers["content-disposition"]) == (b"words", "attachment; filename*=UTF-8''%C3%A9t%C3%A9.txt")
    for files, status in (
        ({"file": ("a.txt", b"x" * 2000)}, 422),
        ({"file": ("a.txt", b"x" * 200_000)}, 413),
        ({"file": ("a.exe", b"MZ")}, 422),
        ({"other": ("a.txt", b"words")}, 415),
    ):
        assert mine.post(where, files=files).status_code == status, files
    assert mine.post(where, {"file": "words"}).status_code == 415
    assert mine.post(where.replace("paper", "sound"), files={"file": ("a.txt", b"x")}).status_code == 404
    nurse = manager.as_("ethics_officer")
    assert nurse.post(where, files={"file": ("a.txt", b"x")}).status_code == 403


def test_only_a_file_that_is_there_and_ones_own_is_an_answer(manager: Caller) -> None:
    releases.add(manager.doors.database, WITH_A_FILE.replace("accept: [txt]", "accept: [.TXT]"), manager.doors.clock)
    code = manager.ok(manager.post("/experiments", LAUNCH))["code"]
    mine, name = manager.as_("methodologist"), f"{code}:review::1"
    assert mine.ok(mine.get(f"/checkpoints/{name}"))["form"][1]["accept"] == ["txt"]
    theirs = manager.doors.ledger.store_file("secret.txt", "text/plain", b"a secret", "nurse.metz")
    for one in ({"hash": "0" * 64, "name": "a.txt"}, {"hash": theirs, "name": "secret.txt", "size": 8}):
        refused = mine.post(f"/checkpoints/{name}/complete", {"answers": {"sound": True, "paper": one}})
        assert (refused.status_code, [error["path"] for error in refused.json()["errors"]]) == (422, ["paper"])
        mine.ok(mine.put(f"/checkpoints/{name}/draft", {"answers": {"sound": True, "paper": one}}))
        assert mine.ok(mine.get(f"/checkpoints/{name}"))["draft"]["answers"] == {"sound": True}
        assert mine.client.get(f"/checkpoints/{name}/files/{one['hash']}").status_code in (303, 404)
    stored = mine.ok(mine.post(f"/files?checkpoint={name}&field=paper", files={"file": ("a.TXT", b"words", "text/plain")}))
    assert mine.ok(mine.post(f"/checkpoints/{name}/complete", {"answers": {"sound": True, "paper": stored}}))["gate"] == "passed"


# ------------------------------------------------------------------ protocols, sites, people, records


def test_protocols_are_released_listed_and_shown(manager: Caller) -> None:
    source = SMALL.replace("version: 1.0.0", "version: 1.1.0")
    answer = manager.post("/protocols", {"source": source})
    assert (answer.status_code, answer.headers["location"]) == (201, "/api/v1/protocols/small/1.1.0")
    assert [one["version"] for one in manager.ok(manager.get("/protocols"))] == ["1.0.0", "1.1.0"]
    assert manager.ok(manager.get("/protocols/small/1.1.0"))["content"]["version"] == "1.1.0"
    assert manager.post("/protocols", {"source": source}).json() == answer.json()
    changed = manager.post("/protocols", {"source": source.replace("days: 10", "days: 11")})
    assert changed.status_code == 409
    broken = manager.post("/protocols", {"source": source.replace("role: methodologist", "role: methodist")})
    assert broken.status_code == 422
    assert broken.json()["errors"][0].keys() == {"path", "line", "message"}


def test_whoever_asks_is_told_who_they_are(manager: Caller) -> None:
    me = manager.as_("nurse.caen")
    told = me.ok(me.get("/me"))
    assert (told["id"], told["method"], told["may_write"]) == ("nurse.caen", "token", True)
    assert told["roles"] == [{"role": "site_coordinator", "site": "CAEN", "experiment": None, "of": ""}]


def test_people_and_sites_are_those_one_works_with(manager: Caller, code: str) -> None:
    assert len(manager.ok(manager.get("/people"))) == 10
    assert manager.ok(manager.get("/people", q="caen"))[0]["email"] == "nurse.caen@example.org"
    nurse = manager.as_("nurse.caen")
    people = nurse.ok(nurse.get("/people", size=200))
    assert {"nurse.caen", "project_manager", "principal_investigator"} <= {one["id"] for one in people}
    assert {"nurse.metz", "nobody"} & {one["id"] for one in people} == set()
    assert not any("email" in one or "channels" in one for one in people)
    assert [site["code"] for site in nurse.ok(nurse.get("/sites"))] == ["CAEN"]
    sponsor = manager.as_("sponsor")
    assert [one["id"] for one in sponsor.ok(sponsor.get("/people"))] == ["sponsor"]
    assert [(one["code"], one["name"]) for one in sponsor.ok(sponsor.get("/sites"))] == [("CAEN", "CAEN"), ("METZ", "METZ")]


def test_a_delegation_and_a_training_are_recorded_signed_and_ended(manager: Caller, code: str) -> None:
    let_sign(manager.doors, "principal_investigator")
    doctor, proof = manager.as_("principal_investigator"), {"password": PASSWORD}
    task = {"person": "nurse.caen", "role": "site_coordinator", "site": "CAEN", "experiment": code, "from": "2026-03-02"}
    number = manager.ok(manager.post("/delegations", task))["id"]
    assert manager.ok(manager.get("/delegations", person="nurse.caen"))[0]["state"] == "unsigned"
    doctor.ok(doctor.post(f"/delegations/{number}/sign", proof))
    (found,) = doctor.ok(doctor.get("/delegations", site="CAEN"))
    assert doctor.ok(doctor.get(f"/delegations/{number}")) == found
    assert (found["state"], found["signed_by"], found["from"]) == ("in_force", "principal_investigator", "2026-03-02")
    doctor.ok(doctor.post(f"/delegations/{number}/end", {"on": "2026-03-02", "why": "she left"}))
    taught = {"person": "nurse.caen", "protocol": "small", "version": "1.0.0", "site": "CAEN", "on": "2026-03-01"}
    number = manager.ok(manager.post("/trainings", taught))["id"]
    doctor.ok(doctor.post(f"/trainings/{number}/sign", proof))
    assert manager.ok(manager.get("/trainings", protocol="small")) == [manager.ok(manager.get(f"/trainings/{number}"))]
    assert manager.ok(manager.get(f"/trainings/{number}"))["state"] == "in_force"
    doctor.ok(doctor.post(f"/trainings/{number}/end", {"on": "2026-03-02", "why": "a new version"}))
    assert manager.ok(manager.get("/trainings"))[0]["state"] == "over"


# ------------------------------------------------------------------ whoever watches


def test_health_is_open_and_says_whether_the_ledger_answers(doors: Doors) -> None:
    anyone = Caller(doors)
    assert anyone.ok(anyone.get("/health"))["status"] == "ok"


def test_health_says_when_the_ledger_does_not_answer(clock: SetClock) -> None:
    nowhere = Database("postgresql+psycopg://127.0.0.1:1/nothing")
    answer = Caller(doors_on(nowhere, clock)).get("/health")
    assert (answer.status_code, answer.json()["status"]) == (503, "unavailable")


def test_metrics_count_and_name_nobody(manager: Caller, code: str) -> None:
    manager.doors.clock.advance(timedelta(days=20))  # type: ignore[attr-defined]
    text = manager.get("/metrics").text
    for line in (
        'insitu_experiments{state="running"} 1',
        'insitu_gates_open{awaits="answers"} 1',
        "insitu_gates_late 1",
        "insitu_outbox_owed 1",
        'insitu_requests_total{status="2xx"} 0',
    ):
        assert line.rpartition(" ")[0] in text, line
    assert code not in text
    assert "CAEN" not in text


# ------------------------------------------------------------------ the command line gives the same


def test_the_command_line_prints_what_the_api_returns(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INSITU_LOCALE", "fr")  # as the people of the example read
    code, database = terminal.launch(), Database(f"sqlite:///{terminal.data / 'insitu.db'}")
    caller = Caller(doors_on(database, SystemClock()), "b.petit")  # type: ignore[arg-type]
    asked = caller.as_("m.leroy")
    name, version = f"{code}:protocol_review::1", terminal.json("protocol", "show", "telerehab-hip")["version"]
    same = [
        (("status", code), f"/experiments/{code}", caller),
        (("inbox", "--as", "m.leroy"), "/checkpoints", asked),
        (("checkpoint", "show", name, "--as", "m.leroy"), f"/checkpoints/{name}", asked),
        (("site", "list"), "/sites", caller),
        (("person", "list"), "/people", caller),
        (("protocol", "list"), "/protocols", caller),
        (("protocol", "show", "telerehab-hip"), f"/protocols/telerehab-hip/{version}", caller),
        (("notices",), "/notices", caller),
    ]
    for words, path, who in same:
        assert terminal.json(*words) == who.ok(who.get(path)), words
    facts = [fact.pop("withheld") or fact for fact in caller.ok(caller.get(f"/experiments/{code}/journal"))]
    assert terminal.json("journal", code) == facts
    answers = {"synopsis_version": "1", "sample_size_justified": False}
    printed = terminal.complete(name, "m.leroy", answers, "--command-id", "x")
    returned = asked.ok(asked.post(f"/checkpoints/{name}/complete", {"answers": answers}))
    times = [one["waiting_for"][0].pop("since")[-1:] for one in (printed, returned)]
    assert (printed, times) == (returned, ["Z", "Z"])
    (listed,), (printed,) = caller.ok(caller.get("/experiments")), terminal.json("status")
    assert {"code", "title", "protocol", "version", "state", "phase", "progress", "open", "next_due_at"} <= listed.keys() & printed.keys()
    database.dispose()
