"""How an app prepares a photo for its model: all that can differ from one app to another, as values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from support.app_faults.images.models import CONVENTIONS, ImageModel, Numbers
from support.app_faults.images.resamplers import RESAMPLERS, RIGHT
from support.app_faults.runs import Quantized

Pixels = NDArray[Any]
# The eight orientations that a photo's EXIF data can ask for, as counter-clockwise turns and a mirror before them.
TURNS = {
    "rotate90": (1, False),
    "rotate180": (2, False),
    "rotate270": (3, False),
    "mirror": (0, True),
    "upside": (2, True),
    "transpose": (1, True),
    "transverse": (3, True),
}
_KR_KB = {"bt601": (0.299, 0.114), "bt709": (0.2126, 0.0722)}


@dataclass(frozen=True)
class ImageApp:
    """An app. A right one has no fault in any of these.

    Attributes:
        resampler: a name of RESAMPLERS.
        fit: stretch, crop, letterbox as the model says, or a wrong one of `_fitted`.
        scale: of the normalization, with `offset`; in the order of the channels at that step.
        offset: see scale.
        turn: a name of TURNS, or empty.
        turned: the share of photos that are turned; None: all.
        color: what is done to the colors first: names of `_colored`.
        swap: whether red and blue change places.
        coarse: how values lose precision: names of `_coarse`, or empty.
        layout: right, planar or interleaved (the same shape, memory in the other order), or swapped (the other shape).
        twice: the normalization is done twice.
        pad: the value around a letterbox.
        yuv: matrix and range with which raw YUV is read.
    """

    resampler: str
    fit: str
    scale: Numbers
    offset: Numbers
    turn: str = ""
    turned: float | None = None
    color: str = ""
    swap: bool = False
    coarse: str = ""
    layout: str = "right"
    twice: bool = False
    pad: float = 0.0
    yuv: tuple[str, str] = ("bt601", "full")


def right_app(model: ImageModel, library: str) -> ImageApp:
    """The app without a fault.

    Args:
        model: its model.
        library: what it resizes with, of RIGHT[model.method].

    Returns:
        The app.
    """
    scale, offset = CONVENTIONS[model.convention]
    return ImageApp(RIGHT[model.method][library], model.fit, scale, offset, swap=model.order == "BGR", pad=model.pad)


def prepared(
    app: ImageApp, model: ImageModel, photos: Sequence[Pixels], seed: int, quantized: Quantized | None
) -> list[Pixels]:
    """What reaches the model, photo by photo.

    Args:
        app: the app.
        model: its model.
        photos: raw samples (H, W, 3) uint8.
        seed: which photos are turned, if not all are.
        quantized: the type of an integer input; None: float32.

    Returns:
        Arrays of the model's shape (or the swapped one).
    """
    rng = np.random.default_rng([seed, 31])
    return [_one(app, model, image, _turns_now(app, rng), quantized) for image in photos]


def _turns_now(app: ImageApp, rng: np.random.Generator) -> bool:
    drawn = rng.uniform()
    return bool(app.turn) and (app.turned is None or drawn < app.turned)


def _one(app: ImageApp, model: ImageModel, image: Pixels, turn: bool, quantized: Quantized | None) -> Pixels:
    if turn:
        image = turned(image, app.turn)
    image = _from_yuv(image, *app.yuv) if model.raw == "yuv" else image
    image = _colored(image, app.color)
    if app.swap:
        image = image[..., ::-1]
    values = _fitted(app, model, image).astype(np.float32)
    scale, offset = np.asarray(app.scale, np.float32), np.asarray(app.offset, np.float32)
    values = _before_normalizing(values, app.coarse, offset)
    values = values * scale + offset
    if app.twice:
        values = values * scale + offset
    values = _coarse(values, app.coarse)
    return _laid(_stored(values, quantized, app.coarse), model.layout, app.layout)


def turned(image: Pixels, turn: str) -> Pixels:
    """A photo, turned and mirrored.

    Args:
        image: (H, W, 3).
        turn: a name of TURNS.

    Returns:
        (H, W, 3) or (W, H, 3).
    """
    quarters, mirrored = TURNS[turn]
    return np.ascontiguousarray(np.rot90(image[:, ::-1] if mirrored else image, quarters))


def to_yuv(image: Pixels, matrix: str = "bt601", range_: str = "full") -> NDArray[np.uint8]:
    """A camera's YUV 4:4:4 of a photo.

    Args:
        image: uint8 RGB.
        matrix: bt601 or bt709.
        range_: full or video.

    Returns:
        uint8 YUV of the same shape.
    """
    red, blue = _KR_KB[matrix]
    r, g, b = np.moveaxis(image.astype(np.float64), -1, 0)
    y = red * r + (1 - red - blue) * g + blue * b
    u, v = (b - y) / (2 * (1 - blue)), (r - y) / (2 * (1 - red))
    if range_ == "video":
        y, u, v = 16 + y * 219 / 255, u * 224 / 255, v * 224 / 255
    return _bytes(np.stack([y, u + 128, v + 128], axis=-1))


def _bytes(values: Pixels) -> NDArray[np.uint8]:
    whole: NDArray[np.uint8] = np.clip(np.rint(values), 0, 255).astype(np.uint8)
    return whole


def _from_yuv(image: Pixels, matrix: str, range_: str) -> Pixels:
    if matrix == "opencv":
        return np.asarray(cv2.cvtColor(np.ascontiguousarray(image[..., [0, 2, 1]]), cv2.COLOR_YCrCb2RGB))
    red, blue = _KR_KB[matrix]
    y, u, v = np.moveaxis(image.astype(np.float64), -1, 0)
    u, v = u - 128, v - 128
    if range_ == "video":
        y, u, v = (y - 16) * 255 / 219, u * 255 / 224, v * 255 / 224
    r, b = y + 2 * (1 - red) * v, y + 2 * (1 - blue) * u
    g = (y - red * r - blue * b) / (1 - red - blue)
    return _bytes(np.stack([r, g, b], axis=-1))


def _colored(image: Pixels, color: str) -> Pixels:
    if not color:
        return image
    kind, _, detail = color.partition(":")
    if kind == "gamma":
        bright = 255 * (image / 255.0) ** float(detail)
        return _bytes(bright)
    written, read = detail.split(">")
    # "bt601/full>bt709/full": the camera writes one, the app reads another.
    return _from_yuv(to_yuv(image, *written.split("/")), *read.split("/"))


def _fitted(app: ImageApp, model: ImageModel, image: Pixels) -> Pixels:
    resize = RESAMPLERS[app.resampler]
    fit, _, detail = app.fit.partition(":")
    if fit == "letterbox":
        return _letterboxed(resize, image, model.size, app.pad, detail)
    if fit in ("middle", "zoom", "corner", "shift"):
        return resize(_part(image, fit, detail, model.size), model.size)
    if fit == "crop":
        before = (int(detail), int(detail)) if detail.isdigit() else model.before
        large = resize(image, before)
        spare = (before[0] - model.size[0], before[1] - model.size[1])
        top, left = (0, 0) if detail == "corner" else (spare[0] // 2, spare[1] // 2)
        return large[top : top + model.size[0], left : left + model.size[1]]
    return resize(image, model.size)


def _part(image: Pixels, fit: str, detail: str, size: tuple[int, int]) -> Pixels:
    """middle: the largest part of the model's aspect; zoom: a share of the middle; corner: the upper left of that."""
    height, width = image.shape[:2]
    if fit == "middle":
        tall = min(height, round(width * size[0] / size[1]))
        wide = min(width, round(height * size[1] / size[0]))
    else:
        tall, wide = (max(1, round(side * float(detail or 0.875))) for side in (height, width))
    top, left = (0, 0) if fit == "corner" else ((height - tall) // 2, (width - wide) // 2)
    if fit == "shift":
        top, left = height - tall, left
    return image[top : top + tall, left : left + wide]


def _letterboxed(resize: Any, image: Pixels, size: tuple[int, int], pad: float, detail: str) -> Pixels:
    height, width = image.shape[:2]
    ratio = max(height / size[0], width / size[1])
    exact = height / ratio + 1e-4, width / ratio + 1e-4
    inner = max(1, int(exact[0])), max(1, int(exact[1]))
    whole = np.full((*size, 3), pad, np.float32)
    # As tf.image.resize_with_pad: the middle of the exact size.
    top, left = int((size[0] - exact[0]) / 2 + 1e-3), int((size[1] - exact[1]) / 2 + 1e-3)
    if detail == "corner":
        top, left = 0, 0
    whole[top : top + inner[0], left : left + inner[1]] = resize(image, inner)
    return whole


def _before_normalizing(values: Pixels, coarse: str, offset: Pixels) -> Pixels:
    if coarse == "rgb565":
        return np.stack([_kept_bits(values[..., at], bits) for at, bits in enumerate((5, 6, 5))], axis=-1)
    if coarse == "rgb444":
        return _kept_bits(values, 4)
    if coarse == "floor":
        return np.floor(values)
    if coarse == "wrapped":
        # The mean is subtracted in bytes, which wrap around.
        return (np.rint(values).astype(np.int64) - 110).astype(np.uint8).astype(np.float32) + 110
    return values


def _kept_bits(values: Pixels, bits: int) -> Pixels:
    step = 256 >> bits
    return np.asarray(np.floor(np.clip(values, 0, 255) / step) * step, np.float32)


def _coarse(values: Pixels, coarse: str) -> Pixels:
    if coarse == "integers":
        return np.trunc(values)
    if coarse == "float16":
        return values.astype(np.float16).astype(np.float32)
    if coarse == "decimals":
        return np.round(values, 1).astype(np.float32)
    return values


def _stored(values: Pixels, quantized: Quantized | None, coarse: str) -> Pixels:
    if quantized is None:
        return values.astype(np.float32)
    if coarse == "unquantized":
        return np.clip(np.trunc(values), -128, 127).astype(quantized.dtype)
    limits = np.iinfo(quantized.dtype)
    steps = values / quantized.scale
    steps = np.trunc(steps) if coarse == "quantized_down" else np.rint(steps)
    return np.clip(steps + quantized.zero, limits.min, limits.max).astype(quantized.dtype)


def _laid(values: Pixels, layout: str, fault: str) -> Pixels:
    planar, interleaved = values.transpose(2, 0, 1), values
    right, wrong = (planar, interleaved) if layout == "NCHW" else (interleaved, planar)
    if fault == "right":
        return np.ascontiguousarray(right)
    wrong = np.ascontiguousarray(wrong)
    return wrong if fault == "swapped" else wrong.reshape(right.shape)
