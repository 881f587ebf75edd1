"""Every route has one rule, and gives nothing of what is not one's own: read off the application's own table of routes."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import product
from typing import Any

import pytest
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from two_sites import FOREIGN, FOREIGN_WORDS, STRANGERS, TwoSites, settle
from visit import Visit, doors_on

from insitu.entrance.guard import FIELD, HEADER
from insitu.entrance.visitor import RULES
from sites.clock import SetClock
from sites.database import Database, table
from sites.tables import AccessRow, Draft, FactRow


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TwoSites]:
    from datetime import UTC, datetime

    database = Database(f"sqlite:///{tmp_path_factory.mktemp('two') / 'insitu.db'}")
    database.migrate()
    yield settle(doors_on(database, SetClock(datetime(2026, 3, 2, 9, tzinfo=UTC))))
    database.dispose()


def routes(visit: Visit) -> list[APIRoute]:
    found = list(walked(visit.client.app.routes))  # type: ignore[attr-defined]
    assert len(found) > 50
    return found


def walked(listed: list[Any]) -> Iterator[APIRoute]:
    """The routes of a list, and those of the routers within it."""
    for one in listed:
        if isinstance(one, APIRoute):
            yield one
        elif inner := getattr(one, "original_router", None):
            yield from walked(inner.routes)


def rules_of(dependant: Dependant) -> list[str]:
    return [RULES[one.call] for one in dependant.dependencies if one.call in RULES] + [
        rule for one in dependant.dependencies for rule in rules_of(one) if one.call not in RULES
    ]


def test_every_route_has_exactly_one_rule(house: TwoSites) -> None:
    found = {f"{sorted(route.methods)} {route.path}": rules_of(route.dependant) for route in routes(Visit(house.doors))}
    assert {name: rules for name, rules in found.items() if len(rules) != 1} == {}


def foreign_values(house: TwoSites) -> dict[str, list[str]]:
    """For each name a route's path may hold, values that are not a stranger's own; a new name needs some here."""
    shared, foreign = house.shared, house.foreign
    return {
        "code": [foreign, shared],
        "checkpoint": [
            f"{foreign}:review::1",
            f"{foreign}:setup:{FOREIGN}:1",
            f"{shared}:setup:{FOREIGN}:1",
            f"{shared}:visit:{FOREIGN}:1",
        ],
        "hash": [house.paper],
        "key": [house.paper],
        "hash_": [house.paper],
        "person": ["zz.nurse"],
        "site": [FOREIGN],
        "protocol": ["two-sites"],
        "version": ["1.0.0"],
        "token": ["forged"],
        "number": ["1"],
        "session": ["0" * 64],
        "id": ["1"],
        "remark": ["1"],
        "channel": ["0"],
    }


def addresses(house: TwoSites, path: str) -> Iterator[str]:
    names = re.findall(r"{(\w+)[^}]*}", path)
    values = foreign_values(house)
    assert set(names) <= values.keys(), f"{path} has a name without foreign values: add them"
    for chosen in product(*(values[name] for name in names)):
        address = path
        for name, value in zip(names, chosen, strict=True):
            address = re.sub(rf"{{{name}[^}}]*}}", value, address)
        yield address


@pytest.mark.parametrize("stranger", ["", STRANGERS[-1]], ids=lambda who: who or "not signed in")
def test_head_is_what_get_answers_by_the_same_rule_and_without_a_body(house: TwoSites, stranger: str) -> None:
    """Every route that answers GET, and no other."""
    visit = Visit(house.doors)
    if stranger:
        visit.sign_in(stranger)
    served = routes(visit)
    read, posted = ({next(addresses(house, route.path)) for route in served if method in route.methods} for method in ("GET", "POST"))
    for address in read:
        answer = visit.client.head(address)
        assert (address, answer.status_code, answer.content) == (address, visit.get(address).status_code, b"")
        assert answer.headers["content-security-policy"]
    for address in posted - read:
        answer = visit.client.head(address)
        assert (address, answer.status_code, answer.headers.get("allow")) == (address, 405, "POST")


def test_head_is_among_what_is_allowed_wherever_get_is(house: TwoSites) -> None:
    refused = Visit(house.doors).client.delete("/sign-in")
    assert (refused.status_code, {"GET", "HEAD"} <= set(refused.headers["allow"].split(", "))) == (405, True)
    assert Visit(house.doors).client.head("/static/insitu.css").status_code == 200


QUERIES = ("", f"?site={FOREIGN}", "?q=zz", f"?person=zz.nurse&site={FOREIGN}&page=1&size=500")


@pytest.mark.parametrize("stranger", STRANGERS, ids=lambda who: who or "not signed in")
def test_no_page_and_no_request_gives_what_is_not_ones_own(house: TwoSites, stranger: str) -> None:
    visit = Visit(house.doors)
    if stranger:
        visit.sign_in(stranger)
    leaks = []
    for route in routes(visit):
        if "GET" not in route.methods:
            continue
        for address, query in product(addresses(house, route.path), QUERIES):
            answer = visit.get(address + query)
            assert answer.status_code < 500, f"{address}{query}: {answer.text[:2000]}"
            # What one typed oneself comes back; nothing else does.
            said = answer.text.replace(address, "").replace(query, "").replace(query.replace("&", "&amp;"), "")
            words = [word for word in words_seen(said, address + query) if word not in allowed(stranger, house)]
            leaks += [f"{stranger or 'nobody'} reads {words} at {address}{query}"] if words else []
    assert leaks == []


def words_seen(text: str, asked: str) -> list[str]:
    """The foreign words in an answer, but for those that stand in what was asked."""
    return [word for word in FOREIGN_WORDS if word.lower() in text.lower() and word.lower() not in asked.lower()]


def allowed(stranger: str, house: TwoSites) -> set[str]:
    """What a stranger may know after all: a manager of the shared experiment all of it; its sponsor the codes of its sites."""
    if stranger == "one.manager":
        return set(FOREIGN_WORDS) - {"zzaim", "zzremark"}
    return {FOREIGN, "zz.nurse"[:0]} - {""} if stranger == "sponsor" else set()


# To a manager of the shared experiment all of it is their own; what is not is in the tests of the administration.
@pytest.mark.parametrize("stranger", [who for who in STRANGERS if who != "one.manager"], ids=lambda who: who or "not signed in")
def test_no_post_changes_what_is_not_ones_own(house: TwoSites, stranger: str) -> None:
    visit = Visit(house.doors)
    if stranger:
        visit.sign_in(stranger)
    token = visit.token("/account" if stranger else "/accessibility")
    before = state_of(house)
    for route in routes(visit):
        for method in sorted(route.methods - {"GET", "HEAD"}):
            for address in addresses(house, route.path):
                if not re.search(r"{(code|checkpoint|person|site)", route.path):
                    continue
                answer = send(visit, method, address, token)
                assert answer.status_code < 500, f"{method} {address}: {answer.text[:2000]}"
                words = [word for word in words_seen(answer.text.replace(address, ""), address) if word not in allowed(stranger, house)]
                assert words == [], f"{method} {address} gives {words}"
    assert state_of(house) == before


def send(visit: Visit, method: str, address: str, token: str) -> Any:
    guess = {"reason": "because", "text": "hello", "answers": {"words": "x"}, "meaning": "Read", "words": "x", "password": "x"}
    if address.startswith("/api/"):
        return visit.client.request(method, address, json=guess, headers={HEADER: token})
    form = {name: value for name, value in guess.items() if isinstance(value, str)}
    return visit.client.request(method, address, data={FIELD: token} | form)


def state_of(house: TwoSites) -> dict[str, Any]:
    """The journals and the drafts, but for the journal's lines on what was refused and who came in."""
    harmless = ("RequestRefused", "SignedIn", "SignInFailed", "SignedOut")
    with house.doors.database.read() as connection:
        facts = connection.execute(table(FactRow).select()).mappings().all()
        drafts = connection.execute(table(Draft).select()).mappings().all()
        access = connection.execute(table(AccessRow).select().where(table(AccessRow).c.kind.not_in(harmless))).mappings().all()
    return {
        "facts": len(facts),
        "drafts": sorted(json.dumps(dict(row), default=str) for row in drafts),
        "access": [dict(row) for row in access],
    }
