"""Links from mails, as whoever follows them arrives: tried so often from one address, and no more."""

from __future__ import annotations

from fastapi import Request

from insitu.entrance.doors import doors_of
from insitu.entrance.sender import address_of
from sites.identity.limits import Door
from sites.identity.links import LinkRow, Purpose, open_link


def arriving(request: Request, purpose: Purpose, token: str) -> LinkRow | None:
    """The link that a token opens; None, journaled and counted, for one that is forged, expired, used or revoked. Raises TooOften."""
    doors, address = doors_of(request), address_of(request)
    doors.limits.check(Door.LINK, address)
    link = open_link(doors.database, doors.clock, doors.key, purpose, token, address=address)
    if link is None:
        doors.limits.count(Door.LINK, address)
    return link
