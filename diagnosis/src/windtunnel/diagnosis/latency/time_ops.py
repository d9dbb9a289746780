"""The use case: time the ops of a model here, say which are slow, and try the fix.

Native code runs here: call it as a job of `windtunnel.isolation.ChildPool`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from windtunnel.accelerators import BUILTIN, XNNPACK, spelled_in_cells
from windtunnel.diagnosis.findings.causes import Cause
from windtunnel.diagnosis.findings.kinds.latency import LatencyStraggler, TriedKernels
from windtunnel.diagnosis.latency.native_profiler import Kernels
from windtunnel.diagnosis.latency.op_profile import Method, facts_in_use, first_inputs, profile_model, time_op
from windtunnel.diagnosis.latency.slow_ops import LatencyDiagnosis, diagnose_latency
from windtunnel.diagnosis.thresholds.latency_thresholds import OTHER_KERNELS_WORTH
from windtunnel.input_shapes import Shapes, choose_shapes
from windtunnel.tflite import input_specs, read_model


def measure_latency(
    model: Path,
    *,
    accelerator: str = XNNPACK,
    threads: int = 1,
    method: Method | None = None,
    samples: Path | None = None,
    pipeline: Mapping[str, Any] | None = None,
    shapes: Shapes = MappingProxyType({}),
) -> LatencyDiagnosis:
    """Times every op and diagnoses the result.

    A straggler is timed again in isolation with the runtime's other kernels (XNNPACK or its own). If these take at most
    half the time, they become the fix, and the cause is verified: `fix.measured_ms` is the measured time.

    Args:
        model: the .tflite file.
        accelerator: as for `profile_model`.
        threads: CPU threads.
        method: as for `profile_model`.
        samples: as for `profile_model`.
        pipeline: as for `profile_model`.
        shapes: as for `profile_model`.

    Returns:
        The diagnosis.

    Raises:
        InvalidInput: as from `profile_model`.
        Unsupported: as from `profile_model`.
    """
    feed: dict[str, Any] = {"threads": threads, "samples": samples, "pipeline": pipeline, "shapes": shapes}
    profile = profile_model(model, accelerator=accelerator, method=method, **feed)
    facts = read_model(model)
    inputs = first_inputs(facts, samples, pipeline, shapes)
    found = diagnose_latency(facts_in_use(facts, inputs, threads), profile)
    other: Kernels = BUILTIN if profile.accelerator == XNNPACK else XNNPACK
    causes = tuple(_tried(cause, model, other, feed) for cause in found.causes)
    fed = {tensor.name: array.shape for tensor, array in zip(facts.inputs, inputs, strict=True)}
    specs = input_specs(facts)
    known = samples is not None or choose_shapes(specs, shapes).known
    return replace(found, causes=causes, input_shapes=fed, shapes_known=known)


def _tried(cause: Cause, model: Path, other: Kernels, feed: Mapping[str, Any]) -> Cause:
    finding = cause.finding
    if not isinstance(finding, LatencyStraggler) or cause.op_index is None:
        return cause
    ms = time_op(model, cause.op_index, accelerator=other, **feed)
    tried = TriedKernels(spelled_in_cells(other), ms)
    if ms is None or ms > OTHER_KERNELS_WORTH * finding.measured_ms:
        return replace(cause, finding=replace(finding, tried=tried))
    return replace(cause, finding=replace(finding, faster=tried), verified=True)
