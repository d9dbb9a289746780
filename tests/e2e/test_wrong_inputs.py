"""Wrong inputs end with a clear failure and the verdict could_not_run, within seconds."""

from __future__ import annotations

import io
import json
import struct
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from support.models import DigitsModels
from support.system import System

pytestmark = pytest.mark.heavy

SECONDS = 30


def submit(system: System, model: str, plan: str, tmp_path: Path, *extra: str) -> dict[str, Any]:
    """The report of a submission that cannot run; checks that it ended in time."""
    path = tmp_path / "plan.yaml"
    path.write_text(plan)
    started = time.monotonic()
    result = system.cli("submit", model, "--plan", str(path), "--wait", "--json", *extra)
    assert result.returncode == 2, (result.stdout, result.stderr)
    assert time.monotonic() - started < SECONDS
    report: dict[str, Any] = json.loads(result.stdout)
    assert report["verdict"] == "could_not_run"
    return report


def plan_of(models: DigitsModels, **changes: Any) -> str:
    plan: dict[str, Any] = {
        "apiVersion": "windtunnel/v1",
        "data": {"samples": str(models.samples), "calibration": str(models.calibration)},
        "variants": ["float32", "int8"],
        "devices": [],
    }
    return json.dumps({**plan, **changes})


def reason_of(report: dict[str, Any]) -> str:
    return " ".join(report["reasons"])


def test_a_text_file_named_h5(system: System, models: DigitsModels, tmp_path: Path) -> None:
    model = tmp_path / "model.h5"
    model.write_text("hello, I am no model")
    assert "hello, I am no model" in reason_of(submit(system, str(model), plan_of(models), tmp_path))


def test_a_truncated_saved_model(system: System, models: DigitsModels, tmp_path: Path) -> None:
    folder = tmp_path / "saved_model"
    folder.mkdir()
    content = (models.saved_model / "saved_model.pb").read_bytes()
    (folder / "saved_model.pb").write_bytes(content[: len(content) // 2])
    assert "saved_model" in reason_of(submit(system, str(folder), plan_of(models), tmp_path))


def run_keras(code: str, folder: Path) -> None:
    subprocess.run([sys.executable, "-c", code], cwd=folder, check=True, capture_output=True, timeout=120)


def test_a_lambda_layer_is_refused(system: System, models: DigitsModels, tmp_path: Path) -> None:
    run_keras(
        "import keras\n"
        "doubles = keras.layers.Lambda(lambda x: x * 2)\n"
        "m = keras.Sequential([keras.Input((32, 32, 1)), doubles, keras.layers.Flatten()])\n"
        "m.save('code.keras')\nm.save('code.h5')\n",
        tmp_path,
    )
    for name in ("code.keras", "code.h5"):
        assert "Lambda" in reason_of(submit(system, str(tmp_path / name), plan_of(models), tmp_path))


def test_an_op_that_tflite_lacks_is_named(system: System, models: DigitsModels, tmp_path: Path) -> None:
    run_keras(
        "import tensorflow as tf\n"
        "class M(tf.Module):\n"
        "    @tf.function(input_signature=[tf.TensorSpec((1, 32, 32, 1), tf.float32)])\n"
        "    def __call__(self, x):\n"
        "        return {'y': tf.linalg.det(tf.reshape(x, (1, 32, 32)))}\n"
        "m = M()\n"
        "tf.saved_model.save(m, 'det', signatures=m.__call__)\n",
        tmp_path,
    )
    assert "MatrixDeterminant" in reason_of(submit(system, str(tmp_path / "det"), plan_of(models), tmp_path))


@pytest.mark.parametrize(
    ("name", "array", "said"),
    [
        ("shape", np.zeros((20, 16, 16, 1), np.float32), "shape"),
        ("nan", np.full((20, 32, 32, 1), np.nan, np.float32), "NaN"),
        ("empty", np.zeros((0, 32, 32, 1), np.float32), "no samples"),
    ],
)
def test_a_calibration_set_that_cannot_be_used(
    system: System, models: DigitsModels, tmp_path: Path, name: str, array: np.ndarray[Any, Any], said: str
) -> None:
    path = tmp_path / f"{name}.npz"
    np.savez(path, x=array)
    plan = plan_of(models, data={"samples": str(models.samples), "calibration": str(path)})
    report = submit(system, str(models.float32), plan, tmp_path)
    assert said.lower() in reason_of(report).lower()
    assert "int8" in reason_of(report)


def test_an_empty_data_set(system: System, models: DigitsModels, tmp_path: Path) -> None:
    path = tmp_path / "none.npz"
    np.savez(path, x=np.zeros((0, 32, 32, 1), np.float32), y=np.zeros(0, np.int64))
    report = submit(system, str(models.float32), plan_of(models, data={"samples": str(path)}), tmp_path)
    assert "data.samples has no samples" in reason_of(report)


def test_a_plan_with_a_typo_is_refused_before_anything_runs(
    system: System, models: DigitsModels, tmp_path: Path
) -> None:
    path = tmp_path / "plan.yaml"
    path.write_text("apiVersion: windtunnel/v1\nvarients: [float32]\n")
    result = system.cli("submit", str(models.float32), "--plan", str(path))
    assert result.returncode == 2
    assert "line 2, column 1" in result.stderr and "did you mean 'variants'" in result.stderr


async def test_a_plan_with_a_typo_in_an_event_ends_the_run(system: System, models: DigitsModels) -> None:
    body = {
        "model": {"name": "digits", "version": "typo", "uri": system.inbox(models.float32)},
        "plan": {"apiVersion": "windtunnel/v1", "varients": ["float32"]},
        "run_id": "typo-in-the-plan",
    }
    event = {"specversion": "1.0", "id": "t", "source": "/typo", "type": "windtunnel.model.trained.v1", "data": body}
    async with system.jetstream() as js:
        await js.publish("windtunnel.model.trained", json.dumps(event).encode())
        await system.completed(js, "typo-in-the-plan", timeout_s=SECONDS)
    assert "did you mean 'variants'" in reason_of(system.report("typo-in-the-plan"))


@pytest.mark.parametrize(
    "uri", ["file:///etc/passwd", "file:///etc/../etc/shadow", "http://example.org/x", "s3://u:p@b/k"]
)
async def test_a_uri_that_may_not_be_read(system: System, uri: str) -> None:
    run_id = f"uri-{abs(hash(uri))}"
    body = {"model": {"name": "x", "version": "1", "uri": uri}, "run_id": run_id}
    event = {"specversion": "1.0", "id": uri, "source": "/uri", "type": "windtunnel.model.trained.v1", "data": body}
    async with system.jetstream() as js:
        await js.publish("windtunnel.model.trained", json.dumps(event).encode())
        await system.completed(js, run_id, timeout_s=SECONDS)
    report = system.report(run_id)
    assert report["verdict"] == "could_not_run"
    assert "u:p@" not in json.dumps(report)


def hostile_zip(path: Path, name: str, size: int | None = None) -> Path:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(name, b"x" * 10)
    content = bytearray(buffer.getvalue())
    if size is not None:
        # The uncompressed size in the local header and in the directory.
        struct.pack_into("<I", content, 22, size)
        struct.pack_into("<I", content, content.index(b"PK\x01\x02") + 24, size)
    path.write_bytes(content)
    return path


def test_a_zip_with_a_path_out_of_it(system: System, models: DigitsModels, tmp_path: Path) -> None:
    model = hostile_zip(tmp_path / "model.zip", "../../evil")
    assert "../../evil" in reason_of(submit(system, str(model), plan_of(models), tmp_path))


def test_a_zip_that_claims_gigabytes(system: System, models: DigitsModels, tmp_path: Path) -> None:
    model = hostile_zip(tmp_path / "model.zip", "saved_model.pb", 0xFFFF_FFF0)
    submit(system, str(model), plan_of(models), tmp_path)


def test_an_empty_model_file(system: System, models: DigitsModels, tmp_path: Path) -> None:
    model = tmp_path / "model.tflite"
    model.write_bytes(b"")
    assert "empty" in reason_of(submit(system, str(model), plan_of(models), tmp_path))


def test_a_zero_byte_base_app(system: System, models: DigitsModels, tmp_path: Path) -> None:
    base, out = tmp_path / "base.apk", tmp_path / "app.apk"
    base.write_bytes(b"")
    built = system.cli("build-app", str(models.float32), "--base", str(base), "--out", str(out))
    assert built.returncode == 2
    assert "base.apk" in built.stderr and "empty" in built.stderr
    assert not out.exists()
