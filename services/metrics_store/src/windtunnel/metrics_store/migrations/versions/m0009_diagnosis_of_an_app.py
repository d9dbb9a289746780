"""A cell knows the last attempt that left an edge log, and the diagnosis of that log."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Changes the tables to this version."""
    with op.batch_alter_table("cells") as table:
        table.add_column(sa.Column("recorded", sa.BigInteger(), nullable=False, server_default="0"))
        table.add_column(sa.Column("diagnosed", sa.JSON(none_as_null=True), nullable=True))


def downgrade() -> None:
    """Changes the tables back to the version before."""
    with op.batch_alter_table("cells") as table:
        table.drop_column("diagnosed")
        table.drop_column("recorded")
