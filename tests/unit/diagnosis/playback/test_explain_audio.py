"""What an app does to audio is found by reproducing what it fed: alone, combined, and not if nothing is wrong.

The apps are written with SciPy, apart from the ops of pipelines.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest
import scipy.fft
import scipy.signal
from numpy.typing import NDArray

from windtunnel.diagnosis.playback.audio.explain_audio import explain_audio_inputs
from windtunnel.diagnosis.playback.synthesis.explanation import Explanation
from windtunnel.diagnosis.playback.synthesis.grid import EVERY, Grid
from windtunnel.pipeline import Pipeline

pytestmark = pytest.mark.heavy
Values = NDArray[Any]
STEPS: list[dict[str, Any]] = [
    {"op": "frame", "length": 400, "step": 160},
    {"op": "window", "kind": "hann"},
    {"op": "spectrogram", "power": 2},
    {"op": "mel", "bins": 40, "low": 20, "high": 7600},
    {"op": "log", "floor": 1e-6},
    {"op": "normalize", "scale": 0.1, "offset": 0.5},
]

TWICE = ["spectrogram", "spectrogram"]


@cache
def waves(rate: int = 16_000) -> Values:
    """Voices of harmonics with pauses, as 16-bit samples in [-1, 1]: (6, one second)."""
    draw, time = np.random.default_rng(3), np.arange(rate) / rate
    found = []
    for _ in range(6):
        pitch = draw.uniform(90, 300) * (time + 0.02 * np.sin(2 * np.pi * draw.uniform(1, 4) * time))
        voice = sum(draw.uniform(0.2, 1) / n * np.sin(2 * np.pi * n * pitch + draw.uniform(0, 6)) for n in range(1, 25))
        loud = np.clip(np.sin(2 * np.pi * draw.uniform(1, 3) * time + draw.uniform(0, 6)), 0, 1)
        wave = voice * loud + draw.normal(0, 0.02, rate)
        found.append(np.round(wave / np.abs(wave).max() * draw.uniform(0.2, 0.9) * 32767) / 32768)
    return np.stack(found).astype(np.float32)


def mel(spectra: Values, low: float, high: float) -> Values:
    """HTK bands: 2595 log10(1 + f / 700), triangles in mel."""
    at = 2595 * np.log10(1 + np.linspace(0, 8000, spectra.shape[-1]) / 700)[:, None]
    edges = np.linspace(2595 * np.log10(1 + low / 700), 2595 * np.log10(1 + high / 700), 42)
    rising, falling = (at - edges[:-2]) / np.diff(edges)[:-1], (edges[2:] - at) / np.diff(edges)[1:]
    weights = np.maximum(0, np.minimum(rising, falling))
    weights[0] = 0
    return np.asarray(spectra @ weights.astype(spectra.dtype))


def front_end(
    wave: Values, length: int = 400, step: int = 160, window: str = "hann", power: int = 2,
    bands: tuple[float, float] | None = (20, 7600), log: Callable[[Values], Values] | None = np.log,
    floor: float = 1e-6, periodic: bool = True,
) -> Values:  # fmt: skip
    count = 1 + (wave.shape[1] - length) // step
    frames = np.stack([wave[:, step * n : step * n + length] for n in range(count)], 1)
    frames = frames * scipy.signal.get_window(window, length, fftbins=periodic).astype(wave.dtype)
    spectra = np.abs(scipy.fft.rfft(frames)) ** power
    spectra = spectra if bands is None else mel(spectra, *bands)
    return spectra if log is None else log(np.maximum(spectra, floor))


def ranged(values: Values) -> Values:
    return values * 0.1 + 0.5


def cut(values: Values) -> Values:
    """98 frames of 40 bands, filled with zeros."""
    kept = values[:, :98, :40]
    return np.pad(kept, ((0, 0), (0, 98 - kept.shape[1]), (0, 0)))


def turned(values: Values) -> Values:
    return values.transpose(0, 2, 1)


def standardized(values: Values) -> Values:
    return np.asarray((values - values.mean((1, 2), keepdims=True)) / values.std((1, 2), keepdims=True))


def decibels(values: Values) -> Values:
    return 10 * np.log10(values)


def explain(fed: Values, steps: list[dict[str, Any]] = STEPS, rate: int = 16_000, grid: Grid = EVERY) -> Explanation:
    pipeline = Pipeline.parse({"schema": "windtunnel.pipeline/1", "task": "audio", "steps": steps})
    reference = pipeline.apply(waves(rate), sample_rate_hz=rate).astype(np.float64)
    given = np.asarray(fed, np.float64).reshape(reference.shape)
    return explain_audio_inputs(pipeline.steps, list(waves(rate)), given, reference, rate, grid)


def named(explanation: Explanation) -> list[str]:
    return sorted(str(one.code).removeprefix("preprocessing.") for one in explanation.findings)


def steps_of(explanation: Explanation) -> set[str]:
    return {one.evidence().get("step", "") for one in explanation.findings} - {""}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_another_implementation_is_right(dtype: Any) -> None:
    found = explain(ranged(front_end(waves().astype(dtype))))
    assert not found.findings
    assert found.before is not None and found.before < 1e-6


@pytest.mark.parametrize(
    ("code", "step", "app"),
    [
        ("dtype", "", lambda wave: ranged(front_end(np.rint(wave * 32) / 32))),
        ("spectrogram", "window", lambda wave: ranged(front_end(wave, window="hamming"))),
        ("spectrogram", "window", lambda wave: ranged(front_end(wave, periodic=False))),
        ("spectrogram", "window", lambda wave: ranged(front_end(wave, window="boxcar"))),
        ("spectrogram", "spectrogram", lambda wave: ranged(front_end(wave, power=1))),
        ("spectrogram", "mel", lambda wave: ranged(front_end(wave, bands=(80, 7000)))),
        ("spectrogram", "mel", lambda wave: ranged(cut(front_end(wave, bands=None)))),
        ("spectrogram", "log", lambda wave: ranged(front_end(wave, log=None))),
        ("spectrogram", "log", lambda wave: ranged(front_end(wave, floor=3.3e-3))),
        ("spectrogram", "frame", lambda wave: ranged(cut(front_end(wave, step=320)))),
        ("spectrogram", "frame", lambda wave: ranged(cut(front_end(wave, length=480)))),
        ("spectrogram", "frame", lambda wave: ranged(cut(front_end(wave[:, 80:])))),
        ("range", "", lambda wave: ranged(front_end(wave, log=decibels))),
        ("range", "", lambda wave: ranged(front_end(wave, log=np.log10))),
        ("range", "", lambda wave: ranged(front_end(wave * 32768))),
        ("range", "", front_end),
        ("range", "", lambda wave: standardized(front_end(wave))),
        ("layout", "", lambda wave: turned(ranged(front_end(wave)))),
        ("dtype", "", lambda wave: np.rint(ranged(front_end(wave)))),
    ],
)
def test_a_difference_alone_is_named(code: str, step: str, app: Callable[[Values], Values]) -> None:
    found = explain(app(waves()))
    assert named(found) == [code]
    assert steps_of(found) == ({step} if step else set())
    assert found.after < 1e-4
    (finding,) = found.findings
    assert finding.proof.without > 2 * finding.proof.explained
    assert all(finding.words()) and finding.fix().to_json()["action"]


@pytest.mark.parametrize(
    ("codes", "app"),
    [
        (["range", "spectrogram"], lambda wave: ranged(front_end(wave, window="hamming", log=np.log10))),
        (["layout", "spectrogram"], lambda wave: turned(ranged(front_end(wave, log=None)))),
        (["range", "spectrogram"], lambda wave: ranged(front_end(wave * 32768, power=1))),
        (["range", *TWICE], lambda wave: front_end(wave, window="hamming", bands=(20, 4000))),
        (
            ["layout", *TWICE],
            lambda wave: turned(ranged(front_end(wave, log=None, window="boxcar"))),
        ),
        (
            ["range", *TWICE],
            lambda wave: standardized(cut(front_end(wave, length=320, log=None))),
        ),
    ],
)
def test_differences_together_are_each_named(codes: list[str], app: Callable[[Values], Values]) -> None:
    found = explain(app(waves()))
    assert named(found) == codes
    assert found.after < 1e-4


def test_the_range_says_how_to_fix_it() -> None:
    (finding,) = explain(front_end(waves())).findings
    assert finding.evidence()["scale"] == [pytest.approx(0.1, rel=1e-3)]
    assert finding.evidence()["offset"] == [pytest.approx(0.5, rel=1e-3)]


def test_an_input_of_8_bits_that_clips() -> None:
    step = 0.009
    grid = Grid(step, -100 * step, 155 * step, -28)

    def stored(values: Values) -> Values:
        return np.clip(np.round(values / step) * step, grid.low, grid.high)

    assert not explain(stored(ranged(front_end(waves()))), grid=grid).findings
    assert named(explain(stored(ranged(front_end(waves(), window="hamming"))), grid=grid)) == ["spectrogram"]
    assert named(explain(stored(ranged(front_end(waves() * 32768))), grid=grid)) == ["range"]
    truncated = np.clip(np.floor(ranged(front_end(waves())) / step) * step, grid.low, grid.high)
    assert named(explain(truncated, grid=grid)) == ["dtype"]


def linear(wave: Values) -> Values:
    return np.stack([np.interp(np.arange(16_000) * 2.75625, np.arange(44_100), one) for one in wave])


def resampled(wave: Values) -> Values:
    return np.asarray(scipy.signal.resample_poly(wave.astype(np.float64), 160, 441, axis=1))


@pytest.mark.parametrize(
    ("codes", "app"),
    [
        ([], resampled),
        (["resampling"], linear),
        (["resampling"], lambda wave: wave[:, :16_000]),
        (["resampling"], lambda wave: scipy.signal.resample_poly(wave, 1, 2, axis=1)[:, :16_000]),
        (["range", "resampling"], lambda wave: linear(wave) * 32768),
    ],
)
def test_resampling(codes: list[str], app: Callable[[Values], Values]) -> None:
    steps: list[dict[str, Any]] = [{"op": "resample", "to": 16_000}, {"op": "pad", "length": 16_000}]
    assert named(explain(app(waves(44_100)), steps, 44_100)) == codes
