"""What an app does to images is found by reproducing what it fed: alone and combined; a right app has none."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from windtunnel.diagnosis.playback.image_inputs import explain_image_inputs
from windtunnel.diagnosis.playback.synthesis.explanation import Explanation
from windtunnel.pipeline import Pipeline, resize

pytestmark = pytest.mark.heavy
SIZE = (64, 64)
Photo = NDArray[np.uint8]
Values = NDArray[np.float64]
Resize = Callable[[Photo], Values]
STEPS: list[dict[str, Any]] = [
    {"op": "resize", "size": list(SIZE), "method": "bilinear"},
    {"op": "normalize", "scale": 2 / 255, "offset": -1.0},
]


@cache
def photos() -> tuple[Photo, ...]:
    """Parts of two real photos, 240 x 320."""
    from sklearn.datasets import load_sample_images

    draw, images = np.random.default_rng(5), load_sample_images().images
    found = []
    for number in range(6):
        image = images[number % 2]
        top, left = draw.integers(0, image.shape[0] - 240), draw.integers(0, image.shape[1] - 320)
        found.append(np.ascontiguousarray(image[top : top + 240, left : left + 320]))
    return tuple(found)


def exact(image: Photo) -> Values:
    return np.asarray(resize(image[None], SIZE)[0], np.float64)


def rounded(image: Photo) -> Values:
    return np.rint(exact(image))


def pillow(method: Image.Resampling) -> Resize:
    def of(image: Photo) -> Values:
        return np.asarray(Image.fromarray(np.ascontiguousarray(image)).resize(SIZE[::-1], method), np.float64)

    return of


def square(image: Photo) -> Photo:
    side = min(image.shape[:2])
    top, left = (image.shape[0] - side) // 2, (image.shape[1] - side) // 2
    return image[top : top + side, left : left + side]


def explain(fed: Sequence[Values], steps: Sequence[dict[str, Any]] = STEPS) -> Explanation:
    pipeline = Pipeline.parse({"schema": "windtunnel.pipeline/1", "steps": list(steps)})
    reference = np.asarray(pipeline.apply(list(photos())), np.float64)
    return explain_image_inputs(pipeline, photos(), np.stack(fed).reshape(reference.shape), reference)


def codes(explanation: Explanation) -> list[str]:
    return sorted(str(one.code).removeprefix("preprocessing.") for one in explanation.findings)


def signed(pixels: Values) -> Values:
    return pixels * (2 / 255) - 1


@pytest.mark.parametrize("of", [exact, rounded], ids=["exact", "rounded to 8 bits"])
def test_an_app_that_does_what_the_pipeline_says_is_right(of: Resize) -> None:
    found = explain([signed(of(photo)) for photo in photos()])
    assert not found.findings
    assert found.before is not None and found.before < 0.0017


@pytest.mark.parametrize(
    ("code", "app"),
    [
        ("channel_order", lambda photo: signed(rounded(photo))[..., ::-1]),
        ("range", lambda photo: rounded(photo) / 255),
        ("range", lambda photo: (rounded(photo) / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]),
        ("resize", lambda photo: signed(pillow(Image.Resampling.BILINEAR)(photo))),
        ("resize", lambda photo: signed(pillow(Image.Resampling.NEAREST)(photo))),
        ("resize", lambda photo: signed(pillow(Image.Resampling.LANCZOS)(photo))),
        ("orientation", lambda photo: signed(rounded(np.rot90(photo)))),
        ("orientation", lambda photo: signed(rounded(photo[:, ::-1]))),
        ("crop", lambda photo: signed(rounded(square(photo)))),
        ("dtype", lambda photo: signed(np.floor(exact(photo)))),
        ("color", lambda photo: signed(255 * (exact(photo) / 255) ** (1 / 2.2))),
        ("layout", lambda photo: signed(rounded(photo)).transpose(2, 0, 1)),
    ],
)
def test_a_difference_alone_is_named(code: str, app: Callable[[Photo], Values]) -> None:
    found = explain([app(photo) for photo in photos()])
    assert codes(found) == [code]
    assert found.after < 0.005
    (finding,) = found.findings
    assert finding.proof.without > 2 * finding.proof.explained
    assert all(finding.words()) and finding.fix().to_json()["action"]


def test_differences_together_are_each_named() -> None:
    antialiased = pillow(Image.Resampling.BILINEAR)
    found = explain([antialiased(np.rot90(photo, 3))[..., ::-1] / 255 for photo in photos()])
    assert codes(found) == ["channel_order", "orientation", "range", "resize"]


def test_some_frames_may_be_turned() -> None:
    fed = [signed(rounded(np.rot90(photo) if number < 2 else photo)) for number, photo in enumerate(photos())]
    (finding,) = explain(fed).findings
    assert finding.evidence()["turned"] == 2 and finding.evidence()["of_frames"] == 6
    assert "EXIF" in finding.fix().to_json()["action"]


def test_the_range_says_how_to_mend_it() -> None:
    (finding,) = explain([rounded(photo) / 255 for photo in photos()]).findings
    assert finding.evidence()["scale"] == [pytest.approx(2, abs=2e-3)]
    assert finding.evidence()["offset"] == [pytest.approx(-1, abs=2e-3)]
    assert finding.evidence()["app"] == "pixels 0 to 255 become 0 to 1"


def test_a_model_with_planes_of_channels() -> None:
    steps = [*STEPS, {"op": "layout", "to": "NCHW"}]
    right = [signed(rounded(photo)).transpose(2, 0, 1) for photo in photos()]
    assert not explain(right, steps).findings
    assert codes(explain([signed(rounded(photo)) for photo in photos()], steps)) == ["layout"]


def test_a_crop_of_the_pipeline_that_the_app_leaves_out() -> None:
    steps = [{"op": "resize", "size": [72, 72]}, {"op": "central_crop", "size": list(SIZE)}, STEPS[1]]
    assert codes(explain([signed(rounded(photo)) for photo in photos()], steps)) == ["crop"]


@pytest.mark.parametrize("later", [0, 1])
def test_a_letterbox_that_rounds_to_whole_pixels_differently_is_right(later: int) -> None:
    wanted = (60, 50)
    steps = [{"op": "letterbox", "size": list(wanted), "value": 114}, STEPS[1]]
    fed = []
    for photo in photos():
        fit = max(photo.shape[0] / wanted[0], photo.shape[1] / wanted[1])
        inner = round(photo.shape[0] / fit), round(photo.shape[1] / fit)
        top, left = ((side - size + later) // 2 for side, size in zip(wanted, inner, strict=True))
        image = np.full((*wanted, 3), 114.0)
        image[top : top + inner[0], left : left + inner[1]] = np.rint(resize(photo[None], inner)[0])
        fed.append(signed(image))
    found = explain(fed, steps)
    assert not found.findings
    assert codes(explain([one[..., ::-1] for one in fed], steps)) == ["channel_order"]
