"""A clock that jumps: noticed against what has passed since the machine started and against the database server's own, noted, and told.

insitu cannot know which of two clocks is right, and goes on by its machine's. It says so: in the access journal, in `health`, and as an
incident of every experiment that lives by deadlines, which is over when the clock is right again or insitu was started anew.
"""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import func, select, text

from protocols.errors import DatabaseUnavailable
from protocols.facts import FactKind
from sites.clock import TOLERANCE, Clock
from sites.database import Database, table
from sites.identity.access import AccessKind, note
from sites.ledger import Ledger
from sites.tables import Experiment, FactRow, Incident

LOOK_EVERY_S = 5.0
INCIDENT = "clock"
_EXPERIMENT, _FACT, _INCIDENT = table(Experiment), table(FactRow), table(Incident)

# Read by managers, in the installation's language.
TOLD = {
    "jumped": {
        "fr": "L'horloge de {host} est passée de {expected} à {read} (UTC) d'un coup. Si elle est fausse, les dates et les échéances "
        "le sont depuis : remettez-la à l'heure, puis vérifiez ce qui a été daté entre-temps. Si elle est juste, redémarrez insitu.",
        "en": "The clock of {host} went from {expected} to {read} (UTC) at once. If it is wrong, so are dates and deadlines since: "
        "put it right, then look at what was dated meanwhile. If it is right, start insitu anew.",
    },
    "server": {
        "fr": "L'horloge de {host} dit {read} (UTC), celle du serveur de base de données {expected}. Mettez-les à l'heure.",
        "en": "The clock of {host} says {read} (UTC), that of the database server {expected}. Put them right.",
    },
    "dated": {
        "fr": "Le dernier fait de cette expérience est daté du {expected} (UTC), et l'horloge de {host} dit {read} : l'une des deux fois, "
        "elle était fausse. Vérifiez les échéances comptées à partir de ces faits.",
        "en": "The last fact of this experiment is dated {expected} (UTC), and the clock of {host} says {read}: one of the two times "
        "it was wrong. Look at the deadlines counted from those facts.",
    },
}

log = logging.getLogger("insitu.store")


def since_boot() -> float:
    """The seconds that passed since the machine started, while it slept too; whoever sets the clock does not change them."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


@dataclass(frozen=True, slots=True)
class Jump:
    """A clock went off at one moment, or came `is_back` right: what it should have said, and what it said."""

    expected: datetime
    read: datetime
    is_back: bool = False


class ClockWatch:
    """Compares a clock with the time that passes. `skew` is how far it is ahead of where it should be, zero within the tolerance."""

    def __init__(self, clock: Clock, elapsed: Callable[[], float] = since_boot) -> None:
        self._clock, self._elapsed = clock, elapsed
        self._begun = clock.now() - timedelta(seconds=elapsed())
        self.skew = timedelta(0)

    @property
    def state(self) -> str:
        """`ok`, `ahead` or `behind`."""
        return "ok" if not self.skew else "ahead" if self.skew > timedelta(0) else "behind"

    def look(self) -> Jump | None:
        """The jump since the last look, None without one. Little by little a clock may go where it likes: it is being put right."""
        read, expected = self._clock.now(), self._begun + timedelta(seconds=self._elapsed())
        off, before = read - expected, self.skew
        if abs(off - before) <= TOLERANCE:
            self._begun += off - before
            return None
        self.skew = off if abs(off) > TOLERANCE else timedelta(0)
        return Jump(expected, read, is_back=not self.skew)


def keep_watch(watch: ClockWatch, ledger: Ledger, locale: str, stop: threading.Event, every_s: float = LOOK_EVERY_S) -> None:
    """Look at the clock until `stop`, and tell what is found; what the database cannot take now is told at a later look."""
    owed: list[Callable[[], None]] = [lambda: begin(ledger, locale)]
    while not stop.is_set():
        if jump := watch.look():
            how = "The clock is right again: %s, %s" if jump.is_back else "The clock went from %s to %s at once"
            log.error(f"{how}.", jump.expected.isoformat(), jump.read.isoformat())
            owed.append(lambda jump=jump: tell(ledger, locale, jump))  # type: ignore[misc]
        try:
            while owed:
                owed[0]()
                owed.pop(0)
        except DatabaseUnavailable as error:
            log.warning("%s What is wrong with the clock is told later.", error)
        stop.wait(every_s)


def begin(ledger: Ledger, locale: str) -> None:
    """Look, at a start, whether the clock agrees with the database server's and with the facts; what was reported of it is over then."""
    now, server = ledger.clock.now(), server_time(ledger.database)
    if server is not None and abs(server - now) > TOLERANCE:
        _note(ledger, server, now)
        _report(ledger, _running(ledger.database), locale, "server", server, now)
        return
    for code in _with_incident(ledger.database):
        ledger.resolve_incident(code, INCIDENT)
    for code, last in _dated_after(ledger.database, now + TOLERANCE).items():
        _report(ledger, [code], locale, "dated", last, now)


def tell(ledger: Ledger, locale: str, jump: Jump) -> None:
    """Note a jump in the access journal, and report or end the incident of each experiment that is under way."""
    _note(ledger, jump.expected, jump.read)
    if jump.is_back:
        begin(ledger, locale)
    else:
        _report(ledger, _running(ledger.database), locale, "jumped", jump.expected, jump.read)


def server_time(database: Database) -> datetime | None:
    """What the database server's clock says; None where the database is a file."""
    if database.is_sqlite:
        return None
    with database.read() as connection:
        found: datetime = connection.execute(text("SELECT clock_timestamp()")).scalar_one()
    return found


def _note(ledger: Ledger, expected: datetime, read: datetime) -> None:
    with ledger.database.write() as connection:
        times = {"expected": expected.isoformat(), "read": read.isoformat()}
        note(connection, AccessKind.CLOCK_JUMPED, ledger.clock.now(), host=socket.gethostname(), **times)


def _report(ledger: Ledger, codes: list[str], locale: str, why: str, expected: datetime, read: datetime) -> None:
    words = {"host": socket.gethostname(), "expected": f"{expected:%Y-%m-%d %H:%M}", "read": f"{read:%Y-%m-%d %H:%M}"}
    message = TOLD[why]["fr" if locale == "fr" else "en"].format(**words)
    for code in codes:
        ledger.report_incident(code, INCIDENT, "clock", message)


def _running(database: Database) -> list[str]:
    with database.read() as connection:
        under_way = select(_EXPERIMENT.c.code).where(_EXPERIMENT.c.state.in_(("running", "on_hold"))).order_by(_EXPERIMENT.c.id)
        return list(connection.execute(under_way).scalars())


def _dated_after(database: Database, moment: datetime) -> dict[str, datetime]:
    """The experiments whose present state stands on a fact dated after a moment, with the last such date; reports of ours say nothing."""
    joined = _FACT.join(_EXPERIMENT, _EXPERIMENT.c.id == _FACT.c.experiment_id)
    late = (_EXPERIMENT.c.changed_at > moment, _FACT.c.at > moment, _FACT.c.kind != FactKind.INCIDENT_REPORTED.value)
    found = select(_EXPERIMENT.c.code, func.max(_FACT.c.at).label("last")).select_from(joined).where(*late).group_by(_EXPERIMENT.c.code)
    with database.read() as connection:
        return {row.code: row.last for row in connection.execute(found)}


def _with_incident(database: Database) -> list[str]:
    joined = _INCIDENT.join(_EXPERIMENT, _EXPERIMENT.c.id == _INCIDENT.c.experiment_id)
    is_open = (_INCIDENT.c.key == INCIDENT, _INCIDENT.c.resolved_at.is_(None))
    with database.read() as connection:
        return list(connection.execute(select(_EXPERIMENT.c.code).select_from(joined).where(*is_open)).scalars())
