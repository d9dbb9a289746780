"""A measurement knows the shapes of its inputs and the load of the host."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_COLUMNS = ("input_shapes", "shapes_known", "conditions")


def upgrade() -> None:
    """Changes the tables to this version."""
    with op.batch_alter_table("measurements") as table:
        table.add_column(sa.Column("input_shapes", sa.JSON(none_as_null=True), nullable=True))
        table.add_column(sa.Column("shapes_known", sa.Boolean(), nullable=True))
        table.add_column(sa.Column("conditions", sa.JSON(none_as_null=True), nullable=True))


def downgrade() -> None:
    """Changes the tables back to the version before."""
    with op.batch_alter_table("measurements") as table:
        for name in _COLUMNS:
            table.drop_column(name)
