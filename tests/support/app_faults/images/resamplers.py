"""Resizing as apps do it: by OpenCV, by Pillow, and by code of one's own, right or with the grids of TensorFlow 1."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

Pixels = NDArray[Any]
Size = tuple[int, int]
_OPENCV = {
    "nearest": cv2.INTER_NEAREST,
    "nearest_exact": cv2.INTER_NEAREST_EXACT,
    "linear": cv2.INTER_LINEAR,
    "cubic": cv2.INTER_CUBIC,
    "area": cv2.INTER_AREA,
    "lanczos4": cv2.INTER_LANCZOS4,
}
_PILLOW = {name.lower(): filter_ for name, filter_ in Image.Resampling.__members__.items()}


def _opencv(kind: str, image: Pixels, size: Size) -> Pixels:
    return np.asarray(cv2.resize(np.ascontiguousarray(image), size[::-1], interpolation=_OPENCV[kind]))


def _opencv_float(kind: str, image: Pixels, size: Size) -> Pixels:
    return _opencv(kind, image.astype(np.float32), size)


def _pillow(kind: str, image: Pixels, size: Size) -> Pixels:
    # Pillow works on bytes.
    whole = np.clip(np.rint(image), 0, 255).astype(np.uint8)
    return np.asarray(Image.fromarray(np.ascontiguousarray(whole)).resize(size[::-1], _PILLOW[kind]))


def _weighted(weights: Callable[[int, int], Pixels], image: Pixels, size: Size) -> Pixels:
    rows, columns = weights(image.shape[0], size[0]), weights(image.shape[1], size[1])
    mixed = np.einsum("ih,hwc,jw->ijc", rows, image.astype(np.float64), columns, optimize=True)
    return np.asarray(mixed, np.float32)


def _two_taps(at: Pixels, size: int) -> Pixels:
    """Rows of weights that read between neighboring pixels at the places `at`."""
    at = np.clip(at, 0, size - 1)
    low = np.floor(at).astype(int)
    weights = np.zeros((len(at), size))
    places = np.arange(len(at))
    np.add.at(weights, (places, low), 1 - (at - low))
    np.add.at(weights, (places, np.minimum(low + 1, size - 1)), at - low)
    return weights


def _half_pixel(before: int, after: int) -> Pixels:
    return _two_taps((np.arange(after) + 0.5) * before / after - 0.5, before)


def _no_half_pixel(before: int, after: int) -> Pixels:
    return _two_taps(np.arange(after) * before / after, before)


def _align_corners(before: int, after: int) -> Pixels:
    return _two_taps(np.linspace(0, before - 1, after), before)


def _nearest_half(before: int, after: int) -> Pixels:
    at = np.minimum(np.floor((np.arange(after) + 0.5) * before / after).astype(int), before - 1)
    return np.asarray(np.eye(before)[at])


def _covered(before: int, after: int) -> Pixels:
    """Each result is the mean of what it covers."""
    edges = np.arange(after + 1) * before / after
    low, high = np.arange(before)[None], np.arange(1, before + 1)[None]
    share = np.clip(np.minimum(edges[1:, None], high) - np.maximum(edges[:-1, None], low), 0, None)
    covered: Pixels = share / share.sum(axis=1, keepdims=True)
    return covered


def _triangle(before: int, after: int) -> Pixels:
    ratio = max(before / after, 1)
    middle = (np.arange(after) + 0.5) * before / after
    distance = np.abs(np.arange(before)[None] + 0.5 - middle[:, None]) / ratio
    weights = np.clip(1 - distance, 0, None)
    triangle: Pixels = weights / weights.sum(axis=1, keepdims=True)
    return triangle


def _thumbnail(image: Pixels, size: Size) -> Pixels:
    """Made small first, and then large, as from a gallery's thumbnail."""
    half = (max(1, size[0] // 2), max(1, size[1] // 2))
    return _opencv("linear", _opencv("area", image, half), size)


RESAMPLERS: dict[str, Callable[[Pixels, Size], Pixels]] = {
    **{f"opencv.{kind}": partial(_opencv, kind) for kind in _OPENCV},
    **{f"pillow.{kind}": partial(_pillow, kind) for kind in _PILLOW},
    "opencv.float_linear": partial(_opencv_float, "linear"),
    "numpy.linear": partial(_weighted, _half_pixel),
    "numpy.no_half_pixel": partial(_weighted, _no_half_pixel),
    "numpy.align_corners": partial(_weighted, _align_corners),
    "numpy.nearest": partial(_weighted, _nearest_half),
    "numpy.area": partial(_weighted, _covered),
    "numpy.triangle": partial(_weighted, _triangle),
    "thumbnail": _thumbnail,
}
# What computes the methods of a pipeline, by the library of the app.
RIGHT = {
    "bilinear": {"opencv": "opencv.linear", "numpy": "numpy.linear", "opencv_float": "opencv.float_linear"},
    "bilinear_aa": {"pillow": "pillow.bilinear", "numpy": "numpy.triangle"},
    "bicubic_aa": {"pillow": "pillow.bicubic"},
    "area": {"opencv": "opencv.area", "numpy": "numpy.area"},
    "nearest": {"opencv": "opencv.nearest_exact", "pillow": "pillow.nearest", "numpy": "numpy.nearest"},
}
# What an app may use instead.
OTHERS = (
    "opencv.nearest",
    "opencv.linear",
    "opencv.cubic",
    "opencv.area",
    "opencv.lanczos4",
    "pillow.box",
    "pillow.bilinear",
    "pillow.bicubic",
    "pillow.lanczos",
    "numpy.align_corners",
    "numpy.no_half_pixel",
)
