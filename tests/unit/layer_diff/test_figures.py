"""Running nRMSE against the definition on whole arrays."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from windtunnel.layer_diff.figures import LayerSums


@given(seed=st.integers(0, 10_000), samples=st.integers(1, 6), size=st.integers(1, 9), scale=st.floats(1e-3, 1e3))
def test_streaming_equals_the_definition(seed: int, samples: int, size: int, scale: float) -> None:
    draw = np.random.default_rng(seed)
    a = draw.normal(size=(samples, size)) * scale
    b = a + draw.normal(size=a.shape) * scale * 0.1
    sums = LayerSums()
    for left, right in zip(a, b, strict=True):
        sums.add(left, right)
    found = sums.figures()
    value_range = max(np.ptp(a), np.ptp(b))
    assert found.rmse == pytest.approx(np.sqrt(((a - b) ** 2).mean()))
    assert found.value_range == pytest.approx(value_range)
    if value_range:
        assert found.nrmse == pytest.approx(np.sqrt(((a - b) ** 2).mean()) / value_range)


@pytest.mark.parametrize(
    ("reference", "candidate", "nrmse", "problem"),
    [
        ([1.0, 1.0], [1.0, 1.0], 0.0, None),
        ([0.0, 0.0], [0.0, 0.0], 0.0, None),
        ([1.0, 1.0], [2.0, 2.0], None, "constant_differs"),
        ([0.0, 1.0], [0.0, 1.0], 0.0, None),
        ([0.0, 1.0], [0.5, 0.5], 0.5, None),
        ([0.0, 1.0], [0.0, np.nan], None, "non_finite"),
        ([0.0, np.inf], [0.0, 1.0], None, "non_finite"),
        ([0.0, np.inf], [0.0, np.inf], None, "non_finite"),
        ([0.0, 1.0], [0.0], None, "shape_differs"),
        ([], [], 0.0, None),
    ],
)
def test_edges(reference: list[float], candidate: list[float], nrmse: float | None, problem: str | None) -> None:
    sums = LayerSums()
    sums.add(np.array(reference), np.array(candidate))
    found = sums.figures()
    assert (found.nrmse, found.problem) == (nrmse, problem)


def test_one_bad_sample_is_not_forgotten() -> None:
    sums = LayerSums()
    for value in (1.0, np.nan, 2.0):
        sums.add(np.array([0.0, 1.0]), np.array([0.0, value]))
    assert sums.figures().problem == "non_finite"
    assert (sums.candidate_non_finite, sums.reference_non_finite) == (1, 0)
