"""The use case: what is wrong around a model, from what an app recorded.

As in ML-EXray (MLSys 2022): first the accuracy, then the inputs, the layers and the outputs; but every conclusion is
replayed. Native code runs here: call it as a job of `windtunnel.isolation.ChildPool`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from windtunnel.datacheck.classifier_scores import Scores, agreement, class_columns, score
from windtunnel.datacheck.findings import Finding
from windtunnel.diagnosis.app_diagnosis.app_assertions import Check, failed_assertions
from windtunnel.diagnosis.app_diagnosis.app_result import AppDiagnosis, AppFigures
from windtunnel.diagnosis.app_diagnosis.app_verdict import verdict_of
from windtunnel.diagnosis.app_diagnosis.judge_inputs import InputJudgment, judge_inputs
from windtunnel.diagnosis.app_diagnosis.judge_kernels import floor_of, judge_layers, judge_outputs
from windtunnel.diagnosis.app_diagnosis.judge_labels import judge_labels
from windtunnel.diagnosis.app_diagnosis.judge_latency import judge_layer_times, outlier_frames
from windtunnel.diagnosis.app_diagnosis.judge_postprocess import judge_postprocess
from windtunnel.diagnosis.app_diagnosis.replay_app import KERNELS, Replayed, fed_rows, paired, real_rows, replay
from windtunnel.diagnosis.findings.causes import Cause
from windtunnel.diagnosis.findings.coverage import Coverage
from windtunnel.diagnosis.findings.layer_diff import LayerDiff
from windtunnel.diagnosis.playback.explain_inputs import reference_inputs
from windtunnel.diagnosis.recording.edge_recording import EdgeRecording, Rows
from windtunnel.diagnosis.thresholds.apps.app_thresholds import FRAMES_REPLAYED
from windtunnel.errors import InvalidInput
from windtunnel.pipeline import Pipeline
from windtunnel.tflite import ModelFacts, read_model
from windtunnel.tflite.tensor_error import nrmse_of

Frames = Mapping[str, Sequence[NDArray[Any]]]


@dataclass(frozen=True, slots=True)
class _Runs:
    """The model on what the app fed, by kernels, and on what the pipeline feeds."""

    fed: Frames
    as_fed: Mapping[str, Replayed]
    as_piped: Replayed | None


def diagnose_app(
    model: Path,
    recording: EdgeRecording,
    pipeline: Mapping[str, Any] | None = None,
    *,
    assertions: Sequence[Check] = (),
) -> AppDiagnosis:
    """Diagnoses an app.

    Args:
        model: the .tflite file that the app runs.
        recording: of the app.
        pipeline: the content of the pipeline.json that the model was made for; None: that of the recording, if it has
            one.
        assertions: of the user's own.

    Returns:
        The diagnosis.

    Raises:
        InvalidInput: model, recording and pipeline do not fit each other.
        Unsupported: the runtime cannot run the model.
    """
    facts = read_model(model)
    if not recording.inputs and not recording.outputs:
        raise InvalidInput(
            f"{recording.source} has neither inputs nor outputs of the model", hint="record at level io, or higher"
        )
    kept = _few(recording)
    parsed = _pipeline(kept, pipeline)
    inputs = judge_inputs(facts, kept, parsed)
    runs = _run(model, facts, kept, inputs)
    causes, layers, coverage = _kernels(model, facts, kept, runs)
    labels = _labels(facts, kept, runs)
    figures = _figures(facts, kept, runs, inputs)
    causes = [*inputs.causes, *causes, *labels, *_postprocess(facts, kept, parsed)]
    causes += judge_layer_times(facts, recording)
    failed = failed_assertions(assertions, kept, inputs.reference)
    verdict, reasons = verdict_of(causes, figures, inputs, failed)
    gaps = tuple(Finding("recording.gap", gap, "record again if the missing part matters") for gap in recording.gaps)
    return AppDiagnosis(
        verdict=verdict,
        reasons=reasons,
        causes=tuple(causes),
        excluded=inputs.excluded,
        findings=(*failed, *gaps, *outlier_frames(recording)),
        figures=figures,
        coverage=coverage,
        layers=layers,
        frames=kept.count,
        source=recording.source,
        device=_device(recording),
    )


def reference_frames(facts: ModelFacts, recording: EdgeRecording, pipeline: Mapping[str, Any] | None) -> Frames:
    """What a model is compared with its reference on.

    Args:
        facts: of the model.
        recording: of an app.
        pipeline: the content of the pipeline.json; None: that of the recording, if it has one.

    Returns:
        What the pipeline feeds; without raw samples or a pipeline, what the app fed. By input tensor and frame.
    """
    parsed = _pipeline(recording, pipeline)
    if parsed is not None and recording.raw and len(facts.inputs) == 1:
        raw = next(iter(recording.raw.values()))
        return {
            facts.inputs[0].name: fed_rows(reference_inputs(parsed, raw, recording.sample_rate_hz), facts.inputs[0])
        }
    rows = paired(recording.inputs, facts.inputs, facts, "input")
    return {tensor.name: fed_rows(rows[tensor.name], tensor) for tensor in facts.inputs if tensor.name in rows}


def _pipeline(recording: EdgeRecording, given: Mapping[str, Any] | None) -> Pipeline | None:
    """The pipeline that is given; otherwise that of the recording.

    Raises:
        InvalidInput: it cannot be read.
    """
    if given is not None:
        return Pipeline.parse(given)
    if not recording.device.pipeline:
        return None
    try:
        return Pipeline.parse(json.loads(recording.device.pipeline))
    except (ValueError, InvalidInput) as error:
        raise InvalidInput(f"{recording.source}: the pipeline in the recording cannot be read: {error}") from error


def _few(recording: EdgeRecording) -> EdgeRecording:
    """Frames evenly over a recording, if it has many."""
    if recording.count <= FRAMES_REPLAYED or recording.layer_frames is not None:
        return recording
    chosen = np.unique(np.linspace(0, recording.count - 1, FRAMES_REPLAYED).astype(np.intp))

    def pick(named: Mapping[str, Rows]) -> dict[str, Rows]:
        return {name: _picked(rows, chosen) for name, rows in named.items()}

    return replace(
        recording,
        count=len(chosen),
        raw=pick(recording.raw),
        inputs=pick(recording.inputs),
        outputs=pick(recording.outputs),
        layers=pick(recording.layers),
        postprocessed=pick(recording.postprocessed),
        functions={},
        labels=None if recording.labels is None else recording.labels[chosen],
    )


def _picked(rows: Rows, chosen: NDArray[np.intp]) -> Rows:
    return rows[chosen] if isinstance(rows, np.ndarray) else [rows[index] for index in chosen]


def _run(model: Path, facts: ModelFacts, recording: EdgeRecording, inputs: InputJudgment) -> _Runs:
    rows = paired(recording.inputs, facts.inputs, facts, "input")
    missing = [tensor.name for tensor in facts.inputs if tensor.name not in rows]
    if recording.inputs and missing:
        raise InvalidInput(f"the recording lacks the input {missing[0]!r} of the model", hint="record every input")
    fed: Frames = {tensor.name: fed_rows(rows[tensor.name], tensor) for tensor in facts.inputs if tensor.name in rows}
    if any(not np.isfinite(row).all() for frames in fed.values() for row in frames if row.dtype.kind == "f"):
        # A runtime refuses them; the inputs alone are judged.
        fed = {}
    as_fed = {kernels: replay(model, fed, accelerator=kernels) for kernels in KERNELS} if fed else {}
    piped = replay(model, inputs.reference) if len(inputs.reference) == len(facts.inputs) else None
    return _Runs(fed, as_fed, piped)


def _kernels(
    model: Path, facts: ModelFacts, recording: EdgeRecording, runs: _Runs
) -> tuple[list[Cause], tuple[LayerDiff, ...], Coverage]:
    total = sum(len(op.outputs) for op in facts.ops)
    if not runs.as_fed:
        return [], (), Coverage(0, total)
    floor = floor_of(facts, recording.device.accelerator)
    outputs = paired(recording.outputs, facts.outputs, facts, "output")
    found = judge_outputs(facts, outputs, runs.as_fed, floor)
    if not recording.layers:
        return found, (), Coverage(0, total)
    frames = range(recording.count) if recording.layer_frames is None else recording.layer_frames.tolist()
    fed = {name: [rows[index] for index in frames] for name, rows in runs.fed.items()}
    at_layer, layers = judge_layers(model, facts, fed, recording.layers, floor)
    # The layer explains the outputs.
    return at_layer or found, layers, Coverage(len(layers), total)


def _postprocess(facts: ModelFacts, recording: EdgeRecording, pipeline: Pipeline | None) -> list[Cause]:
    """What the app makes of the recorded outputs, where the pipeline says what follows the model."""
    if pipeline is None or pipeline.postprocess is None or not recording.postprocessed or not recording.outputs:
        return []
    rows = paired(recording.outputs, facts.outputs, facts, "output")
    outputs: dict[str, Sequence[NDArray[np.float64]]] = {}
    for tensor in facts.outputs:
        if tensor.name in rows:
            real = real_rows(rows[tensor.name], tensor)
            outputs |= {name: real for name in (tensor.name, facts.output_name(tensor)) if name}
    return judge_postprocess(pipeline.postprocess, outputs, recording.postprocessed)


def _classes(facts: ModelFacts) -> int:
    return class_columns(facts.outputs[0].shape_signature) if len(facts.outputs) == 1 else 0


def _decided(outputs: NDArray[np.float64], columns: int) -> NDArray[np.int64]:
    rows = outputs.reshape(len(outputs), -1)
    return rows.argmax(axis=1).astype(np.int64) if columns > 1 else (rows[:, 0] > 0.5).astype(np.int64)


def _labels(facts: ModelFacts, recording: EdgeRecording, runs: _Runs) -> list[Cause]:
    columns = _classes(facts)
    right = runs.as_piped or next(iter(runs.as_fed.values()), None)
    if columns < 2 or right is None:
        return []
    name = facts.outputs[0].name
    labels = recording.labels
    whole = None if labels is None or labels.ndim != 1 or labels.dtype.kind not in "iu" else labels.astype(np.int64)
    if recording.postprocessed and recording.outputs:
        # What the app shows belongs to what the device gave, not to a replay.
        rows = real_rows(paired(recording.outputs, facts.outputs, facts, "output")[name], facts.outputs[0])
        shown = judge_labels(None, _decided(np.stack(rows), columns), columns, recording.postprocessed)
        if shown:
            return shown
    return judge_labels(whole, _decided(right.outputs[name], columns), columns, {})


def _figures(facts: ModelFacts, recording: EdgeRecording, runs: _Runs, inputs: InputJudgment) -> AppFigures:
    figures = AppFigures(input_nrmse=inputs.nrmse)
    columns, name = _classes(facts), facts.outputs[0].name
    as_fed = next(iter(runs.as_fed.values()), None)
    if as_fed is not None and runs.as_piped is not None:
        first, second = (one.outputs[name].reshape(recording.count, -1) for one in (runs.as_piped, as_fed))
        errors = (nrmse_of(runs.as_piped.outputs[tensor.name], as_fed.outputs[tensor.name]) for tensor in facts.outputs)
        same = agreement(first, second) if columns else None
        figures = replace(
            figures, output_nrmse=max((one for one in errors if one is not None), default=None), agreement=same
        )
    if columns and recording.labels is not None:
        recorded = paired(recording.outputs, facts.outputs, facts, "output").get(name)
        app = None if recorded is None else np.stack(real_rows(recorded, facts.outputs[0]))
        piped = None if runs.as_piped is None else runs.as_piped.outputs[name]
        figures = replace(
            figures, scores=_score(app, recording.labels), scores_reference=_score(piped, recording.labels)
        )
    return figures


def _score(outputs: NDArray[np.float64] | None, labels: NDArray[Any]) -> Scores | None:
    if outputs is None:
        return None
    try:
        return score(outputs.reshape(len(outputs), -1), labels)
    except InvalidInput:
        # Labels outside the model's classes: `judge_labels` says what is wrong with them.
        return None


def _device(recording: EdgeRecording) -> dict[str, str]:
    device = recording.device
    facts = {
        "app": device.app,
        "app_version": device.app_version,
        "os": device.os,
        "device": device.device,
        "runtime": device.runtime,
        "accelerator": device.accelerator,
    }
    return {name: value for name, value in facts.items() if value}
