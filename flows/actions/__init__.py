"""What the machine does when a step opens: named actions, each a callable that gives a small JSON result."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

from protocols.errors import UnknownThing
from protocols.model import Protocol

if TYPE_CHECKING:
    from sites.database import Database
    from sites.ledger import Ledger
    from sites.settings import Settings


@dataclass(frozen=True, slots=True)
class ActionContext:
    """For which step an action is done, and what it may use. `site` is "" for an experiment step."""

    experiment: str
    step: str
    site: str
    round: int
    ledger: Ledger
    database: Database
    settings: Settings
    protocol: Protocol
    locale: str


Action = Callable[..., dict[str, Any]]
GROUP = "insitu.actions"  # the entry points under which an installed package offers actions


def action(name: str) -> Action:
    """The action of that name, called as `action(context, **with_)` and giving a JSON result. Raises UnknownThing."""
    offered = entry_points(group=GROUP)
    if name not in offered.names:
        raise UnknownThing(f"There is no action {name!r}; installed: {', '.join(sorted(offered.names)) or 'none'}.")
    loaded: Action = offered[name].load()
    return loaded
