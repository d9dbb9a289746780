"""What the color ops compute, compared with the standards' definitions and OpenCV."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from windtunnel.errors import InvalidInput
from windtunnel.pipeline import Pipeline

Array = npt.NDArray[Any]
LUMA = {"bt601": (0.299, 0.587, 0.114), "bt709": (0.2126, 0.7152, 0.0722)}


def apply(images: Any, *steps: dict[str, Any]) -> Array:
    return Pipeline.parse({"schema": "windtunnel.pipeline/1", "steps": list(steps)}).apply(images)


@pytest.fixture
def images() -> Array:
    return np.random.default_rng(1).integers(0, 256, (2, 16, 12, 3), dtype=np.uint8)


def to_yuv(rgb: Array, matrix: str, value_range: str) -> Array:
    """The standards' definition, from RGB to YUV; not rounded."""
    red, green, blue = (rgb[..., channel].astype(np.float64) for channel in range(3))
    kr, kg, kb = LUMA[matrix]
    y = kr * red + kg * green + kb * blue
    u, v = (blue - y) / (2 - 2 * kb), (red - y) / (2 - 2 * kr)
    if value_range == "video":
        y, u, v = 16 + 219 / 255 * y, 224 / 255 * u, 224 / 255 * v
    return np.stack([y, u + 128, v + 128], -1)


@pytest.mark.parametrize("matrix", LUMA)
@pytest.mark.parametrize("value_range", ["full", "video"])
def test_yuv_to_rgb_inverts_the_standard(matrix: str, value_range: str, images: Array) -> None:
    yuv = to_yuv(images, matrix, value_range)
    rounded = np.clip(np.rint(yuv), 0, 255).astype(np.uint8)
    result = apply(rounded, {"op": "yuv_to_rgb", "matrix": matrix, "range": value_range})
    assert result.dtype == np.float32
    # Half a step of each of Y, U and V, at most 0.5 * (255/219 + 255/224 * 1.86).
    assert np.abs(result - images).max() < 1.7
    assert np.abs(to_yuv(result, matrix, value_range) - yuv).mean() < 0.5


def test_values_are_clipped_and_not_rounded() -> None:
    extreme = np.array([[[[255, 0, 255], [0, 255, 0], [100, 128, 129]]]], np.uint8)
    result = apply(extreme, {"op": "yuv_to_rgb", "matrix": "bt601", "range": "full"})
    assert result.min() == 0
    assert result.max() == 255
    np.testing.assert_allclose(result[0, 0, 2], [101.402, 100 - 0.714136, 100], atol=1e-4)


def test_full_range_of_bt601_as_opencv_has_it(images: Array) -> None:
    # OpenCV's YCrCb is JPEG's, with the chroma exchanged; it rounds.
    theirs = cv2.cvtColor(np.ascontiguousarray(images[0][..., [0, 2, 1]]), cv2.COLOR_YCrCb2RGB)
    ours = apply(images[:1], {"op": "yuv_to_rgb", "matrix": "bt601", "range": "full"})[0]
    assert np.abs(ours - theirs).max() <= 1.0


def test_video_range_of_bt601_as_opencv_has_it(images: Array) -> None:
    # NV21 of blocks of 2x2 equal pixels is 4:4:4. Below black OpenCV takes luma for black.
    small = images[0, :8, :6].clip(16, 255)
    planes = np.concatenate([small[..., 0].repeat(2, 0).repeat(2, 1), small[..., [2, 1]].reshape(8, 12)])
    theirs = cv2.cvtColor(np.ascontiguousarray(planes), cv2.COLOR_YUV2RGB_NV21)[::2, ::2]
    ours = apply(small[None], {"op": "yuv_to_rgb", "matrix": "bt601", "range": "video"})[0]
    assert np.abs(ours - theirs).max() <= 1.5


@pytest.mark.parametrize("exponent", [0.45, 1, 2.2])
def test_gamma(exponent: float, images: Array) -> None:
    result = apply(images, {"op": "gamma", "exponent": exponent})
    np.testing.assert_allclose(result, 255 * (images / 255) ** exponent, rtol=1e-6)
    table = np.rint(255 * (np.arange(256) / 255) ** exponent).astype(np.uint8)
    assert np.abs(result - cv2.LUT(images.reshape(-1, 3), table).reshape(images.shape)).max() <= 0.501


def test_gamma_after_normalize_is_named(images: Array) -> None:
    with pytest.raises(InvalidInput, match=r"step 1 \(gamma\).*below 0.*before normalize"):
        apply(images, {"op": "normalize", "scale": 1, "offset": -128}, {"op": "gamma", "exponent": 2})


def test_rotation_and_mirror_as_opencv_has_them(images: Array) -> None:
    for degrees, code in ((90, cv2.ROTATE_90_COUNTERCLOCKWISE), (180, cv2.ROTATE_180), (270, cv2.ROTATE_90_CLOCKWISE)):
        theirs = np.stack([cv2.rotate(image, code) for image in images])
        assert (apply(images, {"op": "rotate", "degrees": degrees}) == theirs).all()
    assert (apply(images, {"op": "mirror"}) == np.stack([cv2.flip(image, 1) for image in images])).all()


def test_area_as_opencv_has_it(images: Array) -> None:
    ours = apply(images, {"op": "resize", "size": [8, 6], "method": "area"})
    theirs = np.stack([cv2.resize(image, (6, 8), interpolation=cv2.INTER_AREA) for image in images])
    assert np.abs(ours - theirs).max() <= 0.51


def test_bilinear_as_opencv_has_it(images: Array) -> None:
    ours = apply(images, {"op": "resize", "size": [31, 7]})
    theirs = [cv2.resize(image.astype(np.float32), (7, 31), interpolation=cv2.INTER_LINEAR) for image in images]
    np.testing.assert_allclose(ours, np.stack(theirs), atol=1e-3)


def test_antialiased_bilinear_is_near_pillow_s(images: Array) -> None:
    from PIL import Image

    ours = apply(images, {"op": "resize", "size": [5, 7], "antialias": True})
    theirs = [np.asarray(Image.fromarray(image).resize((7, 5), Image.Resampling.BILINEAR)) for image in images]
    assert np.abs(ours - np.stack(theirs)).max() <= 1.0
