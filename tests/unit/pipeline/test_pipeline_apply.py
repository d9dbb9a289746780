"""What the image ops compute."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from windtunnel.errors import InvalidInput
from windtunnel.pipeline import Pipeline, resize
from windtunnel.pipeline.ops.image.resize import METHODS

Images = npt.NDArray[np.uint8]


def apply(images: Any, *steps: dict[str, Any]) -> npt.NDArray[Any]:
    return Pipeline.parse({"schema": "windtunnel.pipeline/1", "steps": list(steps)}).apply(images)


@pytest.fixture
def images() -> Images:
    return np.random.default_rng(1).integers(0, 256, (2, 5, 7, 3), dtype=np.uint8)


def test_no_steps_change_nothing(images: Images) -> None:
    result = apply(images)
    assert result.dtype == np.uint8
    assert (result == images).all()


def test_normalize_in_float32(images: Images) -> None:
    result = apply(images, {"op": "normalize", "scale": 0.00784313725, "offset": -1.0})
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, images / 127.5 - 1, atol=1e-6)


def test_per_channel_follows_the_order_of_the_channels(images: Images) -> None:
    normalize = {"op": "normalize", "scale": [1, 2, 3], "offset": [10, 20, 30]}
    plain = apply(images, normalize)
    assert (plain == images * np.array([1, 2, 3.0]) + [10, 20, 30]).all()
    swapped = apply(images, {"op": "channel_order", "to": "BGR"}, normalize)
    assert (swapped == images[..., ::-1] * np.array([1, 2, 3.0]) + [10, 20, 30]).all()


def test_channel_order_is_a_goal_not_a_swap(images: Images) -> None:
    bgr = {"op": "channel_order", "to": "BGR"}
    assert (apply(images, bgr, bgr) == images[..., ::-1]).all()
    assert (apply(images, bgr, {"op": "channel_order", "to": "RGB"}) == images).all()
    assert (apply(images, {"op": "channel_order", "to": "RGB"}) == images).all()


def test_layout_takes_effect_wherever_it_stands(images: Images) -> None:
    layout = {"op": "layout", "to": "NCHW"}
    normalize: dict[str, Any] = {"op": "normalize", "scale": [1, 2, 3]}
    expected = (images * np.array([1, 2, 3.0])).transpose(0, 3, 1, 2)
    for steps in ([layout, normalize], [normalize, layout]):
        result = apply(images, *steps)
        assert result.flags.c_contiguous
        assert (result == expected).all()


@pytest.mark.parametrize(("degrees", "turns"), [(0, 0), (90, 1), (180, 2), (270, 3)])
def test_rotate_is_counter_clockwise(images: Images, degrees: int, turns: int) -> None:
    result = apply(images, {"op": "rotate", "degrees": degrees})
    assert (result == np.stack([np.rot90(image, turns) for image in images])).all()


def test_mirror(images: Images) -> None:
    assert (apply(images, {"op": "mirror"}) == images[:, :, ::-1]).all()
    assert (apply(images, {"op": "mirror", "axis": "vertical"}) == images[:, ::-1]).all()


def test_central_crop(images: Images) -> None:
    assert (apply(images, {"op": "central_crop", "size": [2, 4]}) == images[:, 1:3, 1:5]).all()
    with pytest.raises(InvalidInput, match=r"step 0.*6x2.*5x7"):
        apply(images, {"op": "central_crop", "size": [6, 2]})


def test_letterbox_fits_and_pads(images: Images) -> None:
    result = apply(images, {"op": "letterbox", "size": [14, 14], "value": [1, 2, 3], "method": "nearest"})
    assert (result[:, 2:12] == images.repeat(2, 1).repeat(2, 2)).all()
    assert (result[:, :2] == [1, 2, 3]).all()
    assert (result[:, 12:] == [1, 2, 3]).all()


def test_cast(images: Images) -> None:
    half = {"op": "normalize", "scale": 0.5, "offset": -10}
    exact = images * 0.5 - 10
    assert (apply(images, half, {"op": "cast", "to": "int32"}) == np.trunc(exact)).all()
    assert (apply(images, half, {"op": "cast", "to": "int32", "rounding": "nearest"}) == np.rint(exact)).all()
    saturated = apply(images, half, {"op": "cast", "to": "uint8", "saturate": True})
    assert saturated.dtype == np.uint8
    assert (saturated == np.trunc(np.clip(exact, 0, 255))).all()
    with pytest.raises(InvalidInput, match="saturate"):
        apply(np.zeros((1, 1, 1, 3), np.uint8), half, {"op": "cast", "to": "uint8"})


def test_images_of_different_sizes_meet_after_resize() -> None:
    mixed = [np.full((4, 6, 3), 9, np.uint8), np.full((8, 2, 3), 9, np.uint8)]
    result = apply(mixed, {"op": "resize", "size": [3, 3]})
    assert result.shape == (2, 3, 3, 3)
    np.testing.assert_allclose(result, 9)
    with pytest.raises(InvalidInput, match="different shapes"):
        apply(mixed, {"op": "mirror"})


@pytest.mark.parametrize(
    "raw",
    [
        np.zeros((2, 4, 4, 3), np.float32),
        np.zeros((4, 4, 3), np.uint8),
        np.zeros((2, 3, 4, 4), np.uint8),
        np.zeros((0, 4, 4, 3), np.uint8),
        np.zeros((1, 0, 4, 3), np.uint8),
        [],
        [np.zeros((1, 4, 4, 3), np.uint8)],
    ],
)
def test_what_are_no_raw_images_is_refused(raw: Any) -> None:
    with pytest.raises(InvalidInput):
        apply(raw, {"op": "mirror"})


def test_overflow_is_named(images: Images) -> None:
    with pytest.raises(InvalidInput, match="not finite"):
        apply(images, {"op": "normalize", "scale": 3e38})


class TestResize:
    def test_bilinear_by_hand(self) -> None:
        row = np.array([0, 100], np.uint8).reshape(1, 1, 2, 1)
        assert resize(row, (1, 4)).ravel().tolist() == [0, 25, 75, 100]

    def test_antialias_by_hand(self) -> None:
        row = np.array([0, 80, 80, 0], np.uint8).reshape(1, 1, 4, 1)
        np.testing.assert_allclose(resize(row, (1, 2), antialias=True).ravel(), [320 / 7, 320 / 7], rtol=1e-6)
        assert resize(row, (1, 2)).ravel().tolist() == [40, 40]

    def test_area_by_hand(self) -> None:
        row = np.array([0, 30, 60], np.uint8).reshape(1, 1, 3, 1)
        np.testing.assert_allclose(resize(row, (1, 2), "area").ravel(), [10, 50], rtol=1e-6)

    def test_nearest_by_hand(self) -> None:
        row = np.arange(5, dtype=np.uint8).reshape(1, 1, 5, 1)
        assert resize(row, (1, 3), "nearest").ravel().tolist() == [0, 2, 4]

    @settings(max_examples=80, deadline=None)
    @given(
        st.integers(1, 40),
        st.integers(1, 40),
        st.integers(1, 40),
        st.integers(1, 40),
        st.sampled_from(METHODS),
        st.booleans(),
        st.integers(0, 255),
    )
    def test_a_plain_image_stays_plain(
        self, height: int, width: int, new_height: int, new_width: int, method: str, antialias: bool, value: int
    ) -> None:
        plain = np.full((1, height, width, 3), value, np.uint8)
        result = resize(plain, (new_height, new_width), method, antialias=antialias)
        assert result.shape == (1, new_height, new_width, 3)
        assert result.dtype == np.float32
        np.testing.assert_allclose(result, value, atol=1e-3)

    @settings(max_examples=40, deadline=None)
    @given(st.integers(1, 30), st.integers(1, 30), st.sampled_from(["bilinear", "bicubic"]), st.booleans())
    def test_resizing_commutes_with_mirroring(self, width: int, new_width: int, method: str, antialias: bool) -> None:
        image = np.random.default_rng(width).integers(0, 256, (1, 3, width, 3), dtype=np.uint8)
        straight = resize(image, (3, new_width), method, antialias=antialias)[:, :, ::-1]
        mirrored = resize(image[:, :, ::-1], (3, new_width), method, antialias=antialias)
        # The cubic table has 1024 steps, and rounds half to even on either side.
        np.testing.assert_allclose(straight, mirrored, atol=0.3)


SIZES = [
    ((37, 53), (224, 224)),
    ((480, 640), (224, 224)),
    ((224, 224), (37, 53)),
    ((100, 100), (50, 50)),
    ((100, 100), (200, 200)),
    ((7, 5), (7, 11)),
    ((1, 1), (5, 5)),
    ((300, 2), (3, 300)),
    ((33, 77), (1, 1)),
    ((3, 197), (380, 263)),
    ((1080, 720), (300, 300)),
    ((513, 255), (256, 511)),
    ((64, 64), (64, 64)),
]


@pytest.mark.heavy
@pytest.mark.filterwarnings("ignore")
class TestAgainstTensorFlow:
    @pytest.fixture(scope="class")
    def tf(self) -> Any:
        return pytest.importorskip("tensorflow")

    @pytest.mark.parametrize("antialias", [False, True])
    @pytest.mark.parametrize("method", METHODS)
    def test_resize(self, tf: Any, method: str, antialias: bool) -> None:
        random = np.random.default_rng(7)
        drawn = [tuple(map(tuple, random.integers(1, 300, (2, 2)).tolist())) for _ in range(25)]
        for before, after in [*SIZES, *drawn]:
            images = random.integers(0, 256, (2, *before, 3), dtype=np.uint8)
            theirs = tf.image.resize(images, after, method=method, antialias=antialias).numpy().astype(np.float64)
            error = np.abs(resize(images, after, method, antialias=antialias) - theirs).max()
            assert error <= (0.0 if method == "nearest" else 1e-3), (before, after)

    @pytest.mark.parametrize("size", [[224, 224], [100, 301], [67, 95]])
    def test_letterbox(self, tf: Any, size: list[int]) -> None:
        random = np.random.default_rng(8)
        for shape in ((120, 80), (80, 120), (33, 33), (7, 200), (301, 100)):
            images = random.integers(0, 256, (1, *shape, 3), dtype=np.uint8)
            theirs = tf.image.resize_with_pad(images, *size, antialias=False).numpy()
            assert np.abs(apply(images, {"op": "letterbox", "size": size}) - theirs).max() < 1e-3, shape

    def test_rotate(self, tf: Any, images: Images) -> None:
        for degrees in (90, 180, 270):
            theirs = tf.image.rot90(images, degrees // 90).numpy()
            assert (apply(images, {"op": "rotate", "degrees": degrees}) == theirs).all()
