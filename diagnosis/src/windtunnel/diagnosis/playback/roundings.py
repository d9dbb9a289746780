"""How values lose their fraction or their low bits on the way to a model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from windtunnel.diagnosis.thresholds.apps.playback_thresholds import COARSE_VALUES, FINE_VALUES

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Rounding:
    """One way to lose precision.

    Attributes:
        name: in documents.
        words: for people.
        stage: pixels from 0 to 255 are rounded, or values after the normalization.
        step: the smallest difference that is left, in the unit of the stage.
        of: the rounding; None: nothing is lost.
    """

    name: str
    words: str
    stage: Literal["pixels", "values"] = "values"
    step: float = 0.0
    of: Callable[[NDArray[Any]], Floats] | None = None


EXACT: Final = Rounding("none", "values keep their fraction")


def _bits(counts: Sequence[int], how: str) -> Callable[[NDArray[Any]], Floats]:
    """Keeps the high bits of each channel."""

    def of(pixels: NDArray[Any]) -> Floats:
        whole = np.clip(np.rint(pixels), 0, 255).astype(np.int64)
        drop = 8 - np.asarray(counts)
        if how == "nearest":
            most = 2 ** np.asarray(counts) - 1
            return np.asarray(np.rint(np.rint(np.clip(pixels, 0, 255) / 255 * most) * 255 / most), np.float64)
        high = whole >> drop
        if how == "shifted":
            return np.asarray(high << drop, np.float64)
        # The high bits fill the low ones (as 31 of 5 bits becomes 255).
        return np.asarray((high << drop) | (whole >> np.maximum(8 - 2 * drop, drop)), np.float64)

    return of


def _decimals(digits: int, whole: Callable[[NDArray[Any]], NDArray[Any]]) -> Callable[[NDArray[Any]], Floats]:
    factor = 10.0**digits

    def of(values: NDArray[Any]) -> Floats:
        return np.asarray(whole(values * factor) / factor, np.float64)

    return of


def _wrap(values: NDArray[Any]) -> Floats:
    return np.asarray(np.mod(np.trunc(values) + 128, 256) - 128, np.float64)


def _wrap_256(values: NDArray[Any]) -> Floats:
    return np.asarray(np.mod(np.trunc(values), 256), np.float64)


def _floor(values: NDArray[Any]) -> Floats:
    return np.asarray(np.floor(values), np.float64)


def _trunc(values: NDArray[Any]) -> Floats:
    return np.asarray(np.trunc(values), np.float64)


def _nearest(values: NDArray[Any]) -> Floats:
    return np.asarray(np.rint(values), np.float64)


# Of values in 8 bits, which most apps have.
FINE: Final = (
    Rounding("pixels_down", "pixels are truncated to whole numbers", "pixels", 1.0, _floor),
    Rounding("values_down", "values are truncated to whole numbers", "values", 1.0, _trunc),
    Rounding("values_nearest", "values are rounded to whole numbers", "values", 1.0, _nearest),
    Rounding("wrapped", "values wrap around at 128, as int8 does", "values", 1.0, _wrap),
    Rounding("pixels_wrapped", "pixels above 127 are read as negative numbers (int8)", "pixels", 1.0, _wrap),
    Rounding("wrapped_256", "values wrap around at 256, as uint8 does", "values", 1.0, _wrap_256),
)
_FORMATS: Final = {"RGB565": (5, 6, 5), "RGB555": (5, 5, 5), "RGB444": (4, 4, 4), "RGB332": (3, 3, 2)}
# What leaves few different values.
COARSE: Final = (
    *(
        Rounding(
            f"{name.lower()}_{how}",
            f"pixels have the bits of {name}",
            "pixels",
            2.0 ** (8 - max(bits)),
            _bits(bits, how),
        )
        for name, bits in _FORMATS.items()
        for how in ("shifted", "filled", "nearest")
    ),
    *(
        Rounding(f"decimals_{digits}{suffix}", f"values are {words} {digits} decimals", "values", 10.0**-digits, of)
        for digits in (1, 2)
        for suffix, words, of in (
            ("", "rounded to", _decimals(digits, np.rint)),
            ("_down", "truncated to", _decimals(digits, np.trunc)),
        )
    ),
)


def roundings_for(fed: Sequence[NDArray[Any]]) -> tuple[Rounding, ...]:
    """The roundings that are possible, by how many different values an input has.

    Args:
        fed: what an app fed, (pixels, 3) each.

    Returns:
        None if values have fractions of their own; without coarse ones if there are many values.
    """
    joined = np.concatenate(fed)
    distinct = max(len(np.unique(np.round(joined[:, channel], 6))) for channel in range(joined.shape[1]))
    if distinct > FINE_VALUES:
        return ()
    return FINE + (COARSE if distinct <= COARSE_VALUES else ())
