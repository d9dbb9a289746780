"""The mel filter bank of tf.signal.linear_to_mel_weight_matrix.

Source: TensorFlow 2.21 `python/ops/signal/mel_ops.py`: HTK's mel scale, 1127 ln(1 + f / 700); triangles of height 1,
spaced evenly in mel, and linear in mel between their edges; the bin of 0 Hz has no weight.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from windtunnel.errors import InvalidInput
from windtunnel.pipeline.ops.op_values import Array, At, Fields

Floats = NDArray[np.float64]


def mel(values: Array, fields: Fields, at: At) -> Array:
    """Sums a spectrum in mel bands.

    Args:
        values: spectra (n, frames, frequencies) from 0 to half the sample rate.
        fields: `bins`, `low` and `high` in Hz.
        at: the place of the step, and the sample rate.

    Returns:
        float32 (n, frames, bins).

    Raises:
        InvalidInput: the values are not spectra, the sample rate is not known, or the bands do not fit below half of
            it.
    """
    if values.ndim != 3:
        raise InvalidInput(
            f"{at.where}: works on spectra, not on {list(values.shape)}", hint="put it after spectrogram"
        )
    if at.sample_rate_hz is None:
        raise InvalidInput(
            f"{at.where}: the sample rate of the waveforms is not known",
            hint="give `sample_rate` (Hz) next to x in the samples, or next to raw in the edge file",
        )
    low, high = fields["low"], fields["high"]
    if high > at.sample_rate_hz / 2:
        raise InvalidInput(
            f"{at.where}: field 'high' is {high:g} Hz, above half the sample rate of {at.sample_rate_hz:g} Hz",
            hint="give at most half the sample rate, or resample first",
        )
    weights = mel_weights(fields["bins"], values.shape[-1], float(at.sample_rate_hz), float(low), float(high))
    flat = values.reshape(-1, values.shape[-1]).astype(np.float64) @ weights
    return flat.astype(np.float32).reshape(*values.shape[:-1], -1)


@lru_cache(maxsize=16)
def mel_weights(bins: int, frequencies: int, sample_rate_hz: float, low: float, high: float) -> Floats:
    """The weight of each frequency in each band.

    Args:
        bins: bands.
        frequencies: of the spectrum, from 0 to half the sample rate.
        sample_rate_hz: of the waveform.
        low: lower edge of the first band, Hz.
        high: upper edge of the last band, Hz.

    Returns:
        (frequencies, bins).
    """
    frequency = _mel_of(np.linspace(0.0, sample_rate_hz / 2, frequencies))[:, None]
    edges = np.linspace(_mel_of(np.float64(low)), _mel_of(np.float64(high)), bins + 2)
    lower, center, upper = edges[:-2], edges[1:-1], edges[2:]
    rising, falling = (frequency - lower) / (center - lower), (upper - frequency) / (upper - center)
    weights: Floats = np.maximum(0.0, np.minimum(rising, falling))
    weights[0] = 0.0
    weights.setflags(write=False)
    return weights


def _mel_of(hertz: Floats | np.float64) -> Floats:
    result: Floats = 1127.0 * np.log1p(hertz / 700.0)
    return result
