"""Plans that an announcement names."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from windtunnel.artifacts import Artifacts, MemoryStore, SourceReader
from windtunnel.bus import subjects
from windtunnel.bus.memory import MemoryBus
from windtunnel.converter.use_cases.resolve_plan import PlanResolver, named_after_model, quantized_finding
from windtunnel.errors import InvalidInput, InvalidPlan
from windtunnel.pipeline import Pipeline
from windtunnel.plan import DEFAULT_PLAN, DataSet, Gates, Plan, VariantSpec, plan_to_json
from windtunnel.service.announcement import Announcement, TrainedModel
from windtunnel.service.run_inputs import with_local_files
from windtunnel.task_names import TaskSpec


async def test_a_stored_plan_means_what_it_meant_when_it_was_stored(tmp_path: Path) -> None:
    plan = Plan(variants=DEFAULT_PLAN.variants, devices=DEFAULT_PLAN.devices, gates=Gates(layer_nrmse=1e-05))
    assert b"1e-05" in plan_to_json(plan)
    # More than people may write, less than Windtunnel itself may.
    padded = plan_to_json(plan) + b" " * 300_000
    bucket = await MemoryBus().bucket(subjects.PLANS_BUCKET)
    store = Artifacts(MemoryStore(), tmp_path / "cache")
    await bucket.put("strict", padded)
    model = TrainedModel("ssd", "3", "s3://models/ssd.zip", None, None, (), ())
    announcement = Announcement(model, plan=None, plan_uri=None, plan_name="strict", labels={})

    found = await PlanResolver(store, SourceReader(store, (tmp_path,)), bucket).resolve(announcement, tmp_path / "work")

    assert found == plan


@pytest.mark.parametrize(("planned", "told", "expected"), [(None, 0.9, 0.9), (0.8, 0.9, 0.8), (0.8, None, 0.8)])
async def test_the_accuracy_of_the_training_comes_with_the_event(
    planned: float | None, told: float | None, expected: float, tmp_path: Path
) -> None:
    plan = dataclasses.replace(DEFAULT_PLAN, expected_accuracy=planned)
    model = TrainedModel("ssd", "3", "s3://models/ssd.zip", metrics={} if told is None else {"accuracy": told})
    announcement = Announcement(model, plan=plan, plan_uri=None, plan_name=None, labels={})
    store = Artifacts(MemoryStore(), tmp_path / "cache")
    resolver = PlanResolver(store, SourceReader(store, (tmp_path,)), await MemoryBus().bucket(subjects.PLANS_BUCKET))

    assert (await resolver.resolve(announcement, tmp_path / "work")).expected_accuracy == expected


@pytest.mark.parametrize(
    ("task", "expected"),
    [
        (TaskSpec("detection"), 0.41),
        (TaskSpec("classification"), 0.9),
        (TaskSpec("detection", "ap50"), None),
        (TaskSpec("regression"), None),
        (TaskSpec("regression", "r2"), None),
    ],
)
async def test_the_event_reports_the_main_metric_by_its_name(
    task: TaskSpec, expected: float | None, tmp_path: Path
) -> None:
    """No share can be expected of an error, nor of an r2 below zero."""
    plan = dataclasses.replace(DEFAULT_PLAN, data=DataSet(task=task))
    metrics = {"accuracy": 0.9, "map": 0.41, "mae": 0.3, "r2": -0.5}
    announcement = Announcement(
        TrainedModel("ssd", "3", "s3://models/ssd.zip", metrics=metrics),
        plan=plan,
        plan_uri=None,
        plan_name=None,
        labels={},
    )
    store = Artifacts(MemoryStore(), tmp_path / "cache")
    resolver = PlanResolver(store, SourceReader(store, (tmp_path,)), await MemoryBus().bucket(subjects.PLANS_BUCKET))
    assert (await resolver.resolve(announcement, tmp_path / "work")).expected_accuracy == expected


async def test_a_variant_with_a_recipe_in_a_file_stays_optional(tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.json"
    recipe.write_text('[{"regex": ".*", "operation": "*", "algorithm_key": "no_quantize"}]')
    plan = dataclasses.replace(DEFAULT_PLAN, variants=(VariantSpec("mine", recipe_uri=recipe.as_uri(), optional=True),))
    model = TrainedModel("ssd", "3", "s3://models/ssd.zip")
    announcement = Announcement(model, plan=plan, plan_uri=None, plan_name=None, labels={})
    store = Artifacts(MemoryStore(), tmp_path / "cache")
    resolver = PlanResolver(store, SourceReader(store, (tmp_path,)), await MemoryBus().bucket(subjects.PLANS_BUCKET))

    (variant,) = (await resolver.resolve(announcement, tmp_path / "work")).variants

    assert variant.optional and variant.recipe is not None and variant.recipe_uri is None


def of_text(vocabulary: str) -> dict[str, Any]:
    step = {"op": "tokenize", "kind": "whitespace", "vocabulary": vocabulary}
    return {"schema": "windtunnel.pipeline/1", "steps": [step]}


@pytest.mark.parametrize("form", ["by URI", "next to its pipeline"])
async def test_a_vocabulary_becomes_an_artifact_that_services_have_as_a_file(form: str, tmp_path: Path) -> None:
    words = tmp_path / "vocab.txt"
    words.write_text("[UNK]\na\n")
    preprocessing: Any = of_text(words.as_uri())
    if form == "next to its pipeline":
        (tmp_path / "pipeline.json").write_text(json.dumps(of_text("vocab.txt")))
        preprocessing = (tmp_path / "pipeline.json").as_uri()
    plan = dataclasses.replace(DEFAULT_PLAN, preprocessing=preprocessing)
    announcement = Announcement(TrainedModel("bert", "3", "s3://models/bert.zip"), plan, None, None, {})
    store = Artifacts(MemoryStore(), tmp_path / "cache")
    resolver = PlanResolver(store, SourceReader(store, (tmp_path,)), await MemoryBus().bucket(subjects.PLANS_BUCKET))

    resolved = (await resolver.resolve(announcement, tmp_path / "work")).preprocessing

    assert isinstance(resolved, dict)
    assert resolved["steps"][0]["vocabulary"].startswith("sha256:")
    words.unlink()
    local = await with_local_files(resolved, store)
    assert local is not None
    assert Pipeline.parse(local).apply(["a b"]).tolist() == [[1, 0]]


async def test_a_path_of_another_machine_is_refused(tmp_path: Path) -> None:
    plan = dataclasses.replace(DEFAULT_PLAN, preprocessing=of_text(str(tmp_path / "vocab.txt")))
    (tmp_path / "vocab.txt").write_text("a")
    announcement = Announcement(TrainedModel("bert", "3", "s3://models/bert.zip"), plan, None, None, {})
    store = Artifacts(MemoryStore(), tmp_path / "cache")
    resolver = PlanResolver(store, SourceReader(store, (tmp_path,)), await MemoryBus().bucket(subjects.PLANS_BUCKET))
    with pytest.raises(InvalidPlan, match=r"preprocessing: step 0 \(tokenize\): field 'vocabulary' is the path"):
        await resolver.resolve(announcement, tmp_path / "work")
    with pytest.raises(InvalidInput, match="not an artifact"):
        await with_local_files(of_text("/etc/passwd"), store)


def named(plan: Plan, found: str) -> list[str]:
    return [variant.name for variant in named_after_model(plan, found).variants]


def of(*names: str) -> Plan:
    return Plan(variants=tuple(VariantSpec(name) for name in names))


def test_variants_of_a_float_model_keep_their_names() -> None:
    plan = of("float32", "int8")
    assert named_after_model(plan, "float32") is plan


def test_a_model_that_is_quantized_already_is_tested_under_its_own_name() -> None:
    assert named(of("float32"), "int8") == ["int8"]
    assert named(of("float32", "int8"), "int8") == ["int8"]
    # What cannot be made of it stays in the plan, and fails with a reason.
    assert named(of("float32", "float16"), "int8") == ["int8", "float16"]
    assert named(DEFAULT_PLAN, "dynamic_range") == ["dynamic_range"]


def test_its_gates_follow_the_name() -> None:
    plan = Plan(variants=of("float32").variants, only={"float32": Gates(size_mb=1.0)})
    assert named_after_model(plan, "int8").gates_of("int8") == Gates(size_mb=1.0)


def test_a_quantized_file_is_said_to_be_its_own_reference() -> None:
    asked = of("float32", "int8")
    finding = quantized_finding(asked, named_after_model(asked, "int8"), "int8")
    assert finding is not None and finding.code == "conversion.quantized"
    assert "compared with itself" in finding.message and "'float32' is replaced by 'int8'" in finding.message
    assert finding.evidence == {"precision": "int8", "replaced": ["float32"]}
    only = quantized_finding(of("int8"), of("int8"), "int8")
    assert only is not None and "replaced" not in only.message
    assert quantized_finding(asked, asked, "float32") is None
    assert quantized_finding(DEFAULT_PLAN, named_after_model(DEFAULT_PLAN, "float16"), "float16") is not None
