"""The plan of a run from the artifact store, and what requests name."""

from __future__ import annotations

import json
import tempfile
import threading
from pathlib import Path
from typing import Any

import pytest

from windtunnel.artifacts import MemoryStore, SourceReader
from windtunnel.artifacts import pack as pack_folder
from windtunnel.errors import InvalidInput, InvalidPlan, NotFound
from windtunnel.plan import DataSet, DeviceFilter, Plan, VariantSpec, plan_to_json
from windtunnel.service import run_inputs as runs
from windtunnel.service.protobuf_values import artifact_to_proto
from windtunnel.service.run_inputs import artifact_of, ingest, pipeline_in, pipeline_of, plan_of, temporary_folder
from windtunnel.v1 import types_pb2

PIPELINE = {
    "schema": "windtunnel.pipeline/1",
    "task": "classification",
    "steps": [{"op": "mirror", "axis": "horizontal"}],
}
SHA256 = "5" * 64


async def stored(data: bytes) -> tuple[types_pb2.RunContext, MemoryStore]:
    store = MemoryStore()
    return types_pb2.RunContext(run_id="run-1", plan=artifact_to_proto(await store.put_bytes(data))), store


async def test_a_stored_plan_is_read_back() -> None:
    plan = Plan(DataSet(f"sha256:{SHA256}"), PIPELINE, (VariantSpec("int8"),), (DeviceFilter("local"),))
    found = await plan_of(*await stored(plan_to_json(plan)))
    assert found == plan
    samples = artifact_of(found.data.samples)
    assert samples is not None
    assert samples.sha256 == SHA256
    assert artifact_of(found.data.calibration) is None
    assert pipeline_in(found) == PIPELINE


@pytest.mark.parametrize(
    ("plan", "says"),
    [
        (b"{", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"\xff", "not JSON"),
        (b"[]", "a plan must be an object"),
        ({"data": {"samples": "s3://bucket/x.npz"}}, r"data\.samples: .*artifacts only"),
        ({"data": {"calibration": "/c.npz"}}, r"data\.calibration: .*artifacts only"),
        ({"preprocessing": "s3://bucket/p.json"}, "preprocessing: .*holds its pipeline"),
    ],
    ids=["cut", "deep", "no text", "list", "samples", "calibration", "pipeline"],
)
async def test_what_is_no_resolved_plan_is_refused(plan: Any, says: str) -> None:
    data = plan if isinstance(plan, bytes) else json.dumps({"apiVersion": "windtunnel/v1", **plan}).encode()
    with pytest.raises(InvalidPlan, match=says):
        await plan_of(*await stored(data))


async def test_few_plans_are_kept_and_none_of_their_bytes() -> None:
    plans = [Plan(preprocessing=PIPELINE, variants=(VariantSpec("int8"),), deadline_seconds=n) for n in range(1, 41)]
    for plan in (*plans, plans[0]):
        assert await plan_of(*await stored(plan_to_json(plan))) == plan
    assert len(runs._plans) == 16
    assert all(len(name) == 64 for name in runs._plans)


async def test_a_plan_that_is_not_there() -> None:
    with pytest.raises(InvalidInput, match="an artifact is missing"):
        await plan_of(types_pb2.RunContext(), MemoryStore())
    with pytest.raises(NotFound):
        await plan_of(types_pb2.RunContext(plan=types_pb2.Artifact(sha256=SHA256)), MemoryStore())


def test_the_pipeline_of_a_request() -> None:
    assert pipeline_of("") is None
    assert pipeline_of(json.dumps(PIPELINE)) == PIPELINE
    with pytest.raises(InvalidInput, match="preprocessing_json is not JSON"):
        pipeline_of("{")


async def test_files_folders_and_artifacts_are_ingested(tmp_path: Path) -> None:
    store = MemoryStore()
    sources = SourceReader(store, (tmp_path,))
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/a.txt").write_bytes(b"a")
    ref, path = await ingest(store, sources, f"file://{tmp_path}/folder/a.txt", tmp_path / "work/1")
    assert (await store.read_bytes(ref.sha256), path.read_bytes()) == (b"a", b"a")
    again, path = await ingest(store, sources, ref.uri, tmp_path / "work/2")
    assert (again, path.read_bytes()) == (ref, b"a")
    packed, path = await ingest(store, sources, f"file://{tmp_path}/folder", tmp_path / "work/3")
    assert path.is_dir()
    assert (await store.read_bytes(packed.sha256)).startswith(b"PK")


async def test_a_folder_is_packed_away_from_the_event_loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    packed_by: list[threading.Thread] = []

    def pack(folder: Path, target: Path) -> Path:
        packed_by.append(threading.current_thread())
        return pack_folder(folder, target)

    monkeypatch.setattr(runs, "pack", pack)
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/a.txt").write_bytes(b"a")
    store = MemoryStore()
    await ingest(store, SourceReader(store, (tmp_path,)), f"file://{tmp_path}/folder", tmp_path / "work")
    assert packed_by
    assert threading.main_thread() not in packed_by


async def test_a_temporary_folder_is_gone_after_the_block() -> None:
    async with temporary_folder("windtunnel-test-") as folder:
        (folder / "a/b").mkdir(parents=True)
        (folder / "a/b/c.txt").write_bytes(b"c")
    assert not folder.exists()
    with pytest.raises(InvalidInput):
        async with temporary_folder("windtunnel-test-") as folder:
            raise InvalidInput("bad")
    assert not folder.exists()


async def test_a_temporary_folder_is_removed_away_from_the_event_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    removed_by: list[threading.Thread] = []
    cleanup = tempfile.TemporaryDirectory.cleanup

    def recorded(folder: tempfile.TemporaryDirectory[str]) -> None:
        removed_by.append(threading.current_thread())
        cleanup(folder)

    monkeypatch.setattr(tempfile.TemporaryDirectory, "cleanup", recorded)
    async with temporary_folder("windtunnel-test-"):
        pass
    assert removed_by
    assert threading.main_thread() not in removed_by
