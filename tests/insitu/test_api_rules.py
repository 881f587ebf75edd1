"""Who may call the API, what a repeat does, and what bad input gets."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from caller import Caller, kind_of
from fastapi.testclient import TestClient
from small import SMALL
from sqlalchemy import text
from town import settle
from two_sites import FOREIGN, HOME, TwoSites
from two_sites import PASSWORD as PASSWORD_OF_HOUSE
from two_sites import settle as settle_two_sites
from visit import Visit, doors_on

from insitu.entrance.doors import Doors
from insitu.entrance.guard import HEADER
from sites import commands, releases
from sites.clock import SetClock
from sites.database import Database
from sites.identity.access import entries
from sites.identity.accounts import create_account
from sites.identity.tokens import revoke_token, tokens_of

LAUNCH: dict[str, Any] = {"protocol": "small", "sites": ["CAEN", "METZ"], "launch": {"target": 10}}
MONDAY = datetime(2026, 3, 2, 9, tzinfo=UTC)
PASSWORD = "the words that only I know"


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


def kinds(doors: Doors) -> list[str]:
    return [one["kind"] for one in entries(doors.database)]


# ------------------------------------------------------------------ tokens


def test_nobody_is_let_in_without_a_token_or_a_session(doors: Doors) -> None:
    answer = Caller(doors).get("/experiments")
    assert kind_of(answer) == (401, "NotSignedIn")
    assert answer.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize("token", ["insitu_forged", "x" * 5000, "é", "a b", "Basic eDp5"])
def test_a_forged_token_is_refused_and_journaled(doors: Doors, token: str) -> None:
    caller = Caller(doors)
    assert kind_of(caller.client.get("/api/v1/me", headers=[(b"authorization", f"Bearer {token}".encode())])) == (401, "UnknownToken")
    assert kinds(doors) == ["RequestRefused"]


def test_whoever_guesses_tokens_is_soon_not_listened_to(manager: Caller) -> None:
    guess = {"authorization": "Bearer insitu_guess"}
    answers = [manager.client.get("/api/v1/me", headers=guess) for _ in range(52)]
    assert {kind_of(one) for one in answers[:50]} == {(401, "UnknownToken")}
    assert kind_of(answers[-1]) == (429, "TooOften")
    assert answers[-1].headers["retry-after"] == "600"
    assert kinds(manager.doors).count("RequestRefused") == 50
    assert manager.get("/me").status_code == 200


def test_a_token_ends_and_can_be_revoked(manager: Caller) -> None:
    assert manager.get("/me").status_code == 200
    (token,) = tokens_of(manager.doors.database, "project_manager", manager.doors.clock.now())
    other = Caller(manager.doors, "project_manager")
    revoke_token(manager.doors.database, manager.doors.clock, "project_manager", token["id"], by="project_manager")
    assert kind_of(manager.get("/me")) == (401, "UnknownToken")
    manager.doors.clock.advance(timedelta(days=30))  # type: ignore[attr-defined]
    assert kind_of(other.get("/me")) == (401, "UnknownToken")


def test_a_token_to_read_writes_nothing(manager: Caller, code: str) -> None:
    reading = Caller(manager.doors, "project_manager", scope="read")
    assert reading.get(f"/experiments/{code}").status_code == 200
    assert kind_of(reading.post(f"/experiments/{code}/hold", {"reason": "x"})) == (403, "ReadOnlyToken")
    assert kind_of(reading.post("/nowhere", {})) == (404, "UnknownThing")
    assert "RequestRefused" in kinds(manager.doors)
    assert manager.ok(manager.get(f"/experiments/{code}"))["state"] == "running"


def test_a_token_opens_no_page(manager: Caller) -> None:
    assert manager.client.get("/library").status_code == 303


# ------------------------------------------------------------------ sessions


def test_a_session_reads_but_writes_only_from_a_page_of_ours(doors: Doors, code: str) -> None:
    visit = Visit(doors).sign_in("project_manager")
    assert visit.get(f"/api/v1/experiments/{code}").status_code == 200
    path, body = f"/api/v1/experiments/{code}/hold", {"reason": "x"}
    own = {HEADER: visit.token("/accessibility")}
    foreign = {"origin": "http://evil.test"}, {"sec-fetch-site": "cross-site"}
    for headers in ({}, {HEADER: "forged"}, *(own | one for one in foreign), {"authorization": "Basic eDp5"}, {"authorization": "Bearer "}):
        assert kind_of(visit.client.post(path, json=body, headers=headers)) == (403, "NotOurForm"), headers
    assert visit.client.post(path, json=body, headers=own | {"origin": "http://insitu.test"}).json()["state"] == "on_hold"


def test_a_form_that_pretends_to_be_json_is_not_read(doors: Doors, code: str) -> None:
    visit = Visit(doors).sign_in("project_manager")
    answer = visit.client.post(f"/api/v1/experiments/{code}/hold", content='{"reason": "x"}', headers={"content-type": "text/plain"})
    assert answer.status_code == 403


# ------------------------------------------------------------------ the same twice


def test_a_key_gives_the_first_result_again(manager: Caller) -> None:
    first, again = (manager.post("/experiments", LAUNCH, key="k1") for _ in range(2))
    assert (first.json(), "idempotency-replayed" in first.headers) == (again.json(), False)
    assert (again.status_code, again.headers["idempotency-replayed"]) == (201, "true")
    assert manager.get("/experiments").headers["x-total-count"] == "1"


def test_a_key_used_for_something_else_is_refused(manager: Caller, code: str) -> None:
    manager.ok(manager.post(f"/experiments/{code}/hold", {"reason": "a"}, key="k1"))
    assert kind_of(manager.post(f"/experiments/{code}/hold", {"reason": "b"}, key="k1")) == (409, "CommandReused")
    assert kind_of(manager.post(f"/experiments/{code}/release", {"reason": "a"}, key="k1")) == (409, "CommandReused")
    assert kind_of(manager.post("/protocols", {"source": SMALL}, key="k1")) == (409, "CommandReused")


def test_the_same_key_of_two_people_is_two_keys(manager: Caller, code: str) -> None:
    manager.ok(manager.post(f"/experiments/{code}/hold", {"reason": "a"}, key="k1"))
    manager.ok(manager.post(f"/experiments/{code}/release", {"reason": "a"}, key="k2"))
    done = manager.as_("methodologist").post(f"/checkpoints/{code}:review::1/complete", {"answers": {"sound": True}}, key="k1")
    assert (done.status_code, "idempotency-replayed" in done.headers) == (200, False)


def test_a_refused_write_may_be_sent_again_under_its_key(manager: Caller, code: str) -> None:
    mine, path = manager.as_("methodologist"), f"/checkpoints/{code}:review::1/complete"
    assert mine.post(path, {"answers": {}}, key="k1").status_code == 422
    assert mine.ok(mine.post(path, {"answers": {"sound": True}}, key="k1"))["gate"] == "passed"


def test_a_signature_is_repeated_without_a_second_proof(manager: Caller, code: str) -> None:
    with manager.doors.database.write() as connection:
        create_account(connection, "ethics_officer", PASSWORD, manager.doors.clock.now(), by="")
    manager.doors.ledger.complete(f"{code}:review::1", {"sound": True}, "methodologist")
    manager.doors.ledger.complete(f"{code}:ethics::1", {"opinion": "yes"}, "ethics_officer")
    ethics, path = manager.as_("ethics_officer"), f"/checkpoints/{code}:ethics::1/sign"
    first = ethics.post(path, {"password": PASSWORD}, key="k1")
    again = ethics.post(path, {}, key="k1")
    assert (again.status_code, again.json()) == (200, first.json())
    assert len(ethics.ok(ethics.get(f"/checkpoints/{code}:ethics::1"))["signatures"]) == 1
    assert ethics.post(path, {"meaning": "other"}, key="k1").status_code == 409


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/checkpoints/{code}:review::1/ask", {"text": "Why?"}),
        ("/checkpoints/{code}:review::1/decline", {"reason": "Not mine"}),
    ],
)
def test_a_remark_is_made_once_for_a_key(manager: Caller, code: str, path: str, body: dict[str, str]) -> None:
    mine = manager.as_("methodologist")
    first, again = (mine.post(path.format(code=code), body, key="k1") for _ in range(2))
    assert (first.json(), again.headers["idempotency-replayed"]) == (again.json(), "true")
    assert len(manager.ok(manager.get(f"/experiments/{code}/journal"))) == 3


def test_a_write_that_was_cut_off_is_not_done_twice(manager: Caller, code: str) -> None:
    mine, path, body = manager.as_("methodologist"), f"/checkpoints/{code}:review::1/ask", {"text": "Why?"}
    mine.ok(mine.post(path, body, key="k1"))
    with manager.doors.database.write() as connection:
        connection.execute(text("UPDATE command SET result = '{}'"))
    assert kind_of(mine.post(path, body, key="k1")) == (409, "IllegalTransition")
    assert commands.is_known(manager.doors.database, "unheard of") is False


@pytest.mark.parametrize("key", ["", " ", "é", "x" * 256, "a b", "\x01"])
def test_a_key_is_plain_text(manager: Caller, key: str) -> None:
    answer = manager.client.post("/api/v1/experiments", json=LAUNCH, headers=[(b"idempotency-key", key.encode())])
    assert answer.status_code == 422, key


# ------------------------------------------------------------------ what is not one's own


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TwoSites]:
    database = Database(f"sqlite:///{tmp_path_factory.mktemp('api-two') / 'insitu.db'}")
    database.migrate()
    yield settle_two_sites(doors_on(database, SetClock(MONDAY)))
    database.dispose()


def same_refusal(caller: Caller, real: str, invented: str) -> None:
    """What is there and not seen answers as what is not there, to the letter but for the name."""
    there, nowhere = caller.get(real), caller.get(invented)
    assert kind_of(there) == kind_of(nowhere) == (404, "UnknownThing")
    names = [path.split("/")[2] for path in (real, invented)]
    assert there.text.replace(names[0], "") == nowhere.text.replace(names[1], "")


def test_a_foreign_experiment_is_as_unknown_as_an_invented_one(house: TwoSites) -> None:
    nurse = Caller(house.doors, "nurse")
    for part in ("", "/gates", "/journal", "/documents", "/signatures", f"/documents/{house.paper}"):
        same_refusal(nurse, f"/experiments/{house.foreign}{part}", f"/experiments/TWO-SITES-9{part}")
    for act in ("hold", "release", "stop"):
        for name in (house.foreign, "TWO-SITES-9"):
            assert kind_of(nurse.post(f"/experiments/{name}/{act}", {"reason": "x"})) == (404, "UnknownThing")
    assert kind_of(nurse.get("/notices", experiment=house.foreign)) == (404, "UnknownThing")


def test_a_foreign_sites_checkpoint_is_as_unknown_as_an_invented_one(house: TwoSites) -> None:
    nurse, real, invented = Caller(house.doors, "nurse"), f"{house.shared}:setup:{FOREIGN}:1", f"{house.shared}:setup:NOWHERE:1"
    same_refusal(nurse, f"/checkpoints/{real}", f"/checkpoints/{invented}")
    writes: dict[str, Any] = {
        "complete": {"answers": {}},
        "sign": {},
        "decline": {"reason": "x"},
        "ask": {"text": "x"},
        "reopen": {"reason": "x"},
        "remarks/1/answer": {"text": "x"},
    }
    for act, body in writes.items():
        answers = [nurse.post(f"/checkpoints/{name}/{act}", body) for name in (real, invented)]
        assert [kind_of(one) for one in answers] == [(404, "UnknownThing")] * 2, act
    assert kind_of(nurse.put(f"/checkpoints/{real}/draft", {"answers": {}})) == (404, "UnknownThing")
    assert kind_of(nurse.post(f"/files?checkpoint={real}&field=paper", files={"file": ("a.txt", b"a")})) == (404, "UnknownThing")


def test_counts_and_totals_hold_nothing_foreign(house: TwoSites) -> None:
    nurse, boss = Caller(house.doors, "nurse"), Caller(house.doors, "boss")
    assert (nurse.get("/experiments").headers["x-total-count"], boss.get("/experiments").headers["x-total-count"]) == ("1", "2")
    assert nurse.get("/experiments", site=FOREIGN).headers["x-total-count"] == "0"
    assert nurse.get("/sites").headers["x-total-count"] == "1"
    assert nurse.get("/checkpoints", mine="false").headers["x-total-count"] == "1"
    assert nurse.get("/people", site=FOREIGN).headers["x-total-count"] == "0"
    (seen,) = nurse.ok(nurse.get("/experiments"))
    assert (seen["active"], seen["open"]) == (1, 1)
    told = json.dumps([nurse.ok(nurse.get(path)) for path in ("/experiments", "/people", "/deadlines", f"/experiments/{house.shared}")])
    assert FOREIGN not in told
    assert "zz" not in told.lower()
    assert HOME in told


def test_facts_are_numbered_among_those_one_sees(house: TwoSites) -> None:
    nurse = Caller(house.doors, "nurse")
    facts = nurse.ok(nurse.get(f"/experiments/{house.shared}/journal"))
    assert [fact["seq"] for fact in facts] == list(range(1, len(facts) + 1))
    assert {fact["site"] for fact in facts} <= {"", HOME}


def test_a_foreign_record_is_as_unknown_as_an_invented_one(house: TwoSites) -> None:
    boss, nurse = Caller(house.doors, "boss"), Caller(house.doors, "nurse")
    task = {"person": "zz.nurse", "role": "site_coordinator", "site": FOREIGN, "experiment": house.foreign, "from": "2026-03-02"}
    taught = {"person": "zz.nurse", "protocol": "two-sites", "version": "1.0.0", "site": FOREIGN, "on": "2026-03-02"}
    for path, record in (("/delegations", task), ("/trainings", taught)):
        number = boss.ok(boss.post(path, record))["id"]
        assert number not in [one["id"] for one in nurse.ok(nurse.get(path))]
        same_refusal(nurse, f"{path}/{number}", f"{path}/9999")
        for act, body in (("sign", {"meaning": "x", "password": PASSWORD_OF_HOUSE}), ("end", {"on": "2026-03-03", "why": "x"})):
            there, nowhere = (nurse.post(f"{path}/{one}/{act}", body) for one in (number, 9999))
            assert kind_of(there) == kind_of(nowhere), (path, act)
            assert there.text.replace(str(number), "") == nowhere.text.replace("9999", ""), (path, act)
        assert kind_of(nurse.post(path, record))[0] in (403, 404)


def test_a_sponsor_reads_no_name_and_no_other_candidate(house: TwoSites) -> None:
    sponsor = Caller(house.doors, "sponsor")
    assert [one["id"] for one in sponsor.ok(sponsor.get("/people"))] == ["sponsor"]
    assert [one["code"] for one in sponsor.ok(sponsor.get("/experiments"))] == [house.shared]
    facts = sponsor.ok(sponsor.get(f"/experiments/{house.shared}/journal"))
    assert {fact["by"] for fact in facts} == {""}
    nobody = Caller(house.doors, "nobody")
    assert nobody.ok(nobody.get("/protocols")) == nobody.ok(nobody.get("/sites")) == []
    assert kind_of(nobody.get("/protocols/two-sites/1.0.0")) == (404, "UnknownThing")


def test_figures_are_for_managers_of_everything(house: TwoSites) -> None:
    assert kind_of(Caller(house.doors).get("/metrics")) == (401, "NotSignedIn")
    assert kind_of(Caller(house.doors, "one.manager").get("/metrics")) == (403, "NotAssigned")
    assert kind_of(Caller(house.doors, "one.manager").post("/experiments", LAUNCH)) == (403, "NotAssigned")
    assert Caller(house.doors, "boss").get("/metrics").status_code == 200


@pytest.mark.parametrize(("headers", "status"), [({}, 200), ({"x-forwarded-for": "10.0.0.1"}, 401), ({"authorization": "Bearer x"}, 401)])
def test_figures_are_for_programs_on_this_machine_too(doors: Doors, headers: dict[str, str], status: int) -> None:
    here = TestClient(Caller(doors).app, client=("127.0.0.1", 5000))
    assert here.get("/api/v1/metrics", headers=headers).status_code == status


# ------------------------------------------------------------------ bad input


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Caller]:
    """A manager's program where SMALL-1 runs; for requests that change nothing."""
    database, clock = Database(f"sqlite:///{tmp_path_factory.mktemp('api-bad') / 'insitu.db'}"), SetClock(MONDAY)
    database.migrate()
    settle(database)
    releases.add(database, SMALL, clock)
    caller = Caller(doors_on(database, clock), "project_manager")
    caller.ok(caller.post("/experiments", LAUNCH))
    yield caller
    database.dispose()


HOLD = "/api/v1/experiments/SMALL-1/hold"
BAD_BODIES: list[tuple[bytes, int]] = [
    (b"", 422),
    (b"null", 422),
    (b"[]", 422),
    (b"{", 400),
    (b'{"reason": NaN}', 400),
    (b'{"reason": "\\ud800"}', 400),
    (b'{"reason": "a\\u0000b"}', 422),
    (b'{"reason": "\xff"}', 400),
    (b"[" * 5000 + b"]" * 5000, 400),
    (b'{"reason":' + b"[" * 100 + b"]" * 100 + b"}", 400),
    (b'{"reason": 1' + b"0" * 400 + b"}", 400),
    (b'{"reason": 12345678901234567890123}', 422),
    (b'{"reason": "x", "more": 1}', 422),
    (b'{"reason": "x", "\\u0000": 1}', 422),
    (b'{"reason": "  "}', 422),
    (b'{"reason": "x",\n"reason": "y"}', 400),
    (b'{"reason": "x", "more": [{"a": 1, "\\u0061": 2}]}', 400),
    (b"[" * 100_000, 400),
    (b'{"reason": true}', 422),
    (b'{"reason": "' + b"x" * (1024 * 1024) + b'"}', 413),
]


@pytest.mark.parametrize(("body", "status"), BAD_BODIES, ids=lambda value: repr(value)[:30])
def test_a_bad_body_is_refused_with_its_reason(running: Caller, body: bytes, status: int) -> None:
    answer = running.client.post(HOLD, content=body, headers={"content-type": "application/json"})
    assert kind_of(answer)[0] == status
    assert running.ok(running.get("/experiments/SMALL-1"))["state"] == "running"


def test_a_key_given_twice_is_named_with_its_lines(running: Caller) -> None:
    body = b'{"reason": "x",\n"reason": "y"}'
    said = running.client.post(HOLD, content=body, headers={"content-type": "application/json"}).json()["detail"]
    assert "the key reason is given twice in one object, on line 2 and first on line 1" in said


def test_a_refused_value_shows_no_pattern(running: Caller) -> None:
    said = running.client.post(HOLD, json={"reason": "  "}).json()
    assert [one["message"] for one in said["errors"]] == ["this should hold more than blanks"]


def test_a_body_without_an_end_is_not_read_to_it(running: Caller) -> None:
    read = 0

    def endless() -> Iterator[bytes]:
        nonlocal read
        while read < 3000:
            read += 1
            yield b" " * 1024

    answer = running.client.post(HOLD, content=endless(), headers={"content-type": "application/json"})
    assert answer.status_code == 413


@pytest.mark.parametrize("media_type", ["", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "json", "x/y+json"])
def test_only_json_is_read_as_json(running: Caller, media_type: str) -> None:
    answer = running.client.post(HOLD, content=b'{"reason":"x"}', headers={"content-type": media_type})
    assert kind_of(answer) == (415, "UnsupportedMediaType")


@pytest.mark.parametrize(
    "path",
    [
        "/experiments?sitte=CAEN",
        "/experiments?page=0",
        "/experiments?page=1e9",
        "/experiments?size=201",
        "/experiments?state=open",
        "/experiments?page=" + "9" * 5000,
        "/checkpoints?late=perhaps",
        "/checkpoints?state=closed",
        "/notices?before=0",
        "/notices?before=2147483648",  # an integer of PostgreSQL ends below
        "/deadlines?days=-1",
    ],
)
def test_a_bad_parameter_is_refused_by_name(running: Caller, path: str) -> None:
    answer = running.get(path)
    assert kind_of(answer) == (422, "InvalidInput")
    assert answer.json()["errors"][0]["path"] == path.partition("?")[2].partition("=")[0]


@pytest.mark.parametrize(
    "name", ["%00", "SMALL-1%00", "%F0%9F%98%80", "%ED%A0%80", "a" * 300, "%2e%2e", "SMALL-1:review::99", "::::", "x:y"]
)
def test_a_strange_name_is_unknown(running: Caller, name: str) -> None:
    for path in (f"/experiments/{name}", f"/checkpoints/{name}", f"/protocols/{name}/1.0.0"):
        assert running.get(path).status_code in (404, 422), path


def test_strange_text_is_kept_exactly(manager: Caller) -> None:
    title = "<script>alert(1)</script> \u202eعنوان\u202c 🩺 =1+1 ../../etc"
    code = manager.ok(manager.post("/experiments", LAUNCH | {"title": title}))["code"]
    assert manager.ok(manager.get(f"/experiments/{code}"))["title"] == title


def test_refusals_are_in_the_callers_language(doors: Doors) -> None:
    french = Caller(doors, locale="fr")
    assert french.get("/me").json()["title"] == "Connectez-vous d’abord"
    bad = french.as_("project_manager").client.post("/api/v1/experiments", json={}, headers={"accept-language": "fr"})
    assert [one["message"] for one in bad.json()["errors"]] == ["this is required", "this is required"]  # their own language is English


def test_answers_are_refused_field_by_field(manager: Caller, code: str) -> None:
    answer = manager.as_("methodologist").post(f"/checkpoints/{code}:review::1/complete", {"answers": {"sound": "perhaps", "more": 1}})
    assert kind_of(answer) == (422, "InvalidAnswers")
    assert {one["path"] for one in answer.json()["errors"]} == {"sound", "more"}


def test_who_was_first_and_what_is_over_are_conflicts(manager: Caller, code: str) -> None:
    mine, path = manager.as_("methodologist"), f"/checkpoints/{code}:review::1/complete"
    mine.ok(mine.post(path, {"answers": {"sound": True}}))
    assert kind_of(mine.post(path, {"answers": {"sound": True}})) == (409, "CheckpointAlreadyCompleted")
    assert kind_of(manager.post(f"/checkpoints/{code}:review::1/retry")) == (409, "IllegalTransition")
    assert kind_of(manager.as_("second.officer").post(path, {"answers": {"sound": True}})) == (403, "NotAssigned")
