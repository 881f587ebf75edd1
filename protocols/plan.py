"""A protocol made ready for deciding: its graph, its compiled conditions, and which steps a decision about a step can touch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from functools import cached_property
from typing import Any

from protocols.conditions import CompiledCondition, compile_condition
from protocols.model import FieldType, FormField, Protocol, Role, Scope, Step

Convert = Callable[[Any], Any]
Converter = tuple[str, Convert, bool]
_LISTS = frozenset({FieldType.CHOICES, FieldType.TABLE})


@dataclass(frozen=True)
class PlannedStep:
    """A step with its conditions compiled. `watches` names the steps its gate refers to."""

    step: Step
    when: CompiledCondition | None
    passes: CompiledCondition
    returns: CompiledCondition | None
    stops: CompiledCondition | None

    @property
    def is_site_step(self) -> bool:
        return self.step.scope is Scope.SITE

    @property
    def gate_conditions(self) -> tuple[CompiledCondition, ...]:
        return tuple(condition for condition in (self.stops, self.returns, self.passes) if condition)

    @cached_property
    def watches(self) -> frozenset[str]:
        return frozenset(_steps_named(self.gate_conditions)) - {self.step.id}

    @cached_property
    def counts_sites(self) -> bool:
        """Whether its gate reads how many sites take part."""
        return any("sites" in condition.names for condition in self.gate_conditions)

    @cached_property
    def depends_on_today(self) -> bool:
        return any("today" in condition.names for condition in self.gate_conditions)

    @cached_property
    def converters(self) -> tuple[Converter, ...]:
        return converters(self.step.checkpoint.form if self.step.checkpoint else ())

    @property
    def may_pass_unasked(self) -> bool:
        """Whether it can go through in the same decision that reaches it."""
        return self.when is not None or (self.step.checkpoint is None and not self.step.run)


class Plan:
    """A protocol with its graph; `joined` are the site steps that an experiment step waits for over the sites.

    Build one per protocol hash and keep it: compiling costs milliseconds, deciding microseconds."""

    def __init__(self, protocol: Protocol, content_hash: str) -> None:
        self.protocol = protocol
        self.hash = content_hash
        self.steps: dict[str, PlannedStep] = {step.id: _planned(step) for step in protocol.steps}
        self.order: dict[str, int] = {step.id: number for number, step in enumerate(protocol.steps)}
        self.successors: dict[str, list[str]] = {step.id: [] for step in protocol.steps}
        self.watchers: dict[str, list[str]] = {step.id: [] for step in protocol.steps}
        for planned in self.steps.values():
            for after in planned.step.after:
                self.successors[after.step].append(planned.step.id)
            for watched in planned.watches:
                self.watchers[watched].append(planned.step.id)
        self.joined: frozenset[str] = frozenset(
            after.step
            for planned in self.steps.values()
            for after in planned.step.after
            if not planned.is_site_step and self.steps[after.step].is_site_step
        )
        self._descendants: dict[str, frozenset[str]] = {}
        self._neighbourhoods: dict[str, frozenset[str]] = {}
        self.launch_converters = converters(protocol.launch)

    def role(self, role: str) -> Role | None:
        return self.protocol.roles.get(role)

    def is_site_role(self, role: str) -> bool:
        known = self.role(role)
        return known is not None and known.scope is Scope.SITE

    def is_site_step(self, step: str) -> bool:
        return self.steps[step].is_site_step

    def descendants(self, step: str) -> frozenset[str]:
        """Every step that comes after this one, near or far, without itself."""
        if step not in self._descendants:
            found: set[str] = set()
            frontier = list(self.successors[step])
            while frontier:
                if (name := frontier.pop()) not in found:
                    found.add(name)
                    frontier.extend(self.successors[name])
            self._descendants[step] = frozenset(found)
        return self._descendants[step]

    def neighbourhood(self, step: str) -> frozenset[str]:
        """The steps that deciding about this one reads or changes, unless it returns, stops or fans out further.

        Itself, the steps that may open after it and their predecessors, the steps whose gates watch it, and all those named in the
        conditions to be evaluated. It is small whatever the size of the protocol.
        """
        if step not in self._neighbourhoods:
            self._neighbourhoods[step] = frozenset(self._reach(step))
        return self._neighbourhoods[step]

    def _reach(self, step: str) -> Iterable[str]:
        seen: set[str] = set()
        moving, read = [step], {step}
        while moving:
            name = moving.pop()
            if name in seen:
                continue
            seen.add(name)
            read |= self.steps[name].watches
            for reached in (*self.successors[name], *self.watchers[name]):
                planned = self.steps[reached]
                read |= {reached, *(after.step for after in planned.step.after), *planned.watches}
                read |= _steps_named((planned.when,)) if planned.when else set()
                if planned.may_pass_unasked or reached in self.watchers[name]:
                    moving.append(reached)
        return read

    @property
    def site_steps(self) -> list[str]:
        return [name for name, planned in self.steps.items() if planned.is_site_step]

    @property
    def experiment_steps(self) -> list[str]:
        return [name for name, planned in self.steps.items() if not planned.is_site_step]


def _planned(step: Step) -> PlannedStep:
    gate = step.gate
    return PlannedStep(
        step=step,
        when=compile_condition(step.when) if step.when else None,
        passes=compile_condition(gate.pass_),
        returns=compile_condition(gate.return_.if_) if gate.return_ else None,
        stops=compile_condition(gate.stop) if gate.stop else None,
    )


def _steps_named(conditions: Iterable[CompiledCondition]) -> set[str]:
    """`steps.x.…` and `sites_of.x` name step x."""
    paths = (reference.split(".") for condition in conditions for reference in condition.references)
    return {path[1] for path in paths if path[0] in ("steps", "sites_of") and len(path) > 1}


def converters(form: Iterable[FormField]) -> tuple[Converter, ...]:
    """For each field, how its JSON value becomes the value conditions see, and whether its blank is an empty list."""
    return tuple((field.id, _converter(field), field.type in _LISTS) for field in form)


def converted(values: Mapping[str, Any] | None, by: tuple[Converter, ...], nulls: frozenset[str] = frozenset()) -> dict[str, Any]:
    """The values as conditions see them, every field present. A blank table or multi-choice is an empty list, any other blank null.

    `nulls` are the fields that the condition compares with null: blank, they are null to it, lists too. Where nobody has answered at
    all, nothing is known and every field is null.
    """
    given = values or {}
    found: dict[str, Any] = {}
    for name, convert, is_list in by:
        value = given.get(name)
        blank: list[Any] | None = [] if is_list and values is not None and name not in nulls else None
        found[name] = blank if value is None else convert(value)
    return found


def _converter(field: FormField) -> Convert:
    match field.type:
        case FieldType.NUMBER:
            return float
        case FieldType.DATE:
            return _date_value
        case FieldType.DATETIME:
            return datetime.fromisoformat
        case FieldType.TABLE:
            columns = converters(field.columns)
            return lambda rows: [converted(row, columns) for row in rows]
        case _:
            return _same


def _same(value: Any) -> Any:
    return value


def _date_value(value: str) -> datetime:
    return datetime.combine(date.fromisoformat(value), time(), UTC)
