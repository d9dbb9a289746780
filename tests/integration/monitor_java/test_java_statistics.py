"""Statistics of the Java monitor are those of docs/edge-log.md, for arrays of many sizes, types and forms."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from support.edge_golden import _statistics_differences, slow_statistics
from support.java_monitor import JavaMonitor, array, stock_frames, values_of

pytestmark = pytest.mark.heavy
SIZES = (0, 1, 15, 16, 17, 63, 64, 65, 1023, 1024, 1025, 1088, 2047, 5000, 27648, 30001)
TYPES = ("float32", "float16", "float64", "uint8", "int8", "uint16", "int16", "int32", "int64", "bool")


def random(element: str, count: int, seed: int) -> Any:
    generator = np.random.default_rng(seed)
    kind = np.dtype(element)
    if kind.kind == "f":
        return (generator.standard_normal(count) * 50 + 7).astype(kind)
    if kind.kind == "b":
        return generator.random(count) < 0.3
    bounds = np.iinfo(kind)
    return generator.integers(max(bounds.min, -(2**40)), min(bounds.max, 2**40), count, kind, endpoint=True)


def special() -> dict[str, Any]:
    generator = np.random.default_rng(5)
    some = generator.standard_normal(3000).astype(np.float32)
    some[[0, 7, 1500, 2999]] = np.nan, np.inf, -np.inf, np.nan
    late = np.full(2100, np.nan, np.float32)
    late[1300:1310] = 3.5
    far = (generator.standard_normal(5000) * 1e-3 + 1e6).astype(np.float32)
    outlier = generator.random(27648).astype(np.float32)
    outlier[0] = 1e8
    return {
        "some": some,
        "none": np.array([np.nan, np.inf, -np.inf] * 500, np.float32),
        "late": late,
        "far": far,
        "outlier": outlier,
        "constant": np.full(2000, -0.25, np.float32),
        "zeros": np.zeros(1100, np.float32),
        "tiny": generator.standard_normal(40).astype(np.float32) * np.float32(1e-40),
        "largest": np.array([np.finfo(np.float32).max, -np.finfo(np.float32).max] * 20, np.float32),
        "beyond": np.array([1e300, 0.5, -1e200, 2.5, 1e39]),
        "halves": np.array([6e-8, -6.1e-5, 65504, np.inf, -0.0, np.nan], np.float16),
    }


def test_statistics_of_all_sizes_and_types(java: JavaMonitor, tmp_path: Path, arrays: Path) -> None:
    given = {f"{kind} {size}": random(kind, size, size) for kind in TYPES for size in SIZES} | special()
    lines = ["frame", *(f"input\t{name}\t{array(arrays, values)}" for name, values in given.items()), "close"]
    java.run(tmp_path / "log", lines, level="statistics")
    (frame,) = stock_frames(tmp_path / "log")
    assert [tensor.name for tensor in frame.tensors] == list(given)
    found = {
        tensor.name: _statistics_differences(tensor.statistics, slow_statistics(given[tensor.name]))
        for tensor in frame.tensors
    }
    assert not {name: words for name, words in found.items() if words}
    assert not any(tensor.data for tensor in frame.tensors) and not frame.left_out


@pytest.mark.parametrize("level", ["statistics", "io"])
def test_an_array_is_the_same_in_all_forms(level: str, java: JavaMonitor, tmp_path: Path, arrays: Path) -> None:
    forms = {
        "float32": ("array", "nested", "direct", "big", "typed"),
        "uint8": ("array", "nested", "direct"),
        "int16": ("array", "nested", "big"),
        "int32": ("array", "nested", "direct"),
        "int64": ("array", "nested", "direct"),
        "float64": ("array", "nested", "big"),
        "bool": ("array", "nested"),
    }
    given = {kind: random(kind, 2 * 9 * 113, 3).reshape(2, 9, 113) for kind in forms}
    names = [(kind, form) for kind, some in forms.items() for form in some]
    lines = [f"input\t{kind} {form}\t{array(arrays, given[kind], form)}" for kind, form in names]
    java.run(tmp_path / "log", ["frame", *lines, "close"], level=level)
    (frame,) = stock_frames(tmp_path / "log")
    assert len(frame.tensors) == len(names) and not frame.left_out
    for tensor, (kind, _) in zip(frame.tensors, names, strict=True):
        assert list(tensor.shape) == [2, 9, 113]
        if level == "io":
            assert (values_of(tensor) == given[kind]).all(), tensor.name
        else:
            assert _statistics_differences(tensor.statistics, slow_statistics(given[kind])) == [], tensor.name
