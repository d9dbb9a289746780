"""What an app fed against what its pipeline feeds, for images, audio and text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from windtunnel.diagnosis.playback.audio.explain_audio import explain_audio_inputs
from windtunnel.diagnosis.playback.image_inputs import explain_image_inputs
from windtunnel.diagnosis.playback.synthesis.explanation import Explanation
from windtunnel.diagnosis.playback.synthesis.grid import EVERY, Grid
from windtunnel.diagnosis.playback.text.explain_text import explain_text_inputs
from windtunnel.diagnosis.recording.edge_recording import Rows
from windtunnel.pipeline import Pipeline
from windtunnel.tflite.tensor_error import nrmse_of


def reference_inputs(pipeline: Pipeline, raw: Rows, sample_rate_hz: float | None = None) -> Sequence[NDArray[Any]]:
    """What a pipeline feeds.

    Args:
        pipeline: of the model's input.
        raw: raw samples.
        sample_rate_hz: of audio; None: no audio.

    Returns:
        An array per frame.

    Raises:
        InvalidInput: the samples do not fit the pipeline.
    """
    return list(pipeline.apply(raw if isinstance(raw, np.ndarray) else list(raw), sample_rate_hz=sample_rate_hz))


def explain_inputs(
    pipeline: Pipeline,
    raw: Rows,
    fed: Sequence[NDArray[np.float64]],
    reference: Sequence[NDArray[Any]],
    sample_rate_hz: float | None = None,
    grid: Grid = EVERY,
) -> Explanation:
    """Explains how what an app fed differs from what its pipeline feeds.

    Args:
        pipeline: of the model's input.
        raw: raw samples.
        fed: what the app fed, real numbers, an array per frame.
        reference: what the pipeline feeds, an array per frame.
        sample_rate_hz: of audio; None: no audio.
        grid: what the input holds, if it is quantized.

    Returns:
        The explanation.
    """
    wanted = np.stack([np.asarray(one, np.float64) for one in reference])
    if any(one.size != wanted[0].size for one in fed):
        return Explanation((), None, float("inf"), len(fed))
    given = np.stack([one.ravel() for one in fed]).reshape(wanted.shape)
    if np.asarray(raw[0]).ndim == 3 and np.asarray(raw[0]).shape[-1] == 3:
        limits = (grid.low, grid.high) if grid.step else None
        return explain_image_inputs(pipeline, [np.asarray(one) for one in raw], given, wanted, grid.step, limits)
    if pipeline.kind == "text":
        return explain_text_inputs(pipeline.steps, raw, given, wanted)
    if pipeline.kind == "audio" or (np.asarray(raw[0]).ndim == 1 and np.asarray(raw[0]).dtype.kind == "f"):
        waves = [np.asarray(one) for one in raw]
        return explain_audio_inputs(pipeline.steps, waves, given, wanted, sample_rate_hz, grid)
    before = nrmse_of(wanted, given)
    return Explanation((), before, before or 0.0, len(fed))
