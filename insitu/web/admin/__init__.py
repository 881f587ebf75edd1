"""Administration: sites, people, assignments, delegations, trainings, deputies, conflicts, access review."""

from __future__ import annotations

from fastapi import APIRouter

router = APIRouter()
