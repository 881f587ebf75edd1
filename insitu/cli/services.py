"""`insitu up`, `serve`, `dispatch`, `worker`, `demo`: what runs until it is told to stop."""

from __future__ import annotations

from contextlib import ExitStack, suppress
from pathlib import Path
from shlex import quote
from threading import Event
from typing import TYPE_CHECKING, Annotated

import typer

from insitu.cli.opening import Data, Json, Opened, given_first, opened

if TYPE_CHECKING:
    from insitu.entrance.doors import Doors
    from insitu.services import Running

Host = Annotated[str, typer.Option(metavar="ADDRESS", help="Where to listen; 0.0.0.0 for the whole network.")]
Port = Annotated[int, typer.Option(min=0, max=65535, help="0 picks a free one.")]


def add_to(app: typer.Typer) -> None:
    for command in (demo, up, serve, dispatch, worker):
        app.command()(command)


def up(host: Host = "127.0.0.1", port: Port = 8080, data: Data = None) -> None:
    """Start what is needed and not there: Prefect, worker, projector, dispatcher, API. Ctrl-C stops all of it."""
    from insitu import services
    from insitu.entrance.doors import Doors
    from insitu.entrance.setup import is_here

    here = opened(data)
    services.log_to_terminal()
    with services.until_told_to_stop() as stop:
        here.when_ready(stop, _say)
        if stop.is_set():
            return
        here.database.dispose()
        with services.up(here.settings, host, port, _say) as running:
            _say(here.word("up_pages", url=running.settings.public_url))
            _say(here.word("up_api", url=running.settings.public_url))
            _say(here.word("up_data", data=here.settings.data))
            if not here.settings.mail_url:
                _say(here.word("up_no_mail"))
            doors = Doors.of(running.settings, running.database, running.ledger, loopback=is_here(host))
            _say_first(here, doors, running.settings.public_url)
            _say_when_ready(here, running, stop, data)
            stop.wait()
            _say(here.word("stopping"))


def _say_when_ready(here: Opened, running: Running, stop: Event, data: Path | None) -> None:
    """Where Prefect is, once it is there; until then people already work."""
    if running.until_ready(stop.is_set):
        _say(here.word("up_prefect", url=running.settings.prefect_ui_url))
        if not here.settings.prefect_api_url:
            _say(here.word("up_prefect_password", command=_with_data("insitu prefect password", data)))
    elif not stop.is_set():
        _say(here.word("up_without_prefect"))
    _say(here.word("up_stop"))


def _with_data(command: str, data: Path | None) -> str:
    """The command as it is to be typed for this data folder."""
    chosen = data or given_first.get()
    return f"{command} --data {quote(str(chosen))}" if chosen else command


def _say(line: str) -> None:
    # The terminal may be gone, which is how we are told to stop: stopping goes on without a word.
    with suppress(OSError):
        typer.echo(line, err=False)


def _say_first(here: Opened, doors: Doors, address: str) -> None:
    """Where the first account is created and, where others than this machine come by, the code that it asks for."""
    from insitu.entrance.setup import code_to_print
    from sites.identity.accounts import has_accounts

    if has_accounts(doors.database):
        return
    _say(here.word("up_first", url=address))
    if code := code_to_print(doors):
        _say(here.word("up_setup_code", code=code))


def serve(host: Host = "127.0.0.1", port: Port = 8080, data: Data = None) -> None:
    """Serve the pages and the API only; `insitu dispatch` and `insitu worker` do the rest."""
    from insitu import services

    here = opened(data)
    services.log_to_terminal()
    with ExitStack() as stack:
        stop = stack.enter_context(services.until_told_to_stop())
        here.when_ready(stop, _say)
        if stop.is_set():
            return
        door = stack.enter_context(services.listening(host, port))
        settings = services.at_door(here.settings, door)
        doors = stack.enter_context(services.served(settings, here.database, here.ledger, door))
        _say(here.word("up_pages", url=settings.public_url))
        _say(here.word("up_api", url=settings.public_url))
        _say_first(here, doors, settings.public_url)
        stop.wait()


def dispatch(data: Data = None) -> None:
    """Send messages and fire deadlines; with PREFECT_API_URL set, keep Prefect showing the ledger too."""
    from insitu import services

    here = opened(data)
    services.log_to_terminal()
    with services.until_told_to_stop() as stop:
        here.when_ready(stop, _say)
        if stop.is_set():
            return
        _say(here.word("dispatching"))
        services.dispatch(here.settings, here.database, stop)


def worker(data: Data = None) -> None:
    """Do the automated actions that Prefect schedules; needs PREFECT_API_URL."""
    from insitu import services

    here = opened(data)
    services.log_to_terminal()
    with services.until_told_to_stop() as stop:
        here.when_ready(stop, _say)
        if stop.is_set():
            return
        here.database.dispose()
        services.work(here.settings, stop, lambda: _say(here.word("working")))


def demo(
    keep: Annotated[bool, typer.Option("--keep", help="Leave it running at the end, until Ctrl-C.")] = False,
    json: Json = False,
    data: Data = None,
) -> None:
    """Play a whole experiment on three sites in a minute, with real mail, on a clock that runs ahead, in a data folder of its own."""
    from insitu.demo import show

    show(data or given_first.get(), keep=keep, json=json)
