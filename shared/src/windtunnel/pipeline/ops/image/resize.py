"""Resizing as TensorFlow 2's `tf.image.resize` does it, with half-pixel centers, in numpy.

Source: TensorFlow 2.21 kernels `resize_bilinear_op.cc`, `resize_bicubic_op.cc` (Keys' cubic, a = -0.5, from a table
of 1024 steps), `resize_area_op.cc`, `resize_nearest_neighbor_op.cc`, and `scale_and_translate_op.cc`, which does the
antialiased forms. Positions are computed in float32, as there: a position that rounds the other way picks another
pixel. Every method is separable: one weighted sum of rows, then one of columns.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

import numpy as np
from numpy.typing import NDArray

Method = Literal["bilinear", "bicubic", "area", "nearest"]
METHODS: Final[tuple[str, ...]] = get_args(Method)
_TABLE = 1024
_F = np.float32
_HALF = _F(0.5)
Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Taps:
    """For each output position the input positions and their weights: both (output size, taps)."""

    index: NDArray[np.intp]
    weight: Floats


def resize(images: NDArray[Any], size: tuple[int, int], method: str = "bilinear", *, antialias: bool = False) -> Floats:
    """Resizes images as TensorFlow does.

    Args:
        images: (N, H, W, C) of any real dtype.
        size: height and width of the result in pixels.
        method: one of METHODS.
        antialias: matters for bilinear and bicubic only.

    Returns:
        (N, *size, C) float32, values in the unit of `images`.
    """
    height, width = images.shape[1:3]
    if size == (height, width):
        return images.astype(_F)
    if method == "nearest":
        rows, columns = nearest(height, size[0]), nearest(width, size[1])
        picked: Floats = images[:, rows][:, :, columns].astype(_F)
        return picked
    out = np.empty((images.shape[0], *size, images.shape[3]), _F)
    rows_taps, column_taps = taps(height, size[0], method, antialias), taps(width, size[1], method, antialias)
    # Image by image: a batch's intermediate sums would be many times its size.
    for number, image in enumerate(images):
        squeezed = _weighted(image.astype(_F), rows_taps)
        out[number] = _weighted(squeezed.swapaxes(0, 1), column_taps).swapaxes(0, 1)
    return out


def _weighted(image: Floats, by: Taps) -> Floats:
    """Weighted sums along the first axis: (in, M, C) to (out, M, C)."""
    total = np.zeros((len(by.index), *image.shape[1:]), _F)
    for tap in range(by.index.shape[1]):
        total += image[by.index[:, tap]] * by.weight[:, tap, None, None]
    return total


def nearest(size: int, out: int) -> NDArray[np.intp]:
    """Positions of the nearest pixels along one axis: min(floor((x + 0.5) * size / out), size - 1).

    Args:
        size: pixels of the axis.
        out: pixels of the axis in the result.

    Returns:
        For each output position the input position (out,).
    """
    position = np.floor((np.arange(out, dtype=_F) + _HALF) * (_F(size) / _F(out)))
    index: NDArray[np.intp] = np.clip(position, 0, size - 1).astype(np.intp)
    return index


def taps(size: int, out: int, method: str, antialias: bool) -> Taps:
    """The weights of one axis.

    Args:
        size: pixels of the axis.
        out: pixels of the axis in the result.
        method: bilinear, bicubic or area.
        antialias: see `resize`.

    Returns:
        Positions and weights.
    """
    if method == "area":
        return _area(size, out)
    if antialias:
        return _antialiased(size, out, *_KERNELS[method])
    return _bilinear(size, out) if method == "bilinear" else _bicubic(size, out)


def _positions(size: int, out: int) -> Floats:
    return (np.arange(out, dtype=_F) + _HALF) * (_F(size) / _F(out)) - _HALF


def _bilinear(size: int, out: int) -> Taps:
    position = _positions(size, out)
    floor = np.floor(position)
    lower = np.maximum(floor, 0).astype(np.intp)
    upper = np.minimum(np.ceil(position), size - 1).astype(np.intp)
    share = position - floor
    return Taps(np.stack([lower, upper], 1), np.stack([_F(1) - share, share], 1))


def _bicubic(size: int, out: int) -> Taps:
    position = _positions(size, out)
    floor = np.floor(position)
    step = np.rint((position - floor) * _F(_TABLE))
    distance = step[:, None] / _F(_TABLE) + np.array([1, 0, -1, -2], _F)
    index = floor.astype(np.intp)[:, None] + np.array([-1, 0, 1, 2])
    weight = _keys_cubic(np.abs(distance).astype(_F))
    inside = (index >= 0) & (index < size)
    return Taps(np.clip(index, 0, size - 1), _normalized(np.where(inside, weight, _F(0))))


def _antialiased(size: int, out: int, kernel: Callable[[Floats], Floats], radius: float) -> Taps:
    inverse = _F(1) / (_F(out) / _F(size))
    scale = np.maximum(inverse, _F(1))
    centre = (np.arange(out, dtype=_F) + _HALF) * inverse
    reach = _F(radius) * scale
    start = np.clip(np.ceil(centre - reach - _HALF), 0, size - 1).astype(np.intp)
    end = np.clip(np.floor(centre + reach - _HALF), 0, size - 1).astype(np.intp)
    index = start[:, None] + np.arange(int((end - start).max()) + 1)
    distance = np.abs((index.astype(_F) + _HALF - centre[:, None]) / scale)
    weight = np.where(index <= end[:, None], kernel(distance), _F(0))
    return Taps(np.minimum(index, size - 1), _normalized(weight))


def _area(size: int, out: int) -> Taps:
    scale = _F(size) / _F(out)
    begin = np.arange(out, dtype=_F) * scale
    end = (np.arange(out, dtype=_F) + _F(1)) * scale
    first = np.floor(begin).astype(np.intp)
    count = int((np.ceil(end).astype(np.intp) - first).max())
    index = first[:, None] + np.arange(count)
    at, one = index.astype(_F), _F(1)
    begin, end = begin[:, None], end[:, None]
    # The kernel's own case distinction: the plain overlap rounds differently far from the origin.
    starts = np.where(at + one > end, scale, at + one - begin)
    covers = np.where(at + one > end, end - at, one)
    weight = np.where(at < begin, starts, covers)
    weight = (np.where(at < np.ceil(end), weight, _F(0)) / scale).astype(_F)
    return Taps(np.clip(index, 0, size - 1), weight)


def _normalized(weight: Floats) -> Floats:
    total = weight.sum(axis=1, keepdims=True, dtype=_F)
    divisor = np.where(np.abs(total) >= _F(1000) * np.finfo(_F).tiny, total, _F(1))
    return (weight / divisor).astype(_F)


def _triangle(distance: Floats) -> Floats:
    weight: Floats = np.maximum(_F(0), _F(1) - distance)
    return weight


def _keys_cubic(x: Floats) -> Floats:
    """Keys 1981, "Cubic convolution interpolation for digital image processing", with a = -0.5."""
    near = ((_F(1.5) * x - _F(2.5)) * x) * x + _F(1)
    far = ((_F(-0.5) * x + _F(2.5)) * x - _F(4)) * x + _F(2)
    return np.where(x >= 2, _F(0), np.where(x >= 1, far, near)).astype(_F)


_KERNELS: dict[str, tuple[Callable[[Floats], Floats], float]] = {
    "bilinear": (_triangle, 1.0),
    "bicubic": (_keys_cubic, 2.0),
}
