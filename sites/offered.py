"""What the forms of the administration offer to choose from: roles, sites, experiments and protocols, as far as their reader sees them."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, or_, select, true

from protocols.model import in_locale
from protocols.needs import MANAGER
from sites import policy
from sites.database import table
from sites.folding import fold
from sites.policy import INVESTIGATOR, Reader
from sites.policy.administering import seen_sites, today
from sites.releases import plan_of
from sites.tables import Experiment, Release, Site

_SITE, _EXPERIMENT, _RELEASE = table(Site), table(Experiment), table(Release)


@dataclass(frozen=True, slots=True)
class Offered:
    """Pairs of a value and its title, in the order shown. `experiments` are the latest first; `protocols` are `id version`."""

    roles: tuple[tuple[str, str], ...]
    sites: tuple[tuple[str, str], ...]
    experiments: tuple[tuple[str, str], ...]
    protocols: tuple[tuple[str, str], ...]

    def role(self, name: str) -> str:
        """A role's title; its own name where no protocol has it."""
        return dict(self.roles).get(name, name)


def offered(connection: Connection, reader: Reader, locale: str) -> Offered:
    """What a reader may choose from; sites and experiments are those they manage, or are investigators of."""
    releases = connection.execute(select(_RELEASE.c.hash, _RELEASE.c.id, _RELEASE.c.version).order_by(_RELEASE.c.added_at)).all()
    titles = _role_titles(connection, [row.hash for row in releases], locale)
    places = connection.execute(select(_SITE.c.code, _SITE.c.name).where(_sites(reader)).order_by(_SITE.c.code))
    return Offered(
        roles=tuple(sorted(titles.items(), key=lambda pair: fold(pair[1]))),
        sites=tuple((row.code, f"{row.code} · {row.name}") for row in places),
        experiments=tuple(_experiments(connection, reader, locale)),
        protocols=tuple((f"{row.id} {row.version}", f"{row.id} {row.version}") for row in reversed(releases)),
    )


def _role_titles(connection: Connection, hashes: list[str], locale: str) -> dict[str, str]:
    """The title of every role of a released protocol, as the latest release calls it."""
    found = {MANAGER: "Chef de projet" if locale == "fr" else "Project manager"}
    for known in hashes:
        found |= {name: in_locale(role.title, locale) or name for name, role in plan_of(connection, known).protocol.roles.items()}
    return found


def _sites(reader: Reader) -> ColumnElement[bool]:
    held = [one for one in reader.held if one.role == INVESTIGATOR and one.holds_on(today(reader))]
    if any(not one.site for one in held):
        return true()
    return or_(seen_sites(reader), _SITE.c.code.in_(sorted({one.site for one in held})))


def _experiments(connection: Connection, reader: Reader, locale: str) -> list[tuple[str, str]]:
    managed = reader.managed
    seen: ColumnElement[bool] = true() if managed is None else _EXPERIMENT.c.code.in_(sorted(managed))
    if reader.is_some_investigator:
        seen = or_(seen, policy.seen_experiments(connection, reader))
    query = select(_EXPERIMENT.c.code, _EXPERIMENT.c.title, _EXPERIMENT.c.protocol).where(seen).order_by(_EXPERIMENT.c.id.desc())
    rows = connection.execute(query).all()
    return [(row.code, f"{row.code} · {row.title or in_locale(plan_of(connection, row.protocol).protocol.title, locale)}") for row in rows]
