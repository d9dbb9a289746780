"""Models of older tools and of unusual form: what becomes of them, and what is reported if they cannot be read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from support.older_models import KERAS2, older_models
from windtunnel.converter.convert import convert
from windtunnel.converter.domain.conversion import Converted
from windtunnel.diagnosis.quantize import litert_quantizer as litert
from windtunnel.diagnosis.quantize.variants import Calibration
from windtunnel.errors import InvalidInput, Unsupported
from windtunnel.isolation import ChildPool
from windtunnel.pipeline import load_samples
from windtunnel.plan import VariantSpec
from windtunnel.tflite import Runner, precision, read_model

pytestmark = [pytest.mark.heavy, pytest.mark.asyncio(loop_scope="module")]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return older_models(tmp_path_factory.mktemp("models"))


def said(converted: Converted, code: str) -> str:
    return next((one.message for one in converted.check.findings if one.code == code), "")


def names(converted: Converted) -> tuple[list[str | None], list[str | None]]:
    facts = converted.facts
    return [facts.input_name(t) for t in facts.inputs], [facts.output_name(t) for t in facts.outputs]


@pytest.mark.parametrize("suffix", ["h5", "keras"])
@pytest.mark.parametrize("kind", KERAS2)
async def test_a_file_of_keras_2_gives_the_answers_of_keras_2(
    kind: str, suffix: str, models: Path, pool: ChildPool, tmp_path: Path
) -> None:
    samples = models / f"{kind}.x.npz"
    converted = await convert(models / f"{kind}.{suffix}", tmp_path, pool, samples=samples)
    assert converted.check.passed, converted.check.message
    runner = Runner(converted.model)
    source, target = runner.facts.inputs[0].name, runner.facts.outputs[0].name
    rows = [runner.run({source: np.asarray(row)[None]})[target] for row in load_samples(samples).inputs["x"]]
    np.testing.assert_allclose(np.concatenate(rows), np.load(models / f"{kind}.npy"), atol=1e-5)
    assert f"{kind}.{suffix} was written by Keras 2." in said(converted, "conversion.keras2")
    # TensorFlow's own converter names the outputs of Keras 2 after their layers.
    assert names(converted)[1] == ["dense" if kind == "recurrent" else "classes"]


async def test_what_was_dropped_of_a_file_of_keras_2_is_said(models: Path, pool: ChildPool, tmp_path: Path) -> None:
    converted = await convert(models / "depthwise.h5", tmp_path, pool)
    assert said(converted, "conversion.keras2").endswith("were dropped: groups=1 of DepthwiseConv2D")


@pytest.mark.parametrize("suffix", ["h5", "keras"])
async def test_a_layer_without_its_code_is_named(suffix: str, models: Path, pool: ChildPool, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"not in the file: Mine>Twice \(layer 'doubled'\)") as caught:
        await convert(models / f"custom.{suffix}", tmp_path, pool)
    assert caught.value.code == "custom_layer" and "export a SavedModel" in caught.value.hint


@pytest.mark.parametrize("name", ["dict_outputs", "dict_outputs.keras"])
async def test_keys_of_outputs_are_kept(name: str, models: Path, pool: ChildPool, tmp_path: Path) -> None:
    converted = await convert(models / name, tmp_path, pool)
    assert converted.check.passed, converted.check.message
    inputs, outputs = names(converted)
    assert (inputs, sorted(map(str, outputs))) == (["steps"], ["aux", "boxes", "scores"])


async def test_of_several_graphs_the_one_for_serving_is_taken(models: Path, pool: ChildPool, tmp_path: Path) -> None:
    converted = await convert(models / "two_graphs", tmp_path, pool)
    assert converted.check.passed
    assert said(converted, "conversion.meta_graph").endswith("the one tagged serve was converted")
    # The graph of the training halves its answer.
    runner = Runner(converted.model)
    row = {runner.facts.inputs[0].name: np.eye(4, dtype=np.float32)[:1]}
    weights = next(t for t in converted.facts.tensors if t.is_constant and 4 in t.shape)
    answer = next(iter(runner.run(row).values()))[0]
    stored = converted.facts.constant(weights)
    np.testing.assert_allclose(answer, stored[:, 0] if stored.shape == (2, 4) else stored[0], rtol=1e-5)


async def test_no_graph_for_serving(models: Path, pool: ChildPool, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"2 graphs \(train, eval\) and none with the tag 'serve'"):
        await convert(models / "training_graph_only", tmp_path, pool)


async def test_an_op_that_is_lacking_is_named_with_its_layer(models: Path, pool: ChildPool, tmp_path: Path) -> None:
    with pytest.raises(Unsupported, match="lacks: MatrixDeterminant at solver/determinant") as caught:
        await convert(models / "lacking", tmp_path, pool)
    assert "--select-tf-ops" in caught.value.hint


async def test_select_tf_ops_are_converted_and_not_called_checked(
    models: Path, pool: ChildPool, tmp_path: Path
) -> None:
    converted = await convert(models / "lacking", tmp_path, pool, select_tf_ops=True)
    assert "FlexMatrixDeterminant" in {op.name for op in converted.facts.ops}
    check = converted.check
    assert (check.passed, check.output_nrmse, check.samples) == (True, None, 0)
    assert "not compared with the original" in check.message
    assert "needs Select TF ops (FlexMatrixDeterminant)" in said(converted, "conversion.select_tf_ops")


async def test_a_loop_takes_every_variant_that_needs_no_calibration(
    models: Path, pool: ChildPool, tmp_path: Path
) -> None:
    converted = await convert(models / "bidirectional.keras", tmp_path, pool)
    np.savez(tmp_path / "x.npz", x=np.random.default_rng(1).normal(size=(8, 5, 4)).astype(np.float32))
    calibration = Calibration(tmp_path / "x.npz")
    for name in ("float16", "dynamic_range"):
        litert.quantize(converted.model, tmp_path / "v.tflite", VariantSpec(name), None, None)
        assert precision(read_model(tmp_path / "v.tflite")) == name
    for name in ("int8", "int16x8"):
        with pytest.raises(Unsupported, match=rf"'{name}' needs the ranges of values inside loops") as caught:
            litert.quantize(converted.model, tmp_path / "v.tflite", VariantSpec(name), calibration, None)
        assert "both_ways" in caught.value.message and "unroll=True" in caught.value.hint


async def test_the_recipe_that_is_offered_for_a_loop_works(models: Path, pool: ChildPool, tmp_path: Path) -> None:
    import json

    from litert_quantizer import recipe

    converted = await convert(models / "bidirectional.keras", tmp_path, pool)
    np.savez(tmp_path / "x.npz", x=np.random.default_rng(1).normal(size=(8, 5, 4)).astype(np.float32))
    calibration = Calibration(tmp_path / "x.npz")
    with pytest.raises(Unsupported) as caught:
        litert.quantize(converted.model, tmp_path / "v.tflite", VariantSpec("int8"), calibration, None)
    rule = json.loads(caught.value.hint[caught.value.hint.index("{") :])
    rules = json.loads(json.dumps(recipe.static_wi8_ai8(), default=lambda one: one.value))
    offered = VariantSpec("mine", recipe=(*rules, rule))
    litert.quantize(converted.model, tmp_path / "v.tflite", offered, calibration, None)
    made = read_model(tmp_path / "v.tflite")
    assert precision(made) == "int8"
    Runner(tmp_path / "v.tflite").run({made.inputs[0].name: np.zeros((1, 5, 4), np.float32)})
