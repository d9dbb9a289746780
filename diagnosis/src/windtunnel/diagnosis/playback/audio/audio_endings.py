"""What follows the steps of an audio pipeline: ranges, normalizations, memory order and rounding, judged at once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from windtunnel.diagnosis.findings.codes import CauseCode
from windtunnel.diagnosis.playback.synthesis.chain_search import Difference, Ending
from windtunnel.diagnosis.playback.synthesis.grid import Grid
from windtunnel.diagnosis.thresholds.apps.playback_thresholds import AUDIO_LEAST_INSIDE, AUDIO_OVERLAP
from windtunnel.pipeline import Values

Floats = NDArray[np.float64]
_TINY: Final = 1e-12
_FINE: Final = "values as the steps give them"
_STEADY: Final = "all samples are scaled in the same way"


@dataclass(frozen=True, slots=True)
class FedAudio:
    """What an app fed.

    Attributes:
        values: (N, ...) in the shape of the reference.
        sure: which values of a sample are not noise of the arithmetic, as `values`.
        width: of the range of values.
        after: scale and offset of the range steps at the end of the pipeline.
        grid: of a quantized input.
    """

    values: Floats
    sure: NDArray[np.bool_]
    width: float
    after: tuple[float, float]
    grid: Grid

    def transposed(self) -> Floats:
        """The memory read in the other order of time and frequency."""
        count, frames, bands = self.values.shape
        return np.ascontiguousarray(self.values.reshape(count, bands, frames).transpose(0, 2, 1))


class AudioJudge:
    """Judges what a chain gives.

    Args:
        fed: what the app fed.
    """

    def __init__(self, fed: FedAudio) -> None:
        self._fed = fed
        self._readings: list[tuple[Floats, tuple[Difference, ...]]] = [(fed.values, ())]
        if fed.values.ndim == 3 and 1 not in fed.values.shape[1:]:
            layout = Difference(
                "layout", CauseCode.PREPROCESSING_LAYOUT, "the memory holds frequency by time, or the other way around",
                "time and frequency lie as the input of the model has them",
            )  # fmt: skip
            self._readings.append((fed.transposed(), (layout,)))

    def __call__(self, values: Values) -> Iterator[Ending]:
        """All endings of a chain.

        Args:
            values: what the chain gives.

        Yields:
            The endings.
        """
        given = _as_shaped(values, self._fed.values.shape)
        for fed, layout in self._readings:
            if (pair := _paired(given, fed, self._fed)) is None:
                continue
            for prediction, extra in _endings(pair, self._fed.after):
                if _is_rounding(prediction, extra, pair, self._fed.after):
                    continue
                misfit = pair.misfit(prediction)
                if np.isfinite(misfit):
                    yield Ending(misfit, layout + extra)


@dataclass(frozen=True, slots=True)
class _Pair:
    """What a chain gives and what was fed, where both have values. `rest`: the squares of what the app filled in."""

    given: Floats
    fed: Floats
    sure: NDArray[np.bool_]
    rest: float
    count: int
    width: float
    grid: Grid

    def misfit(self, prediction: Floats) -> float:
        """The nRMSE of a prediction.

        Args:
            prediction: of what was fed.

        Returns:
            The misfit.
        """
        squares = float(np.square((self.grid.of(prediction) - self.fed)[self.sure]).sum()) + self.rest
        return float(np.sqrt(squares / max(self.count, 1))) / self.width


def _is_rounding(prediction: Floats, extra: tuple[Difference, ...], pair: _Pair, after: tuple[float, float]) -> bool:
    """Whether a range moves a quantized input by less than a step, as rounding does."""
    if not pair.grid.step or not any(one.code == CauseCode.PREPROCESSING_RANGE for one in extra):
        return False
    return float(np.median(np.abs(prediction - pair.given * after[0] - after[1]))) < pair.grid.step


def _paired(given: Floats, fed: Floats, audio: FedAudio) -> _Pair | None:
    """Both cut to what they share; None: that is too little. What the app filled in must be constant."""
    least = tuple(slice(0, min(sizes)) for sizes in zip(given.shape, fed.shape, strict=True))
    kept, sure = fed[least], audio.sure[least]
    if kept.size < AUDIO_OVERLAP * fed.size or not sure.any():
        return None
    if kept.shape == fed.shape:
        return _Pair(given[least], fed, sure, 0.0, int(sure.sum()), audio.width, audio.grid)
    filled = np.ones(fed.shape, bool)
    filled[least] = False
    rest = fed[filled]
    squares = float(np.square(rest - np.median(rest)).sum())
    return _Pair(given[least], kept, sure, squares, int(sure.sum()) + rest.size, audio.width, audio.grid)


def _endings(pair: _Pair, after: tuple[float, float]) -> Iterator[tuple[Floats, tuple[Difference, ...]]]:
    """Predictions of what was fed, the plainest first."""
    given, fed = pair.given, pair.fed
    own = given * after[0] + after[1]
    yield own, ()
    yield from _rounded(own, pair.grid, ())
    if fed.std() <= _TINY * max(1.0, float(np.abs(fed).max())):
        return
    known = [] if after == (1.0, 0.0) else [(1.0, 0.0)]
    for line in (*known, *_lines(given, fed, pair)):
        mapped, ranged = given * line[0] + line[1], _range(line, after)
        yield mapped, (ranged,)
        yield from _rounded(mapped, pair.grid, (ranged,))
    for words, normalized in _normalized(given, own):
        yield normalized, (_normalization(words),)
    if fed.ndim == 3 and fed.shape[0] * fed.shape[1] > 20 and (bands := _fits(given, fed, (0, 1))) is not None:
        yield bands, (_normalization("each band has a scale and an offset of its own"),)
    every = tuple(range(1, fed.ndim))
    if fed[0].size > 100 and (samples := _fits(given, fed, every)) is not None:
        yield samples, (_normalization("each sample has a scale and an offset of its own"),)


_ROUNDINGS: Final[dict[str, Any]] = {
    "values are rounded to whole numbers": np.rint,
    "values are truncated to whole numbers": np.trunc,
}


def _rounded(
    values: Floats, grid: Grid, extra: tuple[Difference, ...]
) -> Iterator[tuple[Floats, tuple[Difference, ...]]]:
    for name, rounding in _ROUNDINGS.items():
        yield rounding(values), (*extra, _rounding(name))
    if grid.step:
        yield (
            np.floor(values / grid.step) * grid.step,
            (
                *extra,
                _rounding("values are rounded down when they are quantized"),
            ),
        )
        yield grid.truncated(values), (*extra, _rounding("values are truncated when they are quantized"))
        yield grid.wrapped(values), (*extra, _rounding("values overflow when they are quantized"))


def _rounding(words: str) -> Difference:
    return Difference("rounding", CauseCode.PREPROCESSING_DTYPE, words, "values keep their fraction")


def _normalization(words: str) -> Difference:
    return Difference("range", CauseCode.PREPROCESSING_RANGE, words, _STEADY)


def _range(line: tuple[float, float], own: tuple[float, float]) -> Difference:
    """reference = value * scale + offset."""
    scale = own[0] / line[0]
    numbers = (float(f"{scale:.6g}"), float(f"{own[1] - scale * line[1]:.6g}"))
    app = f"the values of the pipeline are those of the app times {numbers[0]:.5g} plus {numbers[1]:.5g}"
    return Difference("range", CauseCode.PREPROCESSING_RANGE, app, _FINE, numbers)


def _as_shaped(values: Values, wanted: tuple[int, ...]) -> Floats:
    """What a chain gives, (N, ...); samples of several lengths are cut to the shortest.

    Raises:
        ValueError: it has other dimensions than the reference.
    """
    parts = [np.asarray(part, np.float64) for part in values.parts]
    if len({part.shape[1:] for part in parts}) > 1:
        least = tuple(min(sizes) for sizes in zip(*(part.shape[1:] for part in parts), strict=True))
        parts = [part[(slice(None), *(slice(0, size) for size in least))] for part in parts]
    found = parts[0] if len(parts) == 1 else np.concatenate(parts)
    if found.ndim != len(wanted):
        raise ValueError("other dimensions")
    return found


def _lines(given: Floats, fed: Floats, pair: _Pair) -> Iterator[tuple[float, float]]:
    """Scales and offsets that fit: of all values, and of those that the type of the input does not clip."""
    line = _line(given[pair.sure], fed[pair.sure])
    if line is not None:
        yield line
    inside = pair.sure & pair.grid.inside(fed) if pair.grid.step else pair.sure
    if inside.sum() < max(AUDIO_LEAST_INSIDE, 1) or inside.sum() == pair.sure.sum():
        return
    if (line := _line(given[inside], fed[inside])) is not None:
        yield line


def _line(given: Floats, fed: Floats) -> tuple[float, float] | None:
    """The best scale and offset; None: what is given is constant, or has nothing to do with what was fed."""
    mean, target = given.mean(), fed.mean()
    spread = given - mean
    variance = float(np.mean(spread**2))
    if variance <= _TINY:
        return None
    scale = float(np.mean(spread * (fed - target))) / variance
    if abs(scale) < _TINY:
        return None
    return scale, float(target - scale * mean)


def _normalized(given: Floats, own: Floats) -> Iterator[tuple[str, Floats]]:
    """Normalizations by the samples' own values."""
    every = tuple(range(1, given.ndim))
    axes: dict[str, tuple[int, ...]] = {"sample": every}
    if given.ndim == 3:
        axes |= {"band": (1,), "frame": (2,)}
    for name, over in axes.items():
        centered = given - given.mean(axis=over, keepdims=True)
        deviation = np.maximum(centered.std(axis=over, keepdims=True), 1e-9)
        yield f"each {name} has mean 0 and standard deviation 1", centered / deviation
        yield f"each {name} is freed of its mean", own - own.mean(axis=over, keepdims=True)
        yield f"each {name} is freed of its mean, before the range", centered
    low, high = (function(axis=every, keepdims=True) for function in (given.min, given.max))
    unit = (given - low) / np.maximum(high - low, 1e-9)
    yield "each sample is scaled to [0, 1]", unit
    yield "each sample is scaled to [-1, 1]", unit * 2 - 1
    peak = np.maximum(np.abs(given).max(axis=every, keepdims=True), 1e-9)
    yield "each sample is divided by its largest value", given / peak
    yield "the largest value of each sample is subtracted", given - high
    whole = given - given.mean()
    yield "all samples together have mean 0 and standard deviation 1", whole / max(float(whole.std()), 1e-9)


def _fits(given: Floats, fed: Floats, over: tuple[int, ...]) -> Floats | None:
    """The best scale and offset for each band or each sample, over the other axes; None: a part is constant."""
    mean, target = (one.mean(axis=over, keepdims=True) for one in (given, fed))
    spread = given - mean
    variance = np.square(spread).mean(axis=over, keepdims=True)
    if (variance <= _TINY).any():
        return None
    scale = (spread * (fed - target)).mean(axis=over, keepdims=True) / variance
    return np.asarray(spread * scale + target)
