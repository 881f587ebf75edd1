"""People at their browsers, who do what they do by the words on the page."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from mail_server import Mailbox
from playwright.sync_api import Browser, Page, expect

PASSWORD = "un long chemin au bord de la mer"
PICTURES = Path(__file__).parents[2] / "docs" / "pictures"
PHONE = {"width": 390, "height": 844}
DESK = {"width": 1280, "height": 860}


class Person:
    """One person at a browser of their own, in French."""

    def __init__(self, browser: Browser, address: str, id: str, *, viewport: Mapping[str, int] = DESK) -> None:
        self.address, self.id = address, id
        self.context = browser.new_context(locale="fr", viewport=dict(viewport))  # type: ignore[arg-type]
        self.context.set_default_timeout(20_000)
        self.page: Page = self.context.new_page()

    def open(self, path: str) -> Page:
        self.page.goto(self.address + path)
        return self.page

    def press(self, name: str) -> None:
        """Press the button of this name."""
        button = self.page.get_by_role("button", name=name, exact=True).first
        assert button.count(), f"no button {name!r} on {self.page.url}:\n{self.page.locator('main').inner_text()}"
        with self.page.expect_navigation():
            button.click()
        assert not (said := self.problem()), f"{self.id} is told at {self.page.url}: {said}"

    def fill(self, *, within: str = "main", **fields: str) -> None:
        """Fill in fields by their name, choosing where there is a choice."""
        for name, value in fields.items():
            field = self.page.locator(f"{within} [name='{name}']").first
            if field.evaluate("one => one.tagName") == "SELECT":
                field.select_option(value)
            else:
                field.fill(value)

    def accept_invitation(self, mailbox: Mailbox) -> None:
        """Choose a password by the link in the mail that invited them."""
        self.page.goto(link_for(mailbox, f"{self.id}@example.org", "/invitation/"))
        self.fill(password=PASSWORD, password_again=PASSWORD)
        self.press("Garder ce mot de passe")
        expect(self.page).to_have_url(re.compile("/today"))

    def complete(self, checkpoint: str, answers: Mapping[str, str | bool]) -> None:
        """Answer a checkpoint's form by its labels and complete it."""
        self.open(f"/checkpoints/{checkpoint}")
        form = self.page.locator("form#answers")
        for label, answer in answers.items():
            named = re.compile(f"^{re.escape(label)}")
            if (group := form.get_by_role("group", name=named)).count():
                group.first.locator(f"[value='{answer}']" if isinstance(answer, str) else "input").first.check()
                continue
            field = form.get_by_label(named).first
            if field.evaluate("one => one.tagName") == "SELECT":
                field.select_option(str(answer))
            else:
                field.fill(str(answer))
        self.press("Terminer")

    def sign(self, checkpoint: str) -> None:
        """Sign a checkpoint's answers with the password."""
        self.open(f"/checkpoints/{checkpoint}")
        self.fill(password=PASSWORD)
        self.press("Signer")

    def problem(self) -> str:
        """What the page says is wrong, "" for nothing."""
        return "\n".join(self.page.get_by_role("alert").all_inner_texts())

    def picture(self, name: str) -> None:
        """Keep what is on the screen for the documentation, when that is asked for (`make pictures`)."""
        if os.environ.get("INSITU_PICTURES"):
            self.page.screenshot(path=PICTURES / f"{name}.png", animations="disabled")

    def leave(self) -> None:
        self.context.close()


def link_for(mailbox: Mailbox, email: str, path: str) -> str:
    """The address in the mail to someone, once that mail has come."""
    for _ in range(200):
        for mail in reversed(mailbox.mails):
            body = mail.get_body(("plain", "html"))
            found = re.search(rf"https?://\S*{re.escape(path)}[\w.=-]+", body.get_content() if body else "")
            if found and email in str(mail["to"]):
                assert urlsplit(found[0]).path.startswith(path)
                return found[0]
        mailbox.arrived.acquire(timeout=0.5)
    raise AssertionError(f"no mail to {email} holds {path}")
