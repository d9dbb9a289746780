"""The inputs: what the app fed, against what the pipeline feeds for the same raw samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from windtunnel.diagnosis.app_diagnosis.replay_app import fed_rows, paired, real_rows
from windtunnel.diagnosis.findings.causes import Cause, Exclusion
from windtunnel.diagnosis.numerics.isolated_sums import representable
from windtunnel.diagnosis.playback.explain_inputs import explain_inputs, reference_inputs
from windtunnel.diagnosis.playback.synthesis.explanation import Explanation
from windtunnel.diagnosis.playback.synthesis.grid import EVERY, Grid
from windtunnel.diagnosis.recording.edge_recording import EdgeRecording, Rows
from windtunnel.diagnosis.thresholds.apps.playback_thresholds import INPUT_UNEXPLAINED
from windtunnel.diagnosis.thresholds.confidences import PARTLY_REPLAYED_INPUT, REPLAYED_INPUT
from windtunnel.input_shapes import bare_name
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
    total = InputJudgment(non_finite=broken)
    for tensor in facts.inputs:
        own = _own_pipeline(pipeline, tensor, facts)
        if own is not None:
            total = _with(total, tensor, fed.get(tensor.name), own, _raw_of(recording, tensor, facts), recording)
    return total


def _own_pipeline(pipeline: Pipeline, tensor: TensorFacts, facts: ModelFacts) -> Pipeline | None:
    """The steps of one input; None: the pipeline has none for it."""
    if not pipeline.inputs:
        return pipeline if tensor is facts.inputs[0] else None
    name = next((one for one in _names(tensor, facts) if one in pipeline.inputs), None)
    return None if name is None else Pipeline(pipeline.inputs[name], task=pipeline.task)


def _names(tensor: TensorFacts, facts: ModelFacts) -> tuple[str, ...]:
    return tuple(filter(None, (tensor.name, facts.input_name(tensor), bare_name(tensor.name))))


def _raw_of(recording: EdgeRecording, tensor: TensorFacts, facts: ModelFacts) -> Rows | None:
    """The raw samples of one input: by its name, or the only ones."""
    named = next((recording.raw[one] for one in _names(tensor, facts) if one in recording.raw), None)
    return next(iter(recording.raw.values())) if named is None and len(recording.raw) == 1 else named


def _with(
    total: InputJudgment,
    tensor: TensorFacts,
    fed: Rows | None,
    pipeline: Pipeline,
    raw: Rows | None,
    recording: EdgeRecording,
) -> InputJudgment:
    """The judgment with one more input."""
    if raw is None:
        return total
    reference = reference_inputs(pipeline, raw, recording.sample_rate_hz)
    shaped = {**total.reference, tensor.name: fed_rows(reference, tensor)}
    if total.non_finite or fed is None:
        return replace(total, reference=shaped, nrmse={**total.nrmse, tensor.name: None})
    rows = real_rows(fed, tensor)
    explanation = explain_inputs(pipeline, raw, rows, reference, recording.sample_rate_hz, _grid(tensor))
    several = len(recording.inputs) > 1
    return replace(
        total,
        causes=(*total.causes, *_causes(explanation, tensor.name if several else None)),
        excluded=(
            *total.excluded,
            *(Exclusion("preprocessing", note, rule="input_note") for note in explanation.notes),
        ),
        reference=shaped,
        nrmse={**total.nrmse, tensor.name: explanation.before},
        unexplained=(*total.unexplained, *_unexplained(explanation)),
    )


def _non_finite(fed: Mapping[str, Rows]) -> int:
    """How many frames have NaN or infinity in an input."""
    count = max((len(rows) for rows in fed.values()), default=0)
    return sum(any(_is_broken(np.asarray(rows[number])) for rows in fed.values()) for number in range(count))


def _is_broken(row: NDArray[Any]) -> bool:
    return row.dtype.kind == "f" and not np.isfinite(row).all()


def _grid(tensor: TensorFacts) -> Grid:
    """The real numbers that an input holds."""
    quantization = tensor.quantization
    if quantization is None or len(quantization.scales) != 1 or not tensor.dtype.startswith(("int", "uint")):
        return EVERY
    low, high = representable(quantization, tensor.dtype)
    return Grid(float(quantization.scales[0]), low, high, int(quantization.zero_points[0]))


def _causes(explanation: Explanation, name: str | None) -> tuple[Cause, ...]:
    """The causes of one input, which matters most first. `name`: of the input, if the model has several."""
    partly = explanation.after > INPUT_UNEXPLAINED
    confidence = PARTLY_REPLAYED_INPUT if partly else REPLAYED_INPUT
    found = [
        Cause(replace(finding, input=name), confidence, verified=not partly, rule="input_replayed")
        for finding in explanation.findings
    ]
    # What matters most is first: without it, the explanation leaves most.
    order = sorted(zip(found, explanation.findings, strict=True), key=lambda one: -one[1].proof.without)
    return tuple(cause for cause, _ in order)


def _unexplained(explanation: Explanation) -> tuple[str, ...]:
    if explanation.before is None:
        return ("the app feeds another number of values than the pipeline",)
    if explanation.after <= INPUT_UNEXPLAINED:
        return ()
    return (f"the input differs by nRMSE {explanation.after:.3g} from every known way to prepare it",)
