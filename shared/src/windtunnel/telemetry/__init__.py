"""What a service says of itself: JSON logs, trace context, Prometheus metrics."""

from windtunnel.telemetry.logs import configure_logging
from windtunnel.telemetry.trace import child_of, current_traceparent, trace_context

__all__ = ["child_of", "configure_logging", "current_traceparent", "trace_context"]
