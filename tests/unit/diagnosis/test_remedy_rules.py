"""The rules behind a remedy: what a recipe's rule hits, how samples are split, which trial is chosen."""

from __future__ import annotations

import re
import tracemalloc
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from support.damaged import network, uneven_channels
from support.graphs import DenseWeights, GraphWriter, dense_model
from windtunnel.diagnosis.quantize import litert_quantizer as litert
from windtunnel.diagnosis.quantize.variants import Calibration
from windtunnel.diagnosis.remedy.judge_remedy import judge, why_none
from windtunnel.diagnosis.remedy.measure.measure_models import answer, answer_of_reference
from windtunnel.diagnosis.remedy.measure.model_figures import (
    Answers,
    Drift,
    Figures,
    Latency,
    LatencyRatio,
    figures,
    median_interval,
    paired_drop_interval,
    share_interval,
)
from windtunnel.diagnosis.remedy.measure.model_timing import Device
from windtunnel.diagnosis.remedy.measure.sample_parts import Part, make_parts
from windtunnel.diagnosis.remedy.measure.split_samples import LEAST_SAMPLES, split
from windtunnel.diagnosis.remedy.remedy_result import Drawn, Pair, Proof, Remedy, Side
from windtunnel.diagnosis.remedy.search.candidates import Candidate, Check, Family, Trial, pareto, pick
from windtunnel.diagnosis.remedy.search.recipe_search import Found
from windtunnel.diagnosis.remedy.search.recipes import (
    INPUT,
    OUTPUT,
    Granularity,
    Precision,
    Scheme,
    Unit,
    hits,
    kept,
    quantized_units,
    require_kept,
    rules_of,
    scheme_of,
    units_of,
)
from windtunnel.diagnosis.remedy.search.smallest_set import smallest_set
from windtunnel.diagnosis.remedy.search.whole_model_options import neighbors, ranked
from windtunnel.diagnosis.remedy.variant_origin import foreign_weights
from windtunnel.errors import InternalError, InvalidInput
from windtunnel.plan import Gates, VariantSpec
from windtunnel.tflite import read_model

INT8 = Scheme("static", 8, 8)


@pytest.fixture
def calibration(tmp_path: Path) -> Calibration:
    np.savez(tmp_path / "c.npz", x=np.random.default_rng(1).uniform(0, 1, (30, 64)).astype(np.float32))
    return Calibration(tmp_path / "c.npz")


# Recipes


@pytest.mark.parametrize(
    ("name", "scheme"),
    [
        ("int8", INT8),
        ("int16x8", Scheme("static", 8, 16)),
        ("dynamic_range", Scheme("dynamic", 8)),
        ("float16", Scheme("float16", 16)),
    ],
)
def test_the_scheme_of_a_variant_is_read_from_its_file_and_its_recipe_makes_the_same(
    tmp_path: Path, calibration: Calibration, name: str, scheme: Scheme
) -> None:
    model = network().write(tmp_path / "float.tflite")
    litert.quantize(model, tmp_path / "b.tflite", VariantSpec(name), calibration, None)
    assert scheme_of(read_model(model)) is None
    assert scheme_of(read_model(tmp_path / "b.tflite")) == scheme
    litert.quantize(model, tmp_path / "r.tflite", VariantSpec("mine", rules_of(scheme)), calibration, None)
    assert (tmp_path / "r.tflite").read_bytes() == (tmp_path / "b.tflite").read_bytes()


@pytest.mark.parametrize(
    "scheme",
    [Scheme("static", 8, 8, "TENSORWISE"), Scheme("weight_only", 8), Scheme("dynamic", 4), Scheme("weight_only", 4)],
)
def test_every_scheme_is_recognised_in_what_its_recipe_makes(
    tmp_path: Path, calibration: Calibration, scheme: Scheme
) -> None:
    model = network().write(tmp_path / "float.tflite")
    litert.quantize(model, tmp_path / "r.tflite", VariantSpec("mine", rules_of(scheme)), calibration, None)
    assert scheme_of(read_model(tmp_path / "r.tflite")) == scheme


@pytest.mark.parametrize("algorithm", ["MSE", "OCTAV", "GPTQ"])
def test_another_algorithm_changes_weights_and_nothing_else(
    tmp_path: Path, calibration: Calibration, algorithm: str
) -> None:
    model = network().write(tmp_path / "float.tflite")
    states = []
    for name, rules in (("plain", rules_of(INT8)), ("other", rules_of(INT8, algorithm=algorithm))):
        litert.quantize(model, tmp_path / f"{name}.tflite", VariantSpec(name, rules), calibration, None)
        states.append(quantized_units(read_model(tmp_path / f"{name}.tflite")))
    assert states[0] == states[1]
    assert set(states[0].values()) == {"int8"}
    assert (tmp_path / "plain.tflite").read_bytes() != (tmp_path / "other.tflite").read_bytes()


def awkward_names(path: Path) -> Path:
    """Names that are parts of each other, and full of what a regex reads as something else."""
    writer = GraphWriter()
    source = at = writer.tensor("in", (1, 6))
    draw = np.random.default_rng(2)
    for name in ("a", "a_1", "b/a", "f(x)[0]+.*", "a;b", "^a$", "na\\me"):
        at = writer.dense(name, at, draw.normal(0, 1, (6, 6)), np.zeros(6))
    return writer.write(path, [source], [at])


def test_a_rule_hits_one_op_exactly_whatever_its_name(tmp_path: Path) -> None:
    model = awkward_names(tmp_path / "m.tflite")
    units = units_of(read_model(model))
    assert [unit.operation for unit in units] == [INPUT, *["FULLY_CONNECTED"] * 7, OUTPUT]
    np.savez(tmp_path / "c.npz", x=np.random.default_rng(1).normal(0, 1, (20, 6)).astype(np.float32))
    calibration = Calibration(tmp_path / "c.npz")
    for unit in units:
        rule = kept(unit, "float", INT8)
        assert [one.key for one in hits(rule, units)] == [unit.key]
        target = tmp_path / "made.tflite"
        litert.quantize(model, target, VariantSpec("mine", (*rules_of(INT8), rule)), calibration, None)
        states = quantized_units(read_model(target))
        made_float = {one.key for one in units if states[one.key] == "float"}
        assert made_float == {unit.key}
        require_kept(read_model(target), [unit], "float")


def test_activations_of_one_layer_can_be_16_bit(tmp_path: Path, calibration: Calibration) -> None:
    model = network().write(tmp_path / "m.tflite")
    unit = next(one for one in units_of(read_model(model)) if one.name == "hidden_2")
    rules = (*rules_of(INT8), kept(unit, "int16", INT8))
    litert.quantize(model, tmp_path / "q.tflite", VariantSpec("mine", rules), calibration, None)
    states = quantized_units(read_model(tmp_path / "q.tflite"))
    assert {key: state for key, state in states.items() if state != "int8"} == {unit.key: "int16"}
    require_kept(read_model(tmp_path / "q.tflite"), [unit], "int16")


@pytest.mark.parametrize("precision", ["float", "int16"])
def test_a_rule_that_did_not_hit_is_found_out(tmp_path: Path, calibration: Calibration, precision: Precision) -> None:
    model = network().write(tmp_path / "m.tflite")
    litert.quantize(model, tmp_path / "q.tflite", VariantSpec("int8"), calibration, None)
    unit = units_of(read_model(model))[2]
    with pytest.raises(InternalError, match=f"{unit.name}.*int8"):
        require_kept(read_model(tmp_path / "q.tflite"), [unit], precision)


def test_ranges_of_a_recipe_go_before_the_calibration_set(tmp_path: Path, calibration: Calibration) -> None:
    model = network().write(tmp_path / "m.tflite")
    rule = {**rules_of(INT8)[0], "ranges": {"hidden_1": [-1.0, 9.2]}}
    litert.quantize(model, tmp_path / "q.tflite", VariantSpec("mine", (rule,)), calibration, None)
    litert.quantize(model, tmp_path / "p.tflite", VariantSpec("plain", rules_of(INT8)), calibration, None)
    scales = []
    for name in ("q", "p"):
        tensors = read_model(tmp_path / f"{name}.tflite").tensors
        found = {tensor.name: tensor.quantization.scales[0] for tensor in tensors if tensor.quantization is not None}
        scales.append(found)
    assert scales[0]["hidden_1"] == pytest.approx(10.2 / 255, rel=1e-5)
    assert scales[0]["hidden_2"] == scales[1]["hidden_2"]
    assert scales[0]["hidden_1"] != scales[1]["hidden_1"]


@pytest.mark.parametrize(
    ("ranges", "says"),
    [
        ({"nothing": [0, 1]}, "'nothing', which is not a tensor"),
        ({"hidden_1": [1, 0]}, "range of 'hidden_1'"),
        ({"hidden_1": [0, float("nan")]}, "range of 'hidden_1'"),
        ({"hidden_1": 4}, "range of 'hidden_1'"),
        ([1, 2], "ranges is [1, 2] (it takes an object, tensor to [low, high])"),
    ],
)
def test_ranges_that_are_none_are_refused(tmp_path: Path, calibration: Calibration, ranges: object, says: str) -> None:
    model = network().write(tmp_path / "m.tflite")
    rule = {**rules_of(INT8)[0], "ranges": ranges}
    with pytest.raises(InvalidInput, match=re.escape(says)):
        litert.quantize(model, tmp_path / "q.tflite", VariantSpec("mine", (rule,)), calibration, None)


def test_a_variant_of_another_model_is_known_by_its_weights(tmp_path: Path, calibration: Calibration) -> None:
    trained, other = network().write(tmp_path / "trained.tflite"), network()
    for weights in other.weights:
        weights[...] = np.random.default_rng(0).normal(0, 0.3, weights.shape)
    litert.quantize(trained, tmp_path / "b.tflite", VariantSpec("dynamic_range"), None, None)
    litert.quantize(
        other.write(tmp_path / "other.tflite"), tmp_path / "o.tflite", VariantSpec("dynamic_range"), None, None
    )
    assert foreign_weights(read_model(trained), read_model(tmp_path / "b.tflite")) == []
    with pytest.raises(InvalidInput, match=r"o\.tflite was not made from trained\.tflite: 4 of its 4 weights"):
        foreign_weights(read_model(trained), read_model(tmp_path / "o.tflite"))


def test_one_foreign_weight_is_named_and_heavy_damage_is_not(tmp_path: Path, calibration: Calibration) -> None:
    trained, other = network().write(tmp_path / "trained.tflite"), network()
    other.weights[2][...] = other.weights[2][::-1].copy()
    made = other.write(tmp_path / "other.tflite")
    litert.quantize(made, tmp_path / "o.tflite", VariantSpec("dynamic_range"), None, None)
    assert foreign_weights(read_model(trained), read_model(tmp_path / "o.tflite")) == ["hidden_3/weights"]
    damaged = uneven_channels().write(tmp_path / "uneven.tflite")
    rules = rules_of(Scheme("weight_only", 4, 0, "TENSORWISE"))
    litert.quantize(damaged, tmp_path / "d.tflite", VariantSpec("mine", rules), None, None)
    assert foreign_weights(read_model(damaged), read_model(tmp_path / "d.tflite")) == []


@pytest.mark.parametrize("granularity", ["CHANNELWISE", "TENSORWISE"])
@pytest.mark.parametrize("bits", [8, 4])
def test_a_single_foreign_channel_is_named(tmp_path: Path, granularity: Granularity, bits: int) -> None:
    trained, other = network().write(tmp_path / "trained.tflite"), network()
    other.weights[2][3] *= -1
    made = other.write(tmp_path / "other.tflite")
    rules = rules_of(Scheme("weight_only", bits, 0, granularity))
    for name, source in (("own", trained), ("flipped", made)):
        litert.quantize(source, tmp_path / f"{name}.tflite", VariantSpec("mine", rules), None, None)
    assert foreign_weights(read_model(trained), read_model(tmp_path / "own.tflite")) == []
    assert foreign_weights(read_model(trained), read_model(tmp_path / "flipped.tflite")) == ["hidden_3/weights"]


def test_a_weight_that_is_renamed_is_known_by_its_values(tmp_path: Path) -> None:
    made = []
    for name, order in (("trained", (0, 1, 2)), ("changed", (2, 0, 1))):
        writer, draw = GraphWriter(), np.random.default_rng(2)
        tables = [draw.normal(0, 1, (6, 6)) for _ in order]
        source = at = writer.tensor("in", (1, 6))
        for place, which in enumerate(order):
            at = writer.dense(f"{name}_{place}", at, tables[which], np.zeros(6))
        made.append(writer.write(tmp_path / f"{name}.tflite", [source], [at]))
    assert foreign_weights(*(read_model(path) for path in made)) == []


def wide(path: Path, factor: float, *, seed: int = 0, quantized: bool = True) -> Path:
    """Two layers of a million weights each: int8, or float ones `factor` times as large, of unlike channels."""
    writer, draw = GraphWriter(), np.random.default_rng(seed)
    source = at = writer.tensor("in", (1, 1024))
    for name in ("first", "second"):
        stored = draw.integers(-127, 128, (1024, 1024)).astype(np.int8)
        scales = 10.0 ** draw.uniform(-4, -1, 1024)
        if quantized:
            weights = writer.tensor(
                f"{name}/w", stored.shape, "int8", data=stored, scales=scales.tolist(), zeros=[0] * 1024
            )
        else:
            real = (stored * scales[:, None] * factor).astype(np.float32)
            weights = writer.tensor(f"{name}/w", stored.shape, data=real)
        output = writer.tensor(name, (1, 1024))
        writer.op("FULLY_CONNECTED", [at, weights], [output])
        at = output
    return writer.write(path, [source], [at])


def test_large_weights_are_told_by_some_of_their_values_and_little_memory(tmp_path: Path) -> None:
    trained, variant = wide(tmp_path / "trained.tflite", 1.02, quantized=False), wide(tmp_path / "v.tflite", 1.0)
    tracemalloc.start()
    try:
        assert foreign_weights(read_model(trained), read_model(variant)) == []
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # A million values are 4 MB as float32 and 8 MB as float64; one weight is read at a time.
    assert peak < 12e6
    other = wide(tmp_path / "other.tflite", 1.0, seed=1)
    with pytest.raises(InvalidInput, match="2 of its 2 weights"):
        foreign_weights(read_model(trained), read_model(other))


@pytest.mark.parametrize(("kinds", "state"), [(("int16", "int8"), "int8"), (("int16", "float32"), "int16")])
def test_inputs_of_several_types_are_as_narrow_as_the_narrowest(
    tmp_path: Path, kinds: tuple[str, str], state: str
) -> None:
    writer = GraphWriter()
    inputs = [
        writer.tensor(f"in_{kind}", (1, 4), kind, scales=[] if kind == "float32" else [0.1], zeros=[0])
        for kind in kinds
    ]
    output = writer.tensor("out", (1, 4))
    writer.op("ADD", inputs, [output])
    states = quantized_units(read_model(writer.write(tmp_path / "m.tflite", inputs, [output])))
    assert {states[INPUT, f"in_{kind}"] for kind in kinds} == {state}


# Answers


def _scaled(path: Path, *, low: float, high: float) -> Path:
    """One number in, held between `low` and `high`, one number out: a logit or what is left of it."""
    writer = GraphWriter()
    source, out = writer.tensor("in", (1, 1)), writer.tensor("out", (1, 1))
    ends = [writer.tensor(f"end_{place}", (1,), data=np.array([end])) for place, end in enumerate((low, high))]
    held = writer.tensor("held", (1, 1))
    writer.op("MAXIMUM", [source, ends[0]], [held])
    writer.op("MINIMUM", [held, ends[1]], [out])
    return writer.write(path, [source], [out])


def _part(folder: Path, values: NDArray[np.float64]) -> Part:
    folder.mkdir()
    np.save(folder / "0.npy", values.astype(np.float32).reshape(-1, 1, 1)[:, 0])
    return Part(folder, ("in",), len(values), None)


def test_both_models_are_read_as_the_float_models_outputs_are(tmp_path: Path) -> None:
    part = _part(tmp_path / "search", np.linspace(-3, 2, 51))
    float_model = _scaled(tmp_path / "float.tflite", low=-9, high=9)
    clipped = _scaled(tmp_path / "clipped.tflite", low=0, high=0.9)
    reference = answer_of_reference(float_model, part, tmp_path / "outputs")
    found = answer(clipped, part, tmp_path / "outputs", reference=float_model, kind=reference.kind)
    assert reference.kind == found.kind == "logits"
    assert figures(reference, found, None, "agreement").drop == 0.0
    # A part on which the float model happens to look like probabilities is read as the other one.
    narrow = _part(tmp_path / "held_back", np.linspace(0.05, 0.95, 10))
    again = answer_of_reference(float_model, narrow, tmp_path / "more", kind=reference.kind)
    assert again.kind == "logits"
    assert again.decisions is not None and again.decisions.tolist() == [1] * 10


# Samples


@settings(max_examples=60, deadline=None)
@given(count=st.integers(LEAST_SAMPLES, 4000), classes=st.integers(1, 12), seed=st.integers(0, 99))
def test_parts_share_no_sample_and_hold_their_share_of_every_class(count: int, classes: int, seed: int) -> None:
    labels = np.random.default_rng(seed).integers(0, classes, count) ** 2
    drawn = split(count, labels, seed=seed)
    parts = (drawn.calibration, drawn.search, drawn.held_back)
    together = np.concatenate(parts)
    assert len(np.unique(together)) == len(together)
    assert together.min() >= 0
    assert together.max() < count
    assert [len(part) for part in parts[:2]] == [min(round(count * 0.2), 100), min(round(count * 0.4), 500)]
    for part in parts:
        for label in np.unique(labels):
            expected = (labels == label).mean() * len(part)
            assert abs((labels[part] == label).sum() - expected) <= 2


def test_the_split_is_seeded(tmp_path: Path) -> None:
    labels = np.arange(300) % 3
    first, second, other = split(300, labels), split(300, labels), split(300, labels, seed=1)
    assert (first.search == second.search).all()
    assert not np.array_equal(first.search, other.search)


def test_too_few_samples_are_refused_with_the_least_number() -> None:
    split(LEAST_SAMPLES, None)
    with pytest.raises(InvalidInput, match=f"{LEAST_SAMPLES - 1} samples are too few.*at least {LEAST_SAMPLES}"):
        split(LEAST_SAMPLES - 1, None)
    with pytest.raises(InvalidInput, match=r"40 samples \(and 30 that equal one of them\) are too few"):
        split(40, None, repeated=30)


def test_equal_samples_are_used_once(tmp_path: Path) -> None:
    """What is held back must not be known to the search."""
    model = read_model(dense_model(tmp_path / "m.tflite", DenseWeights.random()))
    x = np.random.default_rng(1).normal(size=(60, *model.inputs[0].shape[1:])).astype(np.float32)
    np.savez(tmp_path / "x.npz", x=np.concatenate([x, x[:25]]))
    parts = make_parts(model, tmp_path / "x.npz", None, tmp_path / "parts")
    assert parts.repeated == 25
    fed = [one for part in (parts.calibration, parts.search, parts.held_back) for one in part.feed()]
    assert len({array.tobytes() for one in fed for array in one.values()}) == len(fed) == 60 - parts.unused


# Figures


def test_the_interval_of_a_paired_drop_is_agresti_and_mins() -> None:
    before, after = np.ones(100, bool), np.ones(100, bool)
    after[:10], before[10:13] = False, False
    # b = 10.5, c = 3.5, n = 102: (b - c) / n +- 1.96 sqrt(b + c - (b - c)^2 / n) / n
    low, high = paired_drop_interval(before, after)
    assert (low, high) == pytest.approx((7 / 102 - 0.070656, 7 / 102 + 0.070656), abs=1e-5)
    same = paired_drop_interval(np.ones(50, bool), np.ones(50, bool))
    assert same[0] < 0 < same[1]


def test_intervals_cover_what_they_should() -> None:
    draw = np.random.default_rng(5)
    covered = []
    for _ in range(2000):
        before = draw.random(150) < 0.9
        after = np.where(draw.random(150) < 0.06, ~before, before)
        low, high = paired_drop_interval(before, after)
        # 6 % of answers flip: 90 % right become 0.9 * 0.94 + 0.1 * 0.06.
        covered.append(low <= 0.9 - (0.9 * 0.94 + 0.1 * 0.06) <= high)
    assert 0.93 <= np.mean(covered) <= 0.985
    assert share_interval(0, 100) == pytest.approx((0.0, 0.0370), abs=1e-3)
    assert share_interval(30, 100) == pytest.approx((0.2189, 0.3958), abs=1e-3)


def test_figures_by_each_measure() -> None:
    classes = np.array([0, 1, 2, 3])
    reference = Answers(np.array([0, 1, 2, 0]), 0.0, 0)
    model = Answers(np.array([0, 2, 2, -1]), 0.25, 0)
    found = figures(reference, model, classes, "labels")
    assert (found.accuracy, found.drop, found.agreement, found.output_nrmse) == (0.5, 0.25, 0.5, 0.25)
    found = figures(reference, model, None, "agreement")
    assert (found.accuracy, found.drop) == (None, 0.5)
    assert figures(reference, model, None, "output_nrmse").drop == 0.25
    assert figures(reference, Answers(None, None, 3), None, "output_nrmse").drop is None


def test_drift_is_the_rmse_over_the_larger_range() -> None:
    draw = np.random.default_rng(0)
    trained, changed = draw.normal(0, 1, (9, 1, 7)), draw.normal(0, 2, (9, 1, 7))
    drift = Drift()
    assert all(drift.add(a, b) for a, b in zip(trained, changed, strict=True))
    expected = np.sqrt(np.mean((trained - changed) ** 2)) / max(np.ptp(trained), np.ptp(changed))
    assert drift.nrmse() == pytest.approx(expected, rel=1e-12)
    assert not drift.add(trained[0], changed[0] * np.nan)
    assert not drift.add(trained[0], changed[0, 0])
    assert Drift().nrmse() is None
    constant = Drift()
    constant.add(np.ones(3), np.ones(3))
    assert constant.nrmse() == 0.0
    constant.add(np.ones(3), np.ones(3))
    apart = Drift()
    apart.add(np.ones(3), np.full(3, 2.0))
    assert apart.nrmse() is None


# The search


@settings(max_examples=200, deadline=None)
@given(data=st.data(), size=st.integers(1, 9))
async def test_the_smallest_set_of_a_monotone_rule_has_no_spare_member(data: st.DataObject, size: int) -> None:
    """Enough is what holds one of some cores: more members never hurt."""
    members = list(range(size))
    cores = data.draw(st.lists(st.sets(st.sampled_from(members), min_size=1), min_size=1, max_size=3))
    asked: list[tuple[int, ...]] = []

    async def holds(chosen: Sequence[int]) -> bool:
        asked.append(tuple(chosen))
        return any(core <= set(chosen) for core in cores)

    found = await smallest_set(members, holds)
    assert found is not None
    assert await holds(found)
    for member in found:
        assert not await holds([one for one in found if one != member])
    if len(cores) == 1:
        assert set(found) == cores[0]


async def test_a_single_culprit_at_the_front_is_asked_once_and_none_gives_none() -> None:
    asked = []

    async def holds(chosen: Sequence[int]) -> bool:
        asked.append(len(chosen))
        return 0 in chosen

    assert await smallest_set(range(64), holds) == (0,)
    assert asked == [1]
    asked.clear()
    assert await smallest_set(list(range(63, -1, -1)), holds) == (0,)
    # 64 members: 7 to double, 5 to halve, then all others are spare.
    assert len(asked) <= 2 * 6 + 64 + 2

    async def never(chosen: Sequence[int]) -> bool:
        return False

    assert await smallest_set(range(5), never) is None


def unit(name: str, *reads: str, operation: str = "CONV_2D") -> Unit:
    return Unit(name, operation, 0, f"{name};", reads)


def test_layers_are_ranked_with_the_models_ends_beside_their_neighbours() -> None:
    units = (
        unit("in", operation=INPUT),
        unit("a", "in"),
        unit("b", "a"),
        unit("c", "b"),
        unit("c", "c", operation=OUTPUT),
    )
    order = ranked(units, [("b", 0.1), ("c", 0.5), ("a", 0.3), ("gone", 9.0)])
    assert [(one.operation, one.name) for one in order] == [
        ("CONV_2D", "c"),
        (OUTPUT, "c"),
        ("CONV_2D", "a"),
        (INPUT, "in"),
        ("CONV_2D", "b"),
    ]
    pairs = [(a.operation, a.name, b.operation, b.name) for a, b in neighbors(units)]
    assert (INPUT, "in", "CONV_2D", "a") in pairs
    assert ("CONV_2D", "c", OUTPUT, "c") in pairs
    assert len(pairs) == 4


def trial(
    number: int,
    family: Family,
    drop: float | None,
    size: int = 100,
    ratio: float | LatencyRatio = 1.0,
    kept: int = 0,
    precision: Precision | None = None,
) -> Trial:
    found = None if drop is None else Figures("labels", 0.9, drop, None, 1.0 - abs(drop), drop, 0)
    members = tuple(unit(str(index)) for index in range(kept))
    candidate = Candidate(family, family, (), members, precision or ("float" if kept else None))
    ratio = LatencyRatio(ratio, ratio, ratio) if isinstance(ratio, float) else ratio
    latency = Latency(ratio.value, ratio.value, 9)
    return Trial(number, candidate, found, size, latency, ratio, 0.1, None if found else "broken")


@pytest.mark.parametrize(
    ("trials", "gates", "chosen"),
    [
        ([], Gates(accuracy_drop=0.01), None),
        ([trial(1, "calibration", 0.02)], Gates(accuracy_drop=0.01), None),
        ([trial(1, "precision", 0.0), trial(2, "calibration", 0.01)], Gates(accuracy_drop=0.01), 2),
        ([trial(1, "layers", 0.0, kept=3), trial(2, "layers", 0.0, kept=1)], Gates(accuracy_drop=0.01), 2),
        (
            [trial(1, "layers", 0.0, kept=1), trial(2, "layers", 0.0, kept=1, precision="int16")],
            Gates(accuracy_drop=0.01),
            1,
        ),
        # A gate on size takes what is small enough.
        ([trial(1, "layers", 0.0, 120, 1.2, 2), trial(2, "precision", 0.0, 90, 9.0)], Gates(0.01, size_mb=1e-4), 2),
        ([trial(1, "layers", 0.0, kept=1, ratio=2.0)], Gates(accuracy_drop=0.01, latency_ms_p95=1.5), None),
        ([trial(1, "calibration", None)], Gates(accuracy_drop=0.01), None),
        # Gates decide, not whether the variant is more accurate than they ask for.
        ([trial(1, "calibration", 0.4)], Gates(accuracy_drop=0.5), 1),
    ],
)
def test_what_is_closest_to_the_variant_is_chosen(trials: list[Trial], gates: Gates, chosen: int | None) -> None:
    for on_target in (False, True):
        found = pick(gates, trials, on_target=on_target)
        assert (found.number if found else None) == chosen


@pytest.mark.parametrize(
    ("size", "ratio", "on_target"),
    [
        # Smaller and faster beyond the noise; faster within it; only smaller; only faster.
        (100, LatencyRatio(1.0, 0.95, 1.05), 2),
        (100, LatencyRatio(1.0, 0.8, 1.1), 1),
        (100, LatencyRatio(1.3, 1.3, 1.3), 1),
        (119, LatencyRatio(0.5, 0.5, 0.5), 1),
    ],
)
def test_only_the_latency_of_a_target_decides(size: int, ratio: LatencyRatio, on_target: int) -> None:
    trials = [trial(1, "layers", 0.0, 120, LatencyRatio(1.25, 1.2, 1.3), 2), trial(2, "precision", 0.0, size, ratio)]
    gates = Gates(accuracy_drop=0.01)
    chosen = [pick(gates, trials, on_target=target) for target in (False, True)]
    assert [one.number if one else None for one in chosen] == [1, on_target]


FRONTS: list[tuple[list[Trial], list[int]]] = [
    ([], []),
    ([trial(1, "calibration", 0.1), trial(2, "algorithm", 0.1)], [1]),
    ([trial(1, "layers", 0.2), trial(2, "layers", 0.1, 200), trial(3, "layers", 0.1, 100, 2.0)], [3, 2, 1]),
    ([trial(1, "layers", 0.3, 30, 3.0), trial(2, "layers", 0.2, 20, 2.0), trial(3, "layers", 0.1, 10, 1.0)], [3]),
    # As fast as the noise lets one say: the larger one is beaten.
    ([trial(1, "layers", 0.1, 90, LatencyRatio(1.1, 0.9, 1.3)), trial(2, "layers", 0.1, 91, 1.0)], [1]),
    ([trial(1, "layers", 0.1, 90, LatencyRatio(1.1, 1.01, 1.3)), trial(2, "layers", 0.1, 91, 1.0)], [1, 2]),
]


@pytest.mark.parametrize(("trials", "expected"), FRONTS)
def test_the_front_is_what_no_other_beats(trials: list[Trial], expected: list[int]) -> None:
    assert [one.number for one in pareto(trials)] == expected


@pytest.mark.heavy
def test_the_interval_of_a_median_covers_it_and_narrows() -> None:
    draw = np.random.default_rng(3)
    for count, narrow in ((9, 3.0), (101, 0.6), (5000, 0.1)):
        found = [median_interval(draw.lognormal(0.0, 1.0, count)) for _ in range(400 if count < 1000 else 60)]
        covered = np.mean([low <= 1.0 <= high for low, high in found])
        assert covered > 0.9, count
        assert np.median([high - low for low, high in found]) < narrow, count
    # 2 P(B < 2) is 0.039 for 9 values: the second of either end.
    assert median_interval(np.array([9.0, 1, 8, 2, 7, 3, 6, 4, 5])) == (2.0, 8.0)
    assert median_interval(np.array([2.0])) == (2.0, 2.0)


def test_a_load_on_the_machine_is_no_difference_between_models() -> None:
    load = np.repeat([1.0, 7.0, 1.5, 3.0], 10)
    found = LatencyRatio.of(load, load * 1.2)
    assert (found.low, found.value, found.high) == pytest.approx((1.2, 1.2, 1.2))


def test_the_front_of_trials_leaves_out_what_could_not_be_run() -> None:
    trials = [trial(0, "variant", 0.3), trial(1, "calibration", None), trial(2, "precision", 0.1, 50, 0.5)]
    assert [one.number for one in pareto(trials)] == [2]


def side(drop: float) -> Side:
    found = trial(1, "calibration", drop)
    assert found.figures is not None
    assert found.latency is not None
    return Side(found.figures, 100, found.latency)


@pytest.mark.parametrize(
    ("variant", "remedy", "limit", "verdict"),
    [
        (0.3, 0.005, 0.01, "proven"),
        (0.3, 0.02, 0.01, "not_proven"),
        (0.3, 0.31, 0.01, "none"),
        (0.3, 0.3, 0.01, "not_proven"),
        # A gate that is met is met, by however little the variant is better.
        (0.3, 0.31, 0.5, "proven"),
        (0.005, 0.006, 0.01, "proven"),
        (-0.00625, -0.00625, 0.01, "proven"),
    ],
)
def test_the_gates_decide_on_held_back_samples_then_the_drop(
    variant: float, remedy: float, limit: float, verdict: str
) -> None:
    found, reason = judge(side(variant), side(remedy), [Check("accuracy_drop", limit, remedy)])
    assert found == verdict
    assert f"the drop is {remedy:.4g}, was {variant:.4g}" in reason
    assert ("misses accuracy_drop" in reason) == (remedy > limit)
    assert ("worse than the variant" in reason) == (remedy > limit)


def test_equal_drops_are_equal_whatever_other_figures_say() -> None:
    """Agreement and nRMSE are shown, but the gate is on the drop."""
    variant, other = side(0.02), side(0.02)
    other = replace(other, figures=replace(other.figures, agreement=0.1, output_nrmse=0.9))
    assert judge(variant, other, [Check("accuracy_drop", 0.02, 0.02)])[0] == "proven"
    verdict, reason = judge(variant, other, [Check("size_mb", 1.0, 2.0)])
    assert (verdict, "is no worse than the variant" in reason) == ("not_proven", True)


def test_a_drop_on_its_gate_meets_it() -> None:
    """0.95 - 0.94 in floating point is more than 0.01."""
    classes = np.zeros(100, np.int64)
    reference, model = (Answers((np.arange(100) >= right).astype(np.int64), 0.0, 0) for right in (95, 94))
    for measure in ("labels", "agreement"):
        found = figures(reference, model, classes, measure)
        assert found.drop == 0.01
        assert Check("accuracy_drop", 0.01, found.drop).passed


@pytest.mark.parametrize(
    ("trials", "late", "reason"),
    [
        ([], False, "nothing that was tried could be made and run"),
        ([], True, "the budget ran out before anything was tried"),
        (
            [trial(1, "calibration", None)],
            True,
            "the budget ran out, and nothing that was tried by then could be made and run",
        ),
        (
            [trial(1, "calibration", 1 / 3), trial(2, "calibration", None)],
            True,
            "the budget ran out before a recipe met every gate; the most accurate, t1 (calibration), has a drop of "
            "0.3333 and misses accuracy_drop",
        ),
        (
            [trial(1, "calibration", 1 / 3), trial(2, "precision", 2 / 3)],
            False,
            "none of 2 recipes meets every gate on the search samples; the "
            "most accurate, t1 (calibration), has a drop of 0.3333 and misses accuracy_drop",
        ),
    ],
)
def test_why_there_is_no_remedy(trials: list[Trial], late: bool, reason: str) -> None:
    assert why_none(Found(tuple(trials), None, late), Gates(accuracy_drop=0.1)) == reason


def remedy(folder: Path, choice: Trial, *trials: Trial) -> Remedy:
    model = folder / "m.tflite"
    model.write_bytes(b"m")
    drawn = Drawn(1, 1, 1, 0, 0, False, 0, "labels")
    proof = Proof(side(0.0), side(0.3), side(0.01))
    before = trial(0, "variant", 0.9, 900, 9.0)
    everything = (*trials, choice)
    pair, device = Pair(model, model, ""), Device("a phone")
    return Remedy("proven", "", pair, drawn, (), proof, before, device, everything, choice, model)


def test_an_equal_trial_does_not_beat_the_choice(tmp_path: Path) -> None:
    choice = trial(2, "layers", 0.1, 100, 1.0, kept=1)
    twin, better = trial(1, "precision", 0.1, 100, 1.0), trial(3, "precision", 0.1, 90, 1.0)
    assert remedy(tmp_path, choice, twin).to_json()["remedy"]["dominated_by"] == []
    assert remedy(tmp_path, choice, better).to_json()["remedy"]["dominated_by"] == ["t3"]


def test_the_drop_without_a_kept_layer_is_that_of_the_same_recipe(tmp_path: Path) -> None:
    first, other, ranges = ({"regex": name} for name in ("first", "other", "ranges"))
    choice = trial(3, "layers", 0.1, kept=1)
    choice = replace(choice, candidate=replace(choice.candidate, rules=(first, ranges, {"regex": "0"})))
    strange, base = (
        replace(one, candidate=replace(one.candidate, rules=rules))
        for one, rules in ((trial(1, "algorithm", 0.7), (first, other)), (trial(2, "percentile", 0.4), (first, ranges)))
    )
    for others in ([strange, base], [base, strange]):
        (entry,) = remedy(tmp_path, choice, *others).to_json()["remedy"]["kept"]
        assert entry["drop_without"] == 0.4
    (entry,) = remedy(tmp_path, choice, strange).to_json()["remedy"]["kept"]
    assert entry["drop_without"] is None
