"""Events that the bus refuses for good stay in the outbox, set aside with the reason."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Changes the tables to this version."""
    with op.batch_alter_table("outbox") as table:
        table.add_column(sa.Column("refused", sa.String(), server_default="", nullable=False))


def downgrade() -> None:
    """Changes the tables back to the version before."""
    with op.batch_alter_table("outbox") as table:
        table.drop_column("refused")
