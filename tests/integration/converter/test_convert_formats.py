"""Real models of every format through real TensorFlow in a child process."""

from __future__ import annotations

import shutil
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest

from support.trained import FORMATS
from windtunnel.converter.adapters.tensorflow_job import tensorflow_job
from windtunnel.converter.convert import convert
from windtunnel.converter.domain.conversion import Format, Source
from windtunnel.errors import InvalidInput, Unsupported
from windtunnel.isolation import ChildPool
from windtunnel.pipeline import load_samples
from windtunnel.tflite import Runner

pytestmark = [pytest.mark.heavy, pytest.mark.asyncio(loop_scope="module")]


@pytest.mark.parametrize("name", FORMATS)
async def test_every_format_becomes_the_same_float_model(
    name: str, trained: Path, pool: ChildPool, tmp_path: Path
) -> None:
    converted = await convert(trained / name, tmp_path, pool, samples=trained / "samples.npz")
    assert converted.check.passed, converted.check.message
    assert converted.check.output_nrmse is not None and converted.check.output_nrmse < 1e-5
    assert converted.check.agreement == 1.0
    assert converted.check.samples == 60
    assert [(t.dtype, t.shape[-3:]) for t in converted.facts.inputs] == [("float32", (12, 12, 3))]
    ops = {op.name for op in converted.facts.ops}
    # Batch norm is folded and no variable is left: what a phone runs is the plain network.
    assert "CONV_2D" in ops and "FULLY_CONNECTED" in ops and not ops & {"READ_VARIABLE", "VAR_HANDLE", "RSQRT"}


async def test_the_accuracy_as_trained_is_measured(trained: Path, pool: ChildPool, tmp_path: Path) -> None:
    converted = await convert(trained / "model.keras", tmp_path, pool, samples=trained / "samples.npz")
    assert converted.check.original is not None and converted.check.converted is not None
    assert converted.check.original.top1 == converted.check.converted.top1 > 0.8


async def test_without_samples_seeded_inputs_stand_in(trained: Path, pool: ChildPool, tmp_path: Path) -> None:
    converted = await convert(trained / "saved_model", tmp_path, pool)
    assert converted.check.synthetic and converted.check.passed and converted.check.original is None


@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
async def test_an_archive_around_a_folder(kind: str, trained: Path, pool: ChildPool, tmp_path: Path) -> None:
    archive = tmp_path / f"model.{kind}"
    if kind == "zip":
        with zipfile.ZipFile(archive, "w") as file:
            for path in (trained / "saved_model").rglob("*"):
                file.write(path, Path("outer", path.relative_to(trained / "saved_model")))
    else:
        with tarfile.open(archive, "w:gz") as tar:
            tar.add(trained / "saved_model", "outer")
    converted = await convert(archive, tmp_path / "work", pool, samples=trained / "samples.npz")
    assert converted.check.passed


@pytest.mark.parametrize("name", ["model.keras", "model.h5"])
async def test_an_artifact_has_no_suffix(name: str, trained: Path, pool: ChildPool, tmp_path: Path) -> None:
    shutil.copy(trained / name, tmp_path / "digest")
    assert (await convert(tmp_path / "digest", tmp_path / "work", pool)).check.passed


async def test_a_checkpoint_given_its_output(trained: Path, pool: ChildPool, tmp_path: Path) -> None:
    converted = await convert(
        trained / "checkpoint",
        tmp_path,
        pool,
        inputs=("image:0",),
        outputs=("colour",),
        samples=trained / "samples.npz",
    )
    assert converted.check.passed


async def test_an_ambiguous_graph_lists_its_candidates(trained: Path, pool: ChildPool, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"2 nodes end the graph.*candidates: (colour, features|features, colour)"):
        await convert(trained / "two_outputs.pb", tmp_path, pool)
    converted = await convert(
        trained / "two_outputs.pb", tmp_path / "named", pool, outputs=("colour",), samples=trained / "samples.npz"
    )
    assert converted.check.passed


async def test_a_tensor_that_does_not_exist(trained: Path, pool: ChildPool, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="no tensor 'nothing'"):
        await convert(trained / "frozen.pb", tmp_path, pool, outputs=("nothing",))


async def test_a_tflite_is_taken_as_it_is(trained: Path, pool: ChildPool, tmp_path: Path) -> None:
    first = await convert(trained / "model.keras", tmp_path / "a", pool)
    again = await convert(first.model, tmp_path / "b", pool, samples=trained / "samples.npz")
    assert again.model.read_bytes() == first.model.read_bytes()
    assert again.check.message == "taken as it is" and again.check.converted is not None


@pytest.mark.parametrize("name", ["lambda.keras", "lambda.h5"])
async def test_a_lambda_layer_is_code(name: str, trained: Path, pool: ChildPool, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="Lambda layer \\(doubles\\)") as caught:
        await convert(trained / name, tmp_path, pool)
    assert caught.value.code == "model_has_code"


@pytest.mark.parametrize("name", ["lambda.keras", "lambda.h5"])
async def test_code_that_is_allowed_is_loaded(name: str, trained: Path, pool: ChildPool, tmp_path: Path) -> None:
    converted = await convert(trained / name, tmp_path, pool, allow_code=True)
    assert converted.check.passed, converted.check.message


async def test_keras_itself_refuses_code_that_is_not_allowed(trained: Path, pool: ChildPool, tmp_path: Path) -> None:
    source = Source(trained / "lambda.keras", Format.KERAS, allow_code=False)
    with pytest.raises(InvalidInput, match="cannot be loaded as keras"):
        await pool.run(tensorflow_job, source, tmp_path / "model.tflite", None, None, {})


async def test_weights_alone_are_no_model(trained: Path, pool: ChildPool, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="holds weights, not a model"):
        await convert(trained / "weights.h5", tmp_path, pool)


async def test_an_op_that_tflite_lacks(trained: Path, pool: ChildPool, tmp_path: Path) -> None:
    with pytest.raises(Unsupported, match="MatrixDeterminant"):
        await convert(trained / "det", tmp_path, pool)


@pytest.mark.parametrize("name", ["model.keras", "model.h5", "frozen.pb"])
async def test_a_truncated_file(name: str, trained: Path, pool: ChildPool, tmp_path: Path) -> None:
    cut = tmp_path / name
    content = (trained / name).read_bytes()
    cut.write_bytes(content[: len(content) // 2])
    with pytest.raises(InvalidInput):
        await convert(cut, tmp_path / "work", pool)


async def test_a_truncated_saved_model(trained: Path, pool: ChildPool, tmp_path: Path) -> None:
    folder = tmp_path / "saved_model"
    shutil.copytree(trained / "saved_model", folder)
    content = (folder / "saved_model.pb").read_bytes()
    (folder / "saved_model.pb").write_bytes(content[: len(content) // 3])
    with pytest.raises(InvalidInput, match="cannot be loaded as saved_model"):
        await convert(folder, tmp_path / "work", pool)


async def test_lost_variables_of_a_saved_model(trained: Path, pool: ChildPool, tmp_path: Path) -> None:
    folder = tmp_path / "saved_model"
    shutil.copytree(trained / "saved_model", folder)
    shutil.rmtree(folder / "variables")
    with pytest.raises(InvalidInput, match="cannot be loaded"):
        await convert(folder, tmp_path / "work", pool)


async def test_the_wrong_declared_format(trained: Path, pool: ChildPool, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"declared hdf5 but holds keras"):
        await convert(trained / "model.keras", tmp_path, pool, declared=Format.HDF5)


async def test_samples_of_another_shape(trained: Path, pool: ChildPool, tmp_path: Path) -> None:
    samples = tmp_path / "other.npz"
    np.savez(samples, x=np.zeros((4, 9, 9, 3), np.float32))
    with pytest.raises(InvalidInput, match=r"9, 9, 3"):
        await convert(trained / "model.keras", tmp_path, pool, samples=samples)


async def test_a_changed_model_is_told_from_a_sound_conversion(trained: Path, pool: ChildPool, tmp_path: Path) -> None:
    """The check must see a conversion fault: here the converted file of another training."""
    from windtunnel.converter.use_cases import check_conversion as check_job

    converted = await convert(trained / "frozen.pb", tmp_path, pool, samples=trained / "samples.npz")
    original = {}
    runner = Runner(converted.model)
    name = runner.facts.outputs[0].name
    rows = [
        runner.run({runner.facts.inputs[0].name: x[None]})[name]
        for x in load_samples(trained / "samples.npz").inputs["x"]
    ]
    np.save(tmp_path / "changed.npy", np.roll(np.concatenate(rows), 1, axis=1))
    original["colour"] = tmp_path / "changed.npy"
    result = await pool.run(check_job.check, converted.model, original, trained / "samples.npz", None)
    assert not result.passed and "differs from the original's" in result.message
