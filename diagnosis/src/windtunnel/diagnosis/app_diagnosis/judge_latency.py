"""Times of an app: layers that take much longer than their peers, and frames that are far outliers."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from windtunnel.accelerators import BUILTIN
from windtunnel.datacheck.findings import Finding
from windtunnel.diagnosis.findings.causes import Cause
from windtunnel.diagnosis.latency.op_profile import OpTime, Profile
from windtunnel.diagnosis.latency.slow_ops import diagnose_latency
from windtunnel.diagnosis.recording.edge_recording import EdgeRecording
from windtunnel.diagnosis.thresholds.apps.app_thresholds import FRAMES_TIMED, LAYERS_TIMED, SLOW_FRAME_TIMES
from windtunnel.tflite import ModelFacts


def judge_layer_times(facts: ModelFacts, recording: EdgeRecording) -> list[Cause]:
    """Layers of which the app recorded times, by the rules of `windtunnel latency`.

    Args:
        facts: of the model.
        recording: of the app.

    Returns:
        Stragglers; none if fewer than half of the layers have times.
    """
    medians = {name: _median(times) for name, times in recording.times.layers.items()}
    ops = tuple(
        OpTime(op.index, next((medians.get(facts.tensors[one].name) for one in op.outputs if one >= 0), None))
        for op in facts.ops
    )
    timed = [op.ms for op in ops if op.ms is not None]
    if not ops or 2 * len(timed) < len(ops):
        return []
    profile = Profile("cutting", BUILTIN, 1, recording.count, float(sum(timed)), ops)
    return list(diagnose_latency(facts, profile).causes)


def outlier_frames(recording: EdgeRecording) -> tuple[Finding, ...]:
    """Frames that take many times as long as most: the first one is left out, which warms up.

    A stage that always takes long is not a fault by itself: only its own other frames say what it should take.

    Args:
        recording: of the app.

    Returns:
        A finding for the whole, or for each stage, with such frames.
    """
    times = recording.times
    named = {f"the stage {name!r}": values for name, values in times.stages.items()}
    if times.total is not None:
        named = {"the frame": times.total, **named}
    found = []
    for name, values in named.items():
        known = values[1:][np.isfinite(values[1:])]
        if len(known) < FRAMES_TIMED or (median := float(np.median(known))) <= 0:
            continue
        slow = known[known > SLOW_FRAME_TIMES * median]
        if 0 < len(slow) <= len(known) // 10:
            what = (
                f"{name} takes more than {SLOW_FRAME_TIMES:g} times its median of {median:.3g} ms in {len(slow)} of "
                f"{len(known)} frames, at most {slow.max():.3g} ms"
            )
            found.append(Finding("latency.outliers", what, "look for what else runs there, such as garbage collection"))
    return tuple(found)


def _median(times: NDArray[np.float64]) -> float | None:
    known = times[np.isfinite(times)]
    return float(np.median(known)) if len(known) >= LAYERS_TIMED else None
