"""The smallest failing case, and its script in an environment of its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from support import damaged
from support.cause_findings import sample_of
from support.models import digits_model
from windtunnel.cli.local.failing_case import write_case
from windtunnel.diagnosis.findings.causes import Cause
from windtunnel.diagnosis.minimal import MinimalCase, minimal_case
from windtunnel.errors import InvalidInput, NotFound
from windtunnel.isolation import ChildPool
from windtunnel.tflite import Quantization, read_model
from windtunnel.tflite.edit import Editor

FILES = ["README.md", "candidate.tflite", "case.json", "expected.npz", "inputs.npz", "reference.tflite", "run.py"]


def cause(op_index: int | None, code: str = "conversion.weights") -> Cause:
    return Cause(sample_of(code), 0.9, None if op_index is None else f"op_{op_index}", op_index)


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return damaged.network().write(tmp_path_factory.mktemp("sound") / "sound.tflite")


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return damaged.samples(tmp_path_factory.mktemp("samples") / "samples.npz", count=12)


async def found(reference: Path, candidate: Path, where: Cause, samples: Path, **how: Any) -> MinimalCase:
    async with ChildPool(size=1, timeout_s=120.0, memory_mb=2000) as pool:
        return await pool.run(minimal_case, reference, candidate, where, samples, **how)


def with_noise(model: Path, op: int, path: Path) -> Path:
    """The model with other weights in one dense layer."""
    editor = Editor(model)
    weights = editor.facts.tensors[editor.facts.ops[op].inputs[1]]
    values = editor.facts.constant(weights)
    editor.set_constant(weights.index, values + np.random.default_rng(3).normal(0, 0.2, values.shape).astype("f4"))
    return editor.write(path)


def unpacked(made: MinimalCase, folder: Path) -> Path:
    with zipfile.ZipFile(BytesIO(made.content)) as archive:
        archive.extractall(folder)
    return folder


def script(folder: Path, *arguments: str, python: str = sys.executable) -> subprocess.CompletedProcess[str]:
    command = [python, str(folder / "run.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, cwd="/", check=False)


def cut_alike(model: Path, made: MinimalCase, path: Path) -> Path:
    """The part of another candidate between the tensors at which the case was cut."""
    editor = Editor(model)
    names = {tensor.name: tensor.index for tensor in editor.facts.tensors}
    region = made.case["region"]
    editor.cut([names[name] for name in region["inputs"]], [names[region["output"]]])
    return editor.write(path)


async def test_the_culprits_op_alone_shows_the_fault(sound: Path, samples: Path, tmp_path: Path) -> None:
    broken = with_noise(sound, 1, tmp_path / "broken.tflite")
    made = await found(sound, broken, cause(1), samples)
    assert [one["op_index"] for one in made.case["region"]["candidate"]] == [1]
    assert [one["op_index"] for one in made.case["region"]["reference"]] == [1]
    folder = unpacked(made, tmp_path / "case")
    assert sorted(path.name for path in folder.iterdir()) == FILES
    ran = script(folder)
    assert ran.returncode == 1, ran.stdout + ran.stderr
    assert "the fault shows" in ran.stdout
    assert ran.stdout.count("exceeds the limit") == len(made.case["errors"]) >= 3


async def test_the_mended_model_passes(sound: Path, samples: Path, tmp_path: Path) -> None:
    broken = with_noise(sound, 2, tmp_path / "broken.tflite")
    made = await found(sound, broken, cause(2), samples)
    mended = cut_alike(sound, made, tmp_path / "fixed.tflite")
    ran = script(unpacked(made, tmp_path / "case"), "--candidate", str(mended))
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "does not show" in ran.stdout


async def test_a_whole_model_is_refused_in_words(sound: Path, samples: Path, tmp_path: Path) -> None:
    broken = with_noise(sound, 2, tmp_path / "broken.tflite")
    folder = unpacked(await found(sound, broken, cause(2), samples), tmp_path / "case")
    ran = script(folder, "--candidate", str(sound))
    assert ran.returncode == 2, ran.stdout + ran.stderr
    assert "sound.tflite takes float32 [" in ran.stdout and "and the case gives float32 [1, " in ran.stdout
    assert "A whole model cannot be run here: cut the fixed one at the same tensors" in ran.stdout
    readme = (folder / "README.md").read_text(encoding="utf-8")
    assert "FILE must be the same part of the fixed model, cut at the same tensors" in readme
    inputs = json.loads((folder / "case.json").read_text())["region"]["inputs"]
    assert inputs and [name for name in inputs if f"`{name}`" not in readme] == []


async def test_what_is_fed_is_what_the_reference_gives(sound: Path, samples: Path, tmp_path: Path) -> None:
    broken = with_noise(sound, 2, tmp_path / "broken.tflite")
    folder = unpacked(await found(sound, broken, cause(2), samples), tmp_path / "case")
    given = np.load(folder / "inputs.npz")["candidate/000"]
    network = damaged.network()
    pixels = np.load(samples)["x"]
    hidden = pixels
    for weights, bias in zip(network.weights[:2], network.biases[:2], strict=True):
        hidden = np.maximum(hidden @ weights.T + bias, 0)
    assert given.shape[1:] == (1, hidden.shape[1])
    distances = np.abs(given[:, 0][:, None] - hidden[None]).max(axis=2)
    assert distances.min(axis=1).max() < 1e-4


async def test_the_same_case_has_the_same_bytes(sound: Path, samples: Path, tmp_path: Path) -> None:
    broken = with_noise(sound, 1, tmp_path / "broken.tflite")
    first = await found(sound, broken, cause(1), samples)
    second = await found(sound, broken, cause(1), samples)
    assert first.content == second.content


async def test_a_part_grows_until_the_fault_shows(sound: Path, samples: Path, tmp_path: Path) -> None:
    # The named op is sound: the fault lies one op before it.
    broken = with_noise(sound, 1, tmp_path / "broken.tflite")
    made = await found(sound, broken, cause(2), samples)
    assert [one["op_index"] for one in made.case["region"]["candidate"]] == [1, 2]
    assert script(unpacked(made, tmp_path / "case")).returncode == 1


async def test_sound_models_have_no_case(sound: Path, samples: Path) -> None:
    with pytest.raises(NotFound, match=r"no part of sound\.tflite"):
        await found(sound, sound, cause(1), samples)


async def test_a_cause_without_a_place_cannot_be_cut_out(sound: Path, samples: Path) -> None:
    with pytest.raises(InvalidInput, match="has no op to cut out"):
        await found(sound, sound, cause(None, "quantization.accumulated"), samples)


async def test_not_a_number_is_a_fault(sound: Path, samples: Path, tmp_path: Path) -> None:
    editor = Editor(sound)
    bias = editor.facts.tensors[editor.facts.ops[3].inputs[2]]
    values = editor.facts.constant(bias).copy()
    values[0] = np.nan
    editor.set_constant(bias.index, values)
    made = await found(sound, editor.write(tmp_path / "nan.tflite"), cause(3), samples)
    folder = unpacked(made, tmp_path / "case")
    json.loads((folder / "case.json").read_text(), parse_constant=pytest.fail)
    assert script(folder).returncode == 1


async def test_other_kernels_can_be_asked_for(sound: Path, samples: Path, tmp_path: Path) -> None:
    broken = with_noise(sound, 1, tmp_path / "broken.tflite")
    folder = unpacked(await found(sound, broken, cause(1), samples), tmp_path / "case")
    for kernels in ("reference", "xnnpack", "none"):
        ran = script(folder, "--kernels", kernels)
        assert ran.returncode == 1, ran.stdout + ran.stderr
        assert f"{kernels} kernels" in ran.stdout


async def test_the_readme_says_where_and_how_much(sound: Path, samples: Path, tmp_path: Path) -> None:
    broken = with_noise(sound, 1, tmp_path / "broken.tflite")
    made = await found(sound, broken, cause(1), samples)
    text = (unpacked(made, tmp_path / "case") / "README.md").read_text()
    assert "conversion.weights at op 1" in text
    assert "1 FULLY_CONNECTED of broken.tflite" in text
    assert made.case["errors"] and [error for error in made.case["errors"] if f"{error:.6g}" not in text] == []


async def test_the_command_line_writes_the_first_cause_with_a_place(sound: Path, samples: Path, tmp_path: Path) -> None:
    broken = with_noise(sound, 1, tmp_path / "broken.tflite")
    out = tmp_path / "case.zip"
    causes = [cause(None, "quantization.accumulated"), cause(1)]
    async with ChildPool(size=1, timeout_s=120.0, memory_mb=2000) as pool:
        case = await write_case(out, sound, broken, causes, pool, samples=samples)
        with pytest.raises(NotFound, match="no cause has a place in the model"):
            await write_case(out, sound, broken, causes[:1], pool, samples=samples)
    assert case["code"] == "conversion.weights"
    assert sorted(zipfile.ZipFile(out).namelist()) == FILES


def wrong_scale(model: Path, op: int, path: Path) -> Path:
    """The int8 model with a tenth of the scale in the output of one op, as its readers and it itself see it."""
    editor = Editor(model)
    tensor = editor.facts.tensors[editor.facts.ops[op].outputs[0]]
    assert tensor.quantization is not None
    scales = tuple(scale / 10 for scale in tensor.quantization.scales)
    editor.set_quantization(tensor.index, Quantization(scales, tensor.quantization.zero_points))
    return editor.write(path)


@pytest.mark.heavy
async def test_a_quantized_case_runs_in_a_bare_environment(tmp_path: Path) -> None:
    models = digits_model()
    int8 = models.variants["int8"]
    op = next(op.index for op in read_model(int8).ops if op.name == "CONV_2D" and op.index > 0)
    broken = wrong_scale(int8, op, tmp_path / "broken.tflite")
    made = await found(models.float32, broken, cause(op, "quantization.parameters"), models.samples)
    folder = unpacked(made, tmp_path / "case")
    python = bare_environment(tmp_path / "bare")
    ran = script(folder, python=python)
    assert ran.returncode == 1, ran.stdout + ran.stderr
    mended = cut_alike(int8, made, tmp_path / "fixed.tflite")
    ran = script(folder, "--candidate", str(mended), python=python)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert len(made.case["region"]["candidate"]) <= 2


def bare_environment(folder: Path) -> str:
    """An interpreter that has numpy and the runtime, and nothing of Windtunnel."""
    uv = shutil.which("uv") or next(
        (str(path) for path in Path(__file__).resolve().parents[3].glob(".tools/bin/uv")), None
    )
    python = str(folder / "bin" / "python")
    packages = ["numpy", "ai-edge-litert"]
    if uv is not None:
        make, install = (
            [uv, "venv", "--python", sys.executable, str(folder)],
            [uv, "pip", "install", "--python", python],
        )
    else:
        make = [sys.executable, "-m", "venv", str(folder)]
        install = [python, "-m", "pip", "install"]
    env = {name: value for name, value in os.environ.items() if name not in ("VIRTUAL_ENV", "PYTHONPATH")}
    for command in (make, [*install, "-q", *packages]):
        subprocess.run(command, check=True, env=env, capture_output=True, timeout=240)
    check = "import importlib.util as u; assert u.find_spec('windtunnel') is None"
    subprocess.run([python, "-c", check], check=True, env=env, cwd="/")
    return python
