"""The way to an OpenID provider and out of it in a real browser, which holds pages to what their policy lets them send and follow."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from issuer import CLIENT, PEOPLE, real_provider
from playwright.sync_api import Browser, expect
from town import settle
from visit import doors_on

from insitu.app import create_app
from insitu.services import address, listening, serving
from insitu.supervision import Parts
from sites.clock import SetClock
from sites.database import Database
from sites.identity import accounts


@pytest.fixture
def address_of_ours(tmp_path: Path) -> Iterator[str]:
    """An installation whose people come by a real provider."""
    database = Database(f"sqlite:///{tmp_path / 'insitu.db'}")
    database.migrate()
    settle(database)
    clock = SetClock(datetime(2026, 3, 2, 9, tzinfo=UTC))
    with database.write() as connection:
        accounts.create_account(connection, "project_manager", "the tram stops at seven", clock.now(), by="project_manager")
    with listening("127.0.0.1", 0) as door, real_provider(*PEOPLE) as issuer:
        ours = address(door)
        known = {"oidc_issuer": issuer, "oidc_client_id": CLIENT, "oidc_client_secret": "a secret", "oidc_name": "Pro Santé Connect"}
        with serving(create_app(doors_on(database, clock, data=tmp_path, public_url=ours, **known)), door, Parts()):
            yield ours
    database.dispose()


def test_a_nurse_comes_in_by_the_provider_and_leaves_it_too(chromium: Browser, address_of_ours: str) -> None:
    context = chromium.new_context(locale="en")
    page = context.new_page()
    page.goto(address_of_ours + "/sign-in?to=/account")
    page.get_by_role("link", name="Sign in with Pro Santé Connect").click()
    page.get_by_placeholder("sub").fill("s-caen")
    page.get_by_role("button", name="Authorize").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Your account")
    page.get_by_role("button", name="Sign out", exact=True).click()
    expect(page.get_by_role("heading", name="End Session")).to_be_visible()  # the provider's own page
    page.get_by_role("button", name="End session").click()
    expect(page.get_by_role("status")).to_have_text("You are signed out, here and at Pro Santé Connect.")
    page.goto(address_of_ours + "/account")
    expect(page).to_have_url(address_of_ours + "/sign-in?to=%2Faccount")
    context.close()
