"""The processes that the crash test kills: each lives on one database and may end at any instruction."""

from __future__ import annotations

import json
import os
import random
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from town import LOCAL, ROLES

from protocols.errors import DatabaseUnavailable, InvalidInput, Refused
from sites import inbox
from sites.database import Database
from sites.ledger import Ledger
from sites.settings import Settings
from sites.signing import unasked

PEOPLE = (*ROLES, *(person for person, *_ in LOCAL))
SITES = ["CAEN", "METZ"]
LAST_STEP = "closing"  # left to the test itself
IDLE_S = 0.02


class DayClock:
    """The machine's clock, ahead by as many days as its file has bytes: one that all processes share, and that no kill can tear."""

    is_real = False

    def __init__(self, folder: Path) -> None:
        self._file = folder / "days"

    def now(self) -> datetime:
        return datetime.now(UTC) + timedelta(days=self._file.stat().st_size)

    def pass_a_day(self) -> None:
        with self._file.open("ab") as file:
            file.write(b".")


class Record:
    """What a client asked and what it was answered, each line on disk before the client goes on."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def write(self, line: dict[str, Any]) -> None:
        with self._file.open("ab") as file:
            file.write(b"\n" + json.dumps(line).encode())  # begins with a line break: a torn line stays alone
            file.flush()
            os.fsync(file.fileno())

    def asked(self) -> dict[str, list[Any]]:
        """Every command, by id."""
        return {line["id"]: line["ask"] for line in self._lines() if "ask" in line}

    def answered(self) -> dict[str, dict[str, Any]]:
        """What was answered, by command id."""
        return {line["id"]: line["answer"] for line in self._lines() if "answer" in line}

    def _lines(self) -> Iterator[dict[str, Any]]:
        for line in self._file.read_bytes().splitlines() if self._file.exists() else ():
            try:
                yield json.loads(line)
            except ValueError:
                continue


def opened(settings: Settings) -> tuple[Database, Ledger]:
    """The database and ledger, under the shared clock."""
    database = Database(settings.database_url)
    return database, Ledger(database, DayClock(settings.data))


def client(settings: Settings, name: str, launches: int) -> None:
    """Launch so many experiments, and complete and sign until killed.

    What an earlier life asked and was not answered is asked again under the same id.
    """
    database, ledger = opened(settings)
    record = Record(settings.data / f"{name}.commands")
    asked, answered = record.asked(), record.answered()
    for command_id in asked.keys() - answered.keys():
        record.write({"id": command_id, "answer": patiently(carry_out, ledger, command_id, asked[command_id])})
    chance = random.Random(f"{name} {len(asked)}")
    launches -= sum(command[0] == "launch" for command in asked.values())
    for number in range(len(asked), 1_000_000):
        command = patiently(next_command, database, ledger, chance, launches > 0)
        launches -= command[0] == "launch"
        command_id = f"{name}-{number}"
        record.write({"id": command_id, "ask": command})
        record.write({"id": command_id, "answer": patiently(carry_out, ledger, command_id, command)})


def patiently(do: Callable[..., Any], *arguments: Any) -> Any:
    """What `do` gives, asked again while the database is away; a command goes on under its id: nobody knows if it was done."""
    while True:
        try:
            return do(*arguments)
        except DatabaseUnavailable:
            threading.Event().wait(IDLE_S)


def next_command(database: Database, ledger: Ledger, chance: random.Random, may_launch: bool) -> list[Any]:
    """Something that somebody can do now; waits while nobody can do anything."""
    idle = threading.Event()
    while True:
        person = chance.choice(PEOPLE)
        if may_launch and person == "project_manager":
            return ["launch", "marching", SITES, {}, person]
        now = ledger.clock.now()
        items = [item for item in inbox.inbox(database, person, now) if item["step"] != LAST_STEP]
        if items:
            item = chance.choice(items)
            return ["sign", item["id"], person] if item["needs"] == "signature" else ["complete", item["id"], answers(item), person]
        idle.wait(IDLE_S)


def answers(item: dict[str, Any]) -> dict[str, Any]:
    """Sound ones, but for the opinion's first round, which goes back for another review."""
    return {"ok": item["step"] != "opinion" or item["round"] > 1, "remarks": item["id"]}


def carry_out(ledger: Ledger, command_id: str, command: list[Any]) -> dict[str, Any]:
    """The ledger's result, or the kind of its refusal: another client was first."""
    act, *arguments = command
    try:
        proof = {"prove": unasked} if act == "sign" else {}
        result: dict[str, Any] = getattr(ledger, act)(*arguments, command_id=command_id, **proof)
    except (Refused, InvalidInput) as refusal:
        return {"refused": type(refusal).__name__}
    return result


def dispatcher(settings: Settings, name: str) -> None:
    """Send mail, and fire timers."""
    from notifications.dispatch import Dispatcher

    database, ledger = opened(settings)
    # One by one, so that each mail can be held against its delivery.
    Dispatcher(database, ledger.clock, settings, name, at_once=1_000_000).run(threading.Event())


def timer(settings: Settings, name: str) -> None:
    """Fire timers, in rivalry with the dispatcher."""
    _, ledger = opened(settings)
    idle = threading.Event()
    while True:
        patiently(ledger.fire_timers)
        idle.wait(IDLE_S)


def machine(settings: Settings, name: str) -> None:
    """Do what steps owe by themselves, where no Prefect does."""
    database, ledger = opened(settings)
    idle = threading.Event()
    while True:
        patiently(do_what_is_owed, database, ledger)
        idle.wait(IDLE_S)


def do_what_is_owed(database: Database, ledger: Ledger) -> None:
    for experiment in inbox.experiments(database):
        for owed in inbox.owed_actions(database, experiment["code"], ""):
            ledger.owe_notice(owed["checkpoint"], "notify", owed["with"]["to"], occasion=owed["with"]["notice"], details=owed["with"])
            ledger.record_action(owed["checkpoint"], owed["index"], {})


def projector(settings: Settings, name: str) -> None:
    """Show the ledger in Prefect."""
    from flows.projector import Projector

    database, ledger = opened(settings)
    Projector(database, ledger, settings).run(threading.Event())


def worker(settings: Settings, name: str) -> None:
    """Do in Prefect what steps owe by themselves."""
    from flows.house import House, move_into
    from flows.worker import Worker

    database, ledger = opened(settings)
    move_into(House(settings, database, ledger))
    Worker(settings.prefect_api_url).start()
    threading.Event().wait()
