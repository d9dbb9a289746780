"""Distances between kernels, who stands alone, and what rounding explains."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from support.kernel_models import long_model, ops_model
from windtunnel.diagnosis.kernels import parse_kernel, parse_kernels
from windtunnel.diagnosis.kernels.result_distance import Distance, DistanceSums, consensus
from windtunnel.diagnosis.kernels.rounding_bounds import Limit, local_limit
from windtunnel.errors import InvalidInput
from windtunnel.tflite import layer_tensors, read_model

STEP = Limit(1.0, "steps", "")
SHARE = Limit(1e-5, "of_range", "")


def distance_of(*pairs: tuple[object, object], integer: bool = False) -> Distance:
    sums = DistanceSums()
    for first, second in pairs:
        sums.add(np.asarray(first), np.asarray(second))
    return sums.distance(integer=integer)


def test_figures_are_those_of_the_stacked_arrays() -> None:
    draw = np.random.default_rng(2)
    pairs = [(draw.normal(size=(2, 5)), draw.normal(size=(2, 5))) for _ in range(7)]
    distance = distance_of(*pairs)
    a, b = (np.stack([pair[side] for pair in pairs]) for side in (0, 1))
    assert distance.max_abs == pytest.approx(np.abs(a - b).max())
    assert distance.rmse == pytest.approx(np.sqrt(np.mean((a - b) ** 2)))
    assert distance.share == 1.0
    assert distance.size == pytest.approx(max(np.ptp(a), np.ptp(b), np.abs(a).max(), np.abs(b).max()))


def test_integers_are_counted_in_steps_without_wrapping_round() -> None:
    distance = distance_of((np.array([-128, 0], np.int8), np.array([127, 1], np.int8)), integer=True)
    assert distance.max_abs == 255.0
    assert not distance.within(STEP)
    assert distance_of((np.array([3, 5], np.int8), np.array([4, 5], np.int8)), integer=True).within(STEP)


@pytest.mark.parametrize(
    ("first", "second", "counted"),
    [
        ([np.nan, 1.0], [np.nan, 1.0], (0, 0)),
        ([np.inf, 1.0], [np.inf, 1.0], (0, 0)),
        ([np.inf, 1.0], [-np.inf, 1.0], (1, 1)),
        ([2.0, 1.0], [np.nan, 1.0], (0, 1)),
        ([np.inf, 1.0], [3.0, 1.0], (1, 0)),
    ],
)
def test_nan_and_infinity_are_never_explained_by_rounding(
    first: list[float], second: list[float], counted: tuple[int, int]
) -> None:
    distance = distance_of((first, second))
    assert distance.non_finite == counted
    assert distance.within(SHARE) == (counted == (0, 0))
    assert (distance.nrmse is None) == (counted != (0, 0))
    assert distance.turned().non_finite == counted[::-1]


def test_zero_ranges() -> None:
    assert distance_of(([0.0, 0.0], [0.0, 0.0])).within(SHARE)
    assert distance_of(([1.0, 1.0], [1.0, 1.0])).nrmse == 0.0
    assert distance_of(([0.0], [1e-42])).within(SHARE), "a denormal may be flushed to zero"
    assert not distance_of(([0.0], [1e-6])).within(SHARE)
    assert distance_of(([5.0, 5.0], [5.0, 5.0 + 1e-6])).within(SHARE), (
        "the size of the values counts, not only their range"
    )


def test_other_shapes_do_not_agree() -> None:
    distance = distance_of((np.zeros(3), np.zeros(4)))
    assert not distance.within(SHARE) and distance.nrmse is None


@pytest.mark.parametrize(
    ("values", "members", "tied"),
    [
        ({"a": 0, "b": 0, "c": 9}, ("a", "b"), False),
        ({"a": 9, "b": 0, "c": 0}, ("b", "c"), False),
        ({"a": 0, "b": 9}, ("a",), True),
        ({"a": 0, "b": 1, "c": 2}, ("a", "b"), True),
        ({"a": 0, "b": 0, "c": 0}, ("a", "b", "c"), False),
    ],
)
def test_the_largest_set_that_agrees_two_by_two_wins(
    values: dict[str, int], members: tuple[str, ...], tied: bool
) -> None:
    found = consensus(tuple(values), lambda first, second: abs(values[first] - values[second]) <= 1)
    assert found == (members, tied)
    assert all(abs(values[a] - values[b]) <= 1 for a, b in combinations(found[0], 2))


def test_limits_follow_the_kind_of_op_and_its_types(tmp_path: Path) -> None:
    limits = {}
    for dtype in ("float32", "int8"):
        facts = read_model(ops_model(tmp_path / f"{dtype}.tflite", dtype))
        for op, tensor in layer_tensors(facts):
            limits[dtype, facts.ops[op].name] = local_limit(facts, facts.ops[op], tensor)
    assert (limits["int8", "ADD"].value, limits["int8", "ADD"].unit) == (1.0, "steps")
    assert limits["int8", "MAX_POOL_2D"].value == 0.0
    assert limits["int8", "SOFTMAX"].value == 2.0
    assert (limits["float32", "EXP"].value, limits["float32", "EXP"].unit) == (1e-5, "of_range")
    assert limits["float32", "MAX_POOL_2D"].value == 0.0


def test_kernel_sets_are_named_or_refused() -> None:
    assert parse_kernel("arm:cortex-a53").cpu == "cortex-a53"
    assert parse_kernel("arm:cortex-a53").accelerator == "xnnpack"
    assert parse_kernel("arm:cortex-a76:none").accelerator == "builtin"
    assert [kernel.name for kernel in parse_kernels(())] == ["none", "reference", "xnnpack"]
    assert [kernel.name for kernel in parse_kernels(("none", "none"))] == ["none"]
    for text in ("gpu", "arm:max", "arm", "arm:cortex-a53:gpu", "none:none"):
        with pytest.raises(InvalidInput, match=text):
            parse_kernel(text)


def test_dense_layers_of_a_long_model_have_the_float_limit(tmp_path: Path) -> None:
    facts = read_model(long_model(tmp_path / "m.tflite", 4))
    assert {local_limit(facts, facts.ops[op], tensor).value for op, tensor in layer_tensors(facts)} == {1e-5}
