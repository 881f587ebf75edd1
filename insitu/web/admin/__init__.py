"""Administration: sites, people, assignments, delegations, trainings, deputies, conflicts, access review."""

from __future__ import annotations

from fastapi import APIRouter

from insitu.web.admin import (
    access,
    accounts,
    anchors,
    assignments,
    conflicts,
    delegations,
    deputies,
    exports,
    imports,
    journal,
    notices,
    overview,
    people,
    sites,
    trainings,
)

router = APIRouter()
_ROOMS = (
    overview,
    sites,
    imports,
    exports,
    people,
    accounts,
    notices,
    assignments,
    delegations,
    trainings,
    deputies,
    conflicts,
    access,
    journal,
    anchors,
)
for _room in _ROOMS:
    router.include_router(_room.router)
