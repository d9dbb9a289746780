"""How an app prepares a sound for its model: all that can differ from one app to another, as values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import gcd
from typing import Any

import numpy as np
import scipy.fft
import scipy.signal
from numpy.typing import NDArray

from support.app_faults.runs import Quantized
from support.app_faults.sounds.models import SoundModel

Array = NDArray[Any]


@dataclass(frozen=True)
class SoundApp:
    """An app. A right one has no fault in any of these.

    Attributes:
        library: scipy (float32) or numpy (float64, and its own filter).
        resample: polyphase, linear, decimate (every n-th sample) or none (taken as if it had the model's rate).
        gain: of the waveform.
        bits: of the waveform; 0: as it is.
        emphasis: of the difference to the sample before.
        step: between frames.
        centered: the first frame is around the first sample.
        fft_length: longer than the frame: with zeros.
        window: hann, hamming or none.
        periodic: of the window.
        power: of the spectrogram.
        mel: htk or slaney.
        low: of the mel bins, in Hz.
        high: of them.
        log: ln, log10, db, none, or one_more (of 1 + x).
        floor: of the log.
        scale: of the normalization at the end.
        offset: of it.
    """

    library: str
    step: int
    window: str
    power: float
    low: float
    high: float
    log: str
    floor: float
    scale: float
    offset: float
    resample: str = "polyphase"
    gain: float = 1.0
    bits: int = 0
    emphasis: float = 0.0
    centered: bool = False
    fft_length: int = 0
    periodic: bool = True
    mel: str = "htk"


def right_app(model: SoundModel, library: str) -> SoundApp:
    """The app without a fault.

    Args:
        model: its model.
        library: scipy or numpy.

    Returns:
        The app.
    """
    _, low, high = model.mel or (0, 0.0, 0.0)
    return SoundApp(
        library, model.step, model.window, model.power, low, high, model.log, model.floor, model.scale, model.offset
    )


def prepared(
    app: SoundApp, model: SoundModel, waves: Sequence[Array], quantized: Quantized | None
) -> list[NDArray[Any]]:
    """What reaches the model, sound by sound.

    Args:
        app: the app.
        model: its model.
        waves: waveforms.
        quantized: the type of an integer input; None: float32.

    Returns:
        Arrays of the model's shape.
    """
    return [_stored(_one(app, model, wave), quantized) for wave in waves]


def _one(app: SoundApp, model: SoundModel, wave: Array) -> Array:
    real = np.float32 if app.library == "scipy" else np.float64
    wave = wave.astype(real)
    if app.bits:
        wave = np.round(wave * 2 ** (app.bits - 1)) / 2 ** (app.bits - 1)
    wave = _resampled(app, model, wave * real(app.gain))
    if app.emphasis:
        wave = np.concatenate([wave[:1], wave[1:] - real(app.emphasis) * wave[:-1]])
    values = _spectra(app, model, wave) if model.length else wave
    return np.asarray(values * app.scale + app.offset, np.float32)


def _resampled(app: SoundApp, model: SoundModel, wave: Array) -> Array:
    if model.rate == model.raw_rate:
        return wave
    common = gcd(model.rate, model.raw_rate)
    up, down = model.rate // common, model.raw_rate // common
    count = -(-len(wave) * up // down)
    if app.resample == "none":
        return wave[:count]
    if app.resample == "decimate":
        return np.asarray(wave[np.minimum((np.arange(count) * down) // up, len(wave) - 1)])
    if app.resample == "linear":
        return np.interp(np.arange(count) * down / up, np.arange(len(wave)), wave).astype(wave.dtype)
    if app.library == "scipy":
        return np.asarray(scipy.signal.resample_poly(wave, up, down))
    return _by_hand(wave, up, down, count)


def _by_hand(wave: Array, up: int, down: int, count: int) -> Array:
    """Zeros between the samples, a low-pass filter, every n-th sample: what a polyphase filter computes at once."""
    half = 10 * max(up, down)
    taps = scipy.signal.firwin(2 * half + 1, 1 / max(up, down), window=("kaiser", 5.0)) * up
    dense = np.zeros(len(wave) * up)
    dense[::up] = wave
    filtered = scipy.signal.fftconvolve(dense, taps)[half : half + len(dense)]
    return np.asarray(filtered[::down][:count])


def _spectra(app: SoundApp, model: SoundModel, wave: Array) -> Array:
    length = model.length
    frames = 1 + (_right_count(model) - length) // model.step
    if app.centered:
        wave = np.pad(wave, length // 2, mode="reflect")
    starts = np.arange(frames) * app.step
    wave = np.pad(wave, (0, max(0, starts[-1] + length - len(wave))))
    cut = np.stack([wave[start : start + length] for start in starts])
    weighted = cut * _window(app, length).astype(wave.dtype)
    size = app.fft_length or length
    transform = scipy.fft.rfft(weighted, size) if app.library == "scipy" else np.fft.rfft(weighted, size)
    spectrum = np.abs(transform) ** app.power
    if model.mel:
        spectrum = spectrum @ _mel(app, model, size).astype(wave.dtype)
    return _logged(app, spectrum)


def _right_count(model: SoundModel) -> int:
    return -(-model.raw_samples * model.rate // model.raw_rate)


def _window(app: SoundApp, length: int) -> Array:
    if app.window == "none":
        return np.ones(length)
    turns = 2 * np.pi * np.arange(length) / (length if app.periodic else length - 1)
    first = 0.5 if app.window == "hann" else 0.54
    return np.asarray(first - (1 - first) * np.cos(turns))


def _mel(app: SoundApp, model: SoundModel, size: int) -> Array:
    """Weights (frequencies, bins)."""
    assert model.mel
    bins = model.mel[0]
    frequency = np.arange(size // 2 + 1) * model.rate / size
    if app.mel == "htk":
        place, edges = _htk(frequency), np.linspace(_htk(app.low), _htk(app.high), bins + 2)
    else:
        place, edges = frequency, _from_slaney(np.linspace(_slaney(app.low), _slaney(app.high), bins + 2))
    rising = (place[:, None] - edges[None, :-2]) / np.diff(edges)[None, :-1]
    falling = (edges[None, 2:] - place[:, None]) / np.diff(edges)[None, 1:]
    weights = np.clip(np.minimum(rising, falling), 0, None)
    if app.mel == "slaney":
        weights = weights * (2 / (edges[2:] - edges[:-2]))[None]
    else:
        weights[0] = 0
    return np.asarray(weights)


def _htk(frequency: Any) -> Any:
    return 2595 * np.log10(1 + np.asarray(frequency) / 700)


def _slaney(frequency: Any) -> Any:
    frequency = np.asarray(frequency, np.float64)
    return np.where(
        frequency < 1000, frequency * 3 / 200, 15 + np.log(np.maximum(frequency, 1) / 1000) * 27 / np.log(6.4)
    )


def _from_slaney(mel: Any) -> Any:
    return np.where(mel < 15, mel * 200 / 3, 1000 * np.exp((mel - 15) * np.log(6.4) / 27))


def _logged(app: SoundApp, spectrum: Array) -> Array:
    if app.log == "none":
        return spectrum
    if app.log == "one_more":
        return np.asarray(np.log1p(spectrum))
    held = np.maximum(spectrum, app.floor)
    if app.log == "ln":
        return np.asarray(np.log(held))
    return np.asarray(np.log10(held) * (10 if app.log == "db" else 1))


def _stored(values: Array, quantized: Quantized | None) -> Array:
    if quantized is None:
        return np.ascontiguousarray(values, np.float32)
    limits = np.iinfo(quantized.dtype)
    steps = np.rint(values / quantized.scale) + quantized.zero
    return np.asarray(np.clip(steps, limits.min, limits.max), quantized.dtype)
