"""What Alembic runs: always on a connection that is open already, in its transaction."""

from __future__ import annotations

from alembic import context

from windtunnel.metrics_store.adapters.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,
    compare_type=True,
)
with context.begin_transaction():
    context.run_migrations()
