"""How a person wants to be told: by which channels, in which hours, of what; and what no wish can silence."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, bindparam, select, update

from protocols import clocks
from protocols.errors import InvalidInput, NotAssigned, UnknownThing
from protocols.phrase import Phrase
from sites import policy
from sites.clock import Clock
from sites.database import Database, table, upserted
from sites.identity.access import AccessKind, note
from sites.policy.acting import not_as_deputy
from sites.policy.administering import require_seen_person
from sites.tables import Assignment, Person, Preference, Site

_PREFERENCE, _PERSON, _ASSIGNMENT, _SITE = table(Preference), table(Person), table(Assignment), table(Site)

# What may be muted or gathered into a digest. Every other kind is a duty, a kind that nobody thought of here included; and these
# become duties near a deadline or under a legal one (notifications.timing).
ORDINARY = frozenset({"opened", "reminder", "question", "answer", "closed", "notify"})
HOUR = re.compile(r"([01]\d|2[0-3]):[0-5]\d")
MOST_CHANNELS, LONGEST_CHANNEL = 5, 1000

_WISHES = select(_PREFERENCE).where(_PREFERENCE.c.person == bindparam("person"))
_TERRITORIES = (
    select(_SITE.c.territory).join(_ASSIGNMENT, _ASSIGNMENT.c.site == _SITE.c.code).where(_ASSIGNMENT.c.person == bindparam("person"))
).distinct()


class InvalidWish(InvalidInput):
    """A wish that cannot be; `field` is its name."""

    def __init__(self, field: str, message: str) -> None:
        self.field = field
        super().__init__(message)


@dataclass(frozen=True, slots=True)
class Wishes:
    """When and of what a person wants to be told. Hours are local to `timezone`, `HH:MM`, "" or equal ends for no quiet hours.

    `working_days` leaves out the days that are off in every one of `territories`, those of the person's sites; `digest` gathers into one
    message a day, at `digest_at`, what can wait; `muted` are kinds of `ORDINARY` that are not sent.
    """

    timezone: str = "Europe/Paris"
    quiet_from: str = ""
    quiet_until: str = ""
    working_days: bool = False
    digest: bool = False
    digest_at: str = "08:00"
    muted: frozenset[str] = frozenset()
    territories: tuple[str, ...] = ("FR",)


WISHES = tuple(field.name for field in fields(Wishes) if field.name != "territories")


def preference_of(connection: Connection, person: str) -> Wishes:
    """A person's wishes; those of nobody who chose anything when they have none: told of everything at once."""
    row = connection.execute(_WISHES, {"person": person}).mappings().first()
    if row is None:
        return Wishes()
    found = sorted(connection.execute(_TERRITORIES, {"person": person}).scalars()) if row["working_days"] else []
    given = {name: row[name] for name in WISHES} | {"muted": frozenset(row["muted"]) & ORDINARY}
    return Wishes(**given, territories=tuple(found) or ("FR",))


def set_preference(database: Database, clock: Clock, person: str, by: str, **values: Any) -> Wishes:
    """Change some of a person's wishes, the others stay; what they are now. The access journal notes who changed which, and not to what.

    They count from the next message on; one that waits already waits as was decided. Raises InvalidInput for an hour, a time zone or a
    kind that cannot be, UnknownThing for a person, NotAssigned unless `by` is that person or a project manager.
    """
    now = clock.now()
    with database.write() as connection:
        _require_own(connection, person, by, now)
        before = preference_of(connection, person)
        kept = {name: getattr(before, name) for name in WISHES}
        row = kept | _checked(kept | values)
        changed = sorted(name for name in WISHES if row[name] != kept[name])
        if changed:
            stored = row | {"muted": sorted(row["muted"]), "person": person, "changed_at": now}
            connection.execute(upserted(database.dialect, _PREFERENCE, stored, ["person"]))
            note(connection, AccessKind.CONTACT_CHANGED, now, person=person, by=by, what=changed)
        return preference_of(connection, person)


def mute(database: Database, clock: Clock, person: str, kind: str) -> bool:
    """Send a person no more of an ordinary kind, as they ask by a link in a message; False for a duty, which changes nothing."""
    if kind not in ORDINARY:
        return False
    with database.read() as connection:
        muted = preference_of(connection, person).muted
    set_preference(database, clock, person, person, muted=muted | {kind})
    return True


def set_channels(database: Database, clock: Clock, person: str, by: str, channels: Sequence[str]) -> None:
    """Replace a person's channels: Apprise addresses, tried in order before the e-mail. Whether one can be used is for the room that sends.

    The access journal notes their schemes alone: an address may hold a secret. Raises InvalidInput, UnknownThing and NotAssigned as
    `set_preference` does.
    """
    now, wanted = clock.now(), list(dict.fromkeys(one.strip() for one in channels if one.strip()))
    if len(wanted) > MOST_CHANNELS:
        raise InvalidInput(Phrase("A person has at most {most} channels. Take one away first.", most=MOST_CHANNELS))
    if any(len(one) > LONGEST_CHANNEL or "\0" in one for one in wanted):
        raise InvalidInput(Phrase("This channel's address is too long or damaged. Copy it again from the service."))
    with database.write() as connection:
        _require_own(connection, person, by, now)
        connection.execute(update(_PERSON).where(_PERSON.c.id == person).values(channels=wanted))
        note(
            connection,
            AccessKind.CONTACT_CHANGED,
            now,
            person=person,
            by=by,
            what=["channels"],
            channels=[scheme_of(one) for one in wanted],
        )


def contact_of(connection: Connection, person: str) -> dict[str, Any]:
    """How a person is reached: `id`, `name`, `email`, `locale`, `channels`; and `is_closed`, for then they are not. Raises UnknownThing."""
    query = select(_PERSON, policy.is_closed(_PERSON.c.id).label("is_closed")).where(_PERSON.c.id == person)
    row = connection.execute(query).mappings().first()
    if row is None:
        raise UnknownThing(Phrase("There is no {code} here that you may see.", code=person))
    return dict(row)


def scheme_of(channel: str) -> str:
    """All that is ever shown of a channel: `ntfys`, or `channel` for what has no scheme."""
    found = re.match(r"([a-z][a-z0-9]{0,30})://", channel, re.IGNORECASE)
    return found[1].lower() if found else "channel"


def _require_own(connection: Connection, person: str, by: str, now: datetime) -> None:
    if by == person:
        contact_of(connection, person)
        return
    asked = policy.reader(connection, by, now)
    reader = asked.in_own_right
    if asked.is_some_manager and not reader.is_some_manager:
        raise NotAssigned(not_as_deputy(", ".join(asked.deputises), Phrase("change how {person} is told", person=person)))
    if not reader.is_some_manager:
        raise NotAssigned(Phrase("Only {person} and project managers can change how {person} is told.", person=person))
    require_seen_person(connection, reader, person)


def _checked(values: Mapping[str, Any]) -> dict[str, Any]:
    if unknown := sorted(set(values) - set(WISHES)):
        raise InvalidInput(Phrase("There is no such wish: {names}.", names=", ".join(unknown)))
    quiet = {name: _hour(name, values[name], may_lack=True) for name in ("quiet_from", "quiet_until")}
    if bool(quiet["quiet_from"]) != bool(quiet["quiet_until"]):
        lacking = next(name for name, hour in quiet.items() if not hour)
        raise InvalidWish(lacking, Phrase("Quiet hours need a beginning and an end. Give both, or neither."))
    return {
        "timezone": _timezone(str(values["timezone"])),
        **quiet,
        "working_days": bool(values["working_days"]),
        "digest": bool(values["digest"]),
        "digest_at": _hour("digest_at", values["digest_at"]),
        "muted": _kinds(values["muted"]),
    }


def _hour(name: str, value: Any, *, may_lack: bool = False) -> str:
    text = str(value or "").strip()
    if (may_lack and not text) or HOUR.fullmatch(text):
        return text
    raise InvalidWish(name, Phrase("{value} is no hour of the day. Write it as 08:00.", value=repr(text[:20])))


def _timezone(name: str) -> str:
    try:
        clocks.known_place("FR", name)
    except InvalidInput as refusal:
        raise InvalidWish("timezone", refusal.args[0]) from None
    return name


def _kinds(kinds: Iterable[str]) -> frozenset[str]:
    wanted = frozenset(kinds)
    if duties := sorted(wanted - ORDINARY):
        raise InvalidWish("muted", Phrase("These messages are duties and are always sent: {kinds}.", kinds=", ".join(duties)))
    return wanted
