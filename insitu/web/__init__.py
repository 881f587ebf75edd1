"""The pages: server-rendered, working without JavaScript; no decisions."""

from insitu.web import account, admin, calendar, checkpoint, entry, experiment, home, launch, library, link, notices, portfolio, today

ROUTERS = tuple(
    room.router
    for room in (home, entry, account, notices, today, checkpoint, link, experiment, portfolio, launch, calendar, library, admin)
)
