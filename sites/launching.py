"""The launch: from a released protocol and a list of sites to an experiment's first rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, func, insert, select

from protocols import clocks
from protocols.clocks import Place
from protocols.commands import Launch
from protocols.engine import Decision, decide
from protocols.errors import InvalidAnswers, InvalidInput, UnknownThing
from protocols.forms import check_answers
from protocols.keys import are_same
from protocols.phrase import Phrase
from protocols.plan import Plan
from protocols.state import State
from sites import keys, policy
from sites.database import table
from sites.register import register
from sites.releases import find_release, plan_of
from sites.snapshot import Loaded, experiment_values
from sites.tables import Experiment, ExperimentSite, Site, Tally

_EXPERIMENT, _TAKES_PART, _SITE, _TALLY = table(Experiment), table(ExperimentSite), table(Site), table(Tally)


def launched(
    connection: Connection,
    protocol: str,
    sites: Sequence[str],
    launch: Mapping[str, Any],
    by: str,
    now: datetime,
    *,
    version: str | None,
    title: str | None,
) -> tuple[Loaded, Decision]:
    """Insert the experiment, its sites and its tallies; gives back what the ledger then writes like any decision.

    Raises as `Ledger.launch` does.
    """
    release = find_release(connection, protocol, version)
    plan = plan_of(connection, release["hash"])
    known = _known(connection, sites)
    first = known.get(sites[0]) if sites else None
    place = Place(first["territory"], first["timezone"]) if first else Place()
    today = clocks.local_date(now, place)
    # Before a word about the sites: only a manager of everything may know which there are.
    of = policy.require_manager(connection, by, on=today, to=Phrase("launch {protocol}", protocol=protocol))
    places = _places(connection, known, sites)
    kept, errors = check_answers(plan.protocol.launch, launch, today, timezone=place.timezone)
    if errors:
        raise InvalidAnswers(f"launch of {protocol}", errors)
    decision = decide(plan, State(), Launch(by, tuple(places), kept, title or "", of), now)
    row = _insert(connection, release, title or "", decision.state, by, now)
    _insert_sites(connection, row["id"], plan, places)
    register(connection, row["code"], by, now)
    return Loaded(row, plan, State(sites=dict(decision.state.sites))), decision


def _insert(connection: Connection, release: Mapping[str, Any], title: str, state: State, by: str, now: datetime) -> dict[str, Any]:
    """The experiment's row. Its code counts the protocol's experiments, so launches take their turn."""
    number = connection.execute(select(func.count()).where(_EXPERIMENT.c.protocol_id == release["id"])).scalar_one() + 1
    row = {
        "code": f"{release['id'].upper()}-{number}",
        "protocol": release["hash"],
        "protocol_id": release["id"],
        "version": release["version"],
        "title": title,
        "launch": dict(state.launch),
        "territory": state.place.territory,
        "timezone": state.place.timezone,
        "launched_by": by,
        "launched_at": now,
        "changed_at": now,
        "seq": 0,
        "head": "",
        "projected_seq": 0,
    } | experiment_values(state)
    key = connection.execute(insert(_EXPERIMENT).values(row)).inserted_primary_key
    assert key is not None
    return row | {"id": key[0]}


def _insert_sites(connection: Connection, experiment: int, plan: Plan, places: Sequence[Mapping[str, str]]) -> None:
    start = {"experiment_id": experiment, "state": "active", "held_at": None, "suspensions": []}
    kept = ("name", "kind", "territory", "timezone")
    connection.execute(insert(_TAKES_PART), [start | {"site": place["code"]} | {name: place[name] for name in kept} for place in places])
    if plan.joined:
        connection.execute(insert(_TALLY), [{"experiment_id": experiment, "step": step, "through": 0} for step in sorted(plan.joined)])


def _known(connection: Connection, codes: Sequence[str]) -> dict[str, dict[str, str]]:
    """Those of the sites that there are, by code."""
    return {row["code"]: dict(row) for row in connection.execute(select(_SITE).where(_SITE.c.code.in_(codes))).mappings()}


def _places(connection: Connection, known: Mapping[str, dict[str, str]], codes: Sequence[str]) -> list[dict[str, str]]:
    wanted = list(dict.fromkeys(codes))
    if not wanted:
        raise InvalidInput("An experiment needs at least one site; name them with --site.")
    for place, code in enumerate(wanted):
        if twin := next((one for one in wanted[:place] if are_same(one, code)), None):
            raise InvalidInput(
                Phrase(
                    "{code} and {twin} differ by capitals alone: they are taken for one site. Launch at one of them.", code=code, twin=twin
                )
            )
    if unknown := [code for code in wanted if code not in known]:
        if twin := keys.taken(connection, _SITE.c.code, unknown[0]):
            raise UnknownThing(keys.said(unknown[0], twin))
        raise UnknownThing(f"There is no site {', '.join(unknown)}; `insitu site list` shows those there are.")
    return [known[code] for code in wanted]
