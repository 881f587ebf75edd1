"""What a document says of an experiment, as rows of cells in one locale: tables ask for rows, templates give them headings."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

from flows.actions import numbers
from flows.actions.plot import MAX_PANELS, draw, drawable, label
from flows.actions.record import Ending, Record
from flows.actions.statistics import Figure, figures
from flows.actions.words import word
from protocols.context import shown_status
from protocols.model import Checkpoint, FieldType, FormField, Protocol, Scope, Step, Text, in_locale
from protocols.state import SiteInfo, SiteState, StepState

Row = Sequence[str]
STATISTICS = ("mean", "sd", "median", "q1", "q3", "iqr", "min", "max")
SMALL_CELL = 5


@dataclass(frozen=True)
class Page:
    """One document under way: of which experiment, in which locale, and for which step or site."""

    protocol: Protocol
    record: Record
    locale: str
    step_id: str = ""
    site_code: str = ""
    round: int = 1

    # Words

    def text(self, text: Text | None) -> str:
        return in_locale(text, self.locale)

    def word(self, key: str, **values: object) -> str:
        return word(key, self.locale, **values)

    def number(self, value: float | None) -> str:
        return numbers.written(value, self.locale)

    def day(self, moment: datetime | str | None, site: str = "") -> str:
        return numbers.day(moment, self.locale, self.record.place(site).timezone)

    def minute(self, moment: datetime, site: str = "") -> str:
        return numbers.minute(moment, self.locale, self.record.place(site).timezone)

    def role(self, role: str) -> str:
        known = self.protocol.roles.get(role)
        return self.text(known.title) if known else role

    def yes(self, value: bool | None) -> str:
        return self.word("unknown" if value is None else "yes" if value else "no")

    # The protocol

    @property
    def identity(self) -> list[Row]:
        record = self.record
        return [
            (self.word("code"), f"{record.code} – {record.title}" if record.title else record.code),
            (self.word("protocol"), f"{self.protocol.id} {self.protocol.version}"),
            (self.word("hash"), record.protocol_hash),
            (self.word("launched"), self.day(record.launched_at)),
            (self.word("launched_by"), record.name(record.launched_by)),
        ]

    @property
    def solution(self) -> list[Row]:
        solution = self.protocol.solution
        if solution is None:
            return []
        device = solution.device
        rows = [("solution", solution.name), ("holder", solution.holder or self.word("unknown"))]
        if solution.description:
            rows.append(("description", self.text(solution.description)))
        rows.append(("is_medical_device", self.yes(device.is_medical_device if device else None)))
        if device and device.is_medical_device:
            rows += [
                ("class", device.class_ or self.word("unknown")),
                ("ce_marked", self.yes(device.ce_marked)),
                ("used_as_intended", self.yes(device.used_as_intended)),
            ]
        rows.append(("ai", self.yes(solution.ai)))
        return [(self.word(key), value) for key, value in rows]

    @property
    def launch(self) -> list[Row]:
        return self.answered(self.protocol.launch, self.record.state.launch)

    @property
    def pathway(self) -> list[Row]:
        phases = self.protocol.pathway.phases.items()
        return [(self.word(phase.value), bounds.from_ or numbers.ABSENT, bounds.until or numbers.ABSENT) for phase, bounds in phases]

    @property
    def roles(self) -> list[Row]:
        return [
            (self.text(role.title), self.word(role.scope.value), ", ".join(map(self.word, role.requires)) or numbers.ABSENT)
            for role in self.protocol.roles.values()
        ]

    @property
    def sites(self) -> list[Row]:
        return [self._site(site) for site in self.record.sites]

    @property
    def site(self) -> SiteInfo:
        return self.record.state.sites[self.site_code]

    @property
    def site_identity(self) -> list[Row]:
        site = self.site
        names = ("code", "name", "kind", "territory", "timezone")
        values = (site.code, site.name, self.word(site.kind), site.place.territory, site.place.timezone)
        return [(self.word("site" if name == "code" else name), value) for name, value in zip(names, values, strict=True)]

    def _site(self, site: SiteInfo) -> Row:
        state = "site_stopped" if site.state is SiteState.STOPPED else site.state.value
        return (site.code, site.name, self.word(site.kind), site.place.territory, self.word(state))

    # Steps and forms

    @property
    def site_steps(self) -> list[Step]:
        return [step for step in self.protocol.steps if step.scope is Scope.SITE]

    @property
    def steps_with_forms(self) -> list[Step]:
        return [step for step in self.protocol.steps if self.form(step)]

    @property
    def steps(self) -> list[Row]:
        return [
            (
                str(number),
                self.text(step.title),
                self.word(step.phase.value),
                self.word(step.scope.value),
                self.who(step),
                self.signers(step),
                self.deadline(step),
            )
            for number, step in enumerate(self.protocol.steps, 1)
        ]

    def form(self, step: Step) -> tuple[FormField, ...]:
        return step.checkpoint.form if step.checkpoint else ()

    def checkpoint(self, step: Step) -> Checkpoint:
        return step.checkpoint or Checkpoint(role=next(iter(self.protocol.roles)))

    def who(self, step: Step) -> str:
        return self.role(step.checkpoint.role) if step.checkpoint else numbers.ABSENT

    def signers(self, step: Step) -> str:
        asked = step.checkpoint.signatures if step.checkpoint else ()
        return ", ".join(self.role(signature.role) for signature in asked) or numbers.ABSENT

    def deadline(self, step: Step) -> str:
        return self.word(f"{step.due.calendar.value}_days", days=step.due.days) if step.due else numbers.ABSENT

    def due(self, step: Step) -> str:
        """The date itself once the step has opened at the site, else the rule."""
        present = self.record.step(step.id, self.site_code if step.scope is Scope.SITE else "")
        return self.day(present.due_at, self.site_code) if present.due_at else self.deadline(step)

    def predecessors(self, step: Step) -> str:
        titles = {known.id: self.text(known.title) for known in self.protocol.steps}
        return ", ".join(titles[after.step] for after in step.after) or numbers.ABSENT

    @property
    def checklist(self) -> list[Row]:
        return [
            (str(number), self.text(step.title), self.predecessors(step), self.due(step), self.who(step), self.signers(step))
            for number, step in enumerate(self.site_steps, 1)
        ]

    def fields(self, step: Step) -> list[Row]:
        return [row for asked in self.form(step) for row in (self._field(asked), *(self._field(column, asked) for column in asked.columns))]

    def _field(self, asked: FormField, table: FormField | None = None) -> Row:
        name = f"{self.text(table.label)} – {self.text(asked.label)}" if table else self.text(asked.label)
        return (name, self.word(asked.type.value), self.word("required" if asked.required else "optional"), self.bounds(asked))

    def bounds(self, asked: FormField) -> str:
        """What the field accepts: its options, its bounds with their unit, and when it is shown."""
        unit = f" {asked.unit}" if asked.unit else ""
        parts = [self.option(asked, value) for value in asked.option_values]
        parts += [self.word("at_least", min=self.bound(asked.min) + unit)] if asked.min is not None else []
        parts += [self.word("at_most", max=self.bound(asked.max) + unit)] if asked.max is not None else []
        parts += [asked.unit] if asked.unit and asked.min is None and asked.max is None else []
        parts += [self.word("if", condition=asked.show_if)] if asked.show_if else []
        return ", ".join(parts) or numbers.ABSENT

    def bound(self, bound: float | str) -> str:
        if isinstance(bound, str):
            return self.word("today") if bound == "today" else self.day(bound)
        return self.number(bound)

    def option(self, asked: FormField, value: Any) -> str:
        labels = {option.value: self.text(option.label) for option in asked.options}
        return labels.get(value) or str(value)

    # Answers

    def answered(self, form: Iterable[FormField], answers: Any) -> list[Row]:
        return [(self.text(asked.label), self.answer(asked, (answers or {}).get(asked.id))) for asked in form]

    def answer(self, asked: FormField, value: Any, site: str = "") -> str:
        """The answer as a reader expects it; a table is counted, a file named with its fingerprint."""
        if value is None:
            return self.word("unanswered")
        match asked.type:
            case FieldType.BOOLEAN:
                return self.yes(value)
            case FieldType.NUMBER | FieldType.INTEGER:
                return f"{self.number(value)} {asked.unit or ''}".rstrip()
            case FieldType.DATE:
                return self.day(value)
            case FieldType.DATETIME:
                return self.minute(datetime.fromisoformat(value), site)
            case FieldType.CHOICE:
                return self.option(asked, value)
            case FieldType.CHOICES:
                return ", ".join(self.option(asked, item) for item in value)
            case FieldType.FILE:
                return f"{value['name']} (SHA-256 {value['hash'][:12]}…)"
            case FieldType.TABLE:
                return self.word("rows", count=len(value))
            case FieldType.PERSON:
                return self.record.name(value)
            case _:
                return str(value)

    @property
    def decided(self) -> list[tuple[Step, StepState]]:
        """Every answered round of the experiment's own steps, in the protocol's order."""
        rounds = ((step, state) for step in self.protocol.steps if step.scope is Scope.EXPERIMENT for state in self.record.rounds(step.id))
        return [(step, state) for step, state in rounds if state.answers is not None]

    # How it went

    @property
    def gates(self) -> list[Row]:
        return [self._gate(step, state) for step in self.protocol.steps for state in self.record.everywhere(step)]

    def _gate(self, step: Step, state: StepState) -> Row:
        site, missed = state.key.site, self.record.missed_at(state)
        return (
            self.text(step.title),
            site or numbers.ABSENT,
            str(state.round),
            self.word(shown_status(self.record.state, state).value),
            self.day(state.opened_at, site),
            self.day(state.completed_at, site),
            self.day(state.due_at, site),
            self.word("late", day=self.day(missed, site)) if missed else self.word("on_time"),
        )

    @property
    def endings(self) -> list[Row]:
        found = [("", self.record.stop_of()), *((site.code, self.record.stop_of(site.code)) for site in self.record.stopped_sites)]
        return [self._ending(site, ending) for site, ending in found if ending]

    def _ending(self, site: str, ending: Ending) -> Row:
        titles = {step.id: self.text(step.title) for step in self.protocol.steps}
        why = self.word("by_gate", step=titles[ending.step], why=ending.why) if ending.step else ending.why
        return (site or self.word("experiment"), self.day(ending.at, site), self.record.name(ending.by) or numbers.ABSENT, why)

    @property
    def signatures(self) -> list[Row]:
        return [
            (
                self.text(step.title),
                state.key.site or numbers.ABSENT,
                str(state.round),
                self.record.name(signed.by),
                self.role(signed.role),
                self.minute(signed.at, state.key.site),
                signed.meaning,
                signed.answers_hash[:12],
            )
            for step in self.protocol.steps
            for state in self.record.everywhere(step)
            for signed in state.signatures
        ]

    # Figures

    @cached_property
    def figures(self) -> tuple[Figure, ...]:
        return figures(self.protocol, self.record.state)

    @property
    def evaluated_steps(self) -> list[Step]:
        return list({figure.step.id: figure.step for figure in self.figures}.values())

    @cached_property
    def plot(self) -> str:
        return draw(self.figures, self.locale)

    @property
    def undrawn(self) -> int:
        """How many figures the drawing has no room for."""
        return len(drawable(self.figures)[MAX_PANELS:])

    def label(self, figure: Figure) -> str:
        return label(figure, self.locale)

    def labels(self, chosen: Sequence[Figure]) -> list[str]:
        return [self.label(figure) for figure in chosen]

    def place(self, site: str) -> str:
        stopped = site and self.record.state.site_is_stopped(site)
        return f"{site} ({self.word('stopped_mark')})" if stopped else site

    def single(self, step: Step) -> list[Figure]:
        """The step's figures that give one value a site, or one for the experiment."""
        return [figure for figure in self.figures if figure.step.id == step.id and figure.per != "row"]

    def columns(self, step: Step) -> list[Figure]:
        """The step's figures that give one value a row of a table."""
        return [figure for figure in self.figures if figure.step.id == step.id and figure.per == "row"]

    def given(self, chosen: Sequence[Figure]) -> list[Row]:
        """A row a figure of an experiment step: the value given."""
        return [(self.label(figure), self.answer(figure.described, figure.pooled[0])) for figure in chosen]

    def values(self, chosen: Sequence[Figure]) -> list[Row]:
        """A row a site: the value of each figure there, a dash where the site has not passed the step or was not asked."""
        at = [{sample.site: sample.values[0] for sample in figure.samples} for figure in chosen]
        sites = [site for site in self.record.state.sites if any(site in values for values in at)]
        return [(self.place(site), *self._values(site, chosen, at)) for site in sites]

    def _values(self, site: str, chosen: Sequence[Figure], at: Sequence[dict[str, Any]]) -> list[str]:
        pairs = zip(chosen, at, strict=True)
        return [self.answer(figure.described, values[site], site) if site in values else numbers.ABSENT for figure, values in pairs]

    def summaries(self, chosen: Sequence[Figure]) -> list[Row]:
        """A row a numeric figure: its summary over all sites."""
        return [self._summary(self.label(figure), figure.summary()) for figure in chosen if figure.is_numeric]

    def by_site(self, figure: Figure) -> list[Row]:
        """A row a site and one for all: the summary of a numeric column."""
        rows = [self._summary(self.place(sample.site), figure.summary(sample.values)) for sample in figure.samples if sample.site]
        return [*rows, self._summary(self.word("all_sites" if rows else "experiment"), figure.summary())]

    def _summary(self, name: str, summary: dict[str, Any]) -> Row:
        return (name, str(summary["n"]), str(summary["missing"]), *(self.number(summary[key]) for key in STATISTICS))

    def shares(self, chosen: Sequence[Figure]) -> list[Row]:
        """A row a site and answer, then all sites: how many, and the percentage of those who answered."""
        return [row for figure in chosen if not figure.is_numeric for row in self._shares(figure)]

    def _shares(self, figure: Figure) -> list[Row]:
        parts = [(self.place(sample.site), sample.values) for sample in figure.samples if figure.per == "row" and sample.site]
        parts.append((self.word("all_sites" if figure.samples[0].site else "experiment"), figure.pooled))
        summaries = [(name, figure.summary(values)) for name, values in parts]
        return [self._share(figure, name, count, summary) for name, summary in summaries for count in summary["counts"]]

    def _share(self, figure: Figure, name: str, count: dict[str, Any], summary: dict[str, Any]) -> Row:
        chosen = self.yes(count["value"]) if figure.described.type is FieldType.BOOLEAN else self.option(figure.described, count["value"])
        percent = numbers.ABSENT if count["percent"] is None else f"{self.number(count['percent'])}{numbers.NO_BREAK}%"
        return (self.label(figure), name, chosen, str(count["n"]), percent, str(summary["n"]), str(summary["missing"]))

    @property
    def has_small_cells(self) -> bool:
        """Whether a figure on rows of a table, people as a rule, rests at some site on fewer than five of them."""
        return any(0 < len(sample.values) < SMALL_CELL for figure in self.figures if figure.per == "row" for sample in figure.samples)
