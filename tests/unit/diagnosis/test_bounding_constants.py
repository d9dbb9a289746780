"""A constant far beyond the data of the same op sets their scale: it is named, and no calibration."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from support.layers import Layers, options, random_weights
from windtunnel.diagnosis import Comparison, compare_models
from windtunnel.diagnosis.findings.codes import CauseCode

ROWS = np.random.default_rng(5).normal(size=(16, 12)).astype(np.float32)
# No value of the hidden layer is larger; so 0 is the last integer where the constant is far below.
LARGEST, ZERO = 6.0, 126


def _bounded(path: Path, op: str, constant: float, scale: float | None = None) -> Path:
    """A hidden layer with its RELU, and `constant` next to it. `scale`: of what is stored in int8."""
    net = Layers()
    stored: dict[str, Any] = {} if scale is None else {"dtype": "int8", "scales": [scale], "zeros": [ZERO]}
    if scale is not None and constant == 0.0:
        stored["zeros"] = [-128]
    source = net.tensor("input", (1, 12))
    hidden = net.fully_connected("hidden", source, random_weights((16, 12), seed=1), None, 1, "RELU")
    row = net.reshape("row", hidden, (1, 1, 16, 1))
    if scale is not None:
        row = _moved(net, "QUANTIZE", "row_int8", row, (1, 1, 16, 1), stored)
    real = np.full((1, 1, 1, 1) if op == "CONCATENATION" else (1,), constant, np.float32)
    value = net.tensor("value", real.shape, data=real if scale is None else _integers(real, stored), **stored)
    wide = (1, 1, 16 if op == "MAXIMUM" else 18, 1)
    joint = net.tensor("joint", wide, **stored)
    if op == "PADV2":
        ends = net.constant("ends", np.array([[0, 0], [0, 0], [1, 1], [0, 0]], np.int32))
        net.op(op, [row, ends, value], [joint], options("PadV2"), 2)
    elif op == "CONCATENATION":
        net.op(op, [value, row, value], [joint], options("Concatenation", axis=2), 2)
    else:
        net.op(op, [row, value], [joint], options("MaximumMinimum"), 2)
    if scale is not None:
        joint = _moved(net, "DEQUANTIZE", "joint_real", joint, wide, {})
    sized = options("Pool2D", filterWidth=3, filterHeight=1, strideW=1, strideH=1, padding="VALID")
    most = net.layer("MAX_POOL_2D", "most", [joint], (1, 1, wide[2] - 2, 1), sized)
    flat = net.reshape("flat", most, (1, wide[2] - 2))
    head = net.fully_connected("head", flat, random_weights((4, wide[2] - 2), seed=3), None, 1)
    return net.write(path, [source], [head])


def _moved(net: Layers, op: str, name: str, source: int, shape: Sequence[int], stored: dict[str, Any]) -> int:
    made = net.tensor(name, shape, **stored)
    net.op(op, [source], [made], options(op.capitalize()), 2)
    return made


def _integers(real: NDArray[np.float32], stored: dict[str, Any]) -> NDArray[np.int8]:
    made: NDArray[np.int8] = np.clip(np.rint(real / stored["scales"][0]) + stored["zeros"][0], -128, 127).astype(
        np.int8
    )
    return made


def _compare(folder: Path, op: str, constant: float) -> Comparison:
    scale = (LARGEST - constant) / 255
    model = _bounded(folder / "r.tflite", op, constant)
    candidate = _bounded(folder / "c.tflite", op, constant, scale)
    np.savez(folder / "s.npz", x=ROWS)
    return compare_models(model, candidate, folder / "s.npz", accelerator="none")


@pytest.mark.heavy
@pytest.mark.parametrize("op", ["PADV2", "CONCATENATION", "MAXIMUM"])
@pytest.mark.parametrize("constant", [-1e9, -1000.0])
def test_a_constant_that_sets_the_scale_is_named(tmp_path: Path, op: str, constant: float) -> None:
    result = _compare(tmp_path, op, constant)
    (cause,) = result.causes
    assert (cause.code, cause.layer) == (CauseCode.SHARED_SCALE, "joint")
    assert cause.evidence["mask"] == {"constant": "value", "size": -constant}
    assert "calibrating again does not help" in cause.fix["action"]
    assert "softmax" not in cause.fix["action"]


@pytest.mark.parametrize("op", ["PADV2", "CONCATENATION", "MAXIMUM"])
def test_a_constant_at_the_end_of_the_data_is_no_fault(tmp_path: Path, op: str) -> None:
    result = _compare(tmp_path, op, 0.0)
    assert (result.verdict, result.causes) == ("healthy", ())
