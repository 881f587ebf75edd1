"""An experiment as its documents tell it: its sites, every round of its steps, and what went late or ended early.

It is built from the journal alone, so the same facts always give the same document.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import select

from protocols.clocks import Place
from protocols.facts import Fact, FactKind
from protocols.fold import apply
from protocols.model import Step
from protocols.state import SiteInfo, SiteState, State, StepKey, StepState
from sites.database import Database, table
from sites.journal import as_fact, facts_of
from sites.snapshot import find
from sites.tables import Person

_PERSON = table(Person)
TOLD = frozenset({FactKind.DEADLINE_MISSED, FactKind.SITE_STOPPED, FactKind.EXPERIMENT_STOPPED, FactKind.GATE_STOPPED})


@dataclass(frozen=True, slots=True)
class Ending:
    """An early end: when, by whom and why, or at which step's gate on which condition."""

    at: datetime
    by: str
    why: str
    step: str = ""


@dataclass(frozen=True, slots=True)
class Record:
    """What is known of one experiment. `past` holds the ended rounds, `told` the facts that a report must not leave out."""

    code: str
    title: str
    protocol_hash: str
    launched_at: datetime
    launched_by: str
    state: State
    past: tuple[StepState, ...] = ()
    told: tuple[Fact, ...] = ()
    people: Mapping[str, str] = field(default_factory=dict)

    @property
    def sites(self) -> tuple[SiteInfo, ...]:
        return tuple(self.state.sites.values())

    @property
    def stopped_sites(self) -> tuple[SiteInfo, ...]:
        return tuple(site for site in self.sites if site.state is SiteState.STOPPED)

    def place(self, site: str = "") -> Place:
        return self.state.sites[site].place if site else self.state.place

    def step(self, step: str, site: str = "") -> StepState:
        """The step in its present round, `waiting` if it was never reached."""
        return self.state.step(StepKey(step, site))

    def rounds(self, step: str, site: str = "") -> tuple[StepState, ...]:
        """Every round of the step that was reached, oldest first."""
        key, present = StepKey(step, site), self.step(step, site)
        ended = [state for state in self.past if state.key == key]
        return (*ended, *([present] if present.opened_at or present.status.is_through else []))

    def everywhere(self, step: Step) -> tuple[StepState, ...]:
        """The rounds of a step, site by site where it is a site step."""
        places = [""] if step.scope.value == "experiment" else list(self.state.sites)
        return tuple(state for site in places for state in self.rounds(step.id, site))

    def missed_at(self, state: StepState) -> datetime | None:
        """When that round of the step became overdue, if it did."""
        late = [fact for fact in self.told if fact.kind is FactKind.DEADLINE_MISSED and fact.round == state.round]
        return next((fact.at for fact in late if StepKey(fact.step, fact.site) == state.key), None)

    def stop_of(self, site: str = "") -> Ending | None:
        """How the site's part ended early; "" asks for the experiment. A gate's stop is told by its step and condition."""
        kind = FactKind.SITE_STOPPED if site else FactKind.EXPERIMENT_STOPPED
        stop = next((fact for fact in self.told if fact.kind is kind and fact.site == site), None)
        if stop is None:
            return None
        gates = (fact for fact in self.told if fact.kind is FactKind.GATE_STOPPED and (fact.site, fact.at) == (site, stop.at))
        gate = next(gates, None)
        return Ending(stop.at, stop.by, gate.data["because"] if gate else stop.data["reason"], gate.step if gate else "")

    def name(self, person: str) -> str:
        return self.people.get(person, person)


def record(code: str, protocol_hash: str, facts: Iterable[Fact], people: Mapping[str, str] | None = None) -> Record:
    """The record that a journal, oldest fact first, adds up to. The first fact is the launch."""
    journal = tuple(facts)
    state, past = State(), []
    for fact in journal:
        if fact.kind is FactKind.ROUND_OPENED and (ended := state.step(StepKey(fact.step, fact.site))).opened_at:
            past.append(ended)
        apply(state, fact)
    told = tuple(fact for fact in journal if fact.kind in TOLD)
    launch = journal[0]
    return Record(code, launch.data["title"], protocol_hash, launch.at, launch.by, state, tuple(past), told, people or {})


def read(database: Database, code: str) -> Record:
    """The record of an experiment as its journal stands. Raises UnknownThing if there is no such experiment."""
    with database.read() as connection:
        experiment = find(connection, code)
        facts = [as_fact(row) for row in facts_of(connection, experiment["id"])]
        people = {row.id: row.name for row in connection.execute(select(_PERSON.c.id, _PERSON.c.name))}
    return record(code, experiment["protocol"], facts, people)
