"""Coming in: the first manager, the sign-in and its second step, links, and what those get who try to come in otherwise."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from pathlib import Path
from urllib.parse import quote

import pyotp
import pytest
from sqlalchemy import select
from starlette.types import ASGIApp, Receive, Scope, Send
from visit import Visit, doors_on

from insitu.app import create_app
from insitu.entrance.doors import Doors
from insitu.entrance.guard import BEFORE_SIGN_IN
from insitu.entrance.setup import code_to_print, setup_code
from insitu.entrance.visitor import COOKIE
from sites.clock import SetClock
from sites.database import Database, table
from sites.identity import accounts, second_factor
from sites.identity.access import entries
from sites.identity.limits import Door
from sites.identity.links import token_of
from sites.ledger import Ledger
from sites.settings import Settings
from sites.tables import Letter

GOOD = "the tram stops at seven"
NURSE, MANAGER = "nurse.caen", "project_manager"
ALICE = {"id": "a.martin", "name": "Alice Martin", "email": "a.martin@example.org", "locale": "fr"}
CHOSEN = {"password": GOOD, "password_again": GOOD}


@pytest.fixture
def doors(sqlite_database: Database, clock: SetClock, registry_on_sqlite: None) -> Doors:
    """Doors where the nurse of Caen has an account."""
    with sqlite_database.write() as connection:
        accounts.create_account(connection, NURSE, GOOD, clock.now(), by=MANAGER)
    return doors_on(sqlite_database, clock)


@pytest.fixture
def visit(doors: Doors) -> Visit:
    return Visit(doors)


@pytest.fixture
def new_house(sqlite_database: Database, clock: SetClock, registry_on_sqlite: None) -> Visit:
    """Where nobody has an account."""
    return Visit(doors_on(sqlite_database, clock))


def kinds(doors: Doors) -> list[str]:
    return [one["kind"] for one in entries(doors.database)]


def sign_in(visit: Visit, name: str = NURSE, password: str = GOOD, **form: str) -> object:
    return visit.post("/sign-in", {"name": name, "password": password} | form, of="/sign-in")


# ------------------------------------------------------------------ sign-in


def test_a_person_signs_in_and_goes_on_to_where_they_were_going(visit: Visit) -> None:
    to = "/experiments/EXP-1/people?site=CAEN"
    asked = visit.get("/account?x=1")
    assert asked.headers["location"] == "/sign-in?to=%2Faccount%3Fx%3D1"
    answer = visit.post("/sign-in", {"name": NURSE, "password": GOOD, "to": to}, of=f"/sign-in?to={quote(to)}")
    assert (answer.status_code, answer.headers["location"]) == (303, to)
    assert visit.get("/account").status_code == 200
    assert visit.get(f"/sign-in?to={quote(to)}").headers["location"] == to


def test_the_form_is_one_that_a_password_manager_fills_in(visit: Visit) -> None:
    page = visit.get("/sign-in").text
    assert 'autocomplete="username"' in page
    assert 'autocomplete="current-password"' in page
    assert "onpaste" not in page


def test_a_stranger_and_a_wrong_password_get_the_same_page(visit: Visit) -> None:
    pages = []
    for name in (NURSE, "who.ever", "methodologist"):
        answer = visit.post("/sign-in", {"name": name, "password": "wrong, wrong, wrong"}, of="/sign-in")
        assert answer.status_code == 422
        assert COOKIE not in answer.cookies
        pages.append(re.sub(r'name="csrf" value="[^"]+"', "", answer.text.replace(name, "NAME")))
    assert len(set(pages)) == 1
    assert 'value="NAME"' in pages[0]
    assert "wrong, wrong" not in pages[0]


@pytest.mark.parametrize(
    "to", ["//evil.example", "https://evil.example", "/\\evil.example", "javascript:alert(1)", "\\\\evil", "/a\nb", " /x", ""]
)
def test_nobody_is_led_elsewhere_by_the_sign_in(visit: Visit, to: str) -> None:
    page = visit.get("/sign-in", params={"to": to})
    assert re.findall(r'<form method="post" action="/sign-in".*?name="to" value="([^"]*)"', page.text, re.DOTALL) == ["/"]
    answer = visit.post("/sign-in", {"name": NURSE, "password": GOOD, "to": to}, of="/sign-in")
    assert answer.headers["location"].startswith("/")
    assert not answer.headers["location"].startswith(("//", "/\\"))
    assert "evil" not in answer.headers["location"]


def test_a_session_is_a_new_one_whatever_cookie_the_browser_brought(visit: Visit) -> None:
    """Session fixation: a cookie planted beforehand stays worthless, and the session of before is ended."""
    visit.client.cookies.set(COOKIE, "planted-by-someone-else", domain="insitu.test")
    sign_in(visit)
    planted = Visit(visit.doors)
    planted.client.cookies.set(COOKIE, "planted-by-someone-else")
    assert planted.get("/account").status_code == 303
    first = visit.client.cookies[COOKIE]
    visit.doors.clock.advance(timedelta(minutes=31))  # type: ignore[attr-defined]
    answer = visit.post("/sign-in", {"name": NURSE, "password": GOOD}, of="/sign-in")
    assert answer.cookies[COOKIE] not in (first, "planted-by-someone-else")
    old = Visit(visit.doors)
    old.client.cookies.set(COOKIE, first)
    assert old.get("/account").status_code == 303


def behind_a_silent_proxy(app: ASGIApp) -> ASGIApp:
    """The application as it is asked by a proxy that took TLS off and says nothing of it."""

    async def passed(scope: Scope, receive: Receive, send: Send) -> None:
        await app(scope if scope["type"] != "http" else {**scope, "scheme": "http"}, receive, send)

    return passed


def test_the_cookie_is_out_of_reach_of_scripts_other_sites_and_plain_connections(doors: Doors) -> None:
    answer = Visit(doors).post("/sign-in", {"name": NURSE, "password": GOOD}, of="/sign-in")
    given = next(one for one in answer.headers.get_list("set-cookie") if one.startswith(f"{COOKIE}="))
    assert {"HttpOnly", "Path=/", "SameSite=lax"} <= set(given.split("; "))
    assert "Domain" not in given
    assert "Secure" not in given
    public = doors_on(doors.database, doors.clock, public_url="https://insitu.example.org")  # type: ignore[arg-type]
    browser = Visit(public, app=behind_a_silent_proxy(create_app(public)))
    browser.client.base_url = "https://insitu.example.org"  # type: ignore[assignment]
    assert all("Secure" in one for one in browser.get("/sign-in").headers.get_list("set-cookie"))
    answer = browser.post("/sign-in", {"name": NURSE, "password": GOOD}, of="/sign-in")
    assert "Secure" in next(one for one in answer.headers.get_list("set-cookie") if one.startswith(f"{COOKIE}="))


def test_a_lapsed_session_signs_in_again_and_returns(visit: Visit) -> None:
    visit.sign_in(NURSE)
    visit.doors.clock.advance(timedelta(minutes=30))  # type: ignore[attr-defined]
    asked = visit.get("/account/password")
    assert asked.headers["location"] == "/sign-in?to=%2Faccount%2Fpassword"
    answer = visit.post("/sign-in", {"name": NURSE, "password": GOOD, "to": "/account/password"}, of=asked.headers["location"])
    assert answer.headers["location"] == "/account/password"
    assert visit.get("/account/password").status_code == 200


def test_signing_out_ends_the_session_for_good(visit: Visit) -> None:
    sign_in(visit)
    cookie = visit.client.cookies[COOKIE]
    assert visit.post("/sign-out", of="/help").headers["location"] == "/sign-in"
    assert COOKIE not in visit.client.cookies
    visit.client.cookies.set(COOKIE, cookie)
    assert visit.get("/account").status_code == 303
    assert "SignedOut" in kinds(visit.doors)


def test_a_sign_in_form_of_another_browser_is_refused(visit: Visit) -> None:
    """Else an attacker could sign a person in as themselves, and read what they then type."""
    token = Visit(visit.doors).token("/sign-in")
    assert visit.client.post("/sign-in", data={"csrf": token, "name": NURSE, "password": GOOD}).status_code == 403
    visit.get("/sign-in")
    assert visit.client.cookies[BEFORE_SIGN_IN]
    assert visit.client.post("/sign-in", data={"csrf": token, "name": NURSE, "password": GOOD}).status_code == 403


def test_many_failures_from_one_address_are_held_back_before_any_password_is_looked_at(visit: Visit) -> None:
    for _ in range(50):
        visit.doors.limits.count(Door.SIGN_IN, "testclient")
    answer = visit.post("/sign-in", {"name": NURSE, "password": GOOD}, of="/sign-in")
    assert answer.status_code == 429
    assert "SignedIn" not in kinds(visit.doors)


# ------------------------------------------------------------------ second factor


@pytest.fixture
def totp(doors: Doors) -> pyotp.TOTP:
    """The nurse's authenticator, set five minutes ago."""
    made = pyotp.TOTP(second_factor.new_secret())
    second_factor.set_second_factor(doors.database, doors.clock, doors.key, NURSE, made.secret, made.at(doors.clock.now()))
    doors.clock.advance(timedelta(minutes=5))  # type: ignore[attr-defined]
    return made


def test_with_a_second_factor_the_password_alone_lets_nobody_in(visit: Visit, totp: pyotp.TOTP) -> None:
    answer = visit.post("/sign-in", {"name": NURSE, "password": GOOD, "to": "/account"}, of="/sign-in")
    assert answer.headers["location"] == "/sign-in/code"
    assert visit.get("/account").status_code == 303
    assert visit.post("/sign-in/code", {"code": "000000"}, of="/sign-in/code").status_code == 422
    answer = visit.post("/sign-in/code", {"code": totp.at(visit.doors.clock.now())}, of="/sign-in/code")
    assert (answer.status_code, answer.headers["location"]) == (303, "/account")
    assert visit.get("/account").status_code == 200


def test_a_code_is_not_asked_without_a_right_password_nor_long_after(visit: Visit, totp: pyotp.TOTP) -> None:
    assert visit.get("/sign-in/code").headers["location"] == "/sign-in"
    sign_in(visit)
    half = visit.client.cookies["insitu-half"]
    visit.doors.clock.advance(timedelta(minutes=10))  # type: ignore[attr-defined]
    visit.client.cookies.set("insitu-half", half)
    assert visit.get("/sign-in/code").headers["location"] == "/sign-in"


def test_the_halfway_mark_cannot_be_made_by_hand(visit: Visit, totp: pyotp.TOTP) -> None:
    key, until = visit.doors.key, "2999-01-01T00:00:00+00:00"
    other = json.dumps({"name": "insitu-errand", "until": until, "values": {"person": NURSE, "to": "/"}})
    for cookie in (
        "x",
        key.sign("insitu-half", NURSE),
        key.seal(other),
        key.seal(totp.secret),
        key.seal("[]"),
        key.seal(json.dumps({"person": NURSE, "secret": "x"})),
    ):
        visit.client.cookies.set("insitu-half", cookie)
        assert visit.get("/sign-in/code").headers["location"] == "/sign-in"


def test_a_code_of_the_sign_in_does_not_sign_in_twice(visit: Visit, totp: pyotp.TOTP) -> None:
    code = totp.at(visit.doors.clock.now())
    sign_in(visit)
    assert visit.post("/sign-in/code", {"code": code}, of="/sign-in/code").status_code == 303
    other = Visit(visit.doors)
    sign_in(other)
    assert other.post("/sign-in/code", {"code": code}, of="/sign-in/code").status_code == 422


# ------------------------------------------------------------------ the first manager


def test_a_newcomer_creates_the_first_manager_and_lands_in_the_administration(new_house: Visit) -> None:
    house = Visit(new_house.doors)
    house.client.base_url = "http://127.0.0.1:8080"  # type: ignore[assignment]
    assert house.get("/").headers["location"] == "/sign-in"
    assert house.get("/sign-in").headers["location"] == "/setup"
    answer = house.post("/setup", ALICE | CHOSEN, of="/setup")
    assert (answer.status_code, answer.headers["location"]) == (303, "/admin")
    assert house.get("/account").status_code == 200
    assert kinds(house.doors) == ["SignedIn", "RoleAssigned", "AccountCreated"]
    assert Visit(house.doors).get("/setup").headers["location"] == "/sign-in"


def test_a_second_newcomer_is_not_a_manager(visit: Visit) -> None:
    assert visit.post("/setup", ALICE | CHOSEN, of="/sign-in").headers["location"] == "/sign-in"
    assert accounts.person_of(visit.doors.database, "a.martin") is None


def test_from_elsewhere_the_first_manager_needs_the_printed_code(new_house: Visit) -> None:
    """By another's name for this machine (DNS rebinding), as by the network."""
    answer = new_house.post("/setup", ALICE | CHOSEN | {"setup_code": "1234-5678-9012"}, of="/setup")
    assert answer.status_code == 422
    assert not accounts.has_accounts(new_house.doors.database)
    assert kinds(new_house.doors) == ["RequestRefused"]
    answer = new_house.post("/setup", ALICE | CHOSEN | {"setup_code": setup_code(new_house.doors.key)}, of="/setup")
    assert answer.headers["location"] == "/admin"


def test_guessing_the_code_is_held_back(new_house: Visit) -> None:
    for _ in range(10):
        assert new_house.post("/setup", ALICE | CHOSEN | {"setup_code": "1"}, of="/setup").status_code == 422
    right = ALICE | CHOSEN | {"setup_code": setup_code(new_house.doors.key)}
    assert new_house.post("/setup", right, of="/setup").status_code == 429


@pytest.mark.parametrize(
    ("loopback", "public_url", "is_printed"),
    [
        (True, "http://127.0.0.1:8080", False),
        (True, "http://localhost:8080", False),
        (False, "http://127.0.0.1:8080", True),
        (True, "https://insitu.example.org", True),
        (True, "http://127.0.0.1.example.org", True),
    ],
)
def test_the_code_is_printed_where_others_may_reach_the_doors(
    sqlite_database: Database, clock: SetClock, loopback: bool, public_url: str, is_printed: bool
) -> None:
    settings = Settings(Path(), sqlite_database.url, key="a key of thirty-two characters or more, for tests", public_url=public_url)
    doors = Doors.of(settings, sqlite_database, Ledger(sqlite_database, clock), loopback=loopback)
    assert bool(code_to_print(doors)) is is_printed


def test_what_is_wrong_in_the_set_up_is_said_beside_its_field_and_what_was_typed_stays(new_house: Visit) -> None:
    code = {"setup_code": setup_code(new_house.doors.key)}
    wrong = ALICE | code | {"email": "no address", "id": "a martin", "password": GOOD, "password_again": "else"}
    answer = new_house.post("/setup", wrong, of="/setup")
    assert answer.status_code == 422
    for field in ("email", "id", "password_again"):
        assert f'id="{field}-error"' in answer.text
        assert f'href="#{field}"' in answer.text
    assert 'value="no address"' in answer.text
    assert GOOD not in answer.text
    answer = new_house.post("/setup", ALICE | code | {"password": "a.martin", "password_again": "a.martin"}, of="/setup")
    assert 'id="password-error"' in answer.text


def test_the_first_manager_whose_id_is_there_in_other_letters_is_told_which(new_house: Visit) -> None:
    code = {"setup_code": setup_code(new_house.doors.key)}
    answer = new_house.post("/setup", ALICE | CHOSEN | code | {"id": "Nurse.Caen"}, of="/setup")
    assert answer.status_code == 422
    assert 'id="id-error"' in answer.text
    assert "nurse.caen" in answer.text


def test_html_in_the_set_up_is_shown_as_text(new_house: Visit) -> None:
    answer = new_house.post("/setup", ALICE | {"name": "<script>alert(1)</script>", "email": "x"}, of="/setup")
    assert "<script>alert" not in answer.text
    assert "&lt;script&gt;" in answer.text


# ------------------------------------------------------------------ invitation and recovery


def invited(doors: Doors, person: str = "nurse.metz") -> str:
    return f"/invitation/{token_of(doors.key, 'invitation', accounts.invite(doors.database, doors.clock, person, by=MANAGER))}"


def recovering(doors: Doors) -> str:
    nonce = accounts.recover(doors.database, doors.clock, NURSE)
    assert nonce
    return f"/recovery/{token_of(doors.key, 'recovery', nonce)}"


def test_an_invited_person_chooses_a_password_and_is_in(visit: Visit) -> None:
    path = invited(visit.doors)
    assert "nurse.metz" in visit.get(path).text
    assert visit.post(path, {"password": GOOD, "password_again": "else"}, of=path).status_code == 422
    assert visit.post(path, {"password": "short", "password_again": "short"}, of=path).status_code == 422
    answer = visit.post(path, CHOSEN, of=path)
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    assert visit.get("/account").status_code == 200
    again = Visit(visit.doors)
    assert again.get(path).status_code == 404
    assert again.post(path, CHOSEN, of="/sign-in").status_code == 404


def test_looking_at_an_invitation_does_not_use_it_up(visit: Visit) -> None:
    """Mail scanners open links before people do."""
    path = invited(visit.doors)
    for _ in range(3):
        assert visit.get(path).status_code == 200


def test_an_invitation_of_eight_days_ago_opens_nothing(visit: Visit) -> None:
    path = invited(visit.doors)
    token = visit.token(path)
    visit.doors.clock.advance(timedelta(days=7))  # type: ignore[attr-defined]
    assert visit.get(path).status_code == 404
    assert visit.client.post(path, data=CHOSEN | {"csrf": token}).status_code == 404
    assert not accounts.accounts(visit.doors.database)[0]["has_account"]
    assert [one["data"]["why"] for one in entries(visit.doors.database, kind="RequestRefused")] == ["expired", "expired"]


def test_a_forged_invitation_is_refused_and_journaled_without_its_text(visit: Visit) -> None:
    assert visit.get("/invitation/forged-text-of-someone").status_code == 404
    (entry,) = entries(visit.doors.database, kind="RequestRefused")
    assert (entry["data"]["why"], entry["address"]) == ("forged", "testclient")
    assert "forged-text" not in str(entry)
    swapped = recovering(visit.doors).replace("/recovery/", "/invitation/")
    assert visit.get(swapped).status_code == 404


def test_recovery_says_the_same_to_everybody_and_owes_a_letter_to_whoever_has_an_account(visit: Visit) -> None:
    pages = {
        name: visit.post("/recover", {"name": name}, of="/recover") for name in ("nurse.caen@example.org", "who.ever", "methodologist")
    }
    assert {answer.status_code for answer in pages.values()} == {200}
    assert len({re.sub(r'value="[^"]+"', "", answer.text) for answer in pages.values()}) == 1
    with visit.doors.database.read() as connection:
        assert [row.person for row in connection.execute(select(table(Letter)))] == [NURSE]


def test_recovery_is_held_back_by_address(visit: Visit) -> None:
    for _ in range(20):
        visit.post("/recover", {"name": "who.ever"}, of="/recover")
    assert visit.post("/recover", {"name": NURSE}, of="/recover").status_code == 429


def test_a_recovered_password_ends_all_sessions_and_works_once(visit: Visit, totp: pyotp.TOTP) -> None:
    elsewhere = Visit(visit.doors).sign_in(NURSE)
    path = recovering(visit.doors)
    new = {"password": "quite another sentence", "password_again": "quite another sentence"}
    assert visit.post(path, new, of=path).headers["location"] == "/sign-in"
    assert elsewhere.get("/account").status_code == 303
    assert visit.get(path).status_code == 404
    # Whoever reads the mail alone does not come in: the second factor is still asked.
    answer = visit.post("/sign-in", {"name": NURSE, "password": "quite another sentence"}, of="/sign-in")
    assert answer.headers["location"] == "/sign-in/code"


def test_a_recovery_of_more_than_an_hour_ago_opens_nothing(visit: Visit) -> None:
    path = recovering(visit.doors)
    visit.doors.clock.advance(timedelta(hours=1))  # type: ignore[attr-defined]
    assert visit.get(path).status_code == 404


def test_help_is_there_for_everybody_in_both_languages(doors: Doors) -> None:
    assert "Who to ask" in Visit(doors).get("/help").text
    assert "À qui s’adresser" in Visit(doors, locale="fr").get("/help").text
