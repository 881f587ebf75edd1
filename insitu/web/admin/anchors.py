"""The anchors that this machine keeps: the key that signs them, and the last ones, to compare with the mails received."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from insitu.entrance.visitor import GlobalManager
from insitu.web.admin.frame import admin_page
from protocols.errors import InsituError
from sites.anchors.keeper import about

router = APIRouter()


@router.get("/admin/anchors")
def anchors(request: Request, visitor: GlobalManager) -> Response:
    """The key, its fingerprint, and the last anchors, newest first."""
    settings = visitor.doors.settings
    try:
        kept, trouble = about(settings), ""
    except InsituError as error:
        kept, trouble = {"folder": str(settings.anchors), "key": "", "fingerprint": "", "lines": []}, str(error)
    return admin_page(request, visitor, "anchors.html", kept=kept, trouble=trouble)
