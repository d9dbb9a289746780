"""Values cut off at two bounds are one activation however it is written; another bound is named at its op."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from support.fault_runs import quantize, ranges
from support.layers import Layers, options, random_samples, random_weights
from windtunnel.diagnosis import Comparison, compare_models
from windtunnel.diagnosis.graph.clipping_ops import BOUNDS, named, then
from windtunnel.diagnosis.rules.tried_suspect import Effect

Build = Callable[[Layers, int], int]
SHAPE = (1, 8)


def _activation(net: Layers, source: int, steps: str) -> int:
    """Ops by name, MINIMUM and MAXIMUM with their bound: `MINIMUM 6, RELU`."""
    at = source
    for place, one in enumerate(steps.split(", ")):
        op, _, bound = one.partition(" ")
        name = f"{op.lower()}_{place}"
        if bound:
            inputs = [at, net.constant(f"{name}/bound", np.array(float(bound), np.float32))]
            at = net.layer(op, name, inputs, SHAPE, options("MaximumMinimum"))
        else:
            at = net.layer(op, name, [at], SHAPE)
    return at


def _network(path: Path, steps: str = "", fused: str = "NONE", *, joins: bool = False) -> Path:
    """x -> dense, its activation fused or written in ops -> scores. `joins`: an op that fuses nothing in between."""
    net = Layers()
    source = net.tensor("input", SHAPE)
    at = net.fully_connected("dense", source, random_weights((8, 8), seed=1, scale=2.0), None, 1, fused)
    at = net.layer("NEG", "negated", [at], SHAPE, options("Neg")) if joins else at
    at = _activation(net, at, steps) if steps else at
    return net.write(path, [source], [net.fully_connected("scores", at, random_weights((4, 8), seed=3), None, 1)])


def _compare(folder: Path, one: Path, other: Path) -> Comparison:
    return compare_models(one, other, random_samples(folder / "s.npz", SHAPE[1:], count=24))


@pytest.mark.parametrize(
    "steps",
    ["MINIMUM 6, RELU", "RELU, MINIMUM 6", "MAXIMUM 0, MINIMUM 6", "MINIMUM 6, MAXIMUM 0", "RELU6", "MINIMUM 9, RELU6"],
)
def test_relu6_in_other_ops(tmp_path: Path, steps: str) -> None:
    reference, candidate = _network(tmp_path / "r.tflite", fused="RELU6"), _network(tmp_path / "c.tflite", steps)
    for one, other in ((reference, candidate), (candidate, reference)):
        result = _compare(tmp_path, one, other)
        assert (result.verdict, result.causes, result.reasons) == ("healthy", (), ())
    bent = _compare(tmp_path, _network(tmp_path / "j.tflite", "RELU6", joins=True), _joined(tmp_path, steps))
    assert (bent.verdict, bent.causes) == ("healthy", ())


def _joined(folder: Path, steps: str) -> Path:
    return _network(folder / "k.tflite", steps, joins=True)


@pytest.mark.parametrize("variant", ["int8", "int16x8", "float16", "dynamic_range"])
def test_relu6_in_other_ops_quantized(tmp_path: Path, variant: str) -> None:
    reference, model = (
        _network(tmp_path / "r.tflite", fused="RELU6"),
        _network(tmp_path / "m.tflite", "MINIMUM 6, RELU"),
    )
    rows = np.random.default_rng(3).normal(size=(24, 8)).astype(np.float32)
    candidate = quantize(model, tmp_path / "c.tflite", variant, ranges(model, [{"": row[None]} for row in rows]))
    result = _compare(tmp_path, reference, candidate)
    assert (result.verdict, result.causes) == ("healthy", ())


@pytest.mark.parametrize(
    ("steps", "place"), [("MINIMUM 1, RELU", "minimum_0"), ("RELU, MINIMUM 1", "minimum_1"), ("RELU", "relu_0")]
)
def test_another_bound_is_named_at_its_op(tmp_path: Path, steps: str, place: str) -> None:
    result = _compare(tmp_path, _network(tmp_path / "r.tflite", fused="RELU6"), _network(tmp_path / "c.tflite", steps))
    (cause,) = result.causes
    assert (cause.code, cause.layer) == ("conversion.op", place)
    if place.startswith("minimum"):
        assert cause.evidence["bound"] == {"reference": 6.0, "candidate": 1.0}
        assert cause.verified


def test_a_bound_that_no_sample_reaches_is_a_note(tmp_path: Path) -> None:
    one, other = (
        _network(tmp_path / f"{name}.tflite", f"MINIMUM {bound}, RELU") for name, bound in (("r", 90), ("c", 80))
    )
    result = _compare(tmp_path, one, other)
    assert (result.verdict, result.causes) == ("healthy", ())
    (note,) = [one for one in result.findings if one.code == "difference.without_effect"]
    assert note.evidence["code"] == "conversion.op"


def test_bounds_one_after_the_other() -> None:
    assert named(then(BOUNDS["RELU"], (-np.inf, 6.0))) == "RELU6"
    assert named(then((-np.inf, 6.0), BOUNDS["RELU"])) == "RELU6"
    assert named((-np.inf, 3.0)) == "CLIP(-inf, 3)"
    # Above the first bound nothing is left to the second.
    assert then((0.0, 1.0), (2.0, 3.0)) == (2.0, 2.0)


@pytest.mark.parametrize(
    ("effect", "harmless"),
    [
        (Effect(1.0, left=0.001), True),
        (Effect(1.05, left=0.001), True),
        (Effect(1.2, left=0.001), False),
        (Effect(1.05, left=0.2), False),
        (Effect(1.0, left=0.2, changes=False), True),
        (Effect(None, left=0.001), False),
        (Effect(1.0), False),
    ],
)
def test_what_has_no_effect(effect: Effect, harmless: bool) -> None:
    assert effect.is_none(1.06, 0.02) is harmless


def test_an_activation_that_no_op_can_fuse_is_a_cause_without_a_trial_of_its_fix(tmp_path: Path) -> None:
    reference, candidate = (
        _network(tmp_path / "r.tflite", "RELU_0_TO_1"),
        _network(tmp_path / "c.tflite", fused="RELU6"),
    )
    found = _compare(tmp_path, reference, candidate)
    assert [(str(one.code), one.op_index) for one in found.causes] == [("conversion.op", 0)]
    assert found.causes[0].finding.words()[0] == "the activation is RELU6 instead of RELU_0_TO_1"
