"""A checkpoint completed by keyboard alone, within a minute of a person's time."""

from __future__ import annotations

import time
from dataclasses import dataclass

from playwright.sync_api import Browser, Page
from test_accessibility import signed_in
from two_sites import HOME, TwoSites

from sites import inbox

# The keystroke-level model of Card, Moran and Newell (Communications of the ACM 23:7, 1980): seconds to press a key, for an average
# typist who is not a secretary, and to think before each thing done.
KEY_S, THINK_S = 0.28, 1.35
WITHIN_S = 60
FOCUSED = "() => { const one = document.activeElement; return [one.name, one.innerText].join(' ') }"


@dataclass
class Hands:
    """Hands on a keyboard, which count what they do."""

    page: Page
    keys: int = 0
    thoughts: int = 0
    waited_s: float = 0

    def press(self, key: str, times: int = 1) -> None:
        for _ in range(times):
            self.page.keyboard.press(key)
        self.keys += times

    def go_to(self, what: str) -> None:
        """Tab on to the thing of this name or text, as one who looks for it would."""
        self.thoughts += 1
        for _ in range(40):
            self.press("Tab")
            at = self.page.evaluate(FOCUSED)
            if what in at:
                return
        raise AssertionError(f"{what!r} cannot be reached by Tab on {self.page.url}")

    def type(self, text: str) -> None:
        self.thoughts += 1
        self.page.keyboard.type(text)
        self.keys += len(text)

    def enter(self) -> None:
        """Press Enter and wait for the page it leads to."""
        began = time.monotonic()
        with self.page.expect_navigation():
            self.press("Enter")
        self.waited_s += time.monotonic() - began

    @property
    def seconds(self) -> float:
        return self.keys * KEY_S + self.thoughts * THINK_S + self.waited_s


def test_a_checkpoint_is_completed_by_keyboard_within_a_minute(chromium: Browser, house: TwoSites, address_of_house: str) -> None:
    context = signed_in(chromium.new_context(locale="fr"), house, "nurse", address_of_house)
    page = context.new_page()
    page.goto(f"{address_of_house}/today")
    hands = Hands(page)
    hands.go_to("Set-up")
    hands.enter()
    hands.go_to("words")
    hands.type("La salle est prête, le wifi tient.")
    hands.go_to("beds")
    hands.type("12")
    hands.go_to("agreed")
    hands.press("Space")
    hands.go_to("Complete")
    hands.enter()
    context.close()
    left = inbox.inbox(house.doors.database, "nurse", house.doors.clock.now())
    assert f"{house.shared}:setup:{HOME}:1" not in [one["id"] for one in left]
    assert hands.seconds <= WITHIN_S
