"""Leaving an OpenID provider: what it wants to hear at the sign-out, and when an account was unlinked"""

import sqlalchemy as sa
from alembic import op

from sites.tables import Instant

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("account", sa.Column("unlinked_at", Instant(), nullable=True))
    op.add_column("session", sa.Column("leaving", sa.String(), nullable=False, server_default=""))


def downgrade() -> None:
    op.drop_column("session", "leaving")
    op.drop_column("account", "unlinked_at")
