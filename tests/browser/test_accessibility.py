"""Every page can be used by everybody: axe-core in a real Chromium, and the additions of WCAG 2.2 by hand-written checks.

Each page is looked at in French by day, in English by night, and at 400 % (a window of 320 × 256 CSS pixels), with all of axe's rules
for WCAG 2.0 to 2.2, A and AA, and its best practices.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from pages import filled, further, page_paths
from playwright.sync_api import Browser, BrowserContext, Page
from sqlalchemy import update
from two_sites import TwoSites
from visit import Visit

from insitu.entrance.visitor import COOKIE
from sites.database import table
from sites.tables import Person

WAYS = {
    "French by day": {"locale": "fr", "color_scheme": "light", "viewport": {"width": 1280, "height": 900}},
    "English by night": {"locale": "en", "color_scheme": "dark", "viewport": {"width": 1280, "height": 900}},
    "French at 400 %": {"locale": "fr", "color_scheme": "light", "viewport": {"width": 320, "height": 256}},
}
RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}
OUTSIDE = ("/sign-in", "/recover", "/accessibility", "/help", "/l/forged", "/invitation/forged", "/recovery/forged", "/unsubscribe/forged")


def signed_in(context: BrowserContext, house: TwoSites, person: str, address: str) -> BrowserContext:
    cookie = Visit(house.doors).sign_in(person).client.cookies[COOKIE]
    context.add_cookies([{"name": COOKIE, "value": cookie, "url": address}])
    return context


@pytest.fixture(scope="module", params=WAYS)
def window(request: pytest.FixtureRequest, chromium: Browser, house: TwoSites, address_of_house: str) -> Iterator[Page]:
    """A window of the manager, who sees every page, in one of the ways to look."""
    way: dict[str, Any] = WAYS[request.param]
    speak(house, "boss", way["locale"])
    context = signed_in(chromium.new_context(**way), house, "boss", address_of_house)
    yield context.new_page()
    context.close()


def speak(house: TwoSites, person: str, locale: str) -> None:
    with house.doors.database.write() as connection:
        connection.execute(update(table(Person)).where(table(Person).c.id == person).values(locale=locale))


def addresses(house: TwoSites) -> list[str]:
    inside = [filled(path, house) for path in page_paths()]
    return [one for one in [*inside, *further(house)] if one not in ("/", "/setup")]


def violations(window: Page) -> list[str]:
    found = Axe().run(window, options=RULES).response["violations"]
    return [f"{one['id']}: {one['help']} — {[node['html'][:160] for node in one['nodes'][:3]]}" for one in found]


@pytest.mark.parametrize(
    "window",
    # Every page a third time takes half a minute, and looks at the same mark-up: `make soak`.
    [pytest.param(way, marks=[pytest.mark.soak] if way == "French at 400 %" else []) for way in WAYS],
    indirect=True,
)
def test_axe_finds_nothing_on_any_page(window: Page, house: TwoSites, address_of_house: str) -> None:
    found = {}
    for address in addresses(house):
        window.goto(address_of_house + address)
        if wrong := violations(window):
            found[address] = wrong
    assert found == {}


def test_axe_finds_nothing_on_the_pages_before_the_sign_in(chromium: Browser, house: TwoSites, address_of_house: str) -> None:
    found = {}
    for way in WAYS.values():
        context = chromium.new_context(**way)  # type: ignore[arg-type]
        window = context.new_page()
        for address in OUTSIDE:
            window.goto(address_of_house + address)
            if wrong := violations(window):
                found[f"{address} {way['locale']}"] = wrong
        context.close()
    assert found == {}


# What each page is asked, in the browser: the sentence that says what is wrong, or nothing.
TOO_WIDE = "() => document.documentElement.scrollWidth > innerWidth + 1 ? [`${document.documentElement.scrollWidth} px wide`] : []"
TOO_SMALL = """() => [...document.querySelectorAll('a, button, input, select, textarea, summary, [tabindex="0"]')]
  .filter(one => one.offsetParent !== null && one.type !== 'hidden' && !one.matches('.frame, .skip, p a, li p a, dd a, td a, th a, li a'))
  .filter(one => { const box = (one.closest('label') ?? one).getBoundingClientRect(); return box.width < 24 || box.height < 24 })
  .map(one => one.outerHTML.slice(0, 120))"""
HELP_PLACE = "() => [...document.querySelectorAll('footer a')].map(one => one.getAttribute('href')).indexOf('/help')"
DRAGGED = "() => [...document.querySelectorAll('[draggable=true], input[type=range]')].map(one => one.outerHTML.slice(0, 120))"
HIDDEN_FOCUS = """() => {
  const one = document.activeElement, box = one.getBoundingClientRect();
  if (one === document.body || !box.width) return null;
  const at = document.elementFromPoint(Math.min(Math.max(box.x + box.width / 2, 1), innerWidth - 1),
                                       Math.min(Math.max(box.y + Math.min(box.height, 40) / 2, 1), innerHeight - 1));
  return at && (one.contains(at) || at.contains(one) || at.control === one || at.closest('label')?.control === one)
    ? null : one.outerHTML.slice(0, 120)
}"""


def test_pages_fit_need_no_dragging_and_keep_their_help_in_one_place(window: Page, house: TwoSites, address_of_house: str) -> None:
    """WCAG 2.2: 1.4.10 reflow, 2.5.7 dragging movements, 2.5.8 target size, 3.2.6 consistent help."""
    found: dict[str, list[str]] = {}
    places = set()
    for address in addresses(house):
        window.goto(address_of_house + address)
        wrong = [said for check in (TOO_WIDE, TOO_SMALL, DRAGGED) for said in window.evaluate(check)]
        if wrong:
            found[address] = wrong
        places.add(window.evaluate(HELP_PLACE))
    assert found == {}
    assert places == {0}


def test_what_has_the_focus_is_never_hidden(window: Page, house: TwoSites, address_of_house: str) -> None:
    """WCAG 2.2: 2.4.11 focus not obscured; on the pages with the most on them."""
    for address in ("/today", filled("/checkpoints/{checkpoint}", house), filled("/experiments/{code}", house), "/account"):
        window.goto(address_of_house + address)
        hidden = []
        for _ in range(40):
            window.keyboard.press("Tab")
            if said := window.evaluate(HIDDEN_FOCUS):
                hidden.append(said)
        assert hidden == [], address


def test_nothing_stands_in_the_way_of_a_password_manager(chromium: Browser, address_of_house: str) -> None:
    """WCAG 2.2: 3.3.8 accessible authentication (fields that can be filled and pasted into), 3.3.7 redundant entry (what failed stays)."""
    context = chromium.new_context(locale="en")
    window = context.new_page()
    window.goto(address_of_house + "/sign-in")
    secret = window.locator("input[type=password]")
    assert secret.get_attribute("autocomplete") == "current-password"
    name = window.locator("input[autocomplete=username]")
    name.fill("nurse")
    secret.fill("not the password")
    assert window.evaluate("() => document.querySelector('input[type=password]').dispatchEvent(new Event('paste', {cancelable: true}))")
    window.keyboard.press("Enter")
    window.wait_for_load_state()
    assert window.locator("input[autocomplete=username]").input_value() == "nurse"
    context.close()
