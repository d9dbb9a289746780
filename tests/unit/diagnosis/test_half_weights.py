"""Weights beyond what float16 holds are named with its range; smaller ones lose only their last bits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from support.layers import Layers, options, random_samples, random_weights
from windtunnel.diagnosis import Comparison, compare_models

WEIGHTS = random_weights((6, 8), seed=1, scale=1.0)


def _dense(path: Path, factor: float, *, half: bool) -> Path:
    """A dense layer whose weights are `factor` times as large as they need to be; `half`: stored as float16."""
    net = Layers()
    source = net.tensor("input", (1, 8))
    small = net.with_constant("MUL", "small", source, np.array(1.0 / factor, np.float32), (1, 8))
    weights = WEIGHTS * np.float32(factor)
    if half:
        stored = net.tensor("weights/half", weights.shape, "float16", data=np.clip(weights, -65504, 65504))
        constant = net.layer("DEQUANTIZE", "weights", [stored], weights.shape)
    else:
        constant = net.constant("weights", weights)
    dense = net.layer("FULLY_CONNECTED", "dense", [small, constant], (1, 6), options("FullyConnected"))
    return net.write(path, [source], [dense])


def _compare(folder: Path, factor: float) -> Comparison:
    models = _dense(folder / "r.tflite", factor, half=False), _dense(folder / "c.tflite", factor, half=True)
    return compare_models(*models, random_samples(folder / "s.npz", (8,)))


@pytest.mark.parametrize("factor", [1e6, 6e4])
def test_weights_beyond_float16_are_named_with_its_range(tmp_path: Path, factor: float) -> None:
    (cause,) = _compare(tmp_path, factor).causes
    assert (cause.code, cause.layer) == ("conversion.weights", "dense")
    assert "float16 ends at 65504" in cause.fix["action"]
    assert cause.evidence["float16"]["largest"] > cause.evidence["float16"]["limit"] == 65504.0


def test_weights_within_float16_are_no_fault(tmp_path: Path) -> None:
    result = _compare(tmp_path, 1e4)
    assert (result.verdict, result.causes) == ("healthy", ())
