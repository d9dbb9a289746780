"""A cell that is skipped knows the kind of its failure."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Changes the tables to this version."""
    with op.batch_alter_table("cells") as table:
        table.add_column(sa.Column("skip_kind", sa.String(), nullable=False, server_default=""))


def downgrade() -> None:
    """Changes the tables back to the version before."""
    with op.batch_alter_table("cells") as table:
        table.drop_column("skip_kind")
