"""Plans that an announcement names."""

from __future__ import annotations

from pathlib import Path

from windtunnel.announcement import Announcement, TrainedModel
from windtunnel.artifacts import Artifacts, MemoryStore, SourceReader
from windtunnel.bus import subjects
from windtunnel.bus.memory import MemoryBus
from windtunnel.converter.resolve_plan import PlanResolver
from windtunnel.plan import DEFAULT_PLAN, Gates, Plan, plan_to_json


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
