"""Prefect's own pages, both kinds, behind insitu's fence: they ask for the password, show what they should, and call nobody else."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Error, Page, Request, expect

from flows.client import Prefect
from flows.deployments import JOB_TEMPLATE
from flows.server import PrefectServer

SOON_MS = 30_000  # a hang guard: the machine may be busy
OLDER, NEWER = "", "/v2"


@dataclass
class Shown:
    """A flow run that awaits somebody, and an artifact."""

    run: str
    artifact: str
    name: str = "TRIAL-1"


@pytest.fixture(scope="module")
def shown(prefect: PrefectServer) -> Shown:
    client = Prefect(prefect.api_url)
    if client.request("GET", "work_pools/looked-at") is None:
        client.request("POST", "work_pools/", {"name": "looked-at", "type": "process", "base_job_template": JOB_TEMPLATE})
    flow = client.request("POST", "flows/", {"name": "experiment"})["id"]
    deployment = client.request("POST", "deployments/", {"name": "looked-at", "flow_id": flow, "work_pool_name": "looked-at"})["id"]
    run = client.create_run(deployment, {"name": "TRIAL-1"}).id
    assert client.set_state(run, {"type": "PAUSED", "name": "Awaiting Ethics opinion"}, force=True)
    board = {
        "key": "trial-1-board",
        "type": "markdown",
        "data": "# The board\n\nCaen waits for ethics.",
        "description": "Board",
        "flow_run_id": run,
    }
    found = Shown(run, client.save_artifact("", board))
    client.close()
    return found


@dataclass
class Heard:
    """What a window asked of other hosts, and what went wrong in it."""

    home: str
    elsewhere: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    def asked(self, request: Request) -> None:
        if not request.url.startswith((self.home, "data:", "blob:")):
            self.elsewhere.append(request.url)

    def said(self, message: ConsoleMessage) -> None:
        # Prefect still tries to reach its analytics host; what may not be stopped is anything of its own.
        if "Content Security Policy" in message.text and "https://" not in message.text:
            self.wrong.append(message.text)

    def failed(self, error: Error) -> None:
        if "eval" in str(error):  # what the policy stops in a script; a refused password is an error too
            self.wrong.append(str(error))


@contextmanager
def window(chromium: Browser, prefect: PrefectServer) -> Iterator[tuple[Page, Heard]]:
    context, heard = chromium.new_context(), Heard(prefect.address)
    context.set_default_timeout(SOON_MS)
    context.on("request", heard.asked)
    page = context.new_page()
    page.on("console", heard.said)
    page.on("pageerror", heard.failed)
    yield page, heard
    context.close()


@pytest.mark.parametrize("pages", [OLDER, NEWER], ids=["older", "newer"])
def test_the_pages_ask_for_the_password_show_everything_and_call_nobody(
    chromium: Browser, prefect: PrefectServer, shown: Shown, pages: str
) -> None:
    with window(chromium, prefect) as (page, heard):
        page.goto(f"{prefect.address}{pages}/runs")
        page.locator("input[type=password]").fill("insitu:guess")
        page.keyboard.press("Enter")
        expect(page.get_by_text(shown.name)).to_have_count(0)
        page.locator("input[type=password]").fill(prefect.lock)
        page.keyboard.press("Enter")
        expect(page.get_by_text(shown.name, exact=True).first).to_be_visible(timeout=SOON_MS)
        page.goto(f"{prefect.address}{pages}/runs/flow-run/{shown.run}")
        expect(page.get_by_text("Awaiting Ethics opinion").first).to_be_visible(timeout=SOON_MS)
        expect(page.locator("canvas").first).to_be_visible(timeout=SOON_MS)  # the chart of its steps
        page.goto(f"{prefect.address}{pages}/artifacts/artifact/{shown.artifact}")
        expect(page.get_by_text("Caen waits for ethics.").first).to_be_visible(timeout=SOON_MS)
    assert heard.elsewhere == []
    assert heard.wrong == []


def test_a_link_of_insitus_pages_leads_to_the_run_by_way_of_the_password(chromium: Browser, prefect: PrefectServer, shown: Shown) -> None:
    with window(chromium, prefect) as (page, _):
        page.goto(f"{prefect.address}/v2/runs/flow-run/{shown.run}")
        page.locator("input[type=password]").fill(prefect.lock)
        page.keyboard.press("Enter")
        expect(page.get_by_text("Awaiting Ethics opinion").first).to_be_visible(timeout=SOON_MS)
        assert shown.run in page.url


def test_a_page_from_elsewhere_can_launch_nothing(chromium: Browser, prefect: PrefectServer) -> None:
    """Even with the password: a page of another origin that is open in the same browser."""
    with window(chromium, prefect) as (page, _):
        page.goto("data:text/html,<title>elsewhere</title>")
        ask = """async ([url, headers, body]) => {
            try { return (await fetch(url, {method: 'POST', headers, body})).status } catch { return 'refused' }
        }"""
        json = {"Content-Type": "application/json", "Authorization": "Basic x"}
        assert page.evaluate(ask, [f"{prefect.api_url}/flow_runs/filter", json, "{}"]) == "refused"
        assert page.evaluate(ask, [f"{prefect.api_url}/flow_runs/filter", {}, "{}"]) == "refused"
