"""Samples of an app on a page: raw, fed, expected and the difference as small pictures, spectrograms and tokens."""

from __future__ import annotations

import base64
import io
import re
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from windtunnel.cli.report.app_page.app_page import app_page
from windtunnel.cli.report.app_page.app_samples import Sample, samples_section
from windtunnel.cli.report.app_page.pictures import spectrogram

RANDOM = np.random.default_rng(3)
RAW = RANDOM.integers(0, 256, (30, 40, 3), dtype=np.uint8)
EXPECTED = RANDOM.uniform(-1, 1, (1, 8, 8, 3))


def pictures(page: str) -> list[NDArray[Any]]:
    """The pictures of a page, as their bytes say."""
    found = re.findall(r'src="data:image/png;base64,([A-Za-z0-9+/=]+)"', page)
    return [np.asarray(Image.open(io.BytesIO(base64.b64decode(one))).convert("RGB")) for one in found]


def test_images_are_shown_as_they_were_fed() -> None:
    fed = EXPECTED[..., ::-1]
    page = samples_section([Sample("frame 3", RAW, fed, EXPECTED, 0.31)])
    raw, app, reference, difference = pictures(page)
    assert raw.shape == (126, 168, 3) and app.shape == reference.shape == (168, 168, 3)
    assert np.array_equal(app, reference[..., ::-1]), "the app's channels are exchanged"
    expected = np.rint((EXPECTED[0] - EXPECTED.min()) / np.ptp(EXPECTED) * 255)
    assert np.array_equal(reference[::21, ::21], expected)
    assert difference.any() and "frame 3" in page and "0.31" in page


def test_a_wrong_range_is_seen() -> None:
    page = samples_section([Sample("frame 0", RAW, (EXPECTED + 1) / 2, EXPECTED)])
    _, app, reference, _ = pictures(page)
    assert app.mean() > reference.mean() + 40
    assert "-0.99" in page or "-1" in page


def test_equal_inputs_have_no_picture_of_a_difference() -> None:
    page = samples_section([Sample("frame 0", RAW, EXPECTED, EXPECTED, 0.0)])
    assert len(pictures(page)) == 3 and "the same" in page


def test_other_shapes_are_named() -> None:
    page = samples_section([Sample("frame 0", RAW, np.zeros((1, 9, 8, 3)), EXPECTED)])
    assert "the shapes differ: 1 x 9 x 8 x 3, 1 x 8 x 8 x 3" in page


def test_planes_are_shown_as_an_image() -> None:
    planes = np.moveaxis(EXPECTED, -1, 1)
    first = pictures(samples_section([Sample("a", None, planes, planes)]))
    assert np.array_equal(first[0], pictures(samples_section([Sample("a", None, EXPECTED, EXPECTED)]))[0])


@pytest.mark.parametrize("fed", [np.zeros((98, 40)), RANDOM.normal(size=16000), np.full((1, 98, 40), np.nan)])
def test_audio_is_a_spectrogram(fed: NDArray[Any]) -> None:
    wave = np.sin(np.arange(16000) * 0.3).astype(np.float32)
    page = samples_section([Sample("frame 0", wave, fed, None)])
    assert len(pictures(page)) == 2 and "16000 samples" in page and "not known" in page
    if np.isnan(fed).any():
        assert "no finite value" in page


def test_a_tone_is_at_its_frequency() -> None:
    found = spectrogram(np.sin(2 * np.pi * 0.125 * np.arange(8000)))
    assert set(found.argmax(axis=0)) == {32} and found.max() == 0 and found.min() >= -80


def test_token_ids_that_differ_are_marked() -> None:
    words = ["[PAD]", "[CLS]", "straße", "<b>", "[SEP]"]
    fed, expected = np.array([[1.0, 3, 4, 0]]), np.array([[1.0, 2, 4, 0]])
    page = samples_section([Sample("frame 0", "Die <Straße>", fed, expected)], vocabulary=words)
    assert "<b>&lt;b&gt;</b>" in page and "<b>straße</b>" in page and "<b>[CLS]</b>" not in page
    assert "Die &lt;Straße&gt;" in page and "1 of 4 ids differ" in page
    assert ">1 2 4 0<" not in page and "1 <b>3</b> 4 0" in samples_section([Sample("a", "x", fed, expected)])


def test_what_is_missing_is_said() -> None:
    page = samples_section([Sample("frame 0", None, None, None)])
    assert page.count("not recorded") == 2 and "not known" in page and not pictures(page)
    assert samples_section([]) == ""


def test_the_page_is_one_harmless_file() -> None:
    document = {
        "schema": "windtunnel.diagnosis/1",
        "verdict": "broken",
        "causes": [],
        "reasons": ["it feeds <blue> first"],
        "edge": {"source": "edge.npz", "device": {"device": "Pixel <9>"}},
    }
    page = app_page(document, [[Sample("<script>", RAW, EXPECTED, EXPECTED)]], model="m<1>.tflite")
    assert "<script" not in page and "m&lt;1&gt;.tflite" in page and "Pixel &lt;9&gt;" in page
    assert len(pictures(page)) == 3 and "://" not in re.sub(r"data:image[^\"]*", "", page)
    assert "img-src data:" in page and "it feeds &lt;blue&gt; first" in page
    both = app_page(document | {"recordings": [document, document | {"verdict": "healthy"}]}, [], model="m")
    assert both.count("edge.npz") == 2 and "Healthy" in both and "Broken" in both
