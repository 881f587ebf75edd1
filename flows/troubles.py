"""Incidents that end by themselves: reported once while they last, and resolved when what they tell of is over."""

from __future__ import annotations

from sqlalchemy import or_, select

from flows.drift import External
from protocols.state import ExperimentState
from sites.database import table
from sites.ledger import Ledger
from sites.tables import Experiment, Incident, Track

ASLEEP, AWAY, REPLACED = "asleep", "away", "replaced"
PASSING = (ASLEEP, AWAY, REPLACED, External.FAILED)

_EXPERIMENT, _INCIDENT, _TRACK = table(Experiment), table(Incident), table(Track)


class Troubles:
    """The incidents of this kind that are open, as far as this process knows; `recall` reads those that an earlier one left."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._open: set[tuple[str, str]] = set()  # (experiment's code, incident's key)

    def begin(self, code: str, kind: str, site: str, message: str) -> None:
        """Tell the project managers of it, once until it ends."""
        if (code, key := _key(kind, site)) not in self._open:
            self._ledger.report_incident(code, key, "external", message, site=site)
            self._open.add((code, key))

    def end(self, code: str, kind: str, site: str = "") -> None:
        """Note that it is over; nothing happens when there is none."""
        self._end(code, _key(kind, site))

    def end_all(self, kind: str) -> None:
        """Note that this kind is over everywhere."""
        for code, key in [one for one in self._open if one[1].startswith(_key(kind))]:
            self._end(code, key)

    def recall(self) -> None:
        """Read which are open."""
        joined = _INCIDENT.join(_EXPERIMENT, _EXPERIMENT.c.id == _INCIDENT.c.experiment_id)
        still_open = select(_EXPERIMENT.c.code, _INCIDENT.c.key).select_from(joined).where(_INCIDENT.c.resolved_at.is_(None))
        passing = or_(*(_INCIDENT.c.key.startswith(_key(kind), autoescape=True) for kind in PASSING))
        with self._ledger.database.read() as connection:
            self._open = {(row.code, row.key) for row in connection.execute(still_open.where(passing))}

    def _end(self, code: str, key: str) -> None:
        if (code, key) in self._open:
            self._ledger.resolve_incident(code, key)
            self._open.discard((code, key))


def _key(kind: str, site: str = "") -> str:
    return f"prefect:{kind}:{site}"


def report_replaced(ledger: Ledger, message: str) -> None:
    """Tell of it in every experiment that goes on and that Prefect has shown; the projector notes when it is drawn again."""
    goes_on = _EXPERIMENT.c.state.in_((ExperimentState.RUNNING.value, ExperimentState.ON_HOLD.value))
    shown = select(_EXPERIMENT.c.code).join(_TRACK, (_TRACK.c.experiment_id == _EXPERIMENT.c.id) & (_TRACK.c.site == ""))
    with ledger.database.read() as connection:
        codes = list(connection.execute(shown.where(goes_on)).scalars())
    for code in codes:
        ledger.report_incident(code, _key(REPLACED), "external", message)
