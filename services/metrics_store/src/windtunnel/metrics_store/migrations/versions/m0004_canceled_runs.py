"""Runs that somebody ended."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Changes the tables to this version."""
    with op.batch_alter_table("runs") as table:
        table.add_column(sa.Column("canceled", sa.JSON(none_as_null=True)))


def downgrade() -> None:
    """Changes the tables back to the version before."""
    with op.batch_alter_table("runs") as table:
        table.drop_column("canceled")
