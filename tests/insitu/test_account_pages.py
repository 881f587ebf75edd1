"""One's own account: what changes it asks for proof, and what is shown once is shown once."""

from __future__ import annotations

import json
import re
from datetime import timedelta

import pyotp
import pytest
from visit import Visit, doors_on

from insitu.entrance.doors import Doors
from insitu.web.account import browser_of
from insitu.web.second_factor import drawn
from sites.clock import SetClock
from sites.database import Database
from sites.identity import accounts, proofs
from sites.identity.access import entries
from sites.identity.sessions import sessions_of
from sites.identity.tokens import read_token, tokens_of

GOOD, BETTER = "the tram stops at seven", "quite another sentence"
NURSE, MANAGER = "nurse.caen", "project_manager"


@pytest.fixture
def doors(sqlite_database: Database, clock: SetClock, registry_on_sqlite: None) -> Doors:
    """Doors where the nurse of Caen has an account."""
    with sqlite_database.write() as connection:
        accounts.create_account(connection, NURSE, GOOD, clock.now(), by=MANAGER)
    return doors_on(sqlite_database, clock)


@pytest.fixture
def visit(doors: Doors) -> Visit:
    return Visit(doors).sign_in(NURSE)


def wait(visit: Visit, time: timedelta) -> None:
    visit.doors.clock.advance(time)  # type: ignore[attr-defined]


def set_factor(visit: Visit) -> tuple[pyotp.TOTP, list[str]]:
    """Set a second factor as a person does, by the page; the authenticator and the recovery codes."""
    path = "/account/second-factor"
    page = visit.get(path).text
    sealed = re.search(r'name="sealed" value="([^"]+)"', page)
    shown = re.search(r"<code>([A-Z2-7 ]+)</code>", page)
    assert sealed
    assert shown
    totp = pyotp.TOTP(shown[1].replace(" ", ""))
    answer = visit.post(path, {"sealed": sealed[1], "new_code": totp.at(visit.doors.clock.now()), "password": GOOD}, of=path)
    assert answer.status_code == 200, answer.text
    wait(visit, timedelta(minutes=1))
    return totp, re.findall(r"<li>((?:[a-z2-7]{4}-){3}[a-z2-7]{4})</li>", answer.text)


@pytest.mark.parametrize(
    "path",
    ["/account", "/account/password", "/account/second-factor", "/account/tokens/new", "/account/provider"],
)
def test_nobody_sees_an_account_without_signing_in(doors: Doors, path: str) -> None:
    assert Visit(doors).get(path).headers["location"].startswith("/sign-in?to=%2Faccount")


def test_a_person_chooses_their_language(visit: Visit) -> None:
    assert '<html lang="en">' in visit.get("/account").text
    assert visit.post("/account/language", {"locale": "fr"}, of="/account").status_code == 303
    assert '<html lang="fr">' in visit.get("/account").text
    assert visit.post("/account/language", {"locale": "xx"}, of="/account").status_code == 422


# ------------------------------------------------------------------ password


def test_a_password_is_changed_by_whoever_knows_it_and_ends_the_other_sessions(visit: Visit) -> None:
    elsewhere = Visit(visit.doors).sign_in(NURSE)
    path, new = "/account/password", {"new_password": BETTER, "new_password_again": BETTER}
    assert visit.post(path, new | {"password": "a wrong password"}, of=path).status_code == 422
    assert visit.post(path, new | {"password": GOOD}, of=path).headers["location"] == "/account"
    assert visit.get("/account").status_code == 200
    assert elsewhere.get("/account").status_code == 303
    assert proofs.check_password(visit.doors.database, visit.doors.clock, NURSE, BETTER) == (NURSE, False)


def test_a_new_password_that_cannot_be_one_is_said_beside_its_field(visit: Visit) -> None:
    path = "/account/password"
    answer = visit.post(path, {"password": GOOD, "new_password": "nurse.caen.12", "new_password_again": "nurse.caen.12"}, of=path)
    assert answer.status_code == 422
    assert 'id="new_password-error"' in answer.text
    answer = visit.post(path, {"password": GOOD, "new_password": BETTER, "new_password_again": GOOD}, of=path)
    assert 'id="new_password_again-error"' in answer.text
    assert GOOD not in answer.text


def test_whoever_finds_an_open_browser_is_locked_out_after_ten_guesses(visit: Visit) -> None:
    path = "/account/password"
    for _ in range(10):
        visit.post(path, {"password": "x", "new_password": BETTER, "new_password_again": BETTER}, of=path)
    answer = visit.post(path, {"password": GOOD, "new_password": BETTER, "new_password_again": BETTER}, of=path)
    assert answer.status_code == 422
    assert entries(visit.doors.database, kind="AccountLocked")


# ------------------------------------------------------------------ second factor


def test_a_second_factor_is_set_by_scanning_a_code_and_its_recovery_codes_are_shown_once(visit: Visit) -> None:
    totp, codes = set_factor(visit)
    assert len(codes) == 10
    assert visit.doors.ways_of(NURSE).code
    page = visit.get("/account/second-factor").text
    assert totp.secret not in page
    assert not [code for code in codes if code in page]
    assert "10 recovery codes" in page


def test_a_second_factor_needs_the_password_and_a_code_of_it(visit: Visit) -> None:
    path = "/account/second-factor"
    page = visit.get(path).text
    sealed = re.search(r'name="sealed" value="([^"]+)"', page)
    assert sealed
    wrong = visit.post(path, {"sealed": sealed[1], "new_code": "000000", "password": GOOD}, of=path)
    assert wrong.status_code == 422
    assert 'id="new_code-error"' in wrong.text
    wrong = visit.post(path, {"sealed": sealed[1], "new_code": "000000", "password": "x"}, of=path)
    assert 'id="password-error"' in wrong.text
    assert not visit.doors.ways_of(NURSE).code


def test_a_secret_that_was_not_made_for_this_person_is_not_set(visit: Visit) -> None:
    """Else whoever gets a person to send their form would have their second factor."""
    path = "/account/second-factor"
    other = Visit(visit.doors).sign_in("nurse.metz")
    sealed = re.search(r'name="sealed" value="([^"]+)"', other.get(path).text)
    assert sealed is None  # without a password there is none to set
    secret = pyotp.random_base32()
    mine, code = (
        visit.doors.key.seal(json.dumps({"person": "nurse.metz", "secret": secret})),
        pyotp.TOTP(secret).at(visit.doors.clock.now()),
    )
    answer = visit.post(path, {"sealed": mine, "new_code": code, "password": GOOD}, of=path)
    assert answer.headers["location"] == path
    assert not visit.doors.ways_of(NURSE).code


def test_a_second_factor_is_removed_by_password_and_code_only(visit: Visit) -> None:
    totp, codes = set_factor(visit)
    path, change = "/account/second-factor", "/account/second-factor/change"
    assert visit.post(change, {"act": "remove", "password": GOOD}, of=path).status_code == 422
    assert visit.doors.ways_of(NURSE).code
    answer = visit.post(change, {"act": "codes", "password": GOOD, "code": totp.at(visit.doors.clock.now())}, of=path)
    renewed = re.findall(r"<li>((?:[a-z2-7]{4}-){3}[a-z2-7]{4})</li>", answer.text)
    assert len(renewed) == 10
    assert not set(renewed) & set(codes)
    assert visit.post(change, {"act": "remove", "password": GOOD, "code": codes[0]}, of=path).status_code == 422
    assert visit.post(change, {"act": "remove", "password": GOOD, "code": renewed[0]}, of=path).headers["location"] == "/account"
    assert not visit.doors.ways_of(NURSE).code


def test_the_code_to_scan_is_drawn_without_a_style_that_the_policy_forbids() -> None:
    svg = str(drawn("otpauth://totp/insitu:nurse.caen?secret=JBSWY3DPEHPK3PXP"))
    assert svg.startswith("<svg")
    assert "style=" not in svg
    assert "<script" not in svg


# ------------------------------------------------------------------ browsers


def test_a_person_sees_where_they_are_signed_in_and_ends_it(visit: Visit) -> None:
    elsewhere = Visit(visit.doors).sign_in(NURSE)
    page = visit.get("/account").text
    ended = re.findall(r'name="session" value="([0-9a-f]{64})"', page)
    assert len(ended) == 1
    assert visit.post("/account/sessions/end", {"session": ended[0]}, of="/account").status_code == 303
    assert elsewhere.get("/account").status_code == 303
    assert visit.get("/account").status_code == 200


def test_all_other_sessions_end_at_once_and_this_one_stays(visit: Visit) -> None:
    others = [Visit(visit.doors).sign_in(NURSE) for _ in range(3)]
    visit.post("/account/sessions/end", of="/account")
    assert [one.get("/account").status_code for one in others] == [303] * 3
    assert visit.get("/account").status_code == 200


def test_nobody_ends_the_session_of_someone_else(visit: Visit) -> None:
    other = Visit(visit.doors).sign_in("nurse.metz")
    (theirs,) = sessions_of(visit.doors.database, "nurse.metz", visit.doors.clock.now())
    visit.post("/account/sessions/end", {"session": theirs["id"]}, of="/account")
    assert other.get("/account").status_code == 200


@pytest.mark.parametrize(
    ("agent", "name"),
    [
        ("Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0", "Firefox, Linux"),
        ("Mozilla/5.0 (Windows NT 10.0; Win64) AppleWebKit/537.36 Chrome/140.0 Safari/537.36 Edg/140.0", "Edge, Windows"),
        ("Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605 Version/18 Safari/604", "Safari, iPhone"),
        ("<b>curl</b>/8", "<b>curl</b>/8"),
        ("", ""),
    ],
)
def test_a_browser_is_named_in_two_words(agent: str, name: str) -> None:
    assert browser_of(agent) == name


# ------------------------------------------------------------------ tokens


def test_a_token_is_shown_once_and_revoked(visit: Visit) -> None:
    path, form = "/account/tokens/new", {"name": "export <b>", "scope": "read", "days": "30", "password": GOOD}
    answer = visit.post(path, form, of=path)
    shown = re.search(r"insitu_[\w-]{40,}", answer.text)
    assert answer.status_code == 200
    assert shown
    assert read_token(visit.doors.database, visit.doors.clock, shown[0]) is not None
    page = visit.get("/account").text
    assert shown[0] not in page
    assert "export &lt;b&gt;" in page
    (token,) = tokens_of(visit.doors.database, NURSE, visit.doors.clock.now())
    assert visit.post("/account/tokens/revoke", {"token": token["id"]}, of="/account").status_code == 303
    assert read_token(visit.doors.database, visit.doors.clock, shown[0]) is None
    assert visit.post("/account/tokens/revoke", {"token": token["id"]}, of="/account").status_code == 404


@pytest.mark.parametrize("wrong", [{"password": "x"}, {"name": "  "}, {"scope": "all"}, {"days": "9999"}, {"days": "x"}])
def test_no_token_is_made_without_proof_name_and_end(visit: Visit, wrong: dict[str, str]) -> None:
    path, form = "/account/tokens/new", {"name": "export", "scope": "read", "days": "30", "password": GOOD}
    assert visit.post(path, form | wrong, of=path).status_code == 422
    assert tokens_of(visit.doors.database, NURSE, visit.doors.clock.now()) == []


def test_nobody_revokes_the_token_of_someone_else(visit: Visit) -> None:
    path, form = "/account/tokens/new", {"name": "export", "scope": "write", "days": "30", "password": GOOD}
    visit.post(path, form, of=path)
    (token,) = tokens_of(visit.doors.database, NURSE, visit.doors.clock.now())
    other = Visit(visit.doors).sign_in("nurse.metz")
    assert other.post("/account/tokens/revoke", {"token": token["id"]}, of="/account").status_code == 404
    assert len(tokens_of(visit.doors.database, NURSE, visit.doors.clock.now())) == 1
