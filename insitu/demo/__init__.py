"""`insitu demo`: the whole of insitu at work on one machine, on a clock that runs ahead."""

from __future__ import annotations

import json as json_format
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from secrets import token_urlsafe
from typing import TYPE_CHECKING, Any

import typer
from sqlalchemy import select

from insitu import services
from insitu.demo.mail import MailServer
from insitu.demo.story import CHAPTERS, COORDINATOR, MANAGER, Story
from insitu.words import terminal_locale, word
from protocols.errors import Refused
from sites import inbox, registry
from sites.clock import SetClock
from sites.database import Database, table
from sites.identity.accounts import create_account
from sites.policy import EVERYTHING
from sites.private import make_folder
from sites.readiness import make_ready
from sites.settings import Settings
from sites.tables import Experiment, Track

if TYPE_CHECKING:
    from rich.console import Console

START = datetime(2026, 3, 2, 9, tzinfo=UTC)
VISITORS = (MANAGER, COORDINATOR["CAEN"])
CLOSED = ("COMPLETED", "Closed")


def show(data: Path | None, *, keep: bool = False, json: bool = False) -> None:
    """Play the story to its end and say where to look; with `keep`, leave everything running until Ctrl-C.

    Everything is in `data`, else in a new folder: this machine's settings, ledger and Prefect play no part.
    Raises Refused when that folder already holds experiments.
    """
    from rich.console import Console

    console = Console(stderr=json, highlight=False, soft_wrap=True)
    locale = terminal_locale()
    home = data or Path(tempfile.mkdtemp(prefix="insitu-demo-"))
    with ExitStack() as stack:
        services.log_to_terminal()
        stack.enter_context(_stopping_cleanly())
        clock, begun = SetClock(START), time.monotonic()
        password = token_urlsafe(12)
        settings = _fresh(home, locale, clock, password)
        console.print(word("demo_clock", locale, data=settings.data))
        mail = stack.enter_context(MailServer(settings.data / "mail", _free_port()))
        settings = replace(settings, mail_url=mail.url)
        running = stack.enter_context(services.up(settings, "127.0.0.1", 0, console.print, clock, dispatch_every_s=0.05))
        running.until_ready()
        story = Story(running.ledger, clock)
        _play(story, locale, console)
        told = _outcome(story, running, mail, time.monotonic() - begun) | {"people": list(VISITORS), "password": password}
        typer.echo(json_format.dumps(told, ensure_ascii=False, indent=2)) if json else _say(told, locale, console)
        if keep:
            with services.until_told_to_stop() as stop:
                console.print(word("up_stop", locale))
                stop.wait()


@contextmanager
def _stopping_cleanly() -> Iterator[None]:
    """SIGTERM and the end of the terminal stop what was started, as Ctrl-C does."""
    before = {
        number: signal.signal(number, signal.default_int_handler) for number in services.stop_signals() if number is not signal.SIGINT
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _fresh(home: Path, locale: str, clock: SetClock, password: str) -> Settings:
    """Settings of a folder's own, with the library and the people of the example in its ledger; `VISITORS` sign in by that password."""
    settings = Settings.load(home, environment={"INSITU_LOCALE": locale})
    database = Database(settings.database_url)
    make_ready(database, clock)
    if inbox.experiments(database):
        raise Refused(f"{settings.data} already holds experiments. The demonstration wants a folder of its own: give another --data.")
    registry.import_file(database, (files("insitu.demo") / "sites.yaml").read_text("utf-8"), "sites.yaml")
    with database.write() as connection:
        for person in VISITORS:
            create_account(connection, person, password, clock.now(), by=MANAGER)
    database.dispose()
    return settings


def _free_port() -> int:
    from flows.server import free_port

    return free_port()


def _play(story: Story, locale: str, console: Console) -> None:
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        bar = progress.add_task("", total=len(CHAPTERS) + 1)
        for title, chapter in CHAPTERS:
            progress.update(bar, description=title[locale])
            chapter(story)
            progress.advance(bar)
            console.print(f"{story.today}  {title[locale]}")
        progress.update(bar, description=word("demo_projection", locale))


# ------------------------------------------------------------------ where to look


def _outcome(story: Story, running: services.Running, mail: MailServer, seconds: float) -> dict[str, Any]:
    """What came of it, once Prefect shows it too."""
    from flows.lock import chosen_lock
    from notifications.dispatch import sent

    run = _closed_run(story, running)
    deliveries = sent(running.database, story.code, EVERYTHING)
    return {
        "experiment": story.code,
        "state": inbox.status(running.database, story.code, story.clock.now(), access=EVERYTHING)["state"],
        "prefect": f"{running.settings.prefect_ui_url}/v2/runs/flow-run/{run}",
        "prefect_state": CLOSED[1],
        "prefect_password": chosen_lock() or "–",
        "documents": [str(file) for file in _write_documents(story, running)],
        "mails": mail.count,
        "messages": dict(Counter(one["kind"] for one in deliveries if one["state"] == "sent")),
        "mail_folder": str(mail.folder),
        "data": str(running.settings.data),
        "api": running.settings.public_url,
        "seconds": round(seconds, 1),
    }


def _closed_run(story: Story, running: services.Running) -> str:
    """The experiment's flow run, once Prefect shows it as closed."""
    from flows.client import Prefect

    prefect = Prefect(running.settings.prefect_api_url)

    def is_closed() -> bool:
        run = prefect.runs([id_]).get(id_) if (id_ := _flow_run(story, running)) else None
        return run is not None and (run.type, run.state) == CLOSED

    story.wait_until(is_closed, "Prefect to show the experiment as closed")
    prefect.close()
    return _flow_run(story, running)


def _flow_run(story: Story, running: services.Running) -> str:
    experiment, track = table(Experiment), table(Track)
    own = select(track.c.flow_run_id).join(experiment, experiment.c.id == track.c.experiment_id)
    with running.database.read() as connection:
        return str(connection.execute(own.where(experiment.c.code == story.code, track.c.site == "")).scalar() or "")


def _write_documents(story: Story, running: services.Running) -> list[Path]:
    """Every document the machine made, as files."""
    folder = running.settings.data / "documents"
    make_folder(folder)
    written = []
    for fact in inbox.journal(running.database, story.code, EVERYTHING):
        for made in (fact["data"].get("result") or {}).get("documents", []):
            file = folder / made["name"]
            file.write_bytes(running.ledger.document(made["hash"])["content"])
            written.append(file)
    return written


def _say(told: dict[str, Any], locale: str, console: Console) -> None:
    report = [file for file in told["documents"] if "evaluation-report" in file]
    told = told | {"report": report[-1] if report else told["data"], "kinds": ", ".join(f"{n} {k}" for k, n in told["messages"].items())}
    told |= {"manager": told["people"][0], "coordinator": told["people"][1]}
    for key in ("demo_closed", "demo_pages", "demo_prefect", "demo_report", "demo_mail", "demo_look", "demo_again"):
        console.print(word(key, locale, **told))
