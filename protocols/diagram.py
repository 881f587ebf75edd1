"""A protocol as a picture in words: a Mermaid flowchart of its steps, by phase."""

from __future__ import annotations

from collections.abc import Iterator

from protocols.model import After, Locale, Phase, Protocol, Scope, Step, in_locale

_PHASES: dict[Phase, dict[Locale, str]] = {
    Phase.PREPARATION: {"fr": "Préparation", "en": "Preparation"},
    Phase.BEFORE: {"fr": "Avant", "en": "Before"},
    Phase.DURING: {"fr": "Pendant", "en": "During"},
    Phase.AFTER: {"fr": "Après", "en": "After"},
    Phase.CLOSURE: {"fr": "Clôture", "en": "Closure"},
}
_EVERY_SITE: dict[str, dict[Locale, str]] = {
    "all": {"fr": "tous les sites", "en": "every site"},
    "any": {"fr": "un site", "en": "any site"},
}
_STOP: dict[Locale, str] = {"fr": "Arrêt", "en": "Stop"}


def mermaid(protocol: Protocol, locale: str = "fr") -> str:
    """The flowchart's text: an arrow for each `after`, a dotted one for each way back, steps of the sites drawn rounded."""
    return "\n".join(_lines(protocol, locale))


def _lines(protocol: Protocol, locale: str) -> Iterator[str]:
    yield "flowchart TD"
    for phase in Phase:
        steps = [step for step in protocol.steps if step.phase is phase]
        if steps:
            yield f"  subgraph {phase.value}[{_text(in_locale(_PHASES[phase], locale))}]"
            yield from (f"    {_node(step, locale)}" for step in steps)
            yield "  end"
    scopes = {step.id: step.scope for step in protocol.steps}
    for step in protocol.steps:
        for after in step.after:
            yield f"  s_{after.step} -->{_sites(after, step, scopes[after.step], locale)} s_{step.id}"
        if step.gate.return_:
            yield f"  s_{step.id} -. {_text(step.gate.return_.if_)} .-> s_{step.gate.return_.to}"
        if step.gate.stop:
            yield f"  s_{step.id} -. {_text(step.gate.stop)} .-> stopped(({_text(in_locale(_STOP, locale))}))"


def _node(step: Step, locale: str) -> str:
    title = _text(in_locale(step.title, locale))
    return f"s_{step.id}([{title}])" if step.scope is Scope.SITE else f"s_{step.id}[{title}]"


def _sites(after: After, step: Step, scope: Scope, locale: str) -> str:
    """What is said beside an arrow that gathers the sites."""
    if scope is not Scope.SITE or step.scope is Scope.SITE:
        return ""
    said = in_locale(_EVERY_SITE[after.sites], locale) if isinstance(after.sites, str) else f"{after.sites} sites"
    return f"|{_text(said)}|"


def _text(words: str) -> str:
    """Quoted, with Mermaid's entities for what would end the quotes or begin markup."""
    safe = words.replace("&", "&amp;").replace("#", "&num;").replace('"', "&quot;").replace("<", "&lt;").replace(">", "&gt;")
    return f'"{" ".join(safe.split())}"'
