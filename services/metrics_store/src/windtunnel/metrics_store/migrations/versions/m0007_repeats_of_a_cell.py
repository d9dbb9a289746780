"""A cell knows its farm runs and its repeats; a measurement knows its partitions."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Changes the tables to this version."""
    with op.batch_alter_table("cells") as table:
        table.add_column(sa.Column("requests", sa.JSON(none_as_null=True), nullable=True))
        table.add_column(sa.Column("repeats", sa.JSON(none_as_null=True), nullable=True))
        table.add_column(sa.Column("farm_runs", sa.JSON(none_as_null=True), nullable=True))
        table.add_column(sa.Column("cell_shapes", sa.JSON(none_as_null=True), nullable=True))
        table.add_column(sa.Column("run_as", sa.String(), nullable=False, server_default=""))
    with op.batch_alter_table("measurements") as table:
        table.add_column(sa.Column("partitions", sa.BigInteger(), nullable=True))


def downgrade() -> None:
    """Changes the tables back to the version before."""
    with op.batch_alter_table("measurements") as table:
        table.drop_column("partitions")
    with op.batch_alter_table("cells") as table:
        for name in ("run_as", "cell_shapes", "farm_runs", "repeats", "requests"):
            table.drop_column(name)
