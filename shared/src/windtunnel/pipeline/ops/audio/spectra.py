"""Frames of waveforms, their windows, spectra and logarithms. Computed in float64, given on as float32."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from windtunnel.errors import InvalidInput
from windtunnel.pipeline.ops.op_values import Array, At, Fields

# a - (1 - a) * cos: the raised cosines.
_COSINES: Final[Mapping[str, float]] = {"hann": 0.5, "hamming": 0.54}
_LOGS: Final[Mapping[str, Callable[[Array], Array]]] = {
    "ln": np.log,
    "log10": np.log10,
    "db": lambda values: 10.0 * np.log10(values),
}
_FRAME_FIRST: Final = 'put {"op": "frame", "length": ..., "step": ...} before it'


def frame(values: Array, fields: Fields, at: At) -> Array:
    """Cuts waveforms into frames; what does not fill a frame at the end is left out, as tf.signal.frame does.

    Args:
        values: waveforms (n, samples).
        fields: `length` and `step` in samples.
        at: the place of the step.

    Returns:
        (n, 1 + (samples - length) // step, length) of the same type.

    Raises:
        InvalidInput: the values are not waveforms, or shorter than a frame.
    """
    if values.ndim != 2:
        raise InvalidInput(f"{at.where}: works on waveforms, not on {list(values.shape)}", hint="frame only once")
    length = fields["length"]
    if values.shape[1] < length:
        raise InvalidInput(
            f"{at.where}: a waveform of {values.shape[1]} samples is shorter than a frame of {length}",
            hint='give longer waveforms, or put {"op": "pad", "length": ...} before it',
        )
    return np.lib.stride_tricks.sliding_window_view(values, length, axis=1)[:, :: fields["step"]]


def window(values: Array, fields: Fields, at: At) -> Array:
    """Weights each frame.

    Args:
        values: frames (n, frames, length).
        fields: `kind` and `periodic`.
        at: the place of the step.

    Returns:
        float32 (n, frames, length).

    Raises:
        InvalidInput: the values are not frames.
    """
    if values.ndim != 3:
        raise InvalidInput(f"{at.where}: works on frames, not on {list(values.shape)}", hint=_FRAME_FIRST)
    weights = window_weights(fields["kind"], values.shape[-1], periodic=fields["periodic"])
    return (values * weights).astype(np.float32)


def window_weights(kind: str, length: int, *, periodic: bool) -> NDArray[np.float64]:
    """The weights of a window, as scipy.signal.get_window gives them.

    tf.signal's windows of an odd length are symmetric even if `periodic` is asked for; these are not.

    Args:
        kind: hann, hamming or none.
        length: of the frame, in samples.
        periodic: whether the window is one period of its cosine; otherwise it is symmetric.

    Returns:
        (length,).
    """
    if kind == "none" or length == 1:
        return np.ones(length)
    share = _COSINES[kind]
    phase = 2.0 * np.pi * np.arange(length) / (length if periodic else length - 1)
    return share - (1.0 - share) * np.cos(phase)


def spectrogram(values: Array, fields: Fields, at: At) -> Array:
    """The amplitude of each frequency to a power: |FFT of the frame| ** power.

    Args:
        values: frames (n, frames, length).
        fields: `power`, and `fft_length`: zeros are appended to that length; None: the frame's length.
        at: the place of the step.

    Returns:
        float32 (n, frames, fft_length // 2 + 1).

    Raises:
        InvalidInput: the values are not frames, the frames are longer than the FFT, or the result is not finite.
    """
    if values.ndim != 3:
        raise InvalidInput(f"{at.where}: works on frames, not on {list(values.shape)}", hint=_FRAME_FIRST)
    length = fields["fft_length"] or values.shape[-1]
    if length < values.shape[-1]:
        raise InvalidInput(
            f"{at.where}: field 'fft_length' is {length}, shorter than the frames of {values.shape[-1]} samples",
            hint="give at least the length of the frames",
        )
    spectrum = np.fft.rfft(values.astype(np.float64), length)
    # The square root only where it is asked for: it costs as much as the FFT.
    energy = spectrum.real**2 + spectrum.imag**2
    return _finite(energy if fields["power"] == 2 else energy ** (fields["power"] / 2), at, "a smaller power")


def log(values: Array, fields: Fields, at: At) -> Array:
    """The logarithm of max(x, floor).

    Args:
        values: numbers (n, ...).
        fields: `kind`: ln, log10, or db, which is 10 log10; `floor`.
        at: the place of the step.

    Returns:
        float32 (n, ...).

    Raises:
        InvalidInput: a value is 0 or below, and so is the floor.
    """
    floored = np.maximum(values.astype(np.float64), fields["floor"])
    if floored.min() <= 0:
        raise InvalidInput(
            f"{at.where}: the logarithm of {floored.min():g} is not finite", hint="give a floor above 0, such as 1e-6"
        )
    return _LOGS[fields["kind"]](floored).astype(np.float32)


def _finite(values: Array, at: At, instead: str) -> Array:
    with np.errstate(over="ignore"):
        result = values.astype(np.float32)
    if not np.isfinite(result).all():
        raise InvalidInput(f"{at.where}: the result is not finite", hint=f"give {instead}")
    return result
