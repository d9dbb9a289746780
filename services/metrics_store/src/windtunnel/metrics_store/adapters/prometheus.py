"""What Prometheus sees. Counters start at 0 with the process, as Prometheus expects."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram

from windtunnel.metrics_store.domain import Judgment, RunRecord, facts
from windtunnel.metrics_store.use_cases.read_latencies import SAMPLES

# 100 ns to 10 s, five to a decade: small models take less than a microsecond.
BUCKETS: Final = tuple(round(10 ** (step / 5), 7 if step >= -25 else 10) for step in range(-35, 6))
# Cells of which latencies are kept, those measured last: every training has a version, and every version has cells.
MAX_CELLS: Final = 500
_LABELS: Final = ("model", "version", "variant", "device", "accelerator", "threads")


class PrometheusMetrics:
    """The metrics of this service, in `registry`.

    Args:
        registry: of the process.
    """

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        self._latency = Histogram(
            "windtunnel_inference_latency_seconds",
            "Inference latency on a device; each timed inference if the raw figures are kept, the median if not. "
            "Unstable measurements are left out.",
            _LABELS,
            buckets=BUCKETS,
            registry=registry,
        )
        self._unstable = Counter(
            "windtunnel_unstable_measurements",
            "Measurements that load, spread or drift made worthless.",
            ("model", "device"),
            registry=registry,
        )
        # The label values that there are, those measured last at the end.
        self._cells: dict[tuple[str, ...], None] = {}
        self._completed = Counter(
            "windtunnel_runs_completed",
            "Verdicts given; a run that is judged again counts again.",
            ("model", "verdict"),
            registry=registry,
        )
        self._running = Gauge("windtunnel_runs_running", "Runs without a verdict, in the database.", registry=registry)

    def completed(self, run: RunRecord, judgment: Judgment) -> None:
        """Implements `RunMetrics.completed`."""
        model = run.seen.model_name if run.seen else ""
        self._completed.labels(model=model, verdict=judgment.verdict.value).inc()

    def running(self, count: int) -> None:
        """Implements `RunMetrics.running`."""
        self._running.set(count)

    def measured(self, model: str, version: str, fact: facts.Measured, seconds: Sequence[float]) -> None:
        """Implements `RunMetrics.measured`."""
        cell = fact.cell
        threads = str(cell.threads) if cell.threads else ""
        values = (model, version, cell.variant, cell.device, cell.accelerator, threads)
        self._cells.pop(values, None)
        self._cells[values] = None
        if len(self._cells) > MAX_CELLS:
            oldest = next(iter(self._cells))
            del self._cells[oldest]
            self._latency.remove(*oldest)
        child = self._latency.labels(*values)
        if fact.measurement.unstable:
            self._unstable.labels(model=model, device=cell.device).inc()
            return
        for value in seconds[:SAMPLES]:
            child.observe(value)
