"""The order of a protocol's steps, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter

from protocols.errors import Problem
from protocols.model import Protocol, Scope, Step
from protocols.parsing import Parsed


@dataclass(frozen=True, slots=True)
class Graph:
    """A protocol's steps by id, and for each the steps that come before it, near or far."""

    steps: dict[str, Step]
    before: dict[str, frozenset[str]]

    def comes_before(self, earlier: str, later: str) -> bool:
        return earlier in self.before[later]


def graph_of(protocol: Protocol) -> Graph:
    """The graph; unknown predecessors are left out, and the steps of a circle all come before one another."""
    steps = {step.id: step for step in reversed(protocol.steps)}
    direct = {step.id: {after.step for after in step.after if after.step in steps} for step in steps.values()}
    return Graph({step.id: steps[step.id] for step in protocol.steps}, {step: _all_before(step, direct) for step in steps})


def _all_before(step: str, direct: dict[str, set[str]]) -> frozenset[str]:
    found: set[str] = set()
    ahead = list(direct[step])
    while ahead:
        if (next_one := ahead.pop()) not in found:
            found.add(next_one)
            ahead += direct[next_one]
    return frozenset(found)


def order_problems(parsed: Parsed, graph: Graph) -> Iterator[Problem]:
    """Predecessors that do not exist or make a circle, joins that mean nothing, returns that do not go back."""
    for position, step in enumerate(parsed.protocol.steps):
        yield from _after_problems(position, step, parsed, graph)
        yield from _return_problems(position, step, parsed, graph)
    yield from _circles(parsed, graph)


def _after_problems(position: int, step: Step, parsed: Parsed, graph: Graph) -> Iterator[Problem]:
    known, advice = [other for other in graph.steps if other != step.id], parsed.document.advice
    seen: set[str] = set()
    for number, after in enumerate(step.after):
        path = ("steps", position, "after", number)
        if after.step not in graph.steps:
            sentence = f"`{step.id}` comes after `{after.step}`, which is not a step.{advice.did_you_mean(after.step, known)}"
            yield parsed.document.problem(path, "unknown_step", sentence)
            continue
        if after.step in seen:
            yield parsed.document.problem(path, "duplicate_after", f"`{step.id}` names `{after.step}` twice in `after`.")
        seen.add(after.step)
        if "sites" not in after.model_fields_set:
            continue
        if graph.steps[after.step].scope is Scope.EXPERIMENT:
            sentence = f"`{after.step}` is an experiment step, so there are no sites to count: leave `sites` out."
            yield parsed.document.problem((*path, "sites"), "meaningless_join", sentence)
        elif step.scope is Scope.SITE:
            sentence = f"`{step.id}` is a site step and follows its own site's `{after.step}`: leave `sites` out."
            yield parsed.document.problem((*path, "sites"), "meaningless_join", sentence)


def _return_problems(position: int, step: Step, parsed: Parsed, graph: Graph) -> Iterator[Problem]:
    if step.gate.return_ is None:
        return
    to, path = step.gate.return_.to, ("steps", position, "gate", "return", "to")
    earlier = graph.before[step.id]
    if to not in graph.steps:
        sentence = f"`{step.id}` returns to `{to}`, which is not a step.{parsed.document.advice.did_you_mean(to, earlier)}"
        yield parsed.document.problem(path, "unknown_step", sentence)
    elif to == step.id:
        sentence = f"`{step.id}` returns to itself. A gate on which nothing holds stays open to be completed again: leave `return` out."
        yield parsed.document.problem(path, "return_to_itself", sentence)
    elif to not in earlier:
        sentence = f"`{step.id}` returns to `{to}`, which does not come before it.{_choices(earlier)}"
        yield parsed.document.problem(path, "return_not_back", sentence)


def _choices(earlier: frozenset[str]) -> str:
    return f" It can return to: {', '.join(sorted(earlier))}." if earlier else " Nothing comes before it."


def _circles(parsed: Parsed, graph: Graph) -> Iterator[Problem]:
    direct = {step.id: {after.step for after in step.after if after.step in graph.steps} for step in graph.steps.values()}
    places = {step.id: position for position, step in reversed(list(enumerate(parsed.protocol.steps)))}
    while True:
        try:
            TopologicalSorter(direct).prepare()
        except CycleError as error:
            circle: list[str] = error.args[1]
            direct[circle[1]].discard(circle[0])
            first = min(circle, key=lambda step: places[step])
            sentence = f"These steps wait for each other for ever: {' → '.join(circle)}. Take one of them out of `after`."
            yield parsed.document.problem(("steps", places[first], "after"), "circle", sentence)
        else:
            return
