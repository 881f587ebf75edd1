"""OpenID Connect against a real provider's process, and against one that lies: nobody unknown, and nobody else, gets in."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from issuer import CLIENT, Liar
from joserfc.jwk import RSAKey
from passage import MANAGER, NURSE, Open, at_provider, back_from, come, leave, prove_by, refusals, whys
from visit import HOST, Visit

from insitu.entrance.visitor import COOKIE
from protocols.errors import NotProven
from sites.clock import SetClock
from sites.identity import accounts, subjects
from sites.identity.access import entries
from sites.identity.sessions import read_session

GOOD = "the tram stops at seven"


# ------------------------------------------------------------------ a real provider


def test_a_known_person_comes_in_by_verified_email_and_is_linked_once(open_doors: Open, issuer: str) -> None:
    doors = open_doors(issuer)
    visit, answer = come(doors, "s-caen")
    assert (answer.status_code, answer.headers["location"]) == (303, "/account")
    assert NURSE in visit.get("/account").text
    come(doors, "s-caen")
    (linked,) = entries(doors.database, kind="ProviderLinked")
    assert (linked["person"], linked["data"]["subject"]) == (NURSE, f"{issuer}|s-caen")


@pytest.mark.parametrize(("sub", "why"), [("s-other", "unknown"), ("s-metz", "unknown")], ids=["nobody here", "an e-mail not verified"])
def test_nobody_else_gets_in(open_doors: Open, issuer: str, sub: str, why: str) -> None:
    doors = open_doors(issuer)
    visit, answer = come(doors, sub)
    assert answer.status_code == 403
    assert visit.get("/account").status_code == 303
    assert whys(doors) == [why]
    assert not any(one["has_account"] for one in accounts.accounts(doors.database))


def test_a_closed_account_stays_closed_whatever_the_provider_says(open_doors: Open, issuer: str) -> None:
    doors = open_doors(issuer)
    accounts.disable(doors.database, doors.clock, NURSE, by=MANAGER)
    _, answer = come(doors, "s-caen")
    assert answer.status_code == 403
    assert whys(doors) == ["disabled"]


def test_an_account_linked_to_one_subject_is_not_taken_over_by_an_email(open_doors: Open, issuer: str) -> None:
    doors = open_doors(issuer)
    subjects.introduce(doors.database, doors.clock, NURSE, f"{issuer}|someone-else", by=MANAGER)
    _, answer = come(doors, "s-caen")
    assert answer.status_code == 403
    assert whys(doors) == ["other_subject"]


def test_another_claim_than_the_email_is_matched_with_the_accounts_subject_only(open_doors: Open, issuer: str) -> None:
    """Pro Santé Connect's SubjectNameID: nobody comes in by it who was not introduced."""
    doors = open_doors(issuer, oidc_claim="SubjectNameID")
    assert come(doors, "s-claim")[1].status_code == 403
    assert come(doors, "s-caen")[1].status_code == 403
    subjects.introduce(doors.database, doors.clock, NURSE, f"{issuer}|899700000000", by=MANAGER)
    visit, answer = come(doors, "s-claim")
    assert answer.status_code == 303
    assert NURSE in visit.get("/account").text


def test_the_browser_is_sent_with_state_nonce_and_a_challenge(open_doors: Open, issuer: str) -> None:
    visit = Visit(open_doors(issuer))
    asked = parse_qs(urlsplit(leave(visit)).query)
    assert asked["response_type"] == ["code"]
    assert asked["code_challenge_method"] == ["S256"]
    assert asked["redirect_uri"] == [f"{HOST}/sign-in/provider/back"]
    assert {"openid", "email"} <= set(asked["scope"][0].split())
    again = parse_qs(urlsplit(leave(visit)).query)
    assert all(asked[name] != again[name] for name in ("state", "nonce", "code_challenge"))
    assert "prompt" not in asked


def test_what_comes_back_to_another_browser_or_twice_is_refused_and_journaled(open_doors: Open, issuer: str) -> None:
    """A stolen or planted answer (login CSRF): the state is this browser's, and used up."""
    doors = open_doors(issuer)
    visit = Visit(doors)
    back = at_provider(leave(visit), "s-caen")
    stranger = Visit(doors)
    assert stranger.get(back).status_code == 403
    leave(stranger)
    assert stranger.get(back).status_code == 403
    assert visit.get(back).status_code == 303
    assert visit.get(back).status_code == 403
    assert refusals(doors) == ["provider_state"] * 3
    assert stranger.get("/account").status_code == 303


def test_an_answer_after_ten_minutes_is_refused(open_doors: Open, issuer: str, clock: SetClock) -> None:
    visit = Visit(open_doors(issuer))
    back = at_provider(leave(visit), "s-caen")
    ((name, errand),) = ((name, value) for name, value in visit.client.cookies.items() if name.startswith("insitu-errand"))
    clock.advance(timedelta(minutes=10))
    visit.client.cookies.set(name, errand)
    assert visit.get(back).status_code == 403


def test_a_code_that_the_provider_did_not_give_is_refused(open_doors: Open, issuer: str) -> None:
    visit = Visit(open_doors(issuer))
    state = parse_qs(urlsplit(leave(visit)).query)["state"][0]
    assert visit.get("/sign-in/provider/back", params={"code": "made up", "state": state}).status_code == 403
    assert visit.get("/account").status_code == 303


def test_whoever_declines_at_the_provider_is_told_so(open_doors: Open, issuer: str) -> None:
    visit = Visit(open_doors(issuer))
    state = parse_qs(urlsplit(leave(visit)).query)["state"][0]
    answer = visit.get("/sign-in/provider/back", params={"error": "access_denied", "state": state})
    assert answer.status_code == 403
    assert "did not let you in" in answer.text


def test_nobody_is_led_elsewhere_after_the_provider(open_doors: Open, issuer: str) -> None:
    visit = Visit(open_doors(issuer))
    answer = visit.get(at_provider(leave(visit, "/sign-in/provider?to=//evil.example"), "s-caen"))
    assert answer.headers["location"] == "/"


def test_a_session_of_the_provider_proves_again_there_before_it_signs(open_doors: Open, issuer: str, clock: SetClock) -> None:
    doors = open_doors(issuer)
    visit, _ = come(doors, "s-caen")
    prove_by(visit)
    clock.advance(timedelta(minutes=2))
    with pytest.raises(NotProven):
        prove_by(visit)
    with pytest.raises(NotProven):
        prove_by(visit, password="anything")
    address = leave(visit, "/sign-in/provider?again=1&to=/account/password")
    asked = parse_qs(urlsplit(address).query)
    assert (asked["prompt"], asked["max_age"]) == (["login"], ["0"])
    answer = visit.get(at_provider(address, "s-caen"))
    assert answer.headers["location"] == "/account/password"
    prove_by(visit)
    assert len(entries(doors.database, kind="ProvenAgain")) == 1


def test_someone_elses_account_at_the_provider_proves_nothing(open_doors: Open, issuer: str, clock: SetClock) -> None:
    doors = open_doors(issuer)
    visit, _ = come(doors, "s-caen")
    clock.advance(timedelta(minutes=2))
    answer = visit.get(at_provider(leave(visit, "/sign-in/provider?again=1"), "s-other"))
    assert answer.status_code == 403
    assert refusals(doors) == ["provider_subject"]
    with pytest.raises(NotProven):
        prove_by(visit)


def test_a_person_links_their_account_there_once_they_have_proved_themselves_here(open_doors: Open, issuer: str, clock: SetClock) -> None:
    doors = open_doors(issuer, oidc_claim="SubjectNameID")
    with doors.database.write() as connection:
        accounts.create_account(connection, NURSE, GOOD, clock.now(), by=MANAGER)
    visit = Visit(doors).sign_in(NURSE)
    clock.advance(timedelta(minutes=3))
    assert visit.get("/sign-in/provider?link=1").headers["location"] == "/account/provider"
    assert visit.post("/account/provider", {"act": "link", "password": "x"}, of="/account/provider").status_code == 422
    assert visit.post("/account/provider", {"act": "link", "password": GOOD}, of="/account/provider").status_code == 303
    assert "/sign-in/provider?link=1" in visit.get("/account/provider").text
    answer = visit.get(at_provider(leave(visit, "/sign-in/provider?link=1&to=/account"), "s-claim"))
    assert answer.headers["location"] == "/account"
    assert come(doors, "s-claim")[1].status_code == 303
    assert visit.post("/account/provider", {"act": "unlink", "password": GOOD}, of="/account/provider").status_code == 303
    assert come(doors, "s-claim")[1].status_code == 403


def test_one_account_there_is_not_linked_to_two_here(open_doors: Open, issuer: str) -> None:
    doors = open_doors(issuer)
    come(doors, "s-caen")
    with pytest.raises(Exception, match="already linked"):
        subjects.introduce(doors.database, doors.clock, "nurse.metz", f"{issuer}|s-caen", by=MANAGER)


def test_without_a_provider_there_is_no_such_door(open_doors: Open) -> None:
    visit = Visit(open_doors(""))
    assert visit.get("/sign-in/provider").status_code == 404
    assert visit.get("/sign-in/provider/back?code=x&state=y").status_code == 404


def test_a_provider_that_is_away_leaves_the_password(open_doors: Open) -> None:
    visit = Visit(open_doors("http://127.0.0.1:9"))
    answer = visit.get("/sign-in/provider")
    assert answer.status_code == 403
    assert 'name="password"' in answer.text


# ------------------------------------------------------------------ a provider that lies

OTHER = RSAKey.generate_key(2048, {"kid": "one"})


def test_an_honest_token_lets_in(open_doors: Open, liar: Liar) -> None:
    assert back_from(Visit(open_doors(liar.issuer)), liar).status_code == 303


@pytest.mark.parametrize(
    "lie",
    [
        {"nonce": "another"},
        {"nonce": None},
        {"aud": "another-client"},
        {"aud": ["another-client"], "azp": CLIENT},
        {"aud": None},
        {"iss": "http://127.0.0.1:1"},
        {"iss": None},
        {"exp": 1_700_000_000},
        {"exp": None},
        {"iat": None},
        {"sub": None},
        {"at_hash": "not of this token"},
        {"email_verified": "true"},
        {"email_verified": None},
        {"email": ["nurse.caen@example.org"]},
        {"sub": ""},
    ],
    ids=str,
)
def test_a_claim_that_does_not_hold_lets_nobody_in(open_doors: Open, liar: Liar, lie: dict[str, Any]) -> None:
    liar.claims |= lie
    visit = Visit(open_doors(liar.issuer))
    assert back_from(visit, liar).status_code == 403
    assert visit.get("/account").status_code == 303


def test_a_token_without_a_signature_or_with_another_keys_lets_nobody_in(open_doors: Open, liar: Liar) -> None:
    doors = open_doors(liar.issuer)
    liar.algorithm = "none"
    assert back_from(Visit(doors), liar).status_code == 403
    liar.algorithm, liar.signing, liar.nonce = "RS256", OTHER, ""
    assert back_from(Visit(doors), liar).status_code == 403


def test_a_provider_that_calls_itself_otherwise_or_leads_to_plain_http_is_not_asked(open_doors: Open, liar: Liar) -> None:
    visit = Visit(open_doors(liar.issuer))
    liar.document = {"issuer": "https://another.example"}
    assert visit.get("/sign-in/provider").status_code == 403
    liar.document = {"token_endpoint": "http://token.example/steal"}
    assert back_from(visit, liar).status_code == 403
    assert liar.asked == []


def test_a_provider_that_did_not_ask_again_proves_nothing(open_doors: Open, liar: Liar, clock: SetClock) -> None:
    """`prompt=login` may be ignored: the time of the last asking tells."""
    doors = open_doors(liar.issuer)
    visit = Visit(doors)
    back_from(visit, liar)
    clock.advance(timedelta(minutes=2))
    for asked_at in (1_700_000_000, None, "now", True):
        liar.claims["auth_time"], liar.nonce = asked_at, ""
        assert back_from(visit, liar, "/sign-in/provider?again=1").status_code == 403
        with pytest.raises(NotProven):
            prove_by(visit)


def test_who_was_remembered_since_this_morning_is_in_but_has_not_proved_themselves_now(open_doors: Open, liar: Liar) -> None:
    liar.claims["auth_time"] = None
    visit = Visit(open_doors(liar.issuer))
    assert back_from(visit, liar).status_code == 303
    found = read_session(visit.doors.database, visit.doors.clock, visit.client.cookies[COOKIE])
    assert found is not None
    assert visit.doors.clock.now() - found.proven_at > timedelta(hours=1)
    with pytest.raises(NotProven):
        prove_by(visit)
