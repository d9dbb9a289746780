"""What the audio ops compute, compared with SciPy, TensorFlow and the published formulas."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import scipy.signal

from windtunnel.errors import InvalidInput
from windtunnel.pipeline import Pipeline

Array = npt.NDArray[Any]
RATE = 16_000


def apply(raw: Any, *steps: dict[str, Any], rate: float | None = RATE) -> Array:
    return Pipeline.parse({"schema": "windtunnel.pipeline/1", "steps": list(steps)}).apply(raw, sample_rate_hz=rate)


@pytest.fixture
def waves() -> Array:
    return np.random.default_rng(1).uniform(-1, 1, (3, 2000)).astype(np.float32)


FRAME = {"op": "frame", "length": 400, "step": 160}
RATES = [(44_100, 16_000), (16_000, 44_100), (48_000, 16_000), (22_050, 16_000), (8_000, 16_000), (11_025, 8_000)]


@pytest.mark.parametrize(("rate", "to"), RATES)
@pytest.mark.parametrize("samples", [1, 7, 1999])
def test_resample_as_scipy_does(rate: int, to: int, samples: int) -> None:
    waves = np.random.default_rng(samples).uniform(-1, 1, (2, samples)).astype(np.float32)
    result = apply(waves, {"op": "resample", "to": to}, rate=rate)
    expected = scipy.signal.resample_poly(waves.astype(np.float64), to, rate, axis=1)
    assert result.dtype == np.float32
    assert result.shape == expected.shape
    np.testing.assert_allclose(result, expected, atol=2e-7)


def test_resampling_to_the_same_rate_changes_nothing(waves: Array) -> None:
    for method in ("polyphase", "linear"):
        assert (apply(waves, {"op": "resample", "to": RATE, "method": method}) == waves).all()


def test_linear_takes_the_two_nearest_samples() -> None:
    wave = np.array([[0.0, 1.0, 0.5]], np.float32)
    doubled = apply(wave, {"op": "resample", "to": 2 * RATE, "method": "linear"})
    np.testing.assert_allclose(doubled, [[0, 0.5, 1, 0.75, 0.5, 0.5]])
    long = np.random.default_rng(2).uniform(-1, 1, (1, 441)).astype(np.float32)
    result = apply(long, {"op": "resample", "to": RATE, "method": "linear"}, rate=44_100)
    np.testing.assert_allclose(result[0], np.interp(np.arange(160) * 44_100 / RATE, np.arange(441), long[0]), atol=1e-6)


def test_frames_are_whole_and_not_padded(waves: Array) -> None:
    frames = apply(waves, FRAME)
    assert frames.shape == (3, 11, 400)
    assert frames.flags.c_contiguous
    assert all((frames[:, at] == waves[:, at * 160 : at * 160 + 400]).all() for at in range(11))
    assert apply(waves[:, :400], FRAME).shape == (3, 1, 400)


@pytest.mark.parametrize("kind", ["hann", "hamming"])
@pytest.mark.parametrize("periodic", [True, False])
@pytest.mark.parametrize("length", [1, 2, 255, 400])
def test_window_as_scipy_has_it(kind: str, periodic: bool, length: int) -> None:
    ones = np.ones((1, length), np.float32)
    step = {"op": "window", "kind": kind, "periodic": periodic}
    result = apply(ones, {"op": "frame", "length": length, "step": 1}, step)[0, 0]
    np.testing.assert_allclose(result, scipy.signal.get_window(kind, length, fftbins=periodic), atol=1e-7)


def test_no_window_changes_nothing(waves: Array) -> None:
    assert (apply(waves, FRAME, {"op": "window", "kind": "none"}) == apply(waves, FRAME)).all()


@pytest.mark.parametrize("power", [1, 2, 0.5])
def test_spectrogram_of_a_sine(power: float) -> None:
    wave = np.sin(2 * np.pi * 1000 * np.arange(1600) / RATE)[None].astype(np.float32)
    spectra = apply(wave, {"op": "frame", "length": 160, "step": 160}, {"op": "spectrogram", "power": power})
    assert spectra.shape == (1, 10, 81)
    assert (spectra.argmax(-1) == 10).all()
    np.testing.assert_allclose(spectra[..., 10], 80.0**power, rtol=1e-5)


def test_a_longer_fft_pads_each_frame(waves: Array) -> None:
    result = apply(waves, FRAME, {"op": "spectrogram", "fft_length": 512})
    frames = np.pad(apply(waves, FRAME), ((0, 0), (0, 0), (0, 112))).astype(np.float64)
    np.testing.assert_allclose(result, np.abs(np.fft.rfft(frames)) ** 2, rtol=1e-5)


@pytest.mark.parametrize(
    ("kind", "formula"),
    [("ln", np.log), ("log10", np.log10), ("db", lambda x: 10 * np.log10(x))],
)
def test_log_of_the_larger_of_value_and_floor(kind: str, formula: Callable[[Array], Array], waves: Array) -> None:
    spectra = apply(waves, FRAME, {"op": "spectrogram"})
    result = apply(waves, FRAME, {"op": "spectrogram"}, {"op": "log", "kind": kind, "floor": 3.0})
    np.testing.assert_allclose(result, formula(np.maximum(spectra.astype(np.float64), 3.0)), rtol=1e-6)


def test_waveforms_of_different_lengths_meet_after_pad(waves: Array) -> None:
    mixed = [waves[0], waves[1, :100]]
    result = apply(mixed, {"op": "pad", "length": 500})
    assert result.shape == (2, 500)
    assert (result[0] == waves[0, :500]).all()
    assert (result[1, :100] == waves[1, :100]).all()
    assert (result[1, 100:] == 0).all()
    with pytest.raises(InvalidInput, match="different shapes"):
        apply(mixed, {"op": "resample", "to": 8000})


def test_many_samples_are_as_one(waves: Array) -> None:
    steps = (
        {"op": "resample", "to": 8000},
        FRAME,
        {"op": "spectrogram"},
        {"op": "mel", "bins": 9, "low": 0, "high": 4000},
    )
    whole = apply(waves, *steps)
    for one, wave in zip(whole, waves, strict=True):
        np.testing.assert_allclose(one, apply(wave[None], *steps)[0], rtol=1e-6)


@pytest.mark.parametrize(
    ("raw", "steps", "rate", "words"),
    [
        (np.zeros((1, 800), np.int16), [FRAME], RATE, "int16.*32768"),
        (np.zeros(800, np.float32), [FRAME], RATE, r"\(N, samples\)"),
        (np.full((1, 800), np.nan, np.float32), [FRAME], RATE, "NaN"),
        (
            np.zeros((1, 399), np.float32),
            [FRAME],
            RATE,
            r"step 0 \(frame\).*399 samples is shorter than a frame of 400",
        ),
        (np.zeros((1, 800), np.float32), [FRAME, FRAME], RATE, "frame only once"),
        (np.zeros((1, 800), np.float32), [{"op": "window"}], RATE, r"step 0 \(window\).*frame"),
        (np.zeros((1, 800), np.float32), [{"op": "spectrogram"}], RATE, r"step 0 \(spectrogram\).*frame"),
        (
            np.zeros((1, 800), np.float32),
            [FRAME, {"op": "spectrogram", "fft_length": 256}],
            RATE,
            "'fft_length' is 256",
        ),
        (np.zeros((1, 800), np.float32), [{"op": "mel", "bins": 2, "low": 0, "high": 100}], RATE, "after spectrogram"),
        (np.zeros((1, 800), np.float32), [{"op": "resample", "to": 8000}], None, "sample rate.*not known.*sample_rate"),
        (np.zeros((1, 800), np.float32), [{"op": "resample", "to": 8000.5}], RATE, "8000.5 Hz"),
        (np.zeros((1, 800), np.float32), [FRAME, {"op": "spectrogram"}, {"op": "log"}], RATE, "floor above 0"),
        (
            np.zeros((1, 800), np.float32),
            [
                {"op": "resample", "to": 8000},
                FRAME,
                {"op": "spectrogram"},
                {"op": "mel", "bins": 2, "low": 0, "high": 5000},
            ],
            RATE,
            "'high' is 5000 Hz, above half the sample rate of 8000 Hz",
        ),
        (
            np.zeros((1, 800), np.float32),
            [FRAME, {"op": "spectrogram"}, {"op": "mel", "bins": 2, "low": 0, "high": 5000}],
            None,
            "sample rate.*not known",
        ),
    ],
)
def test_what_does_not_fit_is_named(raw: Any, steps: list[dict[str, Any]], rate: float | None, words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        apply(raw, *steps, rate=rate)


@pytest.mark.heavy
@pytest.mark.filterwarnings("ignore")
class TestAgainstTensorFlow:
    @pytest.fixture(scope="class")
    def tf(self) -> Any:
        return pytest.importorskip("tensorflow")

    @pytest.mark.parametrize(("length", "step"), [(400, 160), (256, 64), (33, 40)])
    def test_front_end(self, tf: Any, waves: Array, length: int, step: int) -> None:
        stft = tf.signal.stft(waves, length, step, fft_length=length, window_fn=tf.signal.hamming_window)
        expected = tf.math.log(tf.maximum(tf.abs(stft) ** 2, 1e-3)).numpy()
        # TensorFlow's windows of an odd length are symmetric, whatever is asked for.
        window = {"op": "window", "kind": "hamming", "periodic": length % 2 == 0}
        frame = {"op": "frame", "length": length, "step": step}
        result = apply(waves, frame, window, {"op": "spectrogram"}, {"op": "log", "floor": 1e-3})
        np.testing.assert_allclose(result, expected, atol=2e-3)
        assert np.abs(result - expected).mean() < 1e-5

    @pytest.mark.parametrize(
        ("bins", "length", "low", "high"), [(64, 512, 125, 7500), (40, 400, 20, 4000), (80, 512, 0, 8000)]
    )
    def test_mel(self, tf: Any, waves: Array, bins: int, length: int, low: float, high: float) -> None:
        frame = {"op": "frame", "length": length, "step": 160}
        spectra = apply(waves, frame, {"op": "spectrogram"})
        weights = tf.signal.linear_to_mel_weight_matrix(bins, length // 2 + 1, RATE, low, high).numpy()
        result = apply(waves, frame, {"op": "spectrogram"}, {"op": "mel", "bins": bins, "low": low, "high": high})
        assert result.shape == (3, (2000 - length) // 160 + 1, bins)
        np.testing.assert_allclose(result, spectra @ weights, rtol=1e-4, atol=1e-3)
