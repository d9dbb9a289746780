"""The quantizer on small real models: what comes out, and what is refused by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from litert_quantizer.calibrator import CalibrationMode
from numpy.typing import NDArray

from support.graphs import DenseWeights, GraphWriter, dense_model
from support.open_models import CHANNELS, conv_model
from windtunnel.diagnosis.quantize import litert_quantizer as litert
from windtunnel.diagnosis.quantize.variants import Calibration, LeftFloat, Made
from windtunnel.errors import InvalidInput
from windtunnel.plan import VariantSpec
from windtunnel.tflite import Accelerator, Runner, read_model

DRAW = np.random.default_rng(3)
# Type of the input and of the weights.
EXPECTED = {
    "float16": ("float32", {"float16"}),
    "dynamic_range": ("float32", {"int8"}),
    "int8": ("int8", {"int8"}),
    "int16x8": ("int16", {"int8"}),
}
BUILTIN = tuple(EXPECTED)
INT8_RULE: dict[str, Any] = {
    "regex": ".*",
    "operation": "FULLY_CONNECTED",
    "algorithm_key": "min_max_uniform_quantize",
    "op_config": {
        "weight_tensor_config": {"num_bits": 8, "symmetric": True, "granularity": "CHANNELWISE", "dtype": "INT"},
        "compute_precision": "INTEGER",
        "explicit_dequantize": False,
    },
}


def samples_file(path: Path, x: NDArray[Any]) -> Path:
    np.savez(path, x=x)
    return path


@pytest.fixture
def calibration(tmp_path: Path) -> Calibration:
    return Calibration(samples_file(tmp_path / "calib.npz", DRAW.normal(0, 1, (40, 8)).astype(np.float32)))


def outputs(model: Path, x: NDArray[Any], accelerator: Accelerator = "xnnpack") -> NDArray[np.float64]:
    runner = Runner(model, accelerator=accelerator)
    name = runner.facts.outputs[0].name
    source = runner.facts.inputs[0].name
    return np.concatenate([runner.run({source: row[None]}, dequantized=True)[name] for row in x])


@pytest.mark.parametrize("name", BUILTIN)
def test_every_built_in_variant_computes_nearly_the_same(tmp_path: Path, calibration: Calibration, name: str) -> None:
    model = dense_model(tmp_path / "float.tflite")
    used = calibration if name.startswith("int") else None
    made = litert.quantize(model, tmp_path / "q.tflite", VariantSpec(name), used, None)
    assert made == Made(40 if used else 0)
    facts = read_model(tmp_path / "q.tflite")
    weights = {tensor.dtype for tensor in facts.tensors if tensor.is_constant and tensor.shape == (16, 8)}
    assert (facts.inputs[0].dtype, weights) == EXPECTED[name]
    x = DRAW.normal(0, 1, (20, 8)).astype(np.float32)
    worst = np.abs(outputs(model, x) - outputs(tmp_path / "q.tflite", x)).max()
    assert 0 < worst < (0.001 if name == "float16" else 0.05)


@pytest.mark.parametrize("name", ["int8", "int16x8"])
def test_a_part_that_nobody_reads_needs_no_range(tmp_path: Path, calibration: Calibration, name: str) -> None:
    """As a recurrent cell written out has it: one part of a SPLIT is for nobody."""
    writer = GraphWriter()
    source = writer.tensor("input", (1, 8))
    whole = writer.dense("whole", source, DRAW.normal(0, 1, (8, 8)).astype(np.float32), np.zeros(8, np.float32))
    parts = [writer.tensor(part, (1, 4)) for part in ("read", "unread")]
    made = schema.SplitOptionsT()
    made.numSplits = 2
    writer.op("SPLIT", [writer.tensor("axis", (), "int32", data=np.array(1, np.int32)), whole], parts, made)
    last = writer.dense("last", parts[0], DRAW.normal(0, 1, (3, 4)).astype(np.float32), np.zeros(3, np.float32))
    model = writer.write(tmp_path / "float.tflite", [source], [last])
    litert.quantize(model, tmp_path / "q.tflite", VariantSpec(name), calibration, None)
    x = DRAW.normal(0, 1, (20, 8)).astype(np.float32)
    expected = outputs(model, x)
    # XNNPACK takes no SPLIT whose parts are not all quantized.
    error = expected - outputs(tmp_path / "q.tflite", x, "builtin")
    assert np.sqrt(np.square(error).mean()) < 0.05 * np.ptp(expected)


@pytest.mark.parametrize(
    ("old_codes", "outside", "signature"),
    [(True, False, True), (False, True, True), (False, False, False), (True, True, False)],
)
@pytest.mark.parametrize("name", BUILTIN)
def test_files_of_old_and_large_models_quantize_as_well(
    tmp_path: Path, calibration: Calibration, name: str, old_codes: bool, outside: bool, signature: bool
) -> None:
    def write(path: Path, *, old_codes: bool = False, outside: bool = False, signature: bool = True) -> Path:
        weights = DenseWeights.random()
        writer = GraphWriter(old_codes=old_codes, outside=outside)
        source = writer.tensor("input", (1, 8))
        middle = writer.dense("middle", source, weights.first, np.zeros(16), activation="RELU")
        output = writer.dense("logits", middle, weights.third, np.zeros(4))
        return writer.write(path, [source], [output], signature=signature)

    model = write(tmp_path / "odd.tflite", old_codes=old_codes, outside=outside, signature=signature)
    used = calibration if name.startswith("int") else None
    litert.quantize(model, tmp_path / "q.tflite", VariantSpec(name), used, None)
    litert.quantize(write(tmp_path / "plain.tflite"), tmp_path / "p.tflite", VariantSpec(name), used, None)
    x = DRAW.normal(0, 1, (10, 8)).astype(np.float32)
    np.testing.assert_array_equal(outputs(tmp_path / "q.tflite", x), outputs(tmp_path / "p.tflite", x))


def test_ranges_are_the_true_minimum_and_maximum(tmp_path: Path) -> None:
    # One sample reaches far beyond the others; a moving average would cut it off.
    x = DRAW.uniform(-1, 1, (50, 8)).astype(np.float32)
    x[17, 3] = 12.0
    x[31, 5] = -8.0
    model = dense_model(tmp_path / "float.tflite")
    calibration = Calibration(samples_file(tmp_path / "c.npz", x))
    litert.quantize(model, tmp_path / "q.tflite", VariantSpec("int8"), calibration, None)
    quantization = read_model(tmp_path / "q.tflite").inputs[0].quantization
    assert quantization is not None
    assert quantization.scales[0] == pytest.approx(20 / 255, rel=1e-3)


def test_fast_and_full_calibration_see_the_same_ranges(tmp_path: Path, calibration: Calibration) -> None:
    model = dense_model(tmp_path / "float.tflite")
    facts, data = read_model(model), model.read_bytes()
    rules = litert._rules(VariantSpec("int8"), None)
    fast, full = (
        litert._observe(data, facts, rules, mode, litert._samples(facts, calibration, None))[1]
        for mode in (CalibrationMode.CALIBRATION_PROFILER_BASED, CalibrationMode.CALIBRATION_PRESERVE_ALL_TENSORS)
    )
    assert set(full) == {"input", "hidden_1", "hidden_2", "logits", "probabilities"} <= set(fast)
    for name, found in full.items():
        assert float(fast[name]["min"].min()) == pytest.approx(float(found["min"].min()), abs=1e-6)
        assert float(fast[name]["max"].max()) == pytest.approx(float(found["max"].max()), abs=1e-6)


@pytest.mark.parametrize("name", ["int8", "int16x8"])
def test_an_open_model_that_cannot_run_at_size_one_is_calibrated_at_the_samples_size(tmp_path: Path, name: str) -> None:
    model = conv_model(tmp_path / "float.tflite", padding="VALID")
    x = DRAW.uniform(-2, 2, (6, 20, 30, CHANNELS)).astype(np.float32)
    calibration = Calibration(samples_file(tmp_path / "c.npz", x))
    litert.quantize(model, tmp_path / "q.tflite", VariantSpec(name), calibration, None)
    made = read_model(tmp_path / "q.tflite").inputs[0]
    assert (made.shape, made.shape_signature) == ((1, 1, 1, CHANNELS), (1, -1, -1, CHANNELS))
    expected = outputs(model, x)
    assert np.abs(expected - outputs(tmp_path / "q.tflite", x)).max() < 0.03 * np.ptp(expected)


def test_only_the_front_of_drawn_samples_is_used(tmp_path: Path) -> None:
    x = np.zeros((30, 8), np.float32)
    x[:10] = DRAW.uniform(-1, 1, (10, 8))
    x[10:] = 1000.0
    calibration = Calibration(samples_file(tmp_path / "s.npz", x), limit=10)
    model = dense_model(tmp_path / "float.tflite")
    assert litert.quantize(model, tmp_path / "q.tflite", VariantSpec("int8"), calibration, None).samples == 10
    quantization = read_model(tmp_path / "q.tflite").inputs[0].quantization
    assert quantization is not None
    assert quantization.scales[0] < 0.01


@pytest.mark.parametrize(
    ("x", "says"),
    [
        (np.zeros((5, 9), np.float32), r"calibration set: .*takes \[any, 8\]"),
        (np.full((5, 8), np.nan, np.float32), "calibration set: .*NaN"),
        (np.zeros((0, 8), np.float32), "calibration set: .*no samples"),
    ],
)
def test_a_calibration_set_that_does_not_fit_is_named(tmp_path: Path, x: NDArray[Any], says: str) -> None:
    model = dense_model(tmp_path / "float.tflite")
    calibration = Calibration(samples_file(tmp_path / "c.npz", x))
    with pytest.raises(InvalidInput, match=says):
        litert.quantize(model, tmp_path / "q.tflite", VariantSpec("int8"), calibration, None)
    assert not (tmp_path / "q.tflite").exists()


def test_a_model_that_overflows_on_the_calibration_set_is_named(tmp_path: Path) -> None:
    calibration = Calibration(samples_file(tmp_path / "c.npz", np.full((4, 8), 3e38, np.float32)))
    model = dense_model(tmp_path / "float.tflite", DenseWeights(*(np.full(s, 9.0, np.float32) for s in _SHAPES)))
    with pytest.raises(InvalidInput, match=r"reaches NaN or infinity on the calibration set"):
        litert.quantize(model, tmp_path / "q.tflite", VariantSpec("int8"), calibration, None)


_SHAPES = ((16, 8), (16, 16), (4, 16))


def test_a_recipe_is_followed(tmp_path: Path) -> None:
    model = dense_model(tmp_path / "float.tflite")
    variant = VariantSpec("only_logits", recipe=({**INT8_RULE, "regex": "logits"},))
    assert litert.quantize(model, tmp_path / "q.tflite", variant, None, None) == Made(0)
    facts = read_model(tmp_path / "q.tflite")
    weights = {facts.tensors[op.outputs[0]].name: facts.tensors[op.inputs[1]].dtype for op in facts.ops[:3]}
    assert weights == {"hidden_1": "float32", "hidden_2": "float32", "logits": "int8"}


def config(**weights: Any) -> dict[str, Any]:
    """A change of `INT8_RULE`: of its weights' config."""
    own = INT8_RULE["op_config"]
    return {"op_config": {**own, "weight_tensor_config": {**own["weight_tensor_config"], **weights}}}


ACTIVATIONS = {"num_bits": 8, "symmetric": False, "granularity": "TENSORWISE", "dtype": "INT"}


@pytest.mark.parametrize(
    ("change", "says", "takes"),
    [
        ({"algorithm_key": "magic"}, 'algorithm_key is "magic"', "no_quantize, min_max_uniform_quantize"),
        ({"algorithm_key": []}, r"algorithm_key is \[\]", "no_quantize"),
        ({"operation": "FROBNICATE"}, 'operation is "FROBNICATE"', "FULLY_CONNECTED"),
        ({"op_config": {}}, "has no op_config.weight_tensor_config", "object"),
        ({"op_config": None}, "op_config is null", "object"),
        ({"regex": None}, "regex is null", "regular expression"),
        ({"regex": "("}, r'"\(" is not a regular expression: missing \)', ""),
        ({"range": {}}, "unknown field range", "ranges"),
        (config(num_bits=-1), r"weight_tensor_config\.num_bits is -1", "2, 4, 8, 16"),
        (config(num_bits=1000000000), "num_bits is 1000000000", "8"),
        (config(num_bits="8"), 'num_bits is "8"', "8"),
        (config(num_bits=8.5), r"num_bits is 8\.5", "8"),
        (config(num_bits=8.0), r"num_bits is 8\.0", "8"),
        (config(num_bits=None), "num_bits is null", "8"),
        (config(granularity="X"), r'weight_tensor_config\.granularity is "X"', "TENSORWISE, CHANNELWISE"),
        (config(symmetric=1), "symmetric is 1", "true, false"),
        (config(dtype="int8"), 'dtype is "int8"', "INT, UINT, FLOAT"),
        (config(granularty="CHANNELWISE"), "unknown field .*granularty", "granularity"),
        (config(symmetric=False), "FULLY_CONNECTED does not take .*asymmetric CHANNELWISE", "symmetric"),
        ({"operation": "*", **config(num_bits=16)}, "no op with weights takes .*weights INT16", "INTEGER"),
        (
            {
                "operation": "*",
                "op_config": {**config(num_bits=16)["op_config"], "activation_tensor_config": ACTIVATIONS},
            },
            "no op with weights takes .*activations INT8",
            "INTEGER",
        ),
        (
            {"op_config": {**INT8_RULE["op_config"], "compute_precision": "int"}},
            'compute_precision is "int"',
            "INTEGER",
        ),
        ({"op_config": {**INT8_RULE["op_config"], "explicit_dequantize": 0}}, "explicit_dequantize is 0", "true"),
        ({"op_config": {**INT8_RULE["op_config"], "min_weight_elements": -5}}, "min_weight_elements is -5", "from 0"),
        (
            {
                "op_config": {
                    **INT8_RULE["op_config"],
                    "compute_precision": "FLOAT",
                    "activation_tensor_config": ACTIVATIONS,
                }
            },
            "contradicts itself",
            "",
        ),
    ],
)
def test_a_recipe_that_cannot_be_used_is_named(
    tmp_path: Path, calibration: Calibration, change: dict[str, Any], says: str, takes: str
) -> None:
    """By the number of the rule, the field, its value and what is taken: the library would leave the ops in float."""
    model = dense_model(tmp_path / "float.tflite")
    variant = VariantSpec("made", recipe=(INT8_RULE, {**INT8_RULE, **change}))
    with pytest.raises(InvalidInput, match=rf"recipe of variant 'made', rule 1.*{says}") as error:
        litert.quantize(model, tmp_path / "q.tflite", variant, calibration, None)
    assert takes in error.value.hint
    assert not (tmp_path / "q.tflite").exists()


@pytest.mark.heavy
def test_a_regex_that_runs_away_on_a_models_names_is_refused(tmp_path: Path) -> None:
    writer = GraphWriter()
    source = writer.tensor("input", (1, 8))
    weights = DRAW.normal(0, 1, (4, 8)).astype(np.float32)
    last = writer.dense("a" * 60, source, weights, np.zeros(4, np.float32))
    model = writer.write(tmp_path / "float.tflite", [source], [last])
    variant = VariantSpec("made", recipe=({**INT8_RULE, "regex": "(a+)+$x"},))
    with pytest.raises(InvalidInput, match=r'rule 0: the regex "\(a\+\)\+\$x" takes too long'):
        litert.quantize(model, tmp_path / "q.tflite", variant, None, None)


def test_ops_that_a_rule_names_and_leaves_in_float_are_told(tmp_path: Path, calibration: Calibration) -> None:
    writer = GraphWriter()
    source = writer.tensor("input", (1, 8))
    middle = writer.dense("middle", source, DRAW.normal(0, 1, (8, 8)).astype(np.float32), np.zeros(8, np.float32))
    power = writer.tensor("power", (1, 8))
    writer.op("ELU", [middle], [power])
    last = writer.dense("last", power, DRAW.normal(0, 1, (4, 8)).astype(np.float32), np.zeros(4, np.float32))
    model = writer.write(tmp_path / "float.tflite", [source], [last])
    whole = {**INT8_RULE, "operation": "*"}
    static = {**whole, "op_config": {**INT8_RULE["op_config"], "activation_tensor_config": ACTIVATIONS}}
    kept = {"regex": "^power;$", "operation": "*", "algorithm_key": "no_quantize"}

    def left(*rules: dict[str, Any]) -> tuple[LeftFloat, ...]:
        variant = VariantSpec("made", recipe=rules)
        return litert.quantize(model, tmp_path / "q.tflite", variant, calibration, None).left_float

    assert left(static) == (LeftFloat(0, "ELU", 1, "power"),)
    # Weights alone are asked for, and this op has none; or it is kept out on purpose.
    assert left(whole) == left(static, kept) == ()


def test_a_model_with_two_tensors_of_one_name_is_refused(tmp_path: Path) -> None:
    writer = GraphWriter()
    source = writer.tensor("same", (1, 4))
    output = writer.tensor("same", (1, 4))
    options = schema.SoftmaxOptionsT()
    options.beta = 1.0
    writer.op("SOFTMAX", [source], [output], options)
    model = writer.write(tmp_path / "m.tflite", [source], [output])
    with pytest.raises(InvalidInput, match="same is not unique"):
        litert.quantize(model, tmp_path / "q.tflite", VariantSpec("dynamic_range"), None, None)


@pytest.mark.parametrize(("content", "says"), [(b"", "is empty"), (b"hello " * 100, "no .tflite model")])
def test_a_file_that_is_no_model_is_named(tmp_path: Path, content: bytes, says: str) -> None:
    (tmp_path / "m.tflite").write_bytes(content)
    with pytest.raises(InvalidInput, match=says):
        litert.quantize(tmp_path / "m.tflite", tmp_path / "q.tflite", VariantSpec("float16"), None, None)


@pytest.mark.parametrize("recipe", [None, (INT8_RULE,)])
def test_a_damaged_name_is_the_files_fault_and_not_the_recipes(tmp_path: Path, recipe: Any) -> None:
    model = dense_model(tmp_path / "float.tflite")
    model.write_bytes(model.read_bytes().replace(b"hidden_1", b"hid\xffen_1"))
    variant = VariantSpec("dynamic_range" if recipe is None else "made", recipe=recipe)
    with pytest.raises(InvalidInput, match="a name in the model is not UTF-8") as error:
        litert.quantize(model, tmp_path / "q.tflite", variant, None, None)
    assert error.value.hint == "the file is damaged: copy or convert it again"
