"""Arrays as small pictures inside a page."""

from __future__ import annotations

import base64
import io
from typing import Any, Final

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from windtunnel.cli.report.formatting import clean

# The longer side of a picture, in pixels.
SIDE: Final = 168
_LEAST_SCALE: Final = 1e-12
_FRAME: Final = 256
_DECIBELS: Final = 80.0
# From dark blue to yellow: readable in gray, and for people who do not see red and green apart.
_RAMP: Final = np.array([[8, 12, 48], [38, 60, 140], [80, 130, 160], [170, 180, 110], [250, 235, 90]], np.float64)


def picture(pixels: NDArray[np.uint8], words: str) -> Markup:
    """An image as an element of a page; it has no address that a browser would ask for.

    Args:
        pixels: (height, width, 3).
        words: what it shows, for people who do not see it.

    Returns:
        The element.
    """
    from PIL import Image

    shown = Image.fromarray(pixels)
    factor = SIDE / max(shown.size)
    size = (max(1, round(shown.width * factor)), max(1, round(shown.height * factor)))
    # Enlarged pixels stay squares; a reduced image is averaged.
    method = Image.Resampling.NEAREST if factor > 1 else Image.Resampling.BOX
    out = io.BytesIO()
    shown.resize(size, method).save(out, "PNG", optimize=True)
    data = base64.b64encode(out.getvalue()).decode()
    element = '<img src="data:image/png;base64,{}" width="{}" height="{}" alt="{}">'
    return Markup(element).format(Markup(data), *size, clean(words))


def image_pixels(values: NDArray[Any], low: float, high: float) -> NDArray[np.uint8]:
    """An image of real numbers as pixels.

    Args:
        values: (height, width), with 1, 3 or 4 channels last, or first.
        low: what is black.
        high: what is white; values outside are cut.

    Returns:
        (height, width, 3).
    """
    array = np.asarray(values, np.float64)
    if array.ndim == 3 and array.shape[-1] not in (1, 3, 4) and array.shape[0] in (1, 3, 4):
        array = np.moveaxis(array, 0, -1)
    if array.ndim == 2:
        array = array[..., None]
    scaled = (np.nan_to_num(array, nan=low, posinf=high, neginf=low) - low) / max(high - low, _LEAST_SCALE)
    pixels = np.rint(np.clip(scaled, 0, 1) * 255).astype(np.uint8)
    return np.ascontiguousarray(np.repeat(pixels, 3, axis=-1) if pixels.shape[-1] == 1 else pixels[..., :3])


def map_pixels(values: NDArray[Any], low: float, high: float) -> NDArray[np.uint8]:
    """A table of real numbers as colors, from dark (low) to light (high).

    Args:
        values: (rows, columns); the first row is at the bottom.
        low: the darkest.
        high: the lightest.

    Returns:
        (rows, columns, 3).
    """
    array = np.nan_to_num(np.asarray(values, np.float64), nan=low, posinf=high, neginf=low)
    place = np.clip((array - low) / max(high - low, _LEAST_SCALE), 0, 1) * (len(_RAMP) - 1)
    below = np.minimum(place.astype(np.intp), len(_RAMP) - 2)
    share = (place - below)[..., None]
    colors: NDArray[np.float64] = _RAMP[below] * (1 - share) + _RAMP[below + 1] * share
    return np.rint(colors).astype(np.uint8)[::-1]


def spectrogram(waveform: NDArray[Any]) -> NDArray[np.float64]:
    """The short-time spectrum of a waveform, for a picture.

    Args:
        waveform: (samples,).

    Returns:
        Decibels below the loudest, (frequencies, times); quieter than 80 dB below it is cut.
    """
    samples = np.nan_to_num(np.asarray(waveform, np.float64).ravel())
    samples = np.pad(samples, (0, max(0, _FRAME - len(samples))))
    step = max(_FRAME // 4, (len(samples) - _FRAME) // (2 * SIDE) or 1)
    starts = np.arange(0, len(samples) - _FRAME + 1, step)
    frames = samples[starts[:, None] + np.arange(_FRAME)] * np.hanning(_FRAME)
    power = np.abs(np.fft.rfft(frames, axis=1)) ** 2
    loudest = max(float(power.max()), _LEAST_SCALE)
    decibels: NDArray[np.float64] = np.maximum(10 * np.log10(np.maximum(power / loudest, 1e-30)), -_DECIBELS)
    return decibels.T
