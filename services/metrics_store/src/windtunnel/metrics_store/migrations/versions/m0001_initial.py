"""The tables of the first version."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Changes the tables to this version."""
    op.create_table(
        "inbox",
        sa.Column("event_key", sa.String(), autoincrement=False, nullable=False),
        sa.Column("heard_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("event_key", name="pk_inbox"),
    )
    op.create_index("ix_inbox_heard_at", "inbox", ["heard_at"], unique=False)
    op.create_table(
        "outbox",
        sa.Column("id", sa.String(), autoincrement=False, nullable=False),
        sa.Column("subject", sa.String(), nullable=False),
        sa.Column("headers", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("data", sa.String(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_outbox"),
    )
    op.create_index("ix_outbox_created_at", "outbox", ["created_at"], unique=False)
    op.create_table(
        "runs",
        sa.Column("run_id", sa.String(), autoincrement=False, nullable=False),
        sa.Column("version", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("model_name", sa.String(), server_default="", nullable=False),
        sa.Column("model_version", sa.String(), server_default="", nullable=False),
        sa.Column("model_sha256", sa.String(), server_default="", nullable=False),
        sa.Column("plan", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("labels", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("started_at", sa.BigInteger(), nullable=False),
        sa.Column("started_sure", sa.Boolean(), nullable=False),
        sa.Column("deadline", sa.BigInteger(), nullable=False),
        sa.Column("converted", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("not_converted", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("due", sa.Boolean(), nullable=False),
        sa.Column("verdict", sa.String(), nullable=True),
        sa.Column("reasons", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("revision", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("ended_at", sa.BigInteger(), nullable=True),
        sa.Column("report_sha256", sa.String(), nullable=True),
        sa.Column("steps_done", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("steps_known", sa.BigInteger(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("run_id", name="pk_runs"),
    )
    op.create_index("ix_runs_due", "runs", ["due"], unique=False)
    op.create_index(
        "ix_runs_model_name_started_at_run_id", "runs", ["model_name", "started_at", "run_id"], unique=False
    )
    op.create_index("ix_runs_started_at_run_id", "runs", ["started_at", "run_id"], unique=False)
    op.create_index("ix_runs_state_deadline", "runs", ["state", "deadline"], unique=False)
    op.create_index("ix_runs_state_started_at_run_id", "runs", ["state", "started_at", "run_id"], unique=False)
    op.create_table(
        "apps",
        sa.Column("run_id", sa.String(), nullable=False),
        sa.Column("variant", sa.String(), autoincrement=False, nullable=False),
        sa.Column("platform", sa.String(), autoincrement=False, nullable=False),
        sa.Column("package", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("not_built", sa.JSON(none_as_null=True), nullable=True),
        sa.ForeignKeyConstraint(["run_id"], ["runs.run_id"], name="fk_apps_run_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("run_id", "variant", "platform", name="pk_apps"),
    )
    op.create_table(
        "artifacts",
        sa.Column("run_id", sa.String(), nullable=False),
        sa.Column("sha256", sa.String(), autoincrement=False, nullable=False),
        sa.Column("kind", sa.String(), autoincrement=False, nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("media_type", sa.String(), server_default="", nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.run_id"], name="fk_artifacts_run_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("run_id", "sha256", "kind", name="pk_artifacts"),
    )
    op.create_table(
        "cells",
        sa.Column("run_id", sa.String(), nullable=False),
        sa.Column("cell_id", sa.String(), autoincrement=False, nullable=False),
        sa.Column("variant", sa.String(), nullable=False),
        sa.Column("farm", sa.String(), server_default="", nullable=False),
        sa.Column("device", sa.String(), server_default="", nullable=False),
        sa.Column("platform", sa.String(), server_default="", nullable=False),
        sa.Column("os_version", sa.String(), server_default="", nullable=False),
        sa.Column("accelerator", sa.String(), server_default="", nullable=False),
        sa.Column("threads", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("planned", sa.Boolean(), nullable=False),
        sa.Column("skip_reason", sa.String(), server_default="", nullable=False),
        sa.Column("not_run", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("attempts", sa.BigInteger(), server_default="0", nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.run_id"], name="fk_cells_run_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("run_id", "cell_id", name="pk_cells"),
    )
    op.create_table(
        "changes",
        sa.Column("run_id", sa.String(), nullable=False),
        sa.Column("version", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("event_type", sa.String(), nullable=False),
        sa.Column("text", sa.String(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.run_id"], name="fk_changes_run_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("run_id", "version", name="pk_changes"),
    )
    op.create_table(
        "device_runs",
        sa.Column("run_id", sa.String(), nullable=False),
        sa.Column("cell_id", sa.String(), autoincrement=False, nullable=False),
        sa.Column("attempt", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("log_sha256", sa.String(), nullable=True),
        sa.Column("samples_sha256", sa.String(), nullable=True),
        sa.ForeignKeyConstraint(["run_id"], ["runs.run_id"], name="fk_device_runs_run_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("run_id", "cell_id", "attempt", name="pk_device_runs"),
    )
    op.create_table(
        "execution_inputs",
        sa.Column("run_id", sa.String(), nullable=False),
        sa.Column("execution_id", sa.String(), autoincrement=False, nullable=False),
        sa.Column("sha256", sa.String(), autoincrement=False, nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.run_id"], name="fk_execution_inputs_run_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("run_id", "execution_id", "sha256", name="pk_execution_inputs"),
    )
    op.create_table(
        "execution_outputs",
        sa.Column("run_id", sa.String(), nullable=False),
        sa.Column("execution_id", sa.String(), autoincrement=False, nullable=False),
        sa.Column("sha256", sa.String(), autoincrement=False, nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.run_id"], name="fk_execution_outputs_run_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("run_id", "execution_id", "sha256", name="pk_execution_outputs"),
    )
    op.create_table(
        "executions",
        sa.Column("run_id", sa.String(), nullable=False),
        sa.Column("id", sa.String(), autoincrement=False, nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("service", sa.String(), server_default="", nullable=False),
        sa.Column("event_id", sa.String(), server_default="", nullable=False),
        sa.Column("variant", sa.String(), server_default="", nullable=False),
        sa.Column("platform", sa.String(), server_default="", nullable=False),
        sa.Column("cell_id", sa.String(), server_default="", nullable=False),
        sa.Column("attempt", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.run_id"], name="fk_executions_run_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("run_id", "id", name="pk_executions"),
    )
    op.create_table(
        "labels",
        sa.Column("run_id", sa.String(), nullable=False),
        sa.Column("name", sa.String(), autoincrement=False, nullable=False),
        sa.Column("value", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.run_id"], name="fk_labels_run_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("run_id", "name", name="pk_labels"),
    )
    op.create_index("ix_labels_name_value_run_id", "labels", ["name", "value", "run_id"], unique=False)
    op.create_table(
        "measurements",
        sa.Column("run_id", sa.String(), nullable=False),
        sa.Column("cell_id", sa.String(), autoincrement=False, nullable=False),
        sa.Column("attempt", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("p50_ms", sa.Double(), nullable=True),
        sa.Column("p95_ms", sa.Double(), nullable=True),
        sa.Column("mean_ms", sa.Double(), nullable=True),
        sa.Column("min_ms", sa.Double(), nullable=True),
        sa.Column("max_ms", sa.Double(), nullable=True),
        sa.Column("std_ms", sa.Double(), nullable=True),
        sa.Column("samples", sa.BigInteger(), nullable=True),
        sa.Column("init_ms", sa.Double(), nullable=True),
        sa.Column("memory_mb", sa.Double(), nullable=True),
        sa.Column("delegate", sa.String(), nullable=True),
        sa.Column("nodes_delegated", sa.BigInteger(), nullable=True),
        sa.Column("nodes_total", sa.BigInteger(), nullable=True),
        sa.Column("device_facts", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("anomalies", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("measured_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.run_id"], name="fk_measurements_run_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("run_id", "cell_id", "attempt", name="pk_measurements"),
    )
    op.create_index(
        "ix_measurements_measured_at_run_id_cell_id_attempt",
        "measurements",
        ["measured_at", "run_id", "cell_id", "attempt"],
        unique=False,
    )
    op.create_table(
        "variants",
        sa.Column("run_id", sa.String(), nullable=False),
        sa.Column("name", sa.String(), autoincrement=False, nullable=False),
        sa.Column("ready", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("not_made", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("compared", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("not_compared", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("planned", sa.Boolean(), nullable=False),
        sa.Column("not_planned", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("size_bytes", sa.BigInteger(), nullable=True),
        sa.Column("accuracy", sa.Double(), nullable=True),
        sa.Column("loss", sa.Double(), nullable=True),
        sa.Column("max_nrmse", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(["run_id"], ["runs.run_id"], name="fk_variants_run_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("run_id", "name", name="pk_variants"),
    )


def downgrade() -> None:
    """Changes the tables back to the version before."""
    for name in (
        "variants",
        "measurements",
        "labels",
        "executions",
        "execution_outputs",
        "execution_inputs",
        "device_runs",
        "changes",
        "cells",
        "artifacts",
        "apps",
        "runs",
        "outbox",
        "inbox",
    ):
        op.drop_table(name)
