"""The gate board: by phase, the experiment's steps and the sites', and what holds each closed gate up."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from fastapi import APIRouter, Request, Response
from sqlalchemy import Connection, bindparam, select

from insitu.entrance.visitor import Seen, SeesExperiment
from insitu.web.experiment.frame import address_of, checkpoint_address, experiment_page, number
from protocols.context import place_of
from protocols.engine import due_at
from protocols.state import StepKey
from sites.board import LIVE, PHASES, board, iso
from sites.database import table
from sites.holding import by_place, held_at, holdings
from sites.snapshot import Loaded, load
from sites.tables import Track

router = APIRouter()

SHOWN, PAGE = 10, 50  # of what holds the experiment up: beside the board, and on pages of its own
_TRACK = table(Track)
_RUNS = (
    select(_TRACK.c.site, _TRACK.c.flow_run_id)
    .where(_TRACK.c.experiment_id == bindparam("experiment"), _TRACK.c.flow_run_id != "")
    .order_by(_TRACK.c.site)
)
Gate = Mapping[str, Any]


@router.get("/experiments/{code}")
def gates(request: Request, seen: SeesExperiment, site: str = "", held: str = "") -> Response:
    """The gate board; `site` narrows it to one site, `held` leaves it for a page of all that is held up, 50 a page."""
    visitor = seen.visitor
    with visitor.doors.database.read() as connection:
        loaded = load(connection, seen.row)
        shown = board(connection, loaded, visitor.reader.now, visitor.locale, seen.access)
        every = [one["code"] for one in shown["sites"]]
        sites = [site] if site in every else every
        wanted = [_linked(seen, gate) for gate in shown["gates"] if gate["site"] is None or gate["site"] in sites]
        live = sorted((gate for gate in wanted if gate["status"] in LIVE), key=urgency)
        turn = number(held) or 0
        listed = live[PAGE * (turn - 1) : PAGE * turn] if turn else live[:SHOWN]
        return experiment_page(
            request,
            seen,
            connection,
            "board.html",
            phases=by_phase(wanted, sites),
            every=every,
            site=site if site in every else "",
            shown_sites=sites,
            names={one["code"]: one["name"] for one in shown["sites"]},
            states={one["code"]: one["state"] for one in shown["sites"]},
            held_up=_held_up(connection, seen, loaded, listed),
            turn=turn,
            more=0 if turn else len(live) - len(listed),
            earlier=address_of(seen.code, site=site, held=turn - 1) if turn > 1 else "",
            later=address_of(seen.code, site=site, held=turn + 1) if turn and len(live) > PAGE * turn else "",
            ahead=ahead(wanted),
            incidents=shown["incidents"],
            runs=_runs(connection, seen),
            paused=[one["code"] for one in shown["sites"] if one["state"] == "on_hold"],
        )


def _linked(seen: Seen, gate: Gate) -> dict[str, Any]:
    asks = seen.plan.steps[gate["step"]].step.checkpoint is not None and gate["opened_at"]
    return {**gate, "address": checkpoint_address(seen.code, gate["step"], gate["site"], gate["round"]) if asks else ""}


def urgency(gate: Gate) -> tuple[Any, ...]:
    """What is late, then what has failed, then the nearest deadline, then what waits longest."""
    return not gate["late"], gate["status"] != "incident", gate["due_at"] is None, gate["due_at"] or "", gate["since"] or ""


def by_phase(gates: Sequence[Gate], sites: Sequence[str]) -> list[dict[str, Any]]:
    """For each phase with a step: the experiment's own gates, and the sites' as rows of cells in the order of `sites`."""
    found = []
    for phase in PHASES:
        mine = [gate for gate in gates if gate["phase"] == phase.value]
        at_sites: dict[str, dict[str, Gate]] = {}
        for gate in mine:
            if gate["site"]:
                at_sites.setdefault(gate["step"], {})[gate["site"]] = gate
        rows = [{"title": next(iter(row.values()))["title"], "cells": [row[site] for site in sites]} for row in at_sites.values()]
        if mine:
            found.append({"phase": phase.value, "own": [gate for gate in mine if not gate["site"]], "rows": rows})
    return found


def ahead(gates: Iterable[Gate]) -> list[dict[str, Any]]:
    """The gates not reached yet, those of a step that wait for the same things told once, with the sites they are at."""
    found: dict[tuple[Any, ...], dict[str, Any]] = {}
    for gate in gates:
        if gate["status"] == "waiting" and gate["waiting_for"]:
            needs = tuple((need["what"], need["role"]) for need in gate["waiting_for"])
            one = found.setdefault((gate["step"], needs), {"title": gate["title"], "needs": gate["waiting_for"], "sites": []})
            one["sites"] += [gate["site"]] if gate["site"] else []
    return list(found.values())


def _held_up(connection: Connection, seen: Seen, loaded: Loaded, gates: Sequence[Gate]) -> list[dict[str, Any]]:
    """The live gates with who holds the awaited roles there (None where names are not told) and how their deadline was counted."""
    roles = {need["role"] for gate in gates for need in gate["waiting_for"] if need["role"]}
    named = seen.access.names_people
    sites = {gate["site"] for gate in gates if gate["site"]}
    places = by_place(holdings(connection, seen.row, roles, sites, seen.visitor.reader.now)) if named else {}

    def who(role: str, site: str | None) -> list[str] | None:
        at = site if site and seen.plan.is_site_role(role) else ""
        return [one.name for one in held_at(places, role, at or "")] if named and role else None

    return [
        {
            **gate,
            "needs": [{**need, "persons": who(need["role"], gate["site"])} for need in gate["waiting_for"]],
            "computation": _computation(loaded, gate),
        }
        for gate in gates
    ]


def _computation(loaded: Loaded, gate: Gate) -> Mapping[str, Any] | None:
    """How the deadline was counted; None for none, and where counting anew would not give the one that holds."""
    key = StepKey(gate["step"], gate["site"] or "")
    step = loaded.state.step(key)
    if step.due_at is None or step.opened_at is None:
        return None
    place, pauses = place_of(loaded.state, key.site)
    counted = due_at(loaded.plan.steps[key.step], step.opened_at, place, pauses)
    return counted.trace if counted and iso(counted.due_at) == gate["due_at"] else None


def _runs(connection: Connection, seen: Seen) -> list[tuple[str, str]]:
    """The Prefect runs, by site, for managers only: Prefect's own pages show every site to whoever opens them.

    By the newer pages' address: they ask for the password and go on to the run, where the older ones then say "Page not found".
    """
    ui = seen.visitor.doors.settings.prefect_ui_url
    if not ui or not seen.access.is_manager:
        return []
    rows = connection.execute(_RUNS, {"experiment": seen.row["id"]})
    return [(row.site, f"{ui}/v2/runs/flow-run/{row.flow_run_id}") for row in rows]
