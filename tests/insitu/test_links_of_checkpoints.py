"""One-time links: one form, one completion, one person; never a signature, never anything else."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select
from visit import Visit, doors_on
from ward import launched, reviewed, send, text_of

from insitu.entrance.doors import Doors
from sites import inbox
from sites.checkpoint_links import send_link
from sites.clock import SetClock
from sites.database import Database, table
from sites.identity.access import entries
from sites.identity.links import path_of
from sites.policy import EVERYTHING
from sites.tables import Letter

PDF = b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj\n<<>>\nendobj\n%%EOF\n"


@pytest.fixture
def doors(sqlite_database: Database, clock: SetClock, registry_on_sqlite: None) -> Doors:
    return doors_on(sqlite_database, clock)


def letters(doors: Doors) -> list[dict[str, Any]]:
    with doors.database.read() as connection:
        return [dict(row) for row in connection.execute(select(table(Letter)).order_by(table(Letter).c.id)).mappings()]


def sent(doors: Doors, checkpoint: str, person: str = "nurse.caen") -> str:
    """The address of a link as the letter will carry it."""
    send_link(doors.database, doors.clock, checkpoint, person, by="project_manager")
    return path_of(doors.key, "checkpoint", letters(doors)[-1]["link"])


def at_visit(doors: Doors) -> str:
    return f"{reviewed(doors)}:visit:CAEN:1"


def post(visit: Visit, path: str, values: dict[str, str], **options: Any) -> Any:
    return visit.post(
        path, {f"f-{name}" if name not in ("act", "files") else name: value for name, value in values.items()}, of=path, **options
    )


def refusals(doors: Doors) -> list[str]:
    return [one["data"].get("why", "") for one in entries(doors.database, kind="RequestRefused")]


def test_a_manager_sends_a_link_by_which_a_nurse_completes_without_a_session(doors: Doors) -> None:
    checkpoint, manager = at_visit(doors), Visit(doors).sign_in("project_manager")
    assert send(manager, checkpoint, "link", {"person": "nurse.caen"}).status_code == 303
    (letter,) = letters(doors)
    assert (letter["kind"], letter["person"]) == ("checkpoint_link", "nurse.caen")
    path = path_of(doors.key, "checkpoint", letter["link"])
    visit = Visit(doors)
    page = visit.get(path)
    assert page.status_code == 200
    assert "Weight" in page.text
    answer = post(visit, path, {"weight": "72,5"})
    assert answer.status_code == 200
    assert "Your answers are recorded." in text_of(answer.text)
    fact = next(
        one
        for one in inbox.journal(doors.database, checkpoint.partition(":")[0], EVERYTHING)
        if one["kind"] == "CheckpointCompleted" and one["site"]
    )
    assert (fact["by"], fact["data"]["via"], fact["data"]["answers"]) == ("nurse.caen", "link", {"weight": 72.5})


def test_a_link_works_once(doors: Doors) -> None:
    checkpoint = at_visit(doors)
    path, visit = sent(doors, checkpoint), Visit(doors)
    token = visit.token(path)
    visit.client.post(path, data={"csrf": token, "f-weight": "70"})
    again = visit.client.post(path, data={"csrf": token, "f-weight": "80"})
    assert again.status_code == 410
    assert visit.get(path).status_code == 410
    assert inbox.checkpoint(doors.database, checkpoint, doors.clock.now(), access=EVERYTHING)["answers"] == {"weight": 70}
    assert refusals(doors) == ["used", "used"]


def test_a_forged_expired_or_revoked_link_is_refused_and_journaled(doors: Doors, clock: SetClock) -> None:
    checkpoint, visit = at_visit(doors), Visit(doors)
    first = sent(doors, checkpoint)
    second = sent(doors, checkpoint)
    assert visit.get(first).status_code == 410  # a new link takes the earlier one back
    assert visit.get("/l/forged").status_code == 410
    clock.advance(timedelta(hours=73))
    answer = visit.get(second)
    assert answer.status_code == 410
    assert "works once, within three days" in text_of(answer.text)
    assert sorted(refusals(doors)) == ["expired", "forged", "revoked"]


def test_a_link_is_taken_back_on_the_checkpoints_page(doors: Doors) -> None:
    checkpoint, manager = at_visit(doors), Visit(doors).sign_in("project_manager")
    path = sent(doors, checkpoint)
    nonce = re.search(r'name="link" value="([^"]+)"', manager.get(f"/checkpoints/{checkpoint}").text)
    assert nonce
    send(manager, checkpoint, "link/revoke", {"link": nonce[1]})
    assert Visit(doors).get(path).status_code == 410


def test_a_link_shows_nothing_that_was_typed_before(doors: Doors) -> None:
    code = launched(doors)
    checkpoint = f"{code}:review::1"
    doors.ledger.save_draft(checkpoint, "methodologist", {"sound": False, "why": "typed in secret"})
    doors.ledger.ask(checkpoint, "methodologist", "a question asked")
    page = text_of(Visit(doors).get(sent(doors, checkpoint, "methodologist")).text)
    for said in ("typed in secret", "a question asked", "methodologist", "Sign out"):
        assert said not in page


def test_refused_answers_and_files_come_back_on_the_links_page(doors: Doors) -> None:
    checkpoint = f"{launched(doors)}:review::1"
    path, visit = sent(doors, checkpoint, "methodologist"), Visit(doors)
    answer = post(visit, path, {"sound": "false"}, files={"f-letter": ("letter.pdf", PDF, "application/pdf")})
    assert answer.status_code == 422
    assert 'href="#f-why"' in answer.text
    keep = re.search(r'name="f-letter.keep" value="([^"]+)"', answer.text)
    files = re.search(r'name="files" value="([^"]+)"', answer.text)
    assert keep
    assert files
    values = {"sound": "false", "why": "a page is missing", "letter.keep": keep[1], "files": files[1]}
    assert post(visit, path, values).status_code == 200
    answers = inbox.checkpoint(doors.database, checkpoint, doors.clock.now(), access=EVERYTHING)["answers"]
    assert (answers["why"], answers["letter"]["name"]) == ("a page is missing", "letter.pdf")


def test_a_link_never_signs_and_opens_no_other_page(doors: Doors) -> None:
    checkpoint = at_visit(doors)
    path, visit = sent(doors, checkpoint), Visit(doors)
    post(visit, path, {"weight": "70"})
    assert inbox.checkpoint(doors.database, checkpoint, doors.clock.now(), access=EVERYTHING)["signatures"] == []
    for address in ("/today", f"/checkpoints/{checkpoint}"):
        assert visit.get(address).status_code == 303
    token = visit.token("/accessibility")
    assert visit.client.post(f"/checkpoints/{checkpoint}/sign", data={"csrf": token}).status_code == 401


def test_a_link_to_what_was_completed_meanwhile_says_so(doors: Doors) -> None:
    checkpoint = at_visit(doors)
    path = sent(doors, checkpoint)
    doors.ledger.complete(checkpoint, {"weight": 71}, "site_coordinator")
    answer = Visit(doors).get(path)
    assert answer.status_code == 409
    assert "completed meanwhile" in answer.text
    assert "71" not in text_of(answer.text.partition("<main")[2].partition("</main>")[0])


def test_one_sends_a_link_to_oneself_and_only_a_manager_to_others(doors: Doors) -> None:
    checkpoint, nurse = at_visit(doors), Visit(doors).sign_in("nurse.caen")
    assert send(nurse, checkpoint, "link", {"person": "nurse.caen"}).status_code == 303
    assert send(nurse, checkpoint, "link", {"person": "site_coordinator"}).status_code == 403
    manager = Visit(doors).sign_in("project_manager")
    assert send(manager, checkpoint, "link", {"person": "nurse.metz"}).status_code == 403
    assert [letter["person"] for letter in letters(doors)] == ["nurse.caen"]


def test_a_form_of_a_link_from_elsewhere_is_refused(doors: Doors) -> None:
    checkpoint = at_visit(doors)
    path = sent(doors, checkpoint)
    assert Visit(doors).client.post(path, data={"f-weight": "70"}).status_code == 403
    assert inbox.checkpoint(doors.database, checkpoint, doors.clock.now(), access=EVERYTHING)["answers"] is None
