"""A run knows the trace that it belongs to."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Changes the tables to this version."""
    with op.batch_alter_table("runs") as table:
        table.add_column(sa.Column("trace_id", sa.String(), server_default="", nullable=False))


def downgrade() -> None:
    """Changes the tables back to the version before."""
    with op.batch_alter_table("runs") as table:
        table.drop_column("trace_id")
