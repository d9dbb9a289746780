"""Explains what an app fed to an audio model: by which changes of the pipeline its inputs are reproduced."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from windtunnel.diagnosis.findings.codes import CauseCode
from windtunnel.diagnosis.findings.kinds.preprocessing import (
    CropFinding,
    DtypeFinding,
    LayoutFinding,
    PreprocessingFinding,
    Proof,
    ResamplingFinding,
    SpectrogramFinding,
    ValueRangeFinding,
)
from windtunnel.diagnosis.playback.audio.audio_endings import AudioJudge, FedAudio
from windtunnel.diagnosis.playback.audio.audio_slots import audio_slots
from windtunnel.diagnosis.playback.synthesis.chain_search import Chained, ChainSearch, Difference
from windtunnel.diagnosis.playback.synthesis.explanation import Explanation
from windtunnel.diagnosis.playback.synthesis.grid import EVERY, Grid
from windtunnel.diagnosis.thresholds.apps.playback_thresholds import (
    AUDIO_DEVIATIONS,
    AUDIO_LEAST_SURE,
    AUDIO_MISFIT,
    AUDIO_NOISE_TIMES,
    AUDIO_STEPS,
    AUDIO_UNSURE,
    AUDIO_VALUES_JUDGED,
    FRAMES_EXPLAINED,
)
from windtunnel.errors import InvalidInput
from windtunnel.pipeline import Step, Values, advance, begin, finished
from windtunnel.tflite.tensor_error import nrmse_of

# Of the waveform; what rounding to float32 adds.
_NOISE: Final = 1e-7
_EXPONENTS: Final = {"ln": np.e, "log10": 10.0, "db": 10**0.1}


def explain_audio_inputs(
    steps: Sequence[Step],
    raw: Sequence[NDArray[Any]],
    fed: NDArray[np.float64],
    reference: NDArray[np.float64],
    sample_rate_hz: float | None,
    grid: Grid = EVERY,
) -> Explanation:
    """Explains how what an app fed differs from what its pipeline feeds.

    Args:
        steps: of the pipeline, for one input.
        raw: waveforms (samples,), one for each frame.
        fed: what the app fed, (N, ...) real numbers in the shape of the reference.
        reference: what the pipeline feeds.
        sample_rate_hz: of the waveforms; None: not known.
        grid: what a quantized input holds.

    Returns:
        The explanation.
    """
    before = nrmse_of(reference, fed)
    kept, after = _without_end(steps)
    picked = _loudest(raw, reference)
    waves = [np.asarray(raw[index]) for index in picked]
    values = begin(_stacked(waves), kept, sample_rate_hz=sample_rate_hz, kind="audio")
    judged, floor = _fed_audio(values, kept, fed[picked], reference[picked], (after, grid))
    difference = np.sqrt(np.mean(np.square((fed - grid.of(reference))[picked][judged.sure]))) / judged.width
    if difference <= floor:
        return Explanation((), before, before or 0.0, len(raw))
    slots = audio_slots(kept, sample_rate_hz, _floors(fed, kept, after))
    search: ChainSearch[Values] = ChainSearch(slots, values, AudioJudge(judged), floor)
    found = search.run()
    findings = tuple(_finding(one, search, found, before or 0.0, len(picked)) for one in _ordered(found))
    return Explanation(findings, before, found.misfit, len(picked))


def _without_end(steps: Sequence[Step]) -> tuple[list[Step], tuple[float, float]]:
    """The steps without the ranges at their end, and those ranges as one scale and offset."""
    kept, scale, offset = list(steps), 1.0, 0.0
    while kept and kept[-1].op in ("normalize", "cast"):
        last = kept.pop()
        if last.op == "normalize":
            offset += scale * float(last.fields["offset"])
            scale *= float(last.fields["scale"])
    return kept, (scale, offset)


def _loudest(raw: Sequence[NDArray[Any]], reference: NDArray[np.float64]) -> NDArray[np.intp]:
    """The frames with the most in them, as many as are judged, in their order."""
    size = max(reference[0].size, len(raw[0]) // 2, 1)
    count = int(np.clip(AUDIO_VALUES_JUDGED // size, 2, FRAMES_EXPLAINED))
    loudness = np.array([float(np.asarray(one, np.float64).std()) for one in raw])
    return np.sort(np.argsort(-loudness, kind="stable")[:count])


def _stacked(waves: Sequence[NDArray[Any]]) -> Any:
    return np.stack(waves) if len({one.shape for one in waves}) == 1 else list(waves)


def _fed_audio(
    values: Values,
    steps: Sequence[Step],
    fed: NDArray[np.float64],
    reference: NDArray[np.float64],
    end: tuple[tuple[float, float], Grid],
) -> tuple[FedAudio, float]:
    """What is judged, and the misfit that arithmetic explains."""
    after, grid = end
    draw = np.random.default_rng(0)
    parts = tuple(
        (part + draw.normal(0, _NOISE * max(float(np.abs(part).max()), 1e-9), part.shape)).astype(np.float64)
        for part in values.parts
    )
    noisy = Values(parts, values.kind, place=values.place, sample_rate_hz=values.sample_rate_hz)
    moved = np.abs(finished(advance(noisy, steps)).astype(np.float64) * after[0] + after[1] - reference)
    span = float(np.ptp(reference)) or 1.0
    sure = moved <= AUDIO_UNSURE * span
    if sure.mean() < AUDIO_LEAST_SURE:
        sure = np.ones_like(sure)
    spread = float(fed[sure].std())
    # A constant has no width of its own.
    of = fed if spread > 0 else reference
    width = min(float(np.ptp(of[sure])) or 1.0, AUDIO_DEVIATIONS * (float(of[sure].std()) or 1.0))
    natural = float(np.sqrt(np.mean(np.square(moved[sure])))) / span
    audio = FedAudio(fed, sure, max(width, 1e-12), after, grid)
    return audio, max(AUDIO_MISFIT, AUDIO_NOISE_TIMES * natural, AUDIO_STEPS * grid.step / audio.width)


def _floors(fed: NDArray[np.float64], steps: Sequence[Step], after: tuple[float, float]) -> list[float]:
    """Floors of a logarithm that the least value that was fed suggests."""
    kinds = [step.fields["kind"] for step in steps if step.op == "log"]
    if not kinds:
        return []
    least = (float(fed.min()) - after[1]) / after[0]
    with np.errstate(over="ignore", under="ignore"):
        found = [float(np.power(_EXPONENTS[kind], least)) for kind in kinds]
    return [float(f"{one:.4g}") for one in found if 1e-20 < one < 1e6]


def _ordered(found: Chained) -> list[Difference]:
    return sorted(found.differences, key=lambda one: (one.code, one.name))


def _finding(
    one: Difference, search: ChainSearch[Values], found: Chained, before: float, frames: int
) -> PreprocessingFinding:
    without = search.without(one, found)
    proof = Proof(before, without if np.isfinite(without) else before, found.misfit, frames)
    return finding_of(one, proof)


def finding_of(one: Difference, proof: Proof) -> PreprocessingFinding:
    """The finding of a difference in audio.

    Args:
        one: the difference.
        proof: of the replay.

    Returns:
        The finding.

    Raises:
        InvalidInput: no rule for audio gives such a difference.
    """
    words: dict[str, Any] = {"app": one.app, "pipeline": one.pipeline, "proof": proof}
    instead = f"do as the pipeline says: {one.pipeline}"
    if one.code == CauseCode.PREPROCESSING_SPECTROGRAM:
        return SpectrogramFinding(**words, how=instead, step=one.name)
    if one.code == CauseCode.PREPROCESSING_RESAMPLING:
        return ResamplingFinding(**words, how=instead, step=one.name)
    if one.code == CauseCode.PREPROCESSING_RANGE:
        how = instead
        if one.numbers:
            how = f"multiply by {one.numbers[0]:.5g} and add {one.numbers[1]:.5g}"
        return ValueRangeFinding(**words, how=how, scale=one.numbers[:1], offset=one.numbers[1:])
    if one.code == CauseCode.PREPROCESSING_LAYOUT:
        return LayoutFinding(**words, how="transpose the spectrogram before it is fed, instead of reshaping it")
    if one.code == CauseCode.PREPROCESSING_DTYPE:
        how = "scale values as floating point; if the input takes integers, round to the nearest"
        return DtypeFinding(**words, how=how, rounding=one.app)
    if one.code == CauseCode.PREPROCESSING_CROP:
        return CropFinding(**words, how=instead, framing=one.name)
    raise InvalidInput(f"{one.code} is not found in audio")
