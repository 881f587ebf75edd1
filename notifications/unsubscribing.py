"""The way out of ordinary messages: a link for each person and kind, and the page of choices."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property

from sqlalchemy import bindparam, select

from notifications.occasions import Row
from notifications.render import Occasion
from sites.clock import Clock
from sites.database import Database, table
from sites.identity import links
from sites.identity.keys import Key
from sites.settings import Settings
from sites.tables import Link

_LINK = table(Link)
_KNOWN = (
    select(_LINK.c.id)
    .where(
        _LINK.c.person == bindparam("person"),
        _LINK.c.purpose == "unsubscribe",
        _LINK.c.target == bindparam("kind"),
        _LINK.c.revoked_at.is_(None),
        _LINK.c.used_at.is_(None),
    )
    .limit(1)
)
CHOICES = "/account/notices"


class Unsubscribing:
    """Puts the addresses into a message. A link is made once for a person and a kind, and lasts until it is revoked."""

    def __init__(self, database: Database, clock: Clock, settings: Settings) -> None:
        self.database = database
        self.clock = clock
        self.settings = settings

    @cached_property
    def key(self) -> Key:
        # Not before it is needed: the first use may make the key's file.
        return Key.of(self.settings)

    def offered(self, said: Occasion, person: Row, kind: str) -> Occasion:
        """The occasion with the addresses to unsubscribe from its kind, and to choose."""
        address = self.settings.public_url + links.path_of(self.key, "unsubscribe", self._nonce(person["id"], kind))
        return replace(said, unsubscribe=address, choices=self.choices)

    @property
    def choices(self) -> str:
        return self.settings.public_url + CHOICES

    def _nonce(self, person: str, kind: str) -> str:
        with self.database.read() as connection:
            known = connection.execute(_KNOWN, {"person": person, "kind": kind}).scalar()
        if known:
            return str(known)
        with self.database.write() as connection:
            return links.create_link(connection, "unsubscribe", person, self.clock.now(), by="", target=kind, lasts=None)
