"""A cell knows what its farm says of all its devices."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Changes the tables to this version."""
    with op.batch_alter_table("cells") as table:
        table.add_column(sa.Column("farm_properties", sa.JSON(none_as_null=True), nullable=True))


def downgrade() -> None:
    """Changes the tables back to the version before."""
    with op.batch_alter_table("cells") as table:
        table.drop_column("farm_properties")
