"""What a service says of itself: JSON logs, trace context, Prometheus metrics."""

from windtunnel.telemetry.job import current_job, job_context, note_job
from windtunnel.telemetry.logs import configure_logging
from windtunnel.telemetry.trace import child_of, current_trace_id, current_traceparent, trace_context, traceparent_in

__all__ = [
    "child_of",
    "configure_logging",
    "current_job",
    "current_trace_id",
    "current_traceparent",
    "job_context",
    "note_job",
    "trace_context",
    "traceparent_in",
]
