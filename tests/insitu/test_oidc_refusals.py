"""What an OpenID provider says wrongly, oddly or too late lets nobody in, and says why: on the page, in the journal and in the log."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from datetime import timedelta
from email.utils import formatdate
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import anyio
import pytest
from issuer import Liar
from joserfc.jwk import RSAKey
from passage import MANAGER, NURSE, Open, at_provider, back_from, leave, prove_by, refusals, whys
from visit import Visit

from insitu.entrance.provider import LEEWAY_S, Errand, Provider, ProviderAway, is_safe
from insitu.entrance.visitor import COOKIE
from insitu.web.provider import MOST_ERRANDS
from protocols.errors import NotProven
from sites.clock import SetClock
from sites.identity import accounts
from sites.identity.access import entries
from sites.identity.limits import RATES, Door
from sites.identity.sessions import read_session
from sites.identity.subjects import introduce
from sites.settings import Settings

GOOD, WRONG = "the tram stops at seven", "a wrong password"
OTHER = RSAKey.generate_key(2048, {"kid": "one"})
MANY = int(RATES[Door.PROVIDER].partition("/")[0])
WELL_KNOWN = "/.well-known/openid-configuration"


def lie(**claims: Any) -> Callable[[Liar], None]:
    return lambda liar: liar.claims.update(claims)


def sign_otherwise(liar: Liar) -> None:
    liar.signing = OTHER


def without_signature(liar: Liar) -> None:
    liar.algorithm = "none"


def answer(path: str, status: int, told: Any) -> Callable[[Liar], None]:
    return lambda liar: liar.told.update({path: (status, told)})


LIES: dict[str, tuple[Callable[[Liar], None], str]] = {
    "another nonce": (lie(nonce="another"), "nonce"),
    "no nonce": (lie(nonce=None), "nonce"),
    "no signature": (without_signature, "signature"),
    "another's signature": (sign_otherwise, "signature"),
    "another issuer": (lie(iss="http://127.0.0.1:1"), "iss"),
    "another audience": (lie(aud="another-client"), "aud"),
    "over": (lie(exp=1_700_000_000), "exp"),
    "no subject": (lie(sub=None), "sub"),
    "an empty subject": (lie(sub=""), "claims"),
    "half a character": (lie(sub="\ud800"), "claims"),
    "a subject without an end": (lie(sub="s" * 256), "claims"),
    "no e-mail": (lie(email=None), "claims"),
    "an e-mail that is a list": (lie(email=["nurse.caen@example.org"]), "unknown"),
    "nobody here": (lie(email="who.ever@example.org"), "unknown"),
    "the token endpoint down": (answer("/token", 503, {}), "away"),
    "a token endpoint that answers a page": (answer("/token", 200, b"<html>"), "away"),
    "the keys down": (answer("/keys", 500, {}), "away"),
    "no keys": (answer("/keys", 200, {"keys": []}), "metadata"),
    "keys that are null": (answer("/keys", 200, {"keys": None}), "metadata"),
    "another client": (answer("/token", 401, {"error": "invalid_client"}), "away"),
    "a code that is not its own": (answer("/token", 400, {"error": "invalid_grant"}), "code"),
    "a token that is a number": (answer("/token", 200, {"access_token": "a", "id_token": 7}), "token"),
    "no token": (answer("/token", 200, {"access_token": "a"}), "token"),
    "a token that is none": (answer("/token", 200, {"access_token": "a", "id_token": "a.b.c"}), "signature"),
    "an access token of two lines": (answer("/token", 200, {"access_token": "a\nb", "id_token": "a.b.c"}), "token"),
    "times that are none": (lie(exp=True), "exp"),
    "a time beyond all calendars": (lie(iat=10**30), "iat"),
}


@pytest.mark.parametrize("name", LIES)
def test_every_refusal_leaves_a_row_and_a_line_with_its_reason(
    open_doors: Open, liar: Liar, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    told, why = LIES[name]
    told(liar)
    doors = open_doors(liar.issuer)
    visit = Visit(doors)
    with caplog.at_level(logging.WARNING, "insitu.doors"):
        refused = back_from(visit, liar)
    assert refused.status_code == 403
    (row,) = entries(doors.database, kind="SignInFailed")
    assert (row["data"]["why"], row["data"]["to"], row["data"]["by_provider"]) == (why, "sign_in", True)
    assert row["address"]
    assert visit.get("/account").status_code == 303
    if why not in ("unknown", "claims"):
        assert f"let nobody in: {why}" in caplog.text


def test_whoever_declines_leaves_a_row_and_may_try_as_often_as_they_like(open_doors: Open, liar: Liar) -> None:
    doors = open_doors(liar.issuer)
    visit = Visit(doors)
    for _ in range(MANY + 1):
        state = parse_qs(urlsplit(leave(visit)).query)["state"][0]
        declined = visit.get("/sign-in/provider/back", params={"error": "access_denied", "state": state})
        assert declined.status_code == 403
    assert set(whys(doors)) == {"denied"}
    assert entries(doors.database, kind="SignInFailed")[0]["data"]["error"] == "access_denied"
    assert back_from(visit, liar).status_code == 303


def test_what_an_error_is_called_is_kept_only_where_it_is_a_word(open_doors: Open, liar: Liar) -> None:
    doors = open_doors(liar.issuer)
    visit = Visit(doors)
    state = parse_qs(urlsplit(leave(visit)).query)["state"][0]
    visit.get("/sign-in/provider/back", params={"error": "<script>\n=1", "state": state})
    assert entries(doors.database, kind="SignInFailed")[0]["data"]["error"] == ""


def test_a_refusal_points_to_no_field_and_stands_in_the_title(open_doors: Open, liar: Liar) -> None:
    liar.claims["nonce"] = "another"
    text = back_from(Visit(open_doors(liar.issuer)), liar).text
    assert "does not hold" in text
    assert 'role="alert"' in text
    assert 'href="#name"' not in text
    assert "to correct" not in text
    assert "<title>Refused: Sign in – insitu</title>" in text


@pytest.mark.parametrize("path", ["/account/password", "/account/tokens/new"])
def test_the_title_of_any_form_that_was_refused_says_so(open_doors: Open, clock: SetClock, path: str) -> None:
    doors = open_doors("")
    with doors.database.write() as connection:
        accounts.create_account(connection, NURSE, GOOD, clock.now(), by=NURSE)
    visit = Visit(doors).sign_in(NURSE)
    assert "<title>Refused:" not in visit.get(path).text
    assert "<title>Refused:" in visit.post(path, {"password": WRONG}, of=path).text
    assert "<title>There is nothing here for you – insitu</title>" in visit.get("/nowhere").text


# ------------------------------------------------------------------ how often


def by_password(visit: Visit, password: str) -> int:
    return visit.post("/sign-in", {"name": NURSE, "password": password, "to": "/"}, of="/sign-in").status_code


def test_forged_answers_are_limited_and_passwords_are_not(open_doors: Open, liar: Liar, clock: SetClock) -> None:
    doors = open_doors(liar.issuer)
    with doors.database.write() as connection:
        accounts.create_account(connection, NURSE, GOOD, clock.now(), by=NURSE)
    liar.claims["nonce"] = "another"
    visit = Visit(doors)
    assert [back_from(visit, liar).status_code for _ in range(MANY)] == [403] * MANY
    assert back_from(visit, liar).status_code == 429
    assert len(whys(doors)) == MANY
    assert len(liar.asked) == MANY
    assert by_password(visit, WRONG) == 422
    assert by_password(visit, GOOD) == 303


def test_what_other_pages_make_a_browser_send_locks_nobody_out_and_fills_no_journal(open_doors: Open, liar: Liar, clock: SetClock) -> None:
    doors = open_doors(liar.issuer)
    with doors.database.write() as connection:
        accounts.create_account(connection, NURSE, GOOD, clock.now(), by=NURSE)
    visit = Visit(doors)
    for _ in range(2 * MANY):
        assert visit.get("/sign-in/provider/back?code=c&state=s").status_code == 403
    assert len(refusals(doors)) == int(RATES[Door.STRAY].partition("/")[0])
    assert by_password(visit, GOOD) == 303
    assert back_from(Visit(doors), liar).status_code == 303


def test_a_provider_that_is_away_fills_no_journal_either(open_doors: Open) -> None:
    doors = open_doors("http://127.0.0.1:9")
    visit = Visit(doors)
    for _ in range(MANY):
        assert visit.get("/sign-in/provider").status_code == 403
    assert whys(doors) == ["away"] * int(RATES[Door.STRAY].partition("/")[0])


# ------------------------------------------------------------------ clocks


def test_a_clock_that_is_some_minutes_off_lets_people_in(open_doors: Open, liar: Liar) -> None:
    for ahead in (61, 120, LEEWAY_S - 30, -120, -LEEWAY_S + 30):
        now = int(time.time()) + ahead
        liar.claims |= {"iat": now, "nbf": now, "exp": now + 60, "auth_time": now}
        liar.nonce = ""
        assert back_from(Visit(open_doors(liar.issuer)), liar).status_code == 303, ahead


@pytest.mark.parametrize(("ahead", "said"), [(400, "ahead of this machine"), (-400, "behind this machine")])
def test_a_clock_that_is_further_off_is_said_to_be(open_doors: Open, liar: Liar, ahead: int, said: str) -> None:
    now = int(time.time()) + ahead
    liar.claims |= {"iat": now, "exp": now + 60, "auth_time": now}
    doors = open_doors(liar.issuer)
    refused = back_from(Visit(doors), liar)
    assert refused.status_code == 403
    assert said in refused.text
    (row,) = entries(doors.database, kind="SignInFailed")
    assert row["data"]["why"] == "clock"
    assert abs(row["data"]["seconds_ahead"] - ahead) < 60


def test_a_proof_is_as_old_as_the_provider_says(open_doors: Open, liar: Liar, clock: SetClock) -> None:
    doors = open_doors(liar.issuer)
    visit = Visit(doors)
    back_from(visit, liar)
    clock.advance(timedelta(minutes=5))
    liar.claims["auth_time"], liar.nonce = int(time.time()) - 100, ""
    assert back_from(visit, liar, "/sign-in/provider?again=1&to=/account").status_code == 303
    prove_by(visit)
    found = read_session(doors.database, clock, visit.client.cookies[COOKIE])
    assert found is not None
    assert clock.now() - found.proven_at >= timedelta(seconds=100)
    clock.advance(timedelta(seconds=30))
    with pytest.raises(NotProven):
        prove_by(visit)


def test_a_token_that_waited_somewhere_makes_its_proof_older(open_doors: Open, liar: Liar, clock: SetClock) -> None:
    """Whoever keeps a code back, or a token, must not have a proof that is new when it is used."""
    doors = open_doors(liar.issuer)
    visit = Visit(doors)
    back_from(visit, liar)
    clock.advance(timedelta(minutes=5))
    then = int(time.time()) - 300
    liar.claims |= {"auth_time": then, "iat": then}
    liar.nonce = ""
    assert back_from(visit, liar, "/sign-in/provider?again=1").status_code == 403
    liar.headers = {"date": formatdate(then, usegmt=True)}  # its clock is behind, and nothing waited
    liar.nonce = ""
    assert back_from(visit, liar, "/sign-in/provider?again=1").status_code == 303


def test_a_proof_of_an_odd_time_is_none(open_doors: Open, liar: Liar, clock: SetClock) -> None:
    visit = Visit(open_doors(liar.issuer))
    back_from(visit, liar)
    clock.advance(timedelta(minutes=5))
    for asked_at in (10**30, -(10**30), "now", True, float("inf"), [], 4_000_000_000):
        liar.claims["auth_time"], liar.nonce = asked_at, ""
        assert back_from(visit, liar, "/sign-in/provider?again=1").status_code == 403, asked_at
        with pytest.raises(NotProven):
            prove_by(visit)


# ------------------------------------------------------------------ odd shapes

ODD = [
    *(
        None,
        7,
        True,
        [],
        {},
        "",
        "authorize",
        "/authorize",
        "//evil.example/a",
        "javascript:alert(1)",
        "data:text/html,x",
        "ftp://a.example/",
    ),
    *("http://evil.example/a", "https://user:word@a.example/", "https://", "https://a.example\\@b.example/", "https://a.example/\r\nx: y"),
    *("https://[::1", "https://a.example:99999/", "https://a.example/#part", "https://é.example/", " https://a.example/"),
]


def test_nobody_is_sent_to_an_odd_address(open_doors: Open, liar: Liar) -> None:
    for odd in ODD:
        liar.document = {"authorization_endpoint": odd}
        doors = open_doors(liar.issuer)
        answered = Visit(doors).get("/sign-in/provider")
        assert (answered.status_code, "does not answer as it should" in answered.text) == (403, True), odd
        found = entries(doors.database, kind="SignInFailed")[0]["data"]
        assert (found["why"], "authorization_endpoint" in found["detail"]) == ("metadata", True), odd
    assert len(whys(doors)) == len(ODD)


@pytest.mark.parametrize("name", ["token_endpoint", "jwks_uri"])
def test_no_odd_address_is_asked(open_doors: Open, liar: Liar, name: str) -> None:
    settings, errand = open_doors(liar.issuer).settings, Errand.new("in", "", "/")
    for odd in ODD:
        liar.document, liar.nonce = {name: odd}, errand.nonce
        with pytest.raises(ProviderAway) as away:
            anyio.run(Provider(settings).proof, errand, "a code")
        assert (away.value.why, name in away.value.details["detail"]) == ("metadata", True), odd


def test_odd_ways_to_ask_for_a_token_do_no_harm(open_doors: Open, liar: Liar) -> None:
    for odd in (None, 7, {}, "client_secret_basic", [None]):
        liar.document, liar.nonce = {"token_endpoint_auth_methods_supported": odd, "end_session_endpoint": odd}, ""
        assert back_from(Visit(open_doors(liar.issuer)), liar).status_code == 303, odd


def test_a_provider_that_says_odd_things_of_itself_is_away(open_doors: Open, liar: Liar) -> None:
    for odd in (None, 7, [], "text", {"issuer": None}, {"issuer": 7}, {"issuer": "https://another.example"}, {}):
        liar.told[WELL_KNOWN] = (200, odd)
        doors = open_doors(liar.issuer)
        assert Visit(doors).get("/sign-in/provider").status_code == 403, odd
        assert whys(doors)[0] in ("away", "metadata")


def test_plain_http_is_for_a_provider_on_this_machine_only() -> None:
    assert is_safe("https://a.example/x?y=1", "https://issuer.example")
    assert is_safe("http://127.0.0.1:8/x", "http://127.0.0.1:8")
    assert not is_safe("http://127.0.0.1:8/x", "https://issuer.example")
    assert not is_safe("http://a.example/x", "http://127.0.0.1:8")


# ------------------------------------------------------------------ cookies


def test_two_tabs_at_once_both_come_in(open_doors: Open, issuer: str) -> None:
    visit = Visit(open_doors(issuer))
    first, second = leave(visit), leave(visit, "/sign-in/provider?to=/help")
    assert visit.get(at_provider(second, "s-caen")).headers["location"] == "/help"
    assert visit.get(at_provider(first, "s-caen")).headers["location"] == "/account"


def test_a_browser_keeps_a_few_errands_and_the_oldest_goes_first(open_doors: Open, issuer: str, clock: SetClock) -> None:
    visit = Visit(open_doors(issuer))
    addresses = []
    for _ in range(MOST_ERRANDS + 3):
        addresses.append(leave(visit))
        clock.advance(timedelta(seconds=1))
    assert len([name for name in visit.client.cookies if name.startswith("insitu-errand")]) == MOST_ERRANDS
    assert visit.get(at_provider(addresses[0], "s-caen")).status_code == 403
    assert visit.get(at_provider(addresses[3], "s-caen")).status_code == 303


def test_every_cookie_is_secure_where_the_public_address_is(open_doors: Open, liar: Liar) -> None:
    visit = Visit(open_doors(liar.issuer, public_url="https://insitu.example"))
    answered = [visit.get("/sign-in"), visit.get("/sign-in/provider"), visit.get("/sign-in/provider/back?state=s")]
    given = [cookie for one in answered for cookie in one.headers.get_list("set-cookie")]
    assert len(given) > 1
    assert [cookie for cookie in given if "secure" not in cookie.lower()] == []


# ------------------------------------------------------------------ settings


def test_what_pro_sante_connect_wants_is_asked_for_and_looked_at(open_doors: Open, liar: Liar) -> None:
    """`acr_values=eidas1`, `scope_all`, and metadata at an address of its own."""
    liar.told["/.well-known/wallet"] = (200, liar.answer(WELL_KNOWN))
    doors = open_doors(
        liar.issuer,
        oidc_acr_values=("eidas1",),
        oidc_scopes=("scope_all",),
        oidc_metadata_url=f"{liar.issuer}/.well-known/wallet",
    )
    asked = parse_qs(urlsplit(leave(Visit(doors))).query)
    assert (asked["acr_values"], asked["scope"]) == (["eidas1"], ["openid scope_all"])
    assert liar.gets == ["/.well-known/wallet"]
    for acr, status in ((None, 403), ("eidas0", 403), (7, 403), ("eidas1", 303)):
        liar.claims["acr"], liar.nonce = acr, ""
        assert back_from(Visit(doors), liar).status_code == status
    assert whys(doors) == ["acr"] * 3


def test_a_claim_that_stands_in_userinfo_alone_is_found_though_the_token_holds_an_email(open_doors: Open, liar: Liar) -> None:
    liar.userinfo = {"sub": "someone else", "SubjectNameID": "899700000000"}
    doors = open_doors(liar.issuer, oidc_claim="SubjectNameID")
    introduce(doors.database, doors.clock, NURSE, f"{liar.issuer}|899700000000", by=MANAGER)
    assert back_from(Visit(doors), liar).status_code == 403
    liar.userinfo, liar.nonce = {"sub": "s-1", "SubjectNameID": "899700000000"}, ""
    assert back_from(Visit(doors), liar).status_code == 303


def test_an_email_is_verified_by_whoever_says_it_and_by_nobody_else(open_doors: Open, liar: Liar) -> None:
    """What the token says of one address is not what userinfo says of another."""
    doors = open_doors(liar.issuer)
    liar.claims |= {"email": "nurse.caen@example.org", "email_verified": None}
    liar.userinfo = {"sub": "s-1", "email": "who.ever@example.org", "email_verified": True}
    assert back_from(Visit(doors), liar).status_code == 403
    assert whys(doors) == ["unknown"]


def test_an_errand_says_whether_the_provider_must_ask() -> None:
    assert [Errand.new("in", "", "/").asks, Errand.new("again", "", "/").asks, Errand.new("in", "", "/", asks=True).asks] == [
        False,
        True,
        True,
    ]


def test_the_settings_of_the_provider_are_read_word_by_word() -> None:
    given = {
        "INSITU_OIDC_SCOPES": "openid scope_all",
        "INSITU_OIDC_ACR_VALUES": "eidas1",
        "INSITU_OIDC_METADATA_URL": "https://a.example/m",
    }
    found = Settings.load(Path(), given)
    assert (found.oidc_scopes, found.oidc_acr_values, found.oidc_metadata_url) == (
        ("openid", "scope_all"),
        ("eidas1",),
        "https://a.example/m",
    )
    assert Settings.load(Path(), {}).oidc_scopes == ("openid", "email")
