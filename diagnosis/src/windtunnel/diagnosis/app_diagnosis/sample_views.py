"""Samples next to each other: raw, what the app fed, what the reference feeds. For pages; nothing is judged here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from windtunnel.diagnosis.app_diagnosis.diagnose_app import reference_frames
from windtunnel.diagnosis.app_diagnosis.replay_app import fed_rows, paired, real_rows
from windtunnel.diagnosis.recording.edge_recording import ONLY, EdgeRecording, Rows
from windtunnel.diagnosis.recording.read_recordings import read_recordings
from windtunnel.errors import InvalidInput
from windtunnel.tflite import ModelFacts, TensorFacts, read_model
from windtunnel.tflite.tensor_error import nrmse_of

# Of longer recordings, this many frames are looked at, evenly over them.
_FRAMES: Final = 64


@dataclass(frozen=True, slots=True)
class SampleView:
    """One input of one frame.

    Attributes:
        frame: row of the recording, counted from 0.
        input: name of the model's input.
        raw: the raw sample, text as str; None: not recorded.
        fed: what the app fed, as real numbers; None: not recorded.
        expected: what the pipeline feeds, as real numbers in the same shape; None: not known.
        nrmse: how far both are apart; None: not comparable.
    """

    frame: int
    input: str
    raw: NDArray[Any] | str | None
    fed: NDArray[np.float64] | None
    expected: NDArray[np.float64] | None
    nrmse: float | None


@dataclass(frozen=True, slots=True)
class RecordedSamples:
    """Samples of a recording, those that differ most first, and of how many frames they were chosen."""

    source: str
    frames: int
    views: tuple[SampleView, ...]


def sample_views(
    model: Path, edges: Sequence[Path], pipeline: Mapping[str, Any] | None = None, *, most: int = 6
) -> tuple[RecordedSamples, ...]:
    """Samples of recordings, for a page.

    Args:
        model: the .tflite file that the apps run.
        edges: what they recorded: edge.npz, edge logs, folders of them.
        pipeline: the content of the pipeline.json; None: not known.
        most: how many samples of each input of a recording.

    Returns:
        One entry for each recording.

    Raises:
        NotFound: a file does not exist.
        InvalidInput: the files cannot be used.
    """
    facts = read_model(model)
    recordings = [one for path in edges for one in read_recordings(path)]
    return tuple(_of_recording(facts, one, pipeline, most) for one in recordings)


def _of_recording(
    facts: ModelFacts, recording: EdgeRecording, pipeline: Mapping[str, Any] | None, most: int
) -> RecordedSamples:
    chosen = np.unique(np.linspace(0, recording.count - 1, min(_FRAMES, recording.count)).astype(np.intp))
    few = _taken(recording, chosen)
    fed = paired(few.inputs, facts.inputs, facts, "input")
    expected = _expected(facts, few, pipeline)
    views: list[SampleView] = []
    for tensor in facts.inputs:
        raw = _raw(few.raw, tensor, facts)
        shown = [
            _view(int(frame), tensor, row, raw, fed.get(tensor.name), expected.get(tensor.name))
            for row, frame in enumerate(chosen)
        ]
        views.extend(sorted(shown, key=lambda one: -(one.nrmse or 0.0))[:most])
    return RecordedSamples(recording.source, recording.count, tuple(views))


def _taken(recording: EdgeRecording, chosen: NDArray[np.intp]) -> EdgeRecording:
    def few(named: Mapping[str, Rows]) -> dict[str, Rows]:
        return {name: [np.asarray(rows[index]) for index in chosen] for name, rows in named.items()}

    labels = None if recording.labels is None else recording.labels[chosen]
    count = len(chosen)
    # Nothing else of a recording is shown.
    return replace(
        recording, count=count, raw=_texts(few(recording.raw)), inputs=few(recording.inputs), outputs={}, layers={},
        layer_frames=None, postprocessed={}, functions={}, labels=labels,
    )  # fmt: skip


def _texts(raw: Mapping[str, Rows]) -> dict[str, Rows]:
    """Pipelines take images of one size, waveforms and texts as one array, others as a list."""
    return {
        name: np.stack(list(rows)) if len({np.asarray(row).shape for row in rows}) == 1 else rows
        for name, rows in raw.items()
    }


def _expected(
    facts: ModelFacts, recording: EdgeRecording, pipeline: Mapping[str, Any] | None
) -> Mapping[str, Sequence[NDArray[Any]]]:
    known = pipeline is not None or bool(recording.device.pipeline)
    # Otherwise `reference_frames` gives what the app fed.
    if not (known and recording.raw and len(facts.inputs) == 1):
        return {}
    return reference_frames(facts, recording, pipeline)


def _raw(raw: Mapping[str, Rows], tensor: TensorFacts, facts: ModelFacts) -> Rows | None:
    """The raw samples of an input: by its name, or the only ones."""
    if set(raw) == {ONLY}:
        return raw[ONLY]
    names = (tensor.name, facts.input_name(tensor))
    return next((raw[name] for name in names if name and name in raw), None)


def _view(
    frame: int,
    tensor: TensorFacts,
    row: int,
    raw: Rows | None,
    fed: Rows | None,
    expected: Sequence[NDArray[Any]] | None,
) -> SampleView:
    wanted = None if expected is None else real_rows([expected[row]], tensor)[0]
    given, distance = None, None
    if fed is not None:
        given = _in_shape(fed[row], tensor)
        if wanted is not None and given.size == wanted.size:
            given = given.reshape(wanted.shape)
            distance = nrmse_of(wanted, given) if np.isfinite(given).all() else None
    sample = None if raw is None else np.asarray(raw[row])
    shown = str(sample) if sample is not None and sample.dtype.kind == "U" else sample
    return SampleView(frame, tensor.name, shown, given, wanted, distance)


def _in_shape(row: Any, tensor: TensorFacts) -> NDArray[np.float64]:
    """What reached the model as real numbers, in the model's shape if it has as many values."""
    real = real_rows([np.asarray(row)], tensor)[0]
    try:
        return np.asarray(fed_rows([real], tensor)[0], np.float64)
    except InvalidInput:
        return real
