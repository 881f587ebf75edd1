"""The pages: server-rendered, working without JavaScript; no decisions."""

from insitu.web import (
    account,
    admin,
    calendar,
    checkpoint,
    entry,
    experiment,
    home,
    invitation,
    launch,
    library,
    link,
    notices,
    portfolio,
    provider,
    second_factor,
    today,
)

_COMING_IN = (home, entry, invitation, provider, account, second_factor, notices)
_WORK = (today, checkpoint, link, experiment, portfolio, launch, calendar, library, admin)
ROUTERS = tuple(room.router for room in (*_COMING_IN, *_WORK))
