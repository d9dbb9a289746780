"""The image ops, on (N, H, W, 3) arrays. A change of layout takes effect at the end: no op depends on it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from windtunnel.errors import InvalidInput
from windtunnel.pipeline.resize import resize

Images = NDArray[Any]
Fields = Mapping[str, Any]
Steps = Sequence[tuple[str, Fields]]


def run(steps: Steps, raw: Images | Sequence[Images]) -> Images:
    """Applies image steps to raw images; see Pipeline.apply.

    Args:
        steps: op and fields of each step, in order.
        raw: uint8 RGB (N, H, W, 3), or a list of (H, W, 3) of any sizes, or numbers (N, ...) for steps that work value
            by value.

    Returns:
        (N, H', W', 3), or (N, 3, H', W') after `layout` NCHW.

    Raises:
        InvalidInput: the images do not fit the steps, or results differ in shape.
    """
    if isinstance(raw, np.ndarray) and _is_pointwise(steps, raw):
        return _run(steps, raw)
    if isinstance(raw, np.ndarray):
        return _run(steps, _checked(raw, 4))
    if not len(raw):
        raise InvalidInput("there are no images")
    results = [_run(steps, _checked(one, 3)[None]) for one in raw]
    shapes = {result.shape[1:] for result in results}
    if len(shapes) > 1:
        raise InvalidInput(
            f"the images have different shapes after the pipeline: {', '.join(map(str, sorted(shapes)[:4]))}",
            hint='add a step such as {"op": "resize", "size": [224, 224]}',
        )
    return np.concatenate(results)


def _is_pointwise(steps: Steps, raw: Images) -> bool:
    """Whether all steps work value by value, and the array has the three channels of those that need them."""
    if raw.dtype.kind not in "buif" or raw.ndim < 1 or 0 in raw.shape or not steps:
        return False
    channels = raw.shape[-1] if raw.ndim >= 3 else 0
    for op, fields in steps:
        needs_channels = op == "channel_order" or (
            op == "normalize" and any(isinstance(fields[key], list) for key in ("scale", "offset"))
        )
        if op not in ("normalize", "cast", "channel_order") or (needs_channels and channels != 3):
            return False
    return True


def _checked(raw: Images, ndim: int) -> Images:
    wanted = "(N, H, W, 3)" if ndim == 4 else "(H, W, 3)"
    array = np.asarray(raw)
    if array.dtype != np.uint8 or array.ndim != ndim or array.shape[-1] != 3 or 0 in array.shape:
        raise InvalidInput(
            f"raw images are uint8 RGB {wanted}, not {array.dtype} {array.shape}",
            hint="leave the pipeline out if the samples are already what the model takes",
        )
    return array


def _run(steps: Steps, images: Images) -> Images:
    order, layout = "RGB", "NHWC"
    for index, (op, fields) in enumerate(steps):
        if op == "layout":
            layout = fields["to"]
        elif op == "channel_order":
            images = images if fields["to"] == order else images[..., ::-1]
            order = fields["to"]
        else:
            images = _OPS[op](images, fields, f"pipeline: step {index} ({op})")
    return np.ascontiguousarray(images.transpose(0, 3, 1, 2) if layout == "NCHW" else images)


def _resize(images: Images, fields: Fields, where: str) -> Images:
    height, width = fields["size"]
    return resize(images, (height, width), fields["method"], antialias=fields["antialias"])


def _central_crop(images: Images, fields: Fields, where: str) -> Images:
    height, width = fields["size"]
    if height > images.shape[1] or width > images.shape[2]:
        raise InvalidInput(
            f"{where}: cannot crop {height}x{width} from an image of {images.shape[1]}x{images.shape[2]}",
            hint="resize first",
        )
    top, left = (images.shape[1] - height) // 2, (images.shape[2] - width) // 2
    return images[:, top : top + height, left : left + width]


def _letterbox(images: Images, fields: Fields, where: str) -> Images:
    """Fits inside, centers and pads as tf.image.resize_with_pad; its float32 decides if a side is nearly whole."""
    height, width = fields["size"]
    before, target = np.asarray(images.shape[1:3], np.float32), np.asarray([height, width], np.float32)
    fitted_size = before / (before / target).max()
    inner = (max(1, int(fitted_size[0])), max(1, int(fitted_size[1])))
    top, left = (max(0, int(gap)) for gap in (target - fitted_size) / np.float32(2))
    padded = np.empty((len(images), height, width, 3), np.float32)
    padded[:] = np.asarray(fields["value"], np.float32)
    fitted = resize(images, inner, fields["method"], antialias=fields["antialias"])
    padded[:, top : top + inner[0], left : left + inner[1]] = fitted
    return padded


def _rotate(images: Images, fields: Fields, where: str) -> Images:
    """Counter-clockwise, as tf.image.rot90 and numpy.rot90."""
    return np.rot90(images, fields["degrees"] // 90, axes=(1, 2))


def _mirror(images: Images, fields: Fields, where: str) -> Images:
    return images[:, :, ::-1] if fields["axis"] == "horizontal" else images[:, ::-1]


def _normalize(images: Images, fields: Fields, where: str) -> Images:
    """y = x * scale + offset in float32; per channel in the order that the channels have at this step.

    Raises:
        InvalidInput: the result is not finite.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        scale, offset = (np.asarray(fields[key]).astype(np.float32) for key in ("scale", "offset"))
        result = images.astype(np.float32) * scale + offset
    if not np.isfinite(result).all():
        raise InvalidInput(f"{where}: the result is not finite", hint="scale and offset are too large for float32")
    return result


def _cast(images: Images, fields: Fields, where: str) -> Images:
    """To an integer: truncated toward zero as tf.cast, or rounded half to even.

    Raises:
        InvalidInput: a value is out of range, unless `saturate` is set.
    """
    dtype = np.dtype(fields["to"])
    if dtype.kind == "f":
        values, low, high = images, -float(np.finfo(dtype).max), float(np.finfo(dtype).max)
    else:
        values = np.trunc(images) if fields["rounding"] == "truncate" else np.rint(images)
        limits = np.iinfo(fields["to"])
        low, high = float(limits.min), float(limits.max)
    if fields["saturate"]:
        return np.clip(values.astype(np.float64), low, high).astype(dtype)
    if values.min() < low or values.max() > high:
        raise InvalidInput(
            f"{where}: values from {values.min():g} to {values.max():g} do not fit {dtype}",
            hint='add "saturate": true, or another normalize',
        )
    return values.astype(dtype)


_OPS: dict[str, Callable[[Images, Fields, str], Images]] = {
    "resize": _resize,
    "central_crop": _central_crop,
    "letterbox": _letterbox,
    "rotate": _rotate,
    "mirror": _mirror,
    "normalize": _normalize,
    "cast": _cast,
}
