"""Every way to resize that apps use: weights of one axis, for any part of an image.

The pipeline's own resize (`windtunnel.pipeline.resize`) follows TensorFlow to the bit. Here are the others, to
recognize them. OpenCV (imgproc/src/resize.cpp) does not stretch kernels when an image shrinks. Its INTER_CUBIC has
a = -0.75, and INTER_NEAREST takes the pixel at floor(i * scale). Pillow (libImaging/Resample.c) stretches every kernel,
and its bicubic has a = -0.5. TensorFlow 1 has other grids (`align_corners`, and without half-pixel centers).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from windtunnel.pipeline.ops.image.resize import Taps

Floats = NDArray[np.float64]
# A multiplication in a matrix product costs so much less than one in a sum over taps.
_DENSE: Final = 12
Grid = Literal["centers", "corners", "aligned"]


@dataclass(frozen=True, slots=True)
class Sampler:
    """One way to resize.

    Attributes:
        name: in documents.
        words: for people, with the calls that do it.
        kernel: weight by distance in pixels; None: the nearest pixel.
        radius: beyond it the kernel is 0, in pixels.
        stretched: the kernel covers all pixels of the source when an image shrinks (antialiasing).
        grid: "centers": centers of pixels are at i + 0.5; "corners": pixel i is at i * scale (TensorFlow 1, OpenCV's
            nearest); "aligned": the first and last pixels are at the same place (`align_corners`).
        alike: samplers with the same word differ only in details that no pipeline states.
    """

    name: str
    words: str
    kernel: Callable[[Floats], Floats] | None
    radius: float = 1.0
    stretched: bool = False
    grid: Grid = "centers"
    alike: str = ""


@dataclass(frozen=True, slots=True)
class Span:
    """A part of an axis of the source, in pixels; it may begin and end between them."""

    start: float
    length: float


def _box(x: Floats) -> Floats:
    return np.where(x <= 0.5, 1.0, 0.0)


def _triangle(x: Floats) -> Floats:
    return np.maximum(0.0, 1.0 - x)


def _keys(a: float) -> Callable[[Floats], Floats]:
    """R. Keys, "Cubic convolution interpolation for digital image processing", 1981, with its free parameter."""

    def kernel(x: Floats) -> Floats:
        near = ((a + 2) * x - (a + 3)) * x * x + 1
        far = ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
        return np.where(x < 1, near, np.where(x < 2, far, 0.0))

    return kernel


def _lanczos(lobes: int) -> Callable[[Floats], Floats]:
    def kernel(x: Floats) -> Floats:
        return np.where(x < lobes, np.sinc(x) * np.sinc(x / lobes), 0.0)

    return kernel


def _hamming(x: Floats) -> Floats:
    return np.where(x < 1, np.sinc(x) * (0.54 + 0.46 * np.cos(np.pi * x)), 0.0)


_LIST: Final = (
    Sampler("bilinear", "bilinear without antialiasing (tf.image.resize, OpenCV INTER_LINEAR)", _triangle),
    Sampler(
        "bilinear_antialias",
        "bilinear with antialiasing (Pillow BILINEAR, tf.image.resize with antialias=True)",
        _triangle,
        stretched=True,
    ),
    Sampler("bicubic", "bicubic without antialiasing (tf.image.resize)", _keys(-0.5), 2.0, alike="bicubic"),
    Sampler("bicubic_sharp", "bicubic without antialiasing (OpenCV INTER_CUBIC)", _keys(-0.75), 2.0, alike="bicubic"),
    Sampler("bicubic_antialias", "bicubic with antialiasing (Pillow BICUBIC)", _keys(-0.5), 2.0, stretched=True),
    Sampler(
        "area", "the mean of the area (OpenCV INTER_AREA, tf.image.resize area)", None, stretched=True, alike="area"
    ),
    Sampler("box", "the mean of the nearest pixels (Pillow BOX)", _box, 0.5, stretched=True, alike="area"),
    Sampler("nearest", "the nearest pixel (tf.image.resize, Pillow NEAREST)", None),
    Sampler("nearest_corner", "the nearest pixel toward the origin (OpenCV INTER_NEAREST)", None, grid="corners"),
    Sampler("lanczos", "Lanczos with antialiasing (Pillow LANCZOS)", _lanczos(3), 3.0, stretched=True),
    Sampler("lanczos4", "Lanczos without antialiasing (OpenCV INTER_LANCZOS4)", _lanczos(4), 4.0),
    Sampler("hamming", "Hamming with antialiasing (Pillow HAMMING)", _hamming, 1.0, stretched=True),
    Sampler("bilinear_corner", "bilinear without half-pixel centers (TensorFlow 1)", _triangle, grid="corners"),
    Sampler("bilinear_aligned", "bilinear with aligned corners (align_corners)", _triangle, grid="aligned"),
    Sampler("bicubic_corner", "bicubic without half-pixel centers (TensorFlow 1)", _keys(-0.5), 2.0, grid="corners"),
    Sampler("nearest_aligned", "the nearest pixel with aligned corners (align_corners)", None, grid="aligned"),
)
SAMPLERS: Final[Mapping[str, Sampler]] = {one.name: one for one in _LIST}


def sampler_of(method: str, *, antialias: bool) -> Sampler:
    """The sampler that a pipeline's step names.

    Args:
        method: bilinear, bicubic, area or nearest.
        antialias: matters for bilinear and bicubic.

    Returns:
        The sampler.
    """
    return SAMPLERS[f"{method}_antialias" if antialias and method in ("bilinear", "bicubic") else method]


def span_taps(size: int, out: int, span: Span, sampler: Sampler) -> Taps:
    """The weights of one axis.

    Args:
        size: pixels of the source.
        out: pixels of the result.
        span: the part of the source that fills the result.
        sampler: the way to resize.

    Returns:
        Positions and weights; pixels outside the source are those of its edge.
    """
    scale = span.length / out
    if sampler.name == "area":
        return _area(size, out, span)
    centers = _centers(out, span, sampler.grid)
    if sampler.kernel is None:
        offset = 0.5 if sampler.grid == "aligned" else 0.0
        index = np.floor(centers + offset + 1e-6).astype(np.intp)
        return Taps(np.clip(index, 0, size - 1)[:, None], np.ones((out, 1), np.float32))
    stretch = max(scale, 1.0) if sampler.stretched else 1.0
    reach = sampler.radius * stretch
    # Where the center of pixel k lies: at k + 0.5, or at k.
    shift = 0.5 if sampler.grid == "centers" else 0.0
    first = np.ceil(centers - reach - shift - 1e-9).astype(np.intp)
    index = first[:, None] + np.arange(int(np.ceil(2 * reach)) + 1)
    weight = sampler.kernel(np.abs(index + shift - centers[:, None]) / stretch)
    if sampler.stretched:
        weight = np.where((index >= 0) & (index < size), weight, 0.0)
    total = weight.sum(axis=1, keepdims=True)
    weight = weight / np.where(total == 0, 1.0, total)
    return Taps(np.clip(index, 0, size - 1), weight.astype(np.float32))


def _centers(out: int, span: Span, grid: Grid) -> Floats:
    """Where the pixels of the result are in the source."""
    place = np.arange(out, dtype=np.float64)
    if grid == "centers":
        return span.start + (place + 0.5) * (span.length / out)
    if grid == "corners":
        return span.start + place * (span.length / out)
    return span.start + place * ((span.length - 1) / max(out - 1, 1))


def _area(size: int, out: int, span: Span) -> Taps:
    scale = span.length / out
    begin = span.start + np.arange(out) * scale
    # A source that is enlarged has no area of several pixels: OpenCV and TensorFlow then take parts of one.
    end = begin + scale
    first = np.floor(begin + 1e-9).astype(np.intp)
    index = first[:, None] + np.arange(int(np.ceil(scale)) + 1)
    covers = np.minimum(index + 1, end[:, None]) - np.maximum(index, begin[:, None])
    weight = np.clip(covers, 0.0, None)
    weight = weight / weight.sum(axis=1, keepdims=True)
    return Taps(np.clip(index, 0, size - 1), weight.astype(np.float32))


def weighted(image: NDArray[Any], rows: Taps, columns: Taps) -> NDArray[np.float32]:
    """Resizes an image by weights of its two axes.

    Args:
        image: (H, W, C).
        rows: of its height.
        columns: of its width.

    Returns:
        (h, w, C) float32.
    """
    # The axis that shrinks more first: less is left to do.
    if len(rows.index) * image.shape[1] <= len(columns.index) * image.shape[0]:
        return _along_columns(_along_rows(image, rows), columns)
    return _along_rows(_along_columns(image, columns), rows)


def _along_rows(image: NDArray[Any], by: Taps) -> NDArray[np.float32]:
    if _is_dense(image.shape[0], by):
        flat = image.reshape(image.shape[0], -1).astype(np.float32, copy=False)
        return np.asarray(_matrix(image.shape[0], by) @ flat, np.float32).reshape(-1, *image.shape[1:])
    total = np.zeros((len(by.index), *image.shape[1:]), np.float32)
    for tap in range(by.index.shape[1]):
        total += image[by.index[:, tap]] * by.weight[:, tap, None, None]
    return total


def _along_columns(image: NDArray[Any], by: Taps) -> NDArray[np.float32]:
    if _is_dense(image.shape[1], by):
        return np.asarray(_matrix(image.shape[1], by) @ image.astype(np.float32, copy=False), np.float32)
    turned = np.ascontiguousarray(image.swapaxes(0, 1))
    return np.ascontiguousarray(_along_rows(turned, by).swapaxes(0, 1))


def _is_dense(size: int, by: Taps) -> bool:
    """Whether a product with a whole matrix is faster than sums over the taps."""
    return bool(by.index.shape[1] * _DENSE > size)


def _matrix(size: int, by: Taps) -> NDArray[np.float32]:
    matrix = np.zeros((len(by.index), size), np.float32)
    for tap in range(by.index.shape[1]):
        np.add.at(matrix, (np.arange(len(by.index)), by.index[:, tap]), by.weight[:, tap])
    return matrix
