"""Samples for a page: what the app fed next to what the pipeline feeds, those that differ most first."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from support.graphs import GraphWriter
from windtunnel.diagnosis.app_diagnosis.sample_views import sample_views

PIPELINE = {
    "schema": "windtunnel.pipeline/1",
    "task": "classification",
    "steps": [
        {"op": "resize", "size": [4, 4], "method": "bilinear"},
        {"op": "normalize", "scale": 1 / 255, "offset": 0},
    ],
}
RAW = np.random.default_rng(1).integers(0, 256, (9, 4, 4, 3), dtype=np.uint8)
RIGHT = (RAW / 255).astype(np.float32)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    writer = GraphWriter()
    image = writer.tensor("image", (1, 4, 4, 3))
    scores = writer.dense("scores", image, np.ones((2, 48), np.float32), np.zeros(2, np.float32))
    return writer.write(tmp_path / "m.tflite", [image], [scores])


def _edge(folder: Path, fed: NDArray[Any], **more: Any) -> Path:
    np.savez(folder / "edge.npz", input=fed, output=np.zeros((len(fed), 2), np.float32), **more)
    return folder / "edge.npz"


def test_the_worst_come_first(model: Path, tmp_path: Path) -> None:
    fed = RIGHT.copy()
    fed[5], fed[2] = fed[5] + 0.5, fed[2] + 0.1
    (found,) = sample_views(model, [_edge(tmp_path, fed, raw=RAW)], PIPELINE, most=3)
    assert found.frames == 9 and found.source.endswith("edge.npz") and len(found.views) == 3
    assert [view.frame for view in found.views[:2]] == [5, 2]
    first = found.views[0]
    assert isinstance(first.raw, np.ndarray) and np.array_equal(first.raw, RAW[5])
    assert first.fed is not None and first.expected is not None and first.fed.shape == first.expected.shape
    assert np.allclose(first.fed - first.expected, 0.5, atol=1e-6) and first.nrmse is not None
    assert found.views[2].nrmse == pytest.approx(0, abs=1e-6)


def test_without_raw_samples_or_a_pipeline_nothing_is_expected(model: Path, tmp_path: Path) -> None:
    for pipeline, more in ((PIPELINE, {}), (None, {"raw": RAW})):
        (found,) = sample_views(model, [_edge(tmp_path, RIGHT, **more)], pipeline)
        assert all(view.expected is None and view.nrmse is None and view.fed is not None for view in found.views)


def test_an_input_of_another_size_is_shown_as_it_is(model: Path, tmp_path: Path) -> None:
    (found,) = sample_views(model, [_edge(tmp_path, np.zeros((9, 5, 4, 3), np.float32), raw=RAW)], PIPELINE)
    view = found.views[0]
    assert view.fed is not None and view.fed.shape == (5, 4, 3) and view.nrmse is None and view.expected is not None
