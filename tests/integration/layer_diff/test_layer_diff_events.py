"""variant.ready in, variant.compared or variant.failed out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest

from support.bus_wires import Wire
from support.models import DigitsModels, digits_model
from support.runtime import Outbox, make_runtime, publish, serving
from support.service_runtime import settings_in
from windtunnel import schemas
from windtunnel.artifacts import LocalStore
from windtunnel.bus import subjects
from windtunnel.layer_diff.__main__ import build
from windtunnel.layer_diff.settings import LayerDiffSettings
from windtunnel.plan import parse_plan, plan_to_json
from windtunnel.service.protobuf_values import artifact_to_proto
from windtunnel.v1 import events_pb2, types_pb2

pytestmark = pytest.mark.heavy

ANSWERS = (subjects.VARIANT_COMPARED, subjects.VARIANT_FAILED)
FEW = 20


@pytest.fixture(scope="module")
def digits() -> DigitsModels:
    return digits_model()


@pytest.fixture
def samples(digits: DigitsModels, tmp_path: Path) -> Path:
    """The first samples alone: comparing all of them takes longer and shows no more."""
    with np.load(digits.samples) as arrays:
        np.savez(tmp_path / "few.npz", x=arrays["x"][:FEW], y=arrays["y"][:FEW])
    return tmp_path / "few.npz"


def settings(tmp_path: Path, **given: Any) -> LayerDiffSettings:
    return settings_in(tmp_path, LayerDiffSettings, **given)


async def ready(
    tmp_path: Path,
    digits: DigitsModels,
    samples: Path | None,
    variant: str = "int8",
    *,
    model: Path | None = None,
    gates: dict[str, Any] | None = None,
) -> events_pb2.VariantReady:
    store = LocalStore(tmp_path / "artifacts")
    plan: dict[str, Any] = {"apiVersion": "windtunnel/v1", "variants": ["float32", "int8"], "gates": gates or {}}
    if samples is not None:
        plan["data"] = {"samples": (await store.put_file(samples)).uri}
    stored = await store.put_file(model or digits.variants[variant])
    return events_pb2.VariantReady(
        run=types_pb2.RunContext(
            run_id="run-1",
            model_name="digits",
            plan=artifact_to_proto(await store.put_bytes(plan_to_json(parse_plan(plan)))),
        ),
        variant=types_pb2.Variant(name=variant, model=artifact_to_proto(stored)),
        float_model=artifact_to_proto(await store.put_file(digits.float32)),
    )


async def answer_to(wire: Wire, tmp_path: Path, event: events_pb2.VariantReady, **given: Any) -> Any:
    """What the service answers to one event."""
    bus = await wire.open()
    await publish(bus, event, "a")
    runtime = await make_runtime("layer_diff", settings(tmp_path, **given), bus, tmp_path)
    async with Outbox(bus, ANSWERS) as out, serving(build, runtime):
        return await out.next(60)


async def diagnosis_of(tmp_path: Path, answer: events_pb2.VariantCompared) -> dict[str, Any]:
    data = await LocalStore(tmp_path / "artifacts").read_bytes(answer.diagnosis.sha256)
    value: dict[str, Any] = json.loads(data)
    return value


async def test_a_variant_is_compared(wire: Wire, tmp_path: Path, digits: DigitsModels, samples: Path) -> None:
    event = await ready(tmp_path, digits, samples)
    answer = await answer_to(wire, tmp_path, event)
    assert isinstance(answer, events_pb2.VariantCompared)
    assert (answer.run, answer.variant, answer.model) == (event.run, "int8", event.variant.model)
    assert (answer.reference.samples, answer.candidate.samples, answer.synthetic_samples) == (FEW, FEW, False)
    assert answer.reference.top1 > 0.9
    assert answer.candidate.top1 > 0.9
    assert answer.agreement > 0.9
    assert answer.layers.compared == answer.layers.total > 5
    assert 0.0 < answer.layers.max_nrmse < 0.10
    assert answer.layers.first_over == ""
    diagnosis = await diagnosis_of(tmp_path, answer)
    jsonschema.validate(diagnosis, schemas.load("diagnosis"))
    assert diagnosis["verdict"] == "healthy"
    assert diagnosis["coverage"]["compared"] == answer.layers.compared
    assert diagnosis["max_nrmse"] == answer.layers.max_nrmse


async def test_without_samples_random_inputs_stand_in(wire: Wire, tmp_path: Path, digits: DigitsModels) -> None:
    answer = await answer_to(wire, tmp_path, await ready(tmp_path, digits, None))
    assert isinstance(answer, events_pb2.VariantCompared)
    assert answer.synthetic_samples
    assert not answer.reference.HasField("top1")
    assert answer.candidate.samples > 0
    assert answer.layers.max_nrmse > 0.0
    assert (await diagnosis_of(tmp_path, answer))["settings"]["synthetic_samples"] is True


async def test_the_gate_of_the_plan_is_the_threshold(
    wire: Wire, tmp_path: Path, digits: DigitsModels, samples: Path
) -> None:
    gates = {"layer_nrmse": 0.5, "only": {"int8": {"layer_nrmse": 0.0}}}
    answer = await answer_to(wire, tmp_path, await ready(tmp_path, digits, samples, gates=gates))
    assert isinstance(answer, events_pb2.VariantCompared)
    assert answer.layers.first_over
    diagnosis = await diagnosis_of(tmp_path, answer)
    assert diagnosis["first_over"]["layer"] == answer.layers.first_over
    assert 0.0 < diagnosis["threshold"] < 1e-300


async def test_the_float_model_equals_itself(wire: Wire, tmp_path: Path, digits: DigitsModels, samples: Path) -> None:
    answer = await answer_to(wire, tmp_path, await ready(tmp_path, digits, samples, "float32"))
    assert isinstance(answer, events_pb2.VariantCompared)
    assert answer.layers.max_nrmse == 0.0
    assert answer.agreement == 1.0
    assert answer.reference == answer.candidate


async def test_a_failure_fails_that_variant_alone(
    wire: Wire, tmp_path: Path, digits: DigitsModels, samples: Path
) -> None:
    bus = await wire.open()
    broken = tmp_path / "broken.tflite"
    broken.write_bytes(b"no model")
    np.savez(tmp_path / "square.npz", x=np.zeros((3, 5, 5, 1), np.float32))
    await publish(bus, await ready(tmp_path, digits, samples, "dynamic_range", model=broken), "a")
    await publish(bus, await ready(tmp_path, digits, tmp_path / "square.npz", "int16x8"), "b")
    await publish(bus, await ready(tmp_path, digits, samples), "c")
    runtime = await make_runtime("layer_diff", settings(tmp_path), bus, tmp_path)
    async with Outbox(bus, ANSWERS) as out, serving(build, runtime):
        answers = [await out.next(60) for _ in range(3)]
    failed = {answer.variant: answer for answer in answers if isinstance(answer, events_pb2.VariantFailed)}
    assert set(failed) == {"dynamic_range", "int16x8"}
    for answer in failed.values():
        assert answer.step == events_pb2.VariantFailed.STEP_COMPARE
        assert (answer.failure.code, answer.failure.service) == ("invalid_input", "layer_diff")
    assert "[1, 5, 5, 1]" in failed["int16x8"].failure.message


async def test_a_comparison_past_its_limit_fails(
    wire: Wire, tmp_path: Path, digits: DigitsModels, samples: Path
) -> None:
    answer = await answer_to(wire, tmp_path, await ready(tmp_path, digits, samples), job_timeout_s=0.001)
    assert isinstance(answer, events_pb2.VariantFailed)
    assert answer.failure.code == "job_failed"


async def test_a_plan_that_is_none_fails_the_variant(wire: Wire, tmp_path: Path, digits: DigitsModels) -> None:
    event = await ready(tmp_path, digits, None)
    plan = await LocalStore(tmp_path / "artifacts").put_bytes(b"variants: [int8")
    event.run.plan.CopyFrom(artifact_to_proto(plan))
    answer = await answer_to(wire, tmp_path, event)
    assert isinstance(answer, events_pb2.VariantFailed)
    assert answer.failure.code == "invalid_plan"


async def test_the_same_event_twice_says_it_once(
    wire: Wire, tmp_path: Path, digits: DigitsModels, samples: Path
) -> None:
    bus, other = await wire.open(), await wire.open()
    first = await make_runtime("layer_diff", settings(tmp_path), bus, tmp_path)
    second = await make_runtime("layer_diff", settings(tmp_path), other, tmp_path)
    async with Outbox(bus, ANSWERS) as out, serving(build, first), serving(build, second):
        for number, variant in enumerate(("int8", "float16", "int8", "float16")):
            await publish(bus, await ready(tmp_path, digits, samples, variant), f"e-{number}")
        answers = [await out.next(60) for _ in range(2)]
        await out.nothing(1.0)
    assert {answer.variant for answer in answers if isinstance(answer, events_pb2.VariantCompared)} == {
        "int8",
        "float16",
    }
