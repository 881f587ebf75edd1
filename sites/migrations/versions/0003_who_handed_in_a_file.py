"""Who handed in which file: only they may name it in an answer or on a record"""

from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa
from alembic import op

from sites.tables import Instant

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "upload",
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.Column("person", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("at", Instant(), nullable=False),
        sa.ForeignKeyConstraint(["hash"], ["document.hash"]),
        sa.PrimaryKeyConstraint("hash", "person", "name"),
    )
    _take_over_drafts()


def _take_over_drafts() -> None:
    """What people have attached to answers they are still typing stays theirs to send."""
    connection = op.get_bind()
    draft = sa.table("draft", sa.column("person"), sa.column("answers", sa.JSON()), sa.column("saved_at", Instant()))
    document = sa.table("document", sa.column("hash"))
    stored = set(connection.execute(sa.select(document.c.hash)).scalars())
    drafts = connection.execute(sa.select(draft).where(draft.c.person != "")).all()
    found = {(hash_, row.person, name): row.saved_at for row in drafts for hash_, name in _files(row.answers) if hash_ in stored}
    rows = [{"hash": hash_, "person": person, "name": name, "at": at} for (hash_, person, name), at in found.items()]
    if rows:
        upload = sa.table("upload", sa.column("hash"), sa.column("person"), sa.column("name"), sa.column("at", Instant()))
        connection.execute(sa.insert(upload), rows)


def _files(value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict) and isinstance(value.get("hash"), str) and isinstance(value.get("name"), str):
        yield value["hash"], value["name"]
    elif isinstance(value, (dict, list)):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _files(item)


def downgrade() -> None:
    op.drop_table("upload")
