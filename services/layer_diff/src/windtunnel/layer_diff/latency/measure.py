"""The use case: time the ops of a model here, say which are slow, and try the fix.

Native code runs here: call it as a job of `windtunnel.isolation.ChildPool`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from windtunnel.layer_diff.domain import Cause
from windtunnel.layer_diff.latency.stragglers import LatencyDiagnosis, diagnose_latency
from windtunnel.tflite import read_model
from windtunnel.tflite.native_profiler import Kernels
from windtunnel.tflite.profile import Method, profile_model, time_op

# Other kernels are a fix where they take at most half the time.
_WORTH = 0.5


def measure_latency(
    model: Path,
    *,
    accelerator: Kernels = "xnnpack",
    threads: int = 1,
    method: Method | None = None,
    samples: Path | None = None,
    pipeline: Mapping[str, Any] | None = None,
) -> LatencyDiagnosis:
    """Times every op and diagnoses the result; arguments and errors as `windtunnel.tflite.profile.profile_model`.

    A straggler is timed again alone with the runtime's other kernels (XNNPACK or its own). Where these take at most
    half the time, they become the fix, and the cause is verified: `fix.measured_ms` is what was seen.
    """
    feed: dict[str, Any] = {"threads": threads, "samples": samples, "pipeline": pipeline}
    profile = profile_model(model, accelerator=accelerator, method=method, **feed)
    found = diagnose_latency(read_model(model), profile)
    other: Kernels = "cpu" if accelerator == "xnnpack" else "xnnpack"
    causes = tuple(_tried(cause, model, other, feed) for cause in found.causes)
    return replace(found, causes=causes)


def _tried(cause: Cause, model: Path, other: Kernels, feed: Mapping[str, Any]) -> Cause:
    if cause.code != "latency.straggler" or cause.op_index is None or cause.evidence.get("peers") is None:
        return cause
    ms = time_op(model, cause.op_index, accelerator=other, **feed)
    tried = {"kernels": other, "measured_ms": ms}
    if ms is None or ms > _WORTH * float(cause.evidence["measured_ms"]):
        return replace(cause, evidence={**cause.evidence, "tried": tried})
    action = "run the op with XNNPACK" if other == "xnnpack" else "run the op outside XNNPACK, on the runtime's kernels"
    fix = {"action": action, **tried, "otherwise": cause.fix["action"], "op": cause.fix["op"]}
    return replace(cause, fix=fix, verified=True)
