"""What an app may do to the colors of an image: another YUV matrix or range, gamma, gray."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from windtunnel.pipeline.ops.image.color import rgb_from_yuv

Pixels = NDArray[np.float32]

_MATRICES: Final = ("bt601", "bt709")
_RANGES: Final = ("full", "video")
_GAMMAS: Final = (1 / 2.4, 1 / 2.2, 1 / 1.8, 0.5, 0.6, 0.7, 0.8, 0.9, 1.1, 1.2, 1.4, 1.6, 1.8, 2.0, 2.2, 2.4)


@dataclass(frozen=True, slots=True)
class ColorMap:
    """A change of colors; `of` takes and gives (..., 3) values from 0 to 255. `name`: in documents."""

    name: str
    words: str
    of: Callable[[Pixels], Pixels]


def _as_it_is(pixels: Pixels) -> Pixels:
    return pixels


UNCHANGED: Final = ColorMap("unchanged", "the colors are as they are", _as_it_is)


def encoding(matrix: str, scale: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """RGB to YUV as an affine map: the inverse of the pipeline's.

    Args:
        matrix: bt601 or bt709.
        scale: full or video (luma 16 to 235, chroma 16 to 240).

    Returns:
        Matrix (3, 3) and offset (3,): yuv = matrix @ rgb + offset.
    """
    decode, offset = rgb_from_yuv(matrix, scale)
    encode = np.asarray(np.linalg.inv(decode), np.float64)
    return encode, -encode @ offset


def _affine(matrix: NDArray[np.float64], offset: NDArray[np.float64]) -> Callable[[Pixels], Pixels]:
    turned, added = matrix.T.astype(np.float32), offset.astype(np.float32)

    def of(pixels: Pixels) -> Pixels:
        return np.asarray(np.clip(pixels @ turned + added, 0, 255), np.float32)

    return of


def _decoded(matrix: str, scale: str) -> Callable[[Pixels], Pixels]:
    """YUV to RGB."""
    return _affine(*rgb_from_yuv(matrix, scale))


def _through(first: tuple[str, str], second: tuple[str, str]) -> Callable[[Pixels], Pixels]:
    """RGB to YUV in one way, and back in another."""
    encode, before = encoding(*first)
    decode, after = rgb_from_yuv(*second)
    return _affine(decode @ encode, decode @ before + after)


def gamma(exponent: float) -> ColorMap:
    """255 (x / 255)^exponent.

    Args:
        exponent: above 0.

    Returns:
        The change.
    """

    def of(pixels: Pixels) -> Pixels:
        return np.asarray(255 * (np.clip(pixels, 0, 255) / 255) ** np.float32(exponent), np.float32)

    return ColorMap(f"gamma {exponent:.3g}", f"a gamma of {exponent:.3g} is applied", of)


def _gray(matrix: str) -> ColorMap:
    luma = encoding(matrix, "full")[0][0].astype(np.float32)

    def of(pixels: Pixels) -> Pixels:
        return np.repeat((pixels @ luma)[..., None], 3, axis=-1)

    return ColorMap(f"gray {matrix}", "the image is made gray", of)


def _srgb() -> tuple[ColorMap, ColorMap]:
    """IEC 61966-2-1."""

    def linear(pixels: Pixels) -> Pixels:
        x = np.clip(pixels, 0, 255) / 255
        return np.asarray(255 * np.where(x <= 0.04045, x / 12.92, ((x + 0.055) / 1.055) ** 2.4), np.float32)

    def encoded(pixels: Pixels) -> Pixels:
        x = np.clip(pixels, 0, 255) / 255
        return np.asarray(255 * np.where(x <= 0.0031308, x * 12.92, 1.055 * x ** (1 / 2.4) - 0.055), np.float32)

    return (
        ColorMap("srgb to linear", "the sRGB curve is taken off (linear light)", linear),
        ColorMap("linear to srgb", "the sRGB curve is applied a second time", encoded),
    )


def color_maps(*, from_yuv: bool) -> tuple[ColorMap, ...]:
    """The changes that apps make.

    Args:
        from_yuv: the pipeline's raw images are YUV, which its `yuv_to_rgb` converts.

    Returns:
        The changes, without "unchanged".
    """
    kinds = [(matrix, scale) for matrix in _MATRICES for scale in _RANGES]
    if from_yuv:
        decoded = [
            ColorMap(
                f"yuv {matrix} {scale}", f"YUV is read as {matrix.upper()}, {scale} range", _decoded(matrix, scale)
            )
            for matrix, scale in kinds
        ]
        return (*decoded, ColorMap("yuv as rgb", "YUV is not converted to RGB", _as_it_is))
    mixed = [
        ColorMap(
            f"yuv {first[0]} {first[1]} as {second[0]} {second[1]}",
            f"YUV of {first[0].upper()}, {first[1]} range, is read as {second[0].upper()}, {second[1]} range",
            _through(first, second),
        )
        for first in kinds
        for second in kinds
        if first != second
    ]
    yuv = [
        ColorMap(f"rgb as yuv {m} {s}", f"the model gets YUV ({m.upper()}, {s} range)", _affine(*encoding(m, s)))
        for m, s in kinds
    ]
    return (*mixed, *(gamma(one) for one in _GAMMAS), *_srgb(), _gray("bt601"), *yuv)


def finest_gamma(found: ColorMap, misfit: Callable[[ColorMap], float]) -> ColorMap:
    """A gamma between those that were tried, if it fits better.

    Args:
        found: the best of those that were tried.
        misfit: how badly a change fits.

    Returns:
        The change that fits best; `found` if it is not a gamma.
    """
    if not found.name.startswith("gamma "):
        return found
    exponent, step = float(found.name.split()[1]), 0.05
    best: Any = (misfit(found), exponent)
    while step > 1e-3:
        tried = [(misfit(gamma(one)), one) for one in (best[1] - step, best[1] + step) if one > 0.05]
        better = min([best, *tried])
        step, best = (step / 2, best) if better == best else (step, better)
    return gamma(best[1])
