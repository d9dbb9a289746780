"""Raw sounds with known classes, drawn from a seed: waveforms in [-1, 1]."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

CLASSES = ("rising", "falling", "tone", "clicks", "noise", "vowel")
KINDS = ("plain", "quiet", "silent", "noisy")
Wave = NDArray[np.float64]


def sounds(labels: Sequence[int], seed: int, rate: int, count: int, kind: str = "plain") -> list[NDArray[np.float32]]:
    """Sounds of given classes.

    Args:
        labels: indices in CLASSES.
        seed: of everything that is drawn.
        rate: in Hz.
        count: of samples.
        kind: one of KINDS.

    Returns:
        A waveform for each label.
    """
    rng = np.random.default_rng([seed, 78])
    return [_sound(CLASSES[label], rng, np.arange(count) / rate, kind) for label in labels]


def _sound(name: str, rng: np.random.Generator, time: Wave, kind: str) -> NDArray[np.float32]:
    wave = _drawn(name, rng, time)
    wave = wave / max(float(np.abs(wave).max()), 1e-9) * rng.uniform(0.15, 0.8)
    wave = wave * {"quiet": 0.03, "silent": 0.0}.get(kind, 1.0)
    wave = wave + rng.normal(0, 0.05 if kind == "noisy" else rng.uniform(0.001, 0.004), len(time))
    if kind == "silent":
        wave = np.zeros_like(wave)
    return np.clip(wave, -1, 1).astype(np.float32)


def _drawn(name: str, rng: np.random.Generator, time: Wave) -> Wave:
    length = float(time[-1])
    if name in ("rising", "falling"):
        low, high = rng.uniform(200, 400), rng.uniform(1800, 3200)
        first, last = (low, high) if name == "rising" else (high, low)
        return np.asarray(np.sin(2 * np.pi * (first * time + (last - first) * time**2 / (2 * length))))
    if name == "tone":
        pitch = rng.uniform(300, 900)
        wobble = 1 + 0.3 * np.sin(2 * np.pi * rng.uniform(3, 7) * time)
        tones = sum(np.sin(2 * np.pi * pitch * order * time + rng.uniform(0, 6)) / order for order in range(1, 5))
        return np.asarray(wobble * tones)
    if name == "clicks":
        phase = (time * rng.uniform(5, 12)) % 1
        return np.asarray(np.exp(-phase * rng.uniform(25, 60)) * rng.normal(size=len(time)))
    if name == "noise":
        spectrum = np.fft.rfft(rng.normal(size=len(time)))
        slope = np.arange(1, len(spectrum) + 1) ** -0.5
        return np.asarray(np.fft.irfft(spectrum * slope, len(time)) * (1 + 0.5 * np.sin(6 * time)))
    pitch = rng.uniform(100, 200)
    formants = rng.uniform(500, 900), rng.uniform(1000, 2200)
    voice = np.zeros_like(time)
    for order in range(1, 24):
        near = sum(np.exp(-(((order * pitch - one) / 180) ** 2)) for one in formants) + 0.02
        voice += near * np.sin(2 * np.pi * order * pitch * time * (1 + 0.002 * np.sin(30 * time)))
    return voice
