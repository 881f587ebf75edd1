"""The register of experiments, with those that are there"""

import hashlib
from datetime import UTC

import orjson
import sqlalchemy as sa
from alembic import op

from sites.tables import Instant

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    register = op.create_table(
        "register",
        sa.Column("seq", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("code", sa.String(length=64), nullable=False),
        sa.Column("by", sa.String(), nullable=False),
        sa.Column("at", Instant(), nullable=False),
        sa.Column("previous", sa.String(), nullable=False),
        sa.Column("hash", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("seq"),
    )
    experiment = sa.table("experiment", sa.column("id"), sa.column("code"), sa.column("launched_by"), sa.column("launched_at", Instant()))
    launched = sa.select(experiment.c.code, experiment.c.launched_by, experiment.c.launched_at).order_by(experiment.c.id)
    previous, rows = "", []
    for seq, (code, by, at) in enumerate(op.get_bind().execute(launched).all(), 1):
        # As `sites.register.row_hash` was when this was written: a migration stays what it was.
        content = [at.astimezone(UTC).isoformat(), seq, code, by, previous]
        named = hashlib.sha256(orjson.dumps(content)).hexdigest()
        rows.append({"seq": seq, "code": code, "by": by, "at": at, "previous": previous, "hash": named})
        previous = named
    op.bulk_insert(register, rows)


def downgrade() -> None:
    op.drop_table("register")
