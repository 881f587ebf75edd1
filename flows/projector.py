"""Keeps Prefect showing what the ledger says: level-triggered, so that whatever was missed, repeated or lost comes right."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, insert, literal_column, select, tuple_, update

from flows import payloads
from flows.client import Prefect, PrefectUnavailable, Run
from flows.deployments import LAUNCHED_BY_RUN, Deployments
from flows.drift import Call, External, done_by_hand, next_call
from flows.picture import Gate, Picture, Rest, View, artifacts, pictures
from flows.troubles import ASLEEP, AWAY, REPLACED, Troubles
from flows.view import read_view
from protocols.errors import DatabaseUnavailable, InsituError
from protocols.state import StepStatus
from sites.database import Database, table
from sites.ledger import Ledger
from sites.settings import Settings
from sites.tables import Command, Experiment, Step, Track

BATCH = 50  # experiments a pass
PAGE = 200  # tracks read at once
POLL_S = 0.15
WATCH_S = 0.3  # between two looks at a run that a worker has
RECONCILE_EVERY_S = 15
ARTIFACTS_EVERY_S = 5
LOST_AFTER = timedelta(seconds=20)  # longer than a worker needs between taking a run and saying that it did
ASLEEP_AFTER = timedelta(seconds=60)  # a run that no worker takes for so long is an incident
UNSTARTED_AFTER = timedelta(minutes=5)  # so is one that a worker took, lives, and does not start: a stock one needs up to 16 s a run
LONGEST_WAIT_S = 2  # between two looks while Prefect is away: the picture is to be right soon after it answers
FORGETFUL_AFTER_S = 5  # away for so long it may have been started again, and have forgotten what was sent last
AWAY_AFTER_S = 60  # what the machine owes is an incident when Prefect has been away for so long
LONGEST_PAUSE_S = 300  # between two starts of a run that keeps failing

LOOK_AT_WORKERS_EVERY_S = 3

_EXPERIMENT, _TRACK, _COMMAND, _STEP = table(Experiment), table(Track), table(Command), table(Step)

log = logging.getLogger("insitu.projector")

Sent = dict[str, Any]  # a track's `picture` column: deployment, state, tags, gates, artifacts as last sent


@dataclass(slots=True)
class Case:
    """One experiment in hand: its row, what it should show, its tracks (run and what was sent) and as `kept`, and the runs as they are."""

    row: Mapping[str, Any]
    view: View
    wanted: dict[str, Picture]
    tracks: dict[str, tuple[str, Sent]]
    kept: Mapping[str, tuple[str, Sent]]
    runs: Mapping[str, Run] = field(default_factory=dict)

    @property
    def code(self) -> str:
        return str(self.row["code"])

    def run_of(self, site: str) -> Run | None:
        return self.runs.get(self.tracks.get(site, ("", {}))[0])


class Projector:
    """Shows one ledger in one Prefect. Several may run at once: every call is safe to repeat.

    `on_wake` hears of runs scheduled, `heard` of every look: None after one that went through, else the error.
    """

    def __init__(
        self,
        database: Database,
        ledger: Ledger,
        settings: Settings,
        *,
        prefect: Prefect | None = None,
        on_wake: Callable[[], None] = lambda: None,
        heard: Callable[[BaseException | None], None] = lambda _error: None,
    ) -> None:
        self._database, self._ledger, self._settings, self._on_wake, self._heard = database, ledger, settings, on_wake, heard
        self._prefect = prefect or Prefect(settings.prefect_api_url)
        self._deployments = Deployments(self._prefect, database, settings.locale)
        self._watched: dict[str, float] = {}  # code -> when to look again (monotonic)
        self._set_aside: dict[str, tuple[float, float]] = {}  # code -> (not before, after how long a pause) after it failed
        self._unverified: dict[str, str] = {}  # run whose gates were sent -> code
        self._resend: set[str] = set()  # runs whose gates did not arrive
        self._artifacts_due: dict[str, float] = {}
        self._artifacts_sent: dict[str, float] = {}
        self._troubles = Troubles(ledger)
        self._failures: dict[str, int] = {}  # run -> how often it failed without coming to rest
        self._online: dict[str, tuple[float, set[str]]] = {}  # work pool -> (as of, its workers that live)
        self.lost_after, self.away_after_s = LOST_AFTER, AWAY_AFTER_S
        self._is_old = True  # nothing is known of what Prefect has
        self._reconciled_at = float("-inf")
        self._nudged = threading.Event()

    def nudge(self) -> None:
        """Look now: something was committed. From any thread."""
        self._nudged.set()

    # ------------------------------------------------------------------ the loop

    def redraw(self) -> None:
        """Compare everything with Prefect at the next look: its server is not the one it was. From any thread."""
        self._is_old = True
        self.nudge()

    def run(self, stop: threading.Event) -> None:
        """Project until `stop`. While Prefect is away it looks again every few seconds; once it answers, everything is compared."""
        pause_s, failing_since = POLL_S, 0.0
        while not stop.is_set():
            try:
                self._look()
                pause_s, failing_since = POLL_S, 0.0
                self._heard(None)
            except Exception as error:
                pause_s = min(max(pause_s, 0.5) * 2, LONGEST_WAIT_S)
                log.warning("The projector tries again in %.0f s: %s", pause_s, error, exc_info=not isinstance(error, InsituError))
                self._heard(error)
                failing_since = failing_since or time.monotonic()
                self._note_failing(time.monotonic() - failing_since, error)
            self._nudged.wait(pause_s)
            self._nudged.clear()

    def _look(self) -> None:
        everything = self._is_old
        if everything or time.monotonic() - self._reconciled_at > RECONCILE_EVERY_S:
            self._is_old = False
            try:
                self.reconcile(everything)
            except BaseException:
                self._is_old = self._is_old or everything
                raise
            self._reconciled_at = time.monotonic()
        self.run_once()

    def _note_failing(self, for_s: float, error: Exception) -> None:
        if for_s > FORGETFUL_AFTER_S:
            self._is_old = True
        if for_s > self.away_after_s:
            self._note_away(error)

    def close(self) -> None:
        self._prefect.close()

    def run_once(self) -> int:
        """Project what changed, and what was left to look at again; returns how many experiments were looked at."""
        now = time.monotonic()
        due = [code for code, at in (self._watched | self._artifacts_due).items() if at <= now]
        aside = [code for code, (not_before, _) in self._set_aside.items() if not_before > now]
        with self._database.read() as connection:
            cases = self._cases(connection, _changed_or(due) & _EXPERIMENT.c.code.not_in(aside))
        self._project(cases)
        return len(cases)

    def reconcile(self, everything: bool = False) -> int:
        """Compare live runs with what was sent, in batches, and put right what someone changed in Prefect; returns how many differed.

        With `everything` (at start) the work pool and deployments are registered too and all live experiments are drawn again.
        """
        if everything:
            self._deployments.register()
            self._troubles.recall()
            self._troubles.end_all(AWAY)
        else:
            self._deployments.put_back()
        differ: set[str] = set()
        forgotten, deployments = False, set[str]()
        for live in self._live_tracks():
            runs = self._prefect.runs([run for _, run, _ in live])
            differ |= {code for code, run, sent in live if everything or self._differs(runs.get(run), sent)}
            forgotten = forgotten or any(run not in runs for _, run, _ in live)
            deployments |= {sent.get("deployment", "") for _, _, sent in live}
            if everything:  # what an earlier process sent just before it and the server died may have been forgotten
                self._unverified |= {run: code for code, run, _ in live}
        # Another server than the one the runs were made in does not know their deployments either.
        if forgotten and not any(map(self._deployments.exists, deployments)):
            log.warning("Prefect has forgotten its runs; everything is drawn again")
            self._deployments.register()
            differ = self._all_codes()
        differ |= self._codes_with_lost_gates()
        for start in range(0, len(listed := sorted(differ)), BATCH):
            with self._database.read() as connection:
                self._project(self._cases(connection, _EXPERIMENT.c.code.in_(listed[start : start + BATCH])))
        return len(differ)

    def _live_tracks(self) -> Iterator[list[tuple[str, str, Sent]]]:
        """The tracks of experiments that have not ended, a page at a time: memory stays flat however many wait."""
        joined = _TRACK.join(_EXPERIMENT, _EXPERIMENT.c.id == _TRACK.c.experiment_id)
        wanted = select(_EXPERIMENT.c.code, _TRACK.c.experiment_id, _TRACK.c.site, _TRACK.c.flow_run_id, _TRACK.c.picture).select_from(
            joined
        )
        wanted = wanted.where(_EXPERIMENT.c.state.in_(("running", "on_hold"))).order_by(_TRACK.c.experiment_id, _TRACK.c.site).limit(PAGE)
        last: tuple[int, str] = (0, "")
        while True:
            with self._database.read() as connection:
                rows = connection.execute(wanted.where(tuple_(_TRACK.c.experiment_id, _TRACK.c.site) > last)).all()
            if not rows:
                return
            yield [(row.code, row.flow_run_id, row.picture) for row in rows]
            last = (rows[-1].experiment_id, rows[-1].site)

    def _differs(self, run: Run | None, sent: Sent) -> bool:
        return run is None or run.is_executing or run.is_stranded or [run.type, run.state] != sent.get("state", [])[:2]

    def _codes_with_lost_gates(self) -> set[str]:
        """Experiments whose gates, sent since the last look, Prefect does not have: it forgets events when it crashes."""
        unverified, self._unverified = self._unverified, {}
        self._resend = set()
        for start in range(0, len(runs := list(unverified)), PAGE):
            self._resend |= self._with_lost_gates(runs[start : start + PAGE])
        return {unverified[run] for run in self._resend}

    def _with_lost_gates(self, runs: list[str]) -> set[str]:
        there = self._prefect.task_runs(runs, payloads.GATE_KEY)
        with self._database.read() as connection:
            rows = connection.execute(select(_TRACK.c.flow_run_id, _TRACK.c.picture).where(_TRACK.c.flow_run_id.in_(runs))).all()
        sent = {row.flow_run_id: {(key, *gate[:2]) for key, gate in row.picture.get("gates", {}).items()} for row in rows}
        return {run for run, gates in sent.items() if gates - there[run]}

    def _all_codes(self) -> set[str]:
        with self._database.read() as connection:
            return set(connection.execute(select(_EXPERIMENT.c.code)).scalars())

    # ------------------------------------------------------------------ reading

    def _cases(self, connection: Connection, which: Any) -> list[Case]:
        rows = connection.execute(select(_EXPERIMENT).where(which).order_by(_EXPERIMENT.c.changed_at).limit(BATCH)).mappings().all()
        return [self._case(connection, dict(row)) for row in rows]

    def _case(self, connection: Connection, row: Mapping[str, Any]) -> Case:
        view = read_view(connection, row)
        tracks = connection.execute(select(_TRACK).where(_TRACK.c.experiment_id == row["id"])).mappings()
        kept = {track["site"]: (track["flow_run_id"], track["picture"]) for track in tracks}
        found = {site: (run, dict(sent)) for site, (run, sent) in kept.items()}
        if "" not in found and (launcher := _run_that_launched(connection, row["code"])):
            found[""] = (launcher, {})
        return Case(row, view, pictures(view, self._settings.locale, self._settings.public_url), found, kept)

    # ------------------------------------------------------------------ projecting

    def _project(self, cases: list[Case]) -> None:
        """Bring every case's runs to show their pictures; one that fails does not hold back the others."""
        runs = self._prefect.runs([run for case in cases for run, _ in case.tracks.values() if run])
        for case in cases:
            case.runs = runs
            try:
                self._project_one(case)
                self._set_aside.pop(case.code, None)
            except DatabaseUnavailable:  # nobody's fault here, and the same for every experiment
                raise
            except PrefectUnavailable:
                if not self._prefect.is_up():
                    raise
                self._put_aside(case.code)
            except Exception:  # noqa: BLE001 -- one experiment must not hold back the others; it is logged there
                self._put_aside(case.code)

    def _put_aside(self, code: str) -> None:
        """Leave an experiment that cannot be shown alone for a while, longer each time up to a minute."""
        _, pause_s = self._set_aside.get(code, (0.0, 0.5))
        pause_s = min(pause_s * 2, 60)
        self._set_aside[code] = (time.monotonic() + pause_s, pause_s)
        log.exception("%s cannot be shown in Prefect as it should be; the projector tries again in %.0f s", code, pause_s)

    def _project_one(self, case: Case) -> None:
        settled = [self._project_track(case, wanted) for wanted in case.wanted.values()]
        self._send_artifacts(case)
        self._save(case)
        self._troubles.end(case.code, REPLACED)
        if all(settled):
            self._watched.pop(case.code, None)
        else:
            self._watch(case.code, WATCH_S)

    def _watch(self, code: str, for_s: float) -> None:
        self._watched[code] = time.monotonic() + for_s

    def _project_track(self, case: Case, wanted: Picture) -> bool:
        """Bring one run to show its picture; whether it does now, without looking again."""
        run = self._own(wanted, case.run_of(wanted.site))
        _, sent = case.tracks.get(wanted.site, ("", {}))
        self._report(case, wanted, run, sent)
        call = next_call(wanted, run)
        if call is Call.CREATE:
            run, sent = self._create(case, wanted, instead_of=case.run_of(wanted.site))
            self._offer_form(run, wanted, sent)
        elif call is Call.SHOW and run:
            self._offer_form(run, wanted, sent)
            self._show(run, wanted)
        elif call is Call.WAKE and run and self._may_wake(run):
            self._wake(run, wanted)
        elif call is Call.WATCH and run and self._is_lost(run):
            self._rescue(run)
        assert run is not None
        self._send_tags(run, wanted, sent)
        self._send_gates(case.code, run, wanted, sent)
        self._note_asleep(case, wanted, run)
        self._note_rest(case, wanted.site, run)
        sent["state"] = [wanted.type, wanted.state, wanted.message]
        case.tracks[wanted.site] = (run.id, sent)
        return wanted.rest is not Rest.WORKS and call is not Call.WATCH

    def _own(self, wanted: Picture, run: Run | None) -> Run | None:
        """The run, unless no worker could ever take it: a new one then takes its place.

        Prefect cancels a run whose deployment is gone as soon as it wakes; a run whose work pool was deleted waits in none.
        """
        if run is None or wanted.rest is Rest.ENDED:
            return run
        if run.is_stranded:
            self._deployments.put_back()
            self._prefect.set_state(run.id, payloads.replaced(), force=True)
            return None
        if run.type == "CANCELLED" and not (run.pool and self._deployments.exists(run.deployment)):
            self._deployments.register()
            return None
        return run

    def _create(self, case: Case, wanted: Picture, instead_of: Run | None) -> tuple[Run, Sent]:
        deployment = self._deployments.id_of(case.view.protocol.id, wanted.site)
        body = {
            "name": wanted.name,
            # The same experiment always, and no other ledger's of the same code.
            "idempotency_key": ":".join(
                (case.code, wanted.site, case.row["launched_at"].isoformat(), deployment, *([instead_of.id] if instead_of else []))
            ),
            "parameters": dict(wanted.parameters),
            "tags": list(wanted.tags),
            "state": payloads.state(wanted) if wanted.rest is not Rest.WORKS else payloads.waking(wanted),
        }
        try:
            run = self._prefect.create_run(deployment, body)
        except PrefectUnavailable:
            self._deployments.forget()
            raise
        if wanted.rest is Rest.WORKS:
            self._on_wake()
        return run, {"deployment": deployment, "tags": list(wanted.tags), "name": wanted.name}

    def _offer_form(self, run: Run, wanted: Picture, sent: Sent) -> None:
        """The Resume dialog's form, before the state that asks for it: without its form nobody could resume."""
        if wanted.asked and sent.get("form") != [run.id, *(keys := sorted(payloads.keyset(wanted.asked).values()))]:
            self._prefect.offer(run.id, payloads.form(wanted.asked))
            sent["form"] = [run.id, *keys]

    def _show(self, run: Run, wanted: Picture) -> None:
        self._prefect.set_state(run.id, payloads.state(wanted), force=True)

    def _wake(self, run: Run, wanted: Picture) -> None:
        self._prefect.set_state(run.id, payloads.waking(wanted), force=run.type != "PAUSED")
        self._on_wake()

    def _send_tags(self, run: Run, wanted: Picture, sent: Sent) -> None:
        if sent.get("tags") != list(wanted.tags) or sent.get("name") != wanted.name:
            self._prefect.update_run(run.id, tags=list(wanted.tags), name=wanted.name)
            sent |= {"tags": list(wanted.tags), "name": wanted.name, "deployment": run.deployment}

    # ------------------------------------------------------------------ gates

    def _send_gates(self, code: str, run: Run, wanted: Picture, sent: Sent) -> None:
        """One task run a gate, sent as the events Prefect's own engine sends: they alone can carry the gate's true dates."""
        known: dict[str, list[str]] = dict(sent.get("gates", {})) if sent.get("run") == run.id and run.id not in self._resend else {}
        events: list[dict[str, Any]] = []
        for key, gate in wanted.gates.items():
            shown = known.get(key, [])
            if shown[:2] == [gate.type, gate.name]:
                continue
            start, end = self._dates(gate, shown)
            if not shown and gate.end:
                events.append(payloads.gate_event(run.id, key, gate, start, None))
            events.append(payloads.gate_event(run.id, key, gate, start, end, since=self._since(gate, end)))
            known[key] = [gate.type, gate.name, start.isoformat()]
        if events:
            self._prefect.emit(events)
            self._unverified[run.id] = code
        self._resend.discard(run.id)
        sent |= {"gates": known, "run": run.id}

    def _dates(self, gate: Gate, shown: list[str]) -> tuple[datetime, datetime | None]:
        """The gate's dates; under a clock that is set, the moments it was shown, as Prefect draws them beside its own real ones."""
        if self._ledger.clock.is_real:
            start, end = gate.start, gate.end
        else:
            start = datetime.fromisoformat(shown[2]) if shown else datetime.now(UTC)
            end = datetime.now(UTC) if gate.end else None
        return start, end and max(end, start + timedelta(microseconds=1))

    def _since(self, gate: Gate, end: datetime | None) -> datetime | None:
        """When a live gate took its present status: Prefect ignores a state that is not later than the one it has."""
        return end or (gate.since if self._ledger.clock.is_real else datetime.now(UTC))

    # ------------------------------------------------------------------ artifacts

    def _send_artifacts(self, case: Case) -> None:
        """Board, summary, progress and link of the experiment's run, no more often than every few seconds; at its end at once."""
        run, sent = case.tracks[""]
        kept: dict[str, list[str]] = dict(sent.get("artifacts", {})) if sent.get("artifacts_of") == run else {}
        drawn = artifacts(case.view, self._settings.locale, self._settings.public_url)
        stale = {kind: one for kind, one in drawn.items() if kept.get(kind, ["", ""])[1] != payloads.digest(one)}
        now = time.monotonic()
        wait = self._artifacts_sent.get(case.code, float("-inf")) + ARTIFACTS_EVERY_S
        if stale and now < wait and not case.view.state.has_ended:
            self._artifacts_due[case.code] = wait
            return
        self._artifacts_due.pop(case.code, None)
        for kind, one in stale.items():
            known = kept.get(kind, ["", ""])[0]
            kept[kind] = [
                self._prefect.save_artifact(known, payloads.artifact(case.code, run, kind, one, self._settings.public_url)),
                payloads.digest(one),
            ]
            self._artifacts_sent[case.code] = now
        sent |= {"artifacts": kept, "artifacts_of": run}

    # ------------------------------------------------------------------ what others did

    def _report(self, case: Case, wanted: Picture, run: Run | None, sent: Sent) -> None:
        shown = sent.get("state")
        external = done_by_hand(wanted, run, (shown[0], shown[1]) if shown else None)
        if external is None or (run is None and not self._deployments.exists(sent.get("deployment", ""))):
            return
        message = payloads.told(external, case.code, wanted, run)
        if external is External.FAILED:
            self._troubles.begin(case.code, External.FAILED, wanted.site, message)
        else:
            occasion = run.state_id if run else case.tracks[wanted.site][0]
            key = f"prefect:{external}:{wanted.site}:{occasion}"
            self._ledger.report_incident(case.code, key, "external", message, site=wanted.site)

    def _note_asleep(self, case: Case, wanted: Picture, run: Run) -> None:
        """A run that no worker takes, or starts, is an incident until one does: Prefect itself never says so of a resumed run."""
        waits, since = self._prefect.now() - run.state_since, f"since {run.state_since:%Y-%m-%d %H:%M} UTC"
        if run.type == "SCHEDULED" and waits > ASLEEP_AFTER:
            message = f"No worker has taken the run {wanted.name} {since}. Start one: `insitu worker`."
            self._troubles.begin(case.code, ASLEEP, wanted.site, message)
        elif run.type == "PENDING" and waits > UNSTARTED_AFTER:
            message = f"The worker {run.worker or '(unnamed)'} took the run {wanted.name} and has not started it {since}. Look at its log."
            self._troubles.begin(case.code, ASLEEP, wanted.site, message)
        elif run.type not in ("SCHEDULED", "PENDING"):
            self._troubles.end(case.code, ASLEEP, wanted.site)

    # ------------------------------------------------------------------ runs whose worker is gone

    def _is_lost(self, run: Run) -> bool:
        """Whether the worker that took a run is gone, whichever pool it works for: the run would stay as it is for ever."""
        if run.type not in ("PENDING", "RUNNING") or self._prefect.now() - run.state_since < self.lost_after:
            return False
        return run.worker not in self._workers_of(run.pool)

    def _workers_of(self, pool: str) -> set[str]:
        asked_at, names = self._online.get(pool, (float("-inf"), set[str]()))
        if time.monotonic() - asked_at > LOOK_AT_WORKERS_EVERY_S:
            names = (self._prefect.workers_online(pool) or set()) if pool else set()
            self._online[pool] = (time.monotonic(), names)
        return names

    def _rescue(self, run: Run) -> None:
        """Schedule it again. Doing so to one that is alive after all is harmless: an action's every effect carries a key."""
        log.warning(
            "Flow run %s was left %s by the worker %s, which is gone; it starts again", run.id, run.state, run.worker or "(unnamed)"
        )
        self._prefect.set_state(run.id, payloads.rescued(), force=True)
        self._on_wake()

    def _note_away(self, error: Exception) -> None:
        """What the machine owes cannot be done without Prefect: an incident for each experiment where it waits, over with its return."""
        message = f"For over a minute nothing has reached Prefect, and the actions that this experiment owes wait for it ({error})."
        try:
            for code in self._codes_at_work():
                self._troubles.begin(code, AWAY, "", message)
        except InsituError as failure:
            log.warning("%s", failure)

    def _codes_at_work(self) -> list[str]:
        joined = _STEP.join(_EXPERIMENT, _EXPERIMENT.c.id == _STEP.c.experiment_id)
        owing = select(_EXPERIMENT.c.code).select_from(joined).where(_STEP.c.status == literal_column(f"'{StepStatus.WORKING.value}'"))
        with self._database.read() as connection:
            return list(connection.execute(owing.distinct()).scalars())

    def _may_wake(self, run: Run) -> bool:
        """Whether a run may start over now: after each failure in a row it waits twice as long."""
        if run.type not in ("FAILED", "CRASHED"):
            return True
        if datetime.now(UTC) - run.state_since < timedelta(seconds=min(2 ** self._failures.get(run.id, 0), LONGEST_PAUSE_S)):
            return False
        self._failures[run.id] = self._failures.get(run.id, 0) + 1
        return True

    def _note_rest(self, case: Case, site: str, run: Run) -> None:
        if run.type in ("PAUSED", "COMPLETED"):
            self._failures.pop(run.id, None)
            self._troubles.end(case.code, External.FAILED, site)

    # ------------------------------------------------------------------ remembering

    def _save(self, case: Case) -> None:
        """Remember what was sent, for the facts it was drawn from: a fact committed meanwhile stays to be projected."""
        changed = {site: track for site, track in case.tracks.items() if case.kept.get(site) != track}
        if not changed and case.row["projected_seq"] >= case.row["seq"]:
            return
        with self._database.write() as connection:
            for site, (run, sent) in changed.items():
                at = (_TRACK.c.experiment_id == case.row["id"], _TRACK.c.site == site)
                values = {"flow_run_id": run, "picture": sent, "sent_at": self._ledger.clock.now()}
                if connection.execute(update(_TRACK).where(*at).values(values)).rowcount == 0:
                    connection.execute(insert(_TRACK).values(experiment_id=case.row["id"], site=site, **values))
            behind = (_EXPERIMENT.c.id == case.row["id"], _EXPERIMENT.c.projected_seq < case.row["seq"])
            connection.execute(update(_EXPERIMENT).where(*behind).values(projected_seq=case.row["seq"]))


def _changed_or(codes: list[str]) -> Any:
    changed = _EXPERIMENT.c.projected_seq < _EXPERIMENT.c.seq
    return changed | _EXPERIMENT.c.code.in_(codes) if codes else changed


def _run_that_launched(connection: Connection, code: str) -> str:
    """The flow run whose form launched the experiment, or ""."""
    launches = select(_COMMAND.c.id, _COMMAND.c.result).where(_COMMAND.c.id >= LAUNCHED_BY_RUN, _COMMAND.c.id < LAUNCHED_BY_RUN + "~")
    rows = connection.execute(launches.where(_COMMAND.c.result.contains(f'"{code}"', autoescape=True)))
    return next((row.id.removeprefix(LAUNCHED_BY_RUN) for row in rows if json.loads(row.result)["code"] == code), "")
