"""The ops on colors.

Source: ITU-R BT.601-7 and BT.709-6: luma Y = Kr R + (1 - Kr - Kb) G + Kb B, chroma U = (B - Y) / (2 - 2 Kb) and
V = (R - Y) / (2 - 2 Kr) around 128. Full range (JFIF) takes 0..255 for all three; video range takes 16..235 for luma
and 16..240 for chroma.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from windtunnel.errors import InvalidInput
from windtunnel.pipeline.ops.op_values import Array, At, Fields

# Kr and Kb: what red and blue contribute to luma.
_LUMA: Final[Mapping[str, tuple[float, float]]] = {"bt601": (0.299, 0.114), "bt709": (0.2126, 0.0722)}


def yuv_to_rgb(images: Array, fields: Fields, at: At) -> Array:
    """YUV 4:4:4 to RGB, clipped to 0..255 and not rounded.

    Args:
        images: Y, U, V in 0..255 (n, H, W, 3).
        fields: `matrix` and `range`.
        at: the place of the step.

    Returns:
        float32 (n, H, W, 3).
    """
    matrix, offset = rgb_from_yuv(fields["matrix"], fields["range"])
    result = np.empty(images.shape, np.float32)
    # Image by image: the float64 of a batch would be many times its size.
    for number, image in enumerate(images):
        result[number] = np.clip(image.astype(np.float64) @ matrix.T + offset, 0.0, 255.0)
    return result


def rgb_from_yuv(matrix: str, value_range: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The affine map of a color conversion: rgb = matrix @ yuv + offset.

    Args:
        matrix: bt601 or bt709.
        value_range: full or video.

    Returns:
        The matrix (3, 3) and the offset (3,).
    """
    red, blue = _LUMA[matrix]
    green = 1.0 - red - blue
    from_chroma = np.array(
        [[0.0, 2 - 2 * red], [-(2 - 2 * blue) * blue / green, -(2 - 2 * red) * red / green], [2 - 2 * blue, 0.0]]
    )
    black, luma, chroma = (0.0, 1.0, 1.0) if value_range == "full" else (16.0, 255 / 219, 255 / 224)
    whole = np.concatenate([np.full((3, 1), luma), from_chroma * chroma], axis=1)
    return whole, -whole @ np.array([black, 128.0, 128.0])


def gamma(values: Array, fields: Fields, at: At) -> Array:
    """255 * (x / 255) ** exponent.

    Args:
        values: images (n, H, W, 3), 0 and above.
        fields: `exponent`.
        at: the place of the step.

    Returns:
        float32 (n, H, W, 3).

    Raises:
        InvalidInput: a value is below 0, or the result is not finite.
    """
    if values.min() < 0:
        raise InvalidInput(
            f"{at.where}: the value {values.min():g} is below 0", hint="put it before normalize: it works on 0..255"
        )
    with np.errstate(over="ignore"):
        result: Array = (255.0 * (values.astype(np.float64) / 255.0) ** fields["exponent"]).astype(np.float32)
    if not np.isfinite(result).all():
        raise InvalidInput(f"{at.where}: the result is not finite", hint="give a smaller exponent")
    return result
