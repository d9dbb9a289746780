"""Another sample rate: polyphase filtering as scipy.signal.resample_poly does it by default, or linear interpolation.

Source: SciPy 1.17 `_signaltools.resample_poly`, `_fir_filter_design.firwin`: a lowpass of 20 * max(up, down) + 1 taps
with a Kaiser window of beta 5, the waveform taken as zero beyond its ends.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from windtunnel.errors import InvalidInput
from windtunnel.pipeline.ops.op_values import Array, At, Fields

Floats = NDArray[np.float64]
_HALF_ZEROS: Final = 10
_BETA: Final = 5.0
# Outputs in one matrix product, and most values that it is given at once.
_TOGETHER: Final = 32
_MOST_VALUES: Final = 1 << 23


def resample(values: Array, fields: Fields, at: At) -> Array:
    """Resamples waveforms to `to` Hz.

    Args:
        values: waveforms (n, samples).
        fields: `to` in Hz and `method`.
        at: the place of the step, and the sample rate now.

    Returns:
        float32 (n, ceil(samples * to / rate)).

    Raises:
        InvalidInput: the sample rate is not known, or a rate is not a whole number of Hz.
    """
    up, down = ratio(at, fields["to"])
    if up == down:
        return values.astype(np.float32)
    method = _polyphase if fields["method"] == "polyphase" else _linear
    return method(values.astype(np.float64), up, down).astype(np.float32)


def ratio(at: At, to: float) -> tuple[int, int]:
    """By how much to interpolate and to decimate.

    Args:
        at: the place of the step, and the sample rate now.
        to: the sample rate wanted, Hz.

    Returns:
        up and down, without a common divisor.

    Raises:
        InvalidInput: the sample rate is not known, or a rate is not a whole number of Hz.
    """
    if at.sample_rate_hz is None:
        raise InvalidInput(
            f"{at.where}: the sample rate of the waveforms is not known",
            hint="give `sample_rate` (Hz) next to x in the samples, or next to raw in the edge file",
        )
    for rate in (at.sample_rate_hz, to):
        if rate != int(rate) or rate <= 0:
            raise InvalidInput(f"{at.where}: {rate:g} Hz is not a whole sample rate", hint="give a whole number of Hz")
    now, wanted = int(at.sample_rate_hz), int(to)
    common = math.gcd(now, wanted)
    return wanted // common, now // common


def _polyphase(values: Floats, up: int, down: int) -> Floats:
    """y[m] = sum over k of x[k] * h[m * down - k * up].

    Outputs `up` apart have the same weights, for samples `down` further on. So a few neighboring outputs are one matrix
    product of the samples that they reach, for all their repetitions at once.
    """
    width = 2 * _HALF_ZEROS * max(up, down) // up + 1
    count = -(-values.shape[1] * up // down)
    repetitions = -(-count // up)
    ahead = width + down
    missing = max(0, repetitions * down + 2 * ahead - values.shape[1])
    padded = np.pad(values, ((0, 0), (ahead, missing)))
    result = np.empty((len(values), repetitions, up))
    for phase in range(0, min(up, count), _TOGETHER):
        first, weights = _weights(up, down, range(phase, min(phase + _TOGETHER, up)))
        reached = np.lib.stride_tricks.sliding_window_view(padded[:, first + ahead :], len(weights), axis=1)
        blocks = reached[:, : repetitions * down : down]
        most = max(1, _MOST_VALUES // (repetitions * len(weights)))
        for start in range(0, len(values), most):
            result[start : start + most, :, phase : phase + _TOGETHER] = blocks[start : start + most].copy() @ weights
    return result.reshape(len(values), -1)[:, :count]


def _weights(up: int, down: int, phases: range) -> tuple[int, Floats]:
    """The first sample that neighboring outputs reach, and the weights of all of them (samples, outputs)."""
    taps, reach = _lowpass(up, down), _HALF_ZEROS * max(up, down)
    first, last = -((reach - phases[0] * down) // up), (reach + phases[-1] * down) // up
    samples, centers = np.arange(first, last + 1)[:, None], np.array(phases) * down
    places = centers - samples * up + reach
    return first, np.where((places >= 0) & (places < len(taps)), taps[np.clip(places, 0, len(taps) - 1)], 0.0)


@lru_cache(maxsize=16)
def _lowpass(up: int, down: int) -> Floats:
    most = max(up, down)
    reach = _HALF_ZEROS * most
    taps: Floats = np.sinc(np.arange(-reach, reach + 1) / most) * np.kaiser(2 * reach + 1, _BETA)
    taps *= up / taps.sum()
    taps.setflags(write=False)
    return taps


def _linear(values: Floats, up: int, down: int) -> Floats:
    """Between the two nearest samples; beyond the last one its value, as apps without a filter do it."""
    count = -(-values.shape[1] * up // down)
    position = np.arange(count) * (down / up)
    lower = np.minimum(position.astype(np.intp), values.shape[1] - 1)
    upper = np.minimum(lower + 1, values.shape[1] - 1)
    share = position - lower
    result: Floats = values[:, lower] * (1.0 - share) + values[:, upper] * share
    return result
