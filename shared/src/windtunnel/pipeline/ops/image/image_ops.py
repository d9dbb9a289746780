"""The ops on the geometry of images, (n, H, W, 3). Orders of channels and dimensions are kept by who runs them."""

from __future__ import annotations

import numpy as np

from windtunnel.errors import InvalidInput
from windtunnel.pipeline.ops.image.resize import resize
from windtunnel.pipeline.ops.op_values import Array, At, Fields


def resized(images: Array, fields: Fields, at: At) -> Array:
    """Resizes as tf.image.resize.

    Args:
        images: (n, H, W, 3).
        fields: `size`, `method`, `antialias`.
        at: the place of the step.

    Returns:
        float32 (n, *size, 3).
    """
    height, width = fields["size"]
    return resize(images, (height, width), fields["method"], antialias=fields["antialias"])


def central_crop(images: Array, fields: Fields, at: At) -> Array:
    """Cuts out the middle; the odd pixel stays below and to the right.

    Args:
        images: (n, H, W, 3).
        fields: `size`.
        at: the place of the step.

    Returns:
        (n, *size, 3) of the same type.

    Raises:
        InvalidInput: the images are smaller.
    """
    height, width = fields["size"]
    if height > images.shape[1] or width > images.shape[2]:
        raise InvalidInput(
            f"{at.where}: cannot crop {height}x{width} from an image of {images.shape[1]}x{images.shape[2]}",
            hint="resize first",
        )
    top, left = (images.shape[1] - height) // 2, (images.shape[2] - width) // 2
    return images[:, top : top + height, left : left + width]


def letterbox(images: Array, fields: Fields, at: At) -> Array:
    """Fits inside, centers and pads as tf.image.resize_with_pad; its float32 decides if a side is nearly whole.

    Args:
        images: (n, H, W, 3).
        fields: `size`, `method`, `antialias`, `value`.
        at: the place of the step.

    Returns:
        float32 (n, *size, 3).
    """
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


def rotate(images: Array, fields: Fields, at: At) -> Array:
    """Turns counter-clockwise, as tf.image.rot90 and numpy.rot90.

    Args:
        images: (n, H, W, 3).
        fields: `degrees`.
        at: the place of the step.

    Returns:
        (n, H or W, W or H, 3) of the same type.
    """
    return np.rot90(images, fields["degrees"] // 90, axes=(1, 2))


def mirror(images: Array, fields: Fields, at: At) -> Array:
    """Swaps left and right, or top and bottom.

    Args:
        images: (n, H, W, 3).
        fields: `axis`.
        at: the place of the step.

    Returns:
        (n, H, W, 3) of the same type.
    """
    return images[:, :, ::-1] if fields["axis"] == "horizontal" else images[:, ::-1]
