"""The inputs: what the app fed, against what the pipeline feeds for the same raw samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from windtunnel.diagnosis.app_diagnosis.replay_app import fed_rows, paired, real_rows
from windtunnel.diagnosis.findings.causes import Cause, Exclusion
from windtunnel.diagnosis.numerics.isolated_sums import representable
from windtunnel.diagnosis.playback.explain_inputs import explain_inputs, reference_inputs
from windtunnel.diagnosis.playback.synthesis.explanation import Explanation
from windtunnel.diagnosis.recording.edge_recording import EdgeRecording, Rows
from windtunnel.diagnosis.thresholds.apps.playback_thresholds import UNEXPLAINED
from windtunnel.diagnosis.thresholds.confidences import PARTLY_REPLAYED_INPUT, REPLAYED_INPUT
from windtunnel.pipeline import Pipeline
from windtunnel.tflite import ModelFacts, TensorFacts


@dataclass(frozen=True, slots=True)
class InputJudgment:
    """What is wrong with the inputs.

    Attributes:
        causes: `preprocessing.*`.
        excluded: what is right, and why.
        reference: what the pipeline feeds, in the model's shapes, by input tensor and frame; empty: nothing is known.
        nrmse: of each input; None: not comparable.
        unexplained: sentences about differences that no rule explains.
        non_finite: how many frames the app fed NaN or infinity.
    """

    causes: tuple[Cause, ...] = ()
    excluded: tuple[Exclusion, ...] = ()
    reference: Mapping[str, Sequence[NDArray[Any]]] = field(default_factory=dict)
    nrmse: Mapping[str, float | None] = field(default_factory=dict)
    unexplained: tuple[str, ...] = ()
    non_finite: int = 0


def judge_inputs(facts: ModelFacts, recording: EdgeRecording, pipeline: Pipeline | None) -> InputJudgment:
    """Judges the inputs of an app.

    Args:
        facts: of the model.
        recording: of the app.
        pipeline: from raw samples to the model's input; None: it is not known.

    Returns:
        The judgment; without raw samples or a pipeline, nothing but non-finite values.

    Raises:
        InvalidInput: recording, model and pipeline do not fit each other.
    """
    fed = paired(recording.inputs, facts.inputs, facts, "input")
    broken = _non_finite(fed)
    if pipeline is None or not recording.raw or not recording.inputs:
        return InputJudgment(non_finite=broken)
    tensor = facts.inputs[0]
    raw = next(iter(recording.raw.values()))
    reference = reference_inputs(pipeline, raw, recording.sample_rate_hz)
    shaped = fed_rows(reference, tensor)
    if broken:
        return InputJudgment(reference={tensor.name: shaped}, nrmse={tensor.name: None}, non_finite=broken)
    rows = real_rows(fed[tensor.name], tensor)
    explanation = explain_inputs(
        pipeline, raw, rows, reference, recording.sample_rate_hz, _step(tensor), _limits(tensor)
    )
    return InputJudgment(
        causes=_causes(explanation),
        excluded=tuple(Exclusion("preprocessing", note, "input_note") for note in explanation.notes),
        reference={tensor.name: shaped},
        nrmse={tensor.name: explanation.before},
        unexplained=_unexplained(explanation),
    )


def _non_finite(fed: Mapping[str, Rows]) -> int:
    """How many frames have NaN or infinity in an input."""
    count = max((len(rows) for rows in fed.values()), default=0)
    return sum(any(_is_broken(np.asarray(rows[number])) for rows in fed.values()) for number in range(count))


def _is_broken(row: NDArray[Any]) -> bool:
    return row.dtype.kind == "f" and not np.isfinite(row).all()


def _step(tensor: TensorFacts) -> float:
    return 0.0 if tensor.quantization is None or not tensor.quantization.scales else tensor.quantization.scales[0]


def _limits(tensor: TensorFacts) -> tuple[float, float] | None:
    """Between which a quantized input can represent numbers; None: it is not quantized."""
    if (
        tensor.quantization is None
        or len(tensor.quantization.scales) != 1
        or not tensor.dtype.startswith(("int", "uint"))
    ):
        return None
    return representable(tensor.quantization, tensor.dtype)


def _causes(explanation: Explanation) -> tuple[Cause, ...]:
    partly = explanation.after > UNEXPLAINED
    confidence = PARTLY_REPLAYED_INPUT if partly else REPLAYED_INPUT
    found = [Cause(finding, confidence, verified=not partly, rule="input_replayed") for finding in explanation.findings]
    # What matters most is first: without it, the explanation leaves most.
    order = sorted(zip(found, explanation.findings, strict=True), key=lambda one: -one[1].proof.without)
    return tuple(cause for cause, _ in order)


def _unexplained(explanation: Explanation) -> tuple[str, ...]:
    if explanation.before is None:
        return ("the app feeds another number of values than the pipeline",)
    if explanation.after <= UNEXPLAINED:
        return ()
    return (f"the input differs by nRMSE {explanation.after:.3g} from every known way to prepare it",)
