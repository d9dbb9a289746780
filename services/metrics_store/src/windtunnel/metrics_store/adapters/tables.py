"""The tables. Instants are microseconds since 1970 UTC in 64-bit integers: exact, and the same in every database."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Dialect,
    Double,
    ForeignKey,
    Index,
    MetaData,
    String,
    Table,
)
from sqlalchemy.types import TypeDecorator

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
    },
)


class Text(TypeDecorator[str]):
    """Text of outside origin: PostgreSQL refuses the NUL character, which may be in a label or a failure."""

    impl = String
    cache_ok = True

    @property
    def python_type(self) -> type[str]:
        """Implements `TypeDecorator.python_type`."""
        return str

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        """Implements `TypeDecorator.process_bind_param`."""
        return None if value is None else value.replace("\x00", "\N{REPLACEMENT CHARACTER}")


Document = JSON(none_as_null=True)


def _key(name: str, kind: Any = Text) -> Column[Any]:
    return Column(name, kind, primary_key=True, autoincrement=False)


def _run() -> Column[str]:
    """The run that a row belongs to, and goes with."""
    return Column("run_id", Text, ForeignKey("runs.run_id", ondelete="CASCADE"), primary_key=True)


def _text(name: str) -> Column[str]:
    return Column(name, Text, nullable=False, default="", server_default="")


def _count(name: str) -> Column[int]:
    return Column(name, BigInteger, nullable=False, default=0, server_default="0")


runs = Table(
    "runs",
    metadata,
    _key("run_id"),
    # Grows with every change: what was judged must still be what is stored.
    _count("version"),
    _text("model_name"),
    _text("model_version"),
    _text("model_sha256"),
    Column("plan", Document),
    Column("labels", Document, nullable=False),
    _text("trace_id"),
    Column("started_at", BigInteger, nullable=False),
    # False as long as the announcement is the only event.
    Column("started_sure", Boolean, nullable=False),
    Column("deadline", BigInteger, nullable=False),
    Column("converted", Document),
    Column("not_converted", Document),
    # When and why somebody ended the run; null: nobody did.
    Column("canceled", Document),
    Column("state", Text, nullable=False),
    # True: a verdict may be due, and nobody has looked yet.
    Column("due", Boolean, nullable=False),
    Column("verdict", Text),
    Column("reasons", Document, nullable=False),
    _count("revision"),
    Column("ended_at", BigInteger),
    Column("report_sha256", Text),
    _count("steps_done"),
    _count("steps_known"),
    Index(None, "started_at", "run_id"),
    Index(None, "model_name", "started_at", "run_id"),
    Index(None, "state", "started_at", "run_id"),
    Index(None, "state", "deadline"),
    Index(None, "due"),
)

labels = Table(
    "labels",
    metadata,
    _run(),
    _key("name"),
    Column("value", Text, nullable=False),
    Index(None, "name", "value", "run_id"),
)

inbox = Table("inbox", metadata, _key("event_key"), Column("heard_at", BigInteger, nullable=False, index=True))

outbox = Table(
    "outbox",
    metadata,
    _key("id"),
    Column("subject", Text, nullable=False),
    Column("headers", Document, nullable=False),
    # Protobuf, in base64.
    Column("data", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False, index=True),
    # Why the bus will never take it; empty: it waits.
    _text("refused"),
)

# What happened to a run, one line a change: what a watcher sees.
changes = Table(
    "changes",
    metadata,
    _run(),
    _key("version", BigInteger),
    Column("event_type", Text, nullable=False),
    Column("text", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
)

variants = Table(
    "variants",
    metadata,
    _run(),
    _key("name"),
    Column("ready", Document),
    Column("not_made", Document),
    Column("compared", Document),
    Column("not_compared", Document),
    Column("planned", Boolean, nullable=False),
    Column("not_planned", Document),
    # Copies of the figures that people query.
    Column("size_bytes", BigInteger),
    Column("accuracy", Double),
    Column("loss", Double),
    Column("max_nrmse", Double),
)

apps = Table(
    "apps",
    metadata,
    _run(),
    _key("variant"),
    _key("platform"),
    Column("package", Document),
    Column("not_built", Document),
)

cells = Table(
    "cells",
    metadata,
    _run(),
    _key("cell_id"),
    Column("variant", Text, nullable=False),
    _text("farm"),
    _text("device"),
    _text("platform"),
    _text("os_version"),
    _text("accelerator"),
    _count("threads"),
    # What the farm says of all its devices. NULL: a cell of an older version.
    Column("farm_properties", Document),
    # Shapes by input name; and how it runs.
    Column("cell_shapes", Document),
    _text("run_as"),
    Column("planned", Boolean, nullable=False),
    _text("skip_reason"),
    _text("skip_kind"),
    Column("not_run", Document),
    _count("attempts"),
    # Requests for more jobs, and what they gave: facts in lists. NULL: none.
    Column("requests", Document),
    Column("repeats", Document),
    # What carried each attempt: [repeat, of the baseline, attempt, farm run]. NULL: no farm said it.
    Column("farm_runs", Document),
    # The last attempt that left an edge log (0: none did), and its diagnosis. NULL: there is none.
    _count("recorded"),
    Column("diagnosed", Document),
)

measurements = Table(
    "measurements",
    metadata,
    _run(),
    _key("cell_id"),
    _key("attempt", BigInteger),
    Column("p50_ms", Double),
    Column("p95_ms", Double),
    Column("mean_ms", Double),
    Column("min_ms", Double),
    Column("max_ms", Double),
    Column("std_ms", Double),
    Column("samples", BigInteger),
    Column("init_ms", Double),
    Column("memory_mb", Double),
    Column("delegate", Text),
    Column("nodes_delegated", BigInteger),
    Column("nodes_total", BigInteger),
    Column("partitions", BigInteger),
    Column("device_facts", Document, nullable=False),
    Column("anomalies", Document, nullable=False),
    # Shapes by input name; and the load of the host meanwhile.
    Column("input_shapes", Document),
    Column("shapes_known", Boolean),
    Column("conditions", Document),
    Column("measured_at", BigInteger, nullable=False),
    Index(None, "measured_at", "run_id", "cell_id", "attempt"),
)

device_runs = Table(
    "device_runs",
    metadata,
    _run(),
    _key("cell_id"),
    _key("attempt", BigInteger),
    Column("log_sha256", Text),
    Column("samples_sha256", Text),
)

artifacts = Table(
    "artifacts",
    metadata,
    _run(),
    _key("sha256"),
    _key("kind"),
    _count("size_bytes"),
    _text("media_type"),
)

executions = Table(
    "executions",
    metadata,
    _run(),
    _key("id"),
    Column("kind", Text, nullable=False),
    _text("service"),
    _text("event_id"),
    _text("variant"),
    _text("platform"),
    _text("cell_id"),
    _count("attempt"),
    Column("at", BigInteger, nullable=False),
)

execution_inputs = Table("execution_inputs", metadata, _run(), _key("execution_id"), _key("sha256"))
execution_outputs = Table("execution_outputs", metadata, _run(), _key("execution_id"), _key("sha256"))
