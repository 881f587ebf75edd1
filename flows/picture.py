"""What Prefect should show, derived from the ledger: pure, so that a lost picture can always be drawn again.

An experiment has one track (site "") and so has each of its sites; a track is one flow run. A gate is a task run of its track.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from flows.schema import draft_schema
from protocols.model import Phase, Protocol, in_locale
from protocols.state import ExperimentState, SiteState, StepStatus

NAME_LENGTH = 90  # what Prefect's run list shows of a state's name without cutting it

# State names stay English in every locale: filters and automations match them, and Prefect's own pages are English. Titles are not.
AWAITING, AWAITING_MANY, AWAITING_SITES = "Awaiting {what}", "Awaiting {count} gates: {what}", "Awaiting {count} site{s}"
ON_HOLD, WORKING, INCIDENT, CLOSED, STOPPED = "On hold", "Working: {what}", "Incident: {what}", "Closed", "Stopped"

WORDS: dict[str, dict[str, str]] = {
    "en": {
        "round": "round {round}",
        "due": "due {date}",
        "late": "late since {date}",
        "gate": "Gate",
        "site": "Site",
        "status": "Status",
        "opened": "Opened",
        "due_column": "Due",
        "waiting_for": "Waiting for",
        "through": "{through} of {total} gates through",
        "open_page": "Open in insitu",
        "protocol": "Protocol",
        "sites": "Sites",
        "form": "What you fill in here becomes a draft of this checkpoint, unsigned and marked as coming from Prefect. It opens no gate: "
        "someone who may must read it and complete it in insitu. {link}",
    },
    "fr": {
        "round": "tour {round}",
        "due": "échéance {date}",
        "late": "en retard depuis le {date}",
        "gate": "Jalon",
        "site": "Site",
        "status": "État",
        "opened": "Ouvert",
        "due_column": "Échéance",
        "waiting_for": "Attend",
        "through": "{through} jalons franchis sur {total}",
        "open_page": "Ouvrir dans insitu",
        "protocol": "Protocole",
        "sites": "Sites",
        "form": "Ce que vous saisissez ici devient un brouillon de ce point de contrôle, non signé et marqué comme venant de Prefect. Il "
        "n’ouvre aucun jalon : quelqu’un qui en a le droit doit le relire et le terminer dans insitu. {link}",
    },
}

STATUS_WORDS: dict[str, dict[StepStatus, str]] = {
    "en": {status: status.value.capitalize() for status in StepStatus},
    "fr": {
        StepStatus.WAITING: "En attente",
        StepStatus.WORKING: "En cours",
        StepStatus.OPEN: "Ouvert",
        StepStatus.INCIDENT: "Incident",
        StepStatus.PASSED: "Franchi",
        StepStatus.SKIPPED: "Sans objet",
        StepStatus.RETURNED: "Renvoyé",
        StepStatus.STOPPED: "Arrêté",
    },
}

GATE_STATES: dict[StepStatus, str] = {
    StepStatus.WORKING: "RUNNING",
    StepStatus.OPEN: "RUNNING",
    StepStatus.INCIDENT: "RUNNING",
    StepStatus.PASSED: "COMPLETED",
    StepStatus.SKIPPED: "COMPLETED",
    StepStatus.RETURNED: "CANCELLED",
    StepStatus.STOPPED: "CANCELLED",
}


@dataclass(frozen=True, slots=True)
class StepView:
    """A round of a step as the ledger's snapshot has it. Times are aware UTC; `since` is when it took its status."""

    step: str
    site: str
    round: int
    status: StepStatus
    opened_at: datetime | None = None
    since: datetime | None = None
    due_at: datetime | None = None
    overdue: bool = False
    awaits: str = ""
    awaits_role: str = ""
    why: str = ""

    @property
    def key(self) -> str:
        return f"{self.step}:{self.site}:{self.round}"


@dataclass(frozen=True, slots=True)
class View:
    """An experiment as its rows tell it: `steps` in their present round, `past` the rounds before."""

    code: str
    title: str
    state: ExperimentState
    protocol: Protocol
    sites: Mapping[str, SiteState]
    steps: tuple[StepView, ...] = ()
    past: tuple[StepView, ...] = ()
    launch: Mapping[str, Any] = field(default_factory=dict)
    launched_by: str = ""

    def of(self, site: str) -> list[StepView]:
        """The track's steps in their present round, in the protocol's order."""
        order = {step.id: place for place, step in enumerate(self.protocol.steps)}
        return sorted((row for row in self.steps if row.site == site and row.step in order), key=lambda row: order[row.step])


class Rest(StrEnum):
    """What a track's run does now."""

    RESTS = "rests"  # only people can move it on
    WORKS = "works"  # the machine owes actions: the run must be awake
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class Gate:
    """One bar of the timeline: a task run."""

    title: str
    type: str
    name: str
    start: datetime
    end: datetime | None = None
    since: datetime | None = None
    message: str = ""


@dataclass(frozen=True, slots=True)
class Asked:
    """The one checkpoint a run at rest waits for the answers of: its name, its form as JSON Schema, and what the Resume dialog says."""

    checkpoint: str
    schema: Mapping[str, Any]
    said: str


@dataclass(frozen=True, slots=True)
class Picture:
    """What Prefect should show for one track; `asked` is None where it waits for nobody's answers, or for several people's."""

    site: str
    name: str
    rest: Rest
    type: str
    state: str
    message: str
    tags: tuple[str, ...]
    parameters: Mapping[str, Any]
    gates: Mapping[str, Gate]
    asked: Asked | None = None


def pictures(view: View, locale: str = "en", public_url: str = "") -> dict[str, Picture]:
    """The picture of every track that has begun; a site's begins when its first step opens."""
    begun = {row.site for row in (*view.steps, *view.past) if row.site}
    return {site: picture(view, site, locale, public_url) for site in ("", *sorted(begun))}


def picture(view: View, site: str, locale: str = "en", public_url: str = "") -> Picture:
    """What one track's run should show: state, message, tags and gates."""
    rest, type_, state = _state(view, site, locale)
    live = [row for row in view.of(site) if row.status.is_live]
    return Picture(
        site=site,
        name=f"{view.code} · {site}" if site else view.code,
        rest=rest,
        type=type_,
        state=state,
        message=_message(view, live, locale, public_url),
        tags=_tags(view, site),
        parameters=parameters(view, site),
        gates={row.key: _gate(view, row, locale) for row in _rounds(view, site)},
        asked=_asked(view, live, locale, public_url) if rest is Rest.RESTS and state not in (ON_HOLD, CLOSED) else None,
    )


def _asked(view: View, live: list[StepView], locale: str, public_url: str) -> Asked | None:
    if len(live) != 1 or live[0].awaits != "answers":
        return None
    checkpoint = next(step.checkpoint for step in view.protocol.steps if step.id == live[0].step)
    if checkpoint is None or not checkpoint.form:
        return None
    name = f"{view.code}:{live[0].key}"
    return Asked(name, draft_schema(checkpoint.form, locale), WORDS[locale]["form"].format(link=checkpoint_url(public_url, name)))


def parameters(view: View, site: str) -> dict[str, Any]:
    """What the track's flow is called with."""
    if site:
        return {"code": view.code, "site": site}
    launch = {"launch": dict(view.launch), "launched_by": view.launched_by, "title": view.title}
    return {"protocol": view.protocol.id, "sites": list(view.sites), **launch, "code": view.code}


def _state(view: View, site: str, locale: str) -> tuple[Rest, str, str]:
    """What the run does, and the type and name of its state."""
    rows = view.of(site)
    if ended := _ended(view, site, rows):
        return Rest.ENDED, *(("COMPLETED", CLOSED) if ended == "closed" else ("CANCELLED", STOPPED))
    if view.state is ExperimentState.ON_HOLD or view.sites.get(site) is SiteState.ON_HOLD:
        return Rest.RESTS, "PAUSED", ON_HOLD
    if working := _with(rows, StepStatus.WORKING):
        return Rest.WORKS, "RUNNING", _name(WORKING, [_title(view, row, locale) for row in working])
    if incidents := _with(rows, StepStatus.INCIDENT):
        return Rest.RESTS, "PAUSED", _name(INCIDENT, [_title(view, row, locale) for row in incidents])
    return Rest.RESTS, "PAUSED", _awaiting(view, site, _with(rows, StepStatus.OPEN), locale)


def _ended(view: View, site: str, rows: Iterable[StepView]) -> str:
    if view.state.has_ended:
        site_stopped = view.sites.get(site) is SiteState.STOPPED
        return "stopped" if view.state is ExperimentState.STOPPED or site_stopped else "closed"
    if not site:
        return ""
    if view.sites[site] is SiteState.STOPPED:
        return "stopped"
    through = {row.step for row in rows if row.status.is_through}
    return "closed" if all(step.id in through for step in view.protocol.steps if step.scope == "site") else ""


def _with(rows: Iterable[StepView], status: StepStatus) -> list[StepView]:
    return [row for row in rows if row.status is status]


def _awaiting(view: View, site: str, rows: list[StepView], locale: str) -> str:
    titles = [_title(view, row, locale) for row in rows]
    if not titles:
        active = sum(state is not SiteState.STOPPED for state in view.sites.values())
        return AWAITING_SITES.format(count=active, s="" if active == 1 else "s") if not site else AWAITING.format(what=view.code)
    if len(titles) == 1:
        return _name(AWAITING, titles)
    return _name(AWAITING_MANY.replace("{count}", str(len(titles))), titles)


def _name(template: str, titles: list[str]) -> str:
    """The template filled with titles, cut so that the whole stays readable in a list."""
    name = template.format(what=", ".join(titles))
    return name if len(name) <= NAME_LENGTH else name[: NAME_LENGTH - 1].rstrip(" ,") + "…"


def _title(view: View, row: StepView, locale: str) -> str:
    step = next(step for step in view.protocol.steps if step.id == row.step)
    title = in_locale(step.title, locale)
    return title if row.round == 1 else f"{title} ({WORDS[locale]['round'].format(round=row.round)})"


def _role(view: View, role: str, locale: str) -> str:
    known = view.protocol.roles.get(role)
    return in_locale(known.title, locale) if known else role


def _message(view: View, rows: list[StepView], locale: str, public_url: str) -> str:
    """Who can move each open gate on, by when and where; an incident shows its error."""
    return "\n".join(_line(view, row, locale, public_url) for row in rows)


def _line(view: View, row: StepView, locale: str, public_url: str) -> str:
    words = WORDS[locale]
    due = words["late" if row.overdue else "due"].format(date=row.due_at.date().isoformat()) if row.due_at else ""
    link = checkpoint_url(public_url, f"{view.code}:{row.key}") if row.awaits_role else ""
    parts = (_title(view, row, locale), _role(view, row.awaits_role, locale), due, row.why, link)
    return " · ".join(part for part in parts if part)


def checkpoint_url(public_url: str, checkpoint: str) -> str:
    """Where a person completes a checkpoint."""
    return f"{public_url.rstrip('/')}/checkpoints/{checkpoint}"


def experiment_url(public_url: str, code: str) -> str:
    """The experiment's own page."""
    return f"{public_url.rstrip('/')}/experiments/{code}"


def phase_of(view: View, site: str) -> Phase:
    """The phase of the track's first live step, else of its last one through, else of the protocol's first step."""
    phases = {step.id: step.phase for step in view.protocol.steps}
    rows = view.of(site)
    live = [row for row in rows if row.status.is_live] or [row for row in rows if row.status.is_through][-1:]
    return phases[live[0].step] if live else view.protocol.steps[0].phase


def _tags(view: View, site: str) -> tuple[str, ...]:
    tags = {"insitu", f"experiment:{view.code}", f"protocol:{view.protocol.id}", f"phase:{phase_of(view, site)}"}
    return tuple(sorted(tags | ({f"site:{site}"} if site else set())))


def _rounds(view: View, site: str) -> list[StepView]:
    """Every round of the track that has opened: the bars of its timeline."""
    rows = [row for row in view.past if row.site == site] + view.of(site)
    return [row for row in rows if row.opened_at is not None and row.status in GATE_STATES]


def _gate(view: View, row: StepView, locale: str) -> Gate:
    title = _title(view, row, locale)
    assert row.opened_at is not None
    return Gate(
        title=f"{row.site}: {title}" if row.site else title,
        type=GATE_STATES[row.status],
        name=STATUS_WORDS[locale][row.status],
        start=row.opened_at,
        since=row.since,
        end=None if row.status.is_live else max(row.since or row.opened_at, row.opened_at),
        message=row.why,
    )


def artifacts(view: View, locale: str = "en", public_url: str = "") -> dict[str, dict[str, Any]]:
    """The experiment's artifacts by kind: `board`, `summary`, `progress`, `link`; each with Prefect's `type` and `data`."""
    return {
        "board": {"type": "table", "data": _board(view, locale, public_url)},
        "summary": {"type": "markdown", "data": _summary(view, locale, public_url)},
        "progress": {"type": "progress", "data": progress(view)},
        "link": {"type": "markdown", "data": f"[{WORDS[locale]['open_page']}]({experiment_url(public_url, view.code)})"},
    }


def progress(view: View) -> float:
    """How many of the gates that active sites must pass are through, as a percentage."""
    through, total = _through(view)
    return round(100.0 * through / total, 1) if total else 0.0


def _through(view: View) -> tuple[int, int]:
    active = {site for site, state in view.sites.items() if state is not SiteState.STOPPED}
    total = sum(len(active) if step.scope == "site" else 1 for step in view.protocol.steps)
    return sum(row.status.is_through for row in view.steps if not row.site or row.site in active), total


def _board(view: View, locale: str, public_url: str) -> list[dict[str, str]]:
    tracks = ("", *view.sites)
    return [_board_row(view, row, locale, public_url) for track in tracks for row in view.of(track)]


def _board_row(view: View, row: StepView, locale: str, public_url: str) -> dict[str, str]:
    words, role = WORDS[locale], _role(view, row.awaits_role, locale)
    linked = f"[{role}]({checkpoint_url(public_url, f'{view.code}:{row.key}')})" if role else ""
    return {
        words["gate"]: _title(view, row, locale),
        words["site"]: row.site,
        words["status"]: STATUS_WORDS[locale][row.status],
        words["opened"]: row.opened_at.date().isoformat() if row.opened_at else "",
        words["due_column"]: row.due_at.date().isoformat() if row.due_at and row.status.is_live else "",
        words["waiting_for"]: linked or row.why,
    }


def _summary(view: View, locale: str, public_url: str) -> str:
    words, (through, total) = WORDS[locale], _through(view)
    live = [row for track in ("", *view.sites) for row in view.of(track) if row.status.is_live]
    lines = [
        f"# {view.title or in_locale(view.protocol.title, locale)}",
        f"**{view.code}** · {words['protocol']} `{view.protocol.id}` {view.protocol.version} · {_state(view, '', locale)[2]}",
        f"{words['through'].format(through=through, total=total)} ({progress(view):g} %)",
        f"{words['sites']}: " + ", ".join(f"{site} ({state})" for site, state in view.sites.items()),
        *(f"- {(row.site + ' · ') if row.site else ''}{_line(view, row, locale, public_url)}" for row in live),
    ]
    return "\n\n".join(lines[:4]) + "\n\n" + "\n".join(lines[4:])
