"""Signing out, unlinking and linking again: who left a shared computer is not let in again unasked."""

from __future__ import annotations

import re
from datetime import timedelta
from html import unescape
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from issuer import Liar
from passage import MANAGER, NURSE, Open, at_provider, back_from, come, leave
from sqlalchemy import select
from visit import HOST, Visit

from insitu.entrance.visitor import COOKIE
from sites.clock import SetClock
from sites.database import table
from sites.identity import accounts
from sites.identity.access import entries
from sites.tables import Session

GOOD = "the tram stops at seven"
BY_PROVIDER = "/sign-in/provider"


def sign_out(visit: Visit) -> httpx.Response:
    return visit.post("/sign-out", of="/account")


def way_out(answer: httpx.Response) -> str:
    """Where the page of someone who left sends their browser."""
    found = re.search(r'<meta http-equiv="refresh" content="0; url=([^"]+)">', answer.text)
    assert found, answer.text
    return unescape(found[1])


def is_asked(visit: Visit) -> bool:
    """Whether the provider is told to ask whoever comes next from this browser."""
    return parse_qs(urlsplit(leave(visit, BY_PROVIDER)).query).get("prompt") == ["login"]


# ------------------------------------------------------------------ signing out


def test_who_signs_out_is_signed_out_at_the_provider_too(open_doors: Open, issuer: str) -> None:
    doors = open_doors(issuer)
    visit, _ = come(doors, "s-caen")
    answer = sign_out(visit)
    assert answer.status_code == 200
    assert "Nurse" not in answer.text  # the page is nobody's any more
    assert COOKIE not in visit.client.cookies
    address = way_out(answer)
    said = parse_qs(urlsplit(address).query)
    assert address.startswith(f"{issuer}/oauth2/end_session?")
    assert said["post_logout_redirect_uri"] == [f"{HOST}/sign-in/provider/left"]
    assert said["client_id"] == ["insitu"]
    assert said["id_token_hint"][0].count(".") == 2
    shown = httpx.get(address)
    back = httpx.post(f"{issuer}/oauth2/end_session/confirm", data={"redirect_uri": hidden(shown.text, "redirect_uri")})
    assert back.headers["location"].startswith(f"{HOST}/sign-in/provider/left?state=")
    assert is_asked(visit)  # as long as the provider has not said that it is done
    done = visit.get(back.headers["location"].removeprefix(HOST))
    assert done.headers["location"] == "/sign-in"
    assert "here and at Pro Santé Connect" in visit.get("/sign-in").text
    assert not is_asked(visit)


def hidden(text: str, name: str) -> str:
    found = re.search(rf'name="{name}" value="([^"]+)"', text)
    assert found
    return unescape(found[1])


def test_nobody_says_for_the_provider_that_it_has_forgotten_someone(open_doors: Open, issuer: str) -> None:
    visit, _ = come(open_doors(issuer), "s-caen")
    sign_out(visit)
    for state in ("", "made-up", "é"):
        assert visit.get("/sign-in/provider/left", params={"state": state}).headers["location"] == "/sign-in"
    assert is_asked(visit)


@pytest.mark.parametrize("odd", [None, 7, "javascript:alert(1)", "http://evil.example/", "/leave"], ids=repr)
def test_a_provider_that_cannot_be_left_must_ask_who_comes_next(open_doors: Open, liar: Liar, odd: object) -> None:
    liar.document = {"end_session_endpoint": odd}
    doors = open_doors(liar.issuer)
    visit = Visit(doors)
    back_from(visit, liar)
    answer = sign_out(visit)
    assert (answer.status_code, answer.headers["location"]) == (303, "/sign-in")
    assert "will ask who comes in next" in visit.get("/sign-in").text
    assert is_asked(visit)
    assert not is_asked(Visit(doors))
    liar.nonce = ""
    assert back_from(visit, liar).status_code == 303
    sign_out(visit)
    assert is_asked(visit)


def test_a_provider_that_did_not_ask_all_the_same_lets_nobody_in(open_doors: Open, liar: Liar) -> None:
    doors = open_doors(liar.issuer)
    visit = Visit(doors)
    back_from(visit, liar)
    sign_out(visit)
    liar.claims["auth_time"], liar.nonce = 1_700_000_000, ""
    assert back_from(visit, liar).status_code == 403
    assert entries(doors.database, kind="SignInFailed")[0]["data"]["why"] == "not_asked"
    assert visit.get("/account").status_code == 303


def test_whose_session_ended_by_itself_is_asked_for_too(open_doors: Open, liar: Liar, clock: SetClock) -> None:
    visit = Visit(open_doors(liar.issuer))
    back_from(visit, liar)
    clock.advance(timedelta(minutes=31))
    assert is_asked(visit)


def test_who_came_by_password_signs_out_here_alone(open_doors: Open, issuer: str) -> None:
    visit = Visit(open_doors(issuer)).sign_in(NURSE)
    assert sign_out(visit).headers["location"] == "/sign-in"
    assert not is_asked(visit)


def test_what_is_kept_for_the_way_out_is_sealed_and_goes_with_the_session(open_doors: Open, issuer: str) -> None:
    doors = open_doors(issuer)
    visit, _ = come(doors, "s-caen")

    def kept() -> str:
        with doors.database.read() as connection:
            return str(connection.execute(select(table(Session).c.leaving)).scalar())

    assert kept()
    assert "eyJ" not in kept()  # how every token begins
    assert doors.key.unseal(kept())
    sign_out(visit)
    assert kept() == ""


# ------------------------------------------------------------------ unlinking


def prove_there(visit: Visit, sub: str, to: str) -> None:
    assert visit.get(at_provider(leave(visit, f"{BY_PROVIDER}?again=1&to={to}"), sub)).status_code == 303


def test_who_has_no_password_unlinks_themselves_once_proven_at_the_provider(open_doors: Open, issuer: str, clock: SetClock) -> None:
    doors = open_doors(issuer)
    visit, _ = come(doors, "s-caen")
    clock.advance(timedelta(minutes=3))
    path = "/account/provider"
    assert path in visit.get("/account").text
    assert "no password here" in visit.get(path).text
    assert visit.post(path, {"act": "unlink"}, of=path).status_code == 422
    prove_there(visit, "s-caen", path)
    answer = visit.post(path, {"act": "unlink"}, of=path)
    assert answer.headers["location"] == "/sign-in"
    assert visit.get("/account").status_code == 303
    _, refused = come(doors, "s-caen")
    assert refused.status_code == 403
    assert "was unlinked" in refused.text


def test_a_manager_unlinks_someone_on_their_page_once_proven(open_doors: Open, issuer: str, clock: SetClock) -> None:
    doors = open_doors(issuer)
    with doors.database.write() as connection:
        accounts.create_account(connection, MANAGER, GOOD, clock.now(), by=MANAGER)
    nurse, _ = come(doors, "s-caen")
    office, page = Visit(doors).sign_in(MANAGER), f"/admin/people/{NURSE}"
    assert "Unlink from Pro Santé Connect" in office.get(page).text
    wrong = office.post(f"{page}/account", {"act": "unlink", "password": "x"}, of=page)
    assert wrong.status_code == 422
    assert "<title>Refused:" in wrong.text
    assert nurse.get("/account").status_code == 200
    assert office.post(f"{page}/account", {"act": "unlink", "password": GOOD}, of=page).headers["location"] == page
    assert nurse.get("/account").status_code == 303
    assert come(doors, "s-caen")[1].status_code == 403
    assert "Unlink from" not in office.get(page).text
    (row,) = entries(doors.database, kind="ProviderUnlinked")
    assert (row["person"], row["by"]) == (NURSE, MANAGER)


def test_who_was_unlinked_links_again_from_their_own_account(open_doors: Open, issuer: str, clock: SetClock) -> None:
    doors = open_doors(issuer)
    with doors.database.write() as connection:
        accounts.create_account(connection, NURSE, GOOD, clock.now(), by=MANAGER)
    come(doors, "s-caen")
    visit, path = Visit(doors).sign_in(NURSE), "/account/provider"
    assert visit.post(path, {"act": "unlink", "password": GOOD}, of=path).headers["location"] == "/account"
    assert come(doors, "s-caen")[1].status_code == 403
    assert visit.post(path, {"act": "link", "password": GOOD}, of=path).status_code == 303
    visit.get(at_provider(leave(visit, f"{BY_PROVIDER}?link=1&to=/account"), "s-caen"))
    assert come(doors, "s-caen")[1].status_code == 303
