"""What services do alike with the plan of a run, and with what requests name."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from windtunnel.artifacts import ArtifactRef, ArtifactStore, SourceReader, pack
from windtunnel.errors import InvalidInput, InvalidPlan
from windtunnel.pipeline import Pipeline
from windtunnel.plan import Plan, parse_plan
from windtunnel.v1 import types_pb2
from windtunnel.wire import artifact_from_proto

MAX_PLAN_BYTES: Final = 16 * 1024**2


async def plan_of(run: types_pb2.RunContext, artifacts: ArtifactStore) -> Plan:
    """The plan of a run, as the converter stored it.

    Raises InvalidPlan (it is none, or not a resolved one), InvalidInput (the run names none), NotFound, Unavailable.
    """
    ref = artifact_from_proto(run.plan)
    return _parsed(await artifacts.read_bytes(ref.sha256, limit=MAX_PLAN_BYTES))


# Every variant of a run comes with the same plan, and reading a large one takes longer than comparing two hashes.
@lru_cache(maxsize=32)
def _parsed(data: bytes) -> Plan:
    try:
        plan = parse_plan(json.loads(data))
    except (ValueError, RecursionError) as error:
        raise InvalidPlan(f"the plan of the run is not JSON: {error}") from error
    for name, uri in (("samples", plan.data.samples), ("calibration", plan.data.calibration)):
        if uri is not None and not uri.startswith("sha256:"):
            raise InvalidPlan(f"the plan of a run names artifacts only, this is {uri!r}", path=f"data.{name}")
    if isinstance(plan.preprocessing, str):
        raise InvalidPlan("the plan of a run holds its pipeline, this is a URI", path="preprocessing")
    return plan


def artifact_of(uri: str | None) -> ArtifactRef | None:
    """The artifact that a plan from `plan_of` names by `sha256:<hex>`, its size not known; None where it names none."""
    return None if uri is None else ArtifactRef(uri.removeprefix("sha256:"), 0)


def pipeline_in(plan: Plan) -> Mapping[str, Any] | None:
    """The pipeline of a plan from `plan_of`."""
    assert not isinstance(plan.preprocessing, str), "plan_of refuses it"
    return plan.preprocessing


def pipeline_of(text: str) -> Mapping[str, Any] | None:
    """The `preprocessing_json` of a request, checked; None where it is empty. Raises InvalidInput."""
    return Pipeline.parse(json_of(text, "preprocessing_json")).to_json() if text else None


def json_of(text: str | bytes, what: str) -> Any:
    """The JSON value in `text`. Raises InvalidInput that names `what`."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"{what} is not JSON: {error}") from error


async def ingest(
    artifacts: ArtifactStore, sources: SourceReader, uri: str, workdir: Path, *, sha256: str | None = None
) -> tuple[ArtifactRef, Path]:
    """What `uri` names, as an artifact (a folder as a zip file), and as a local file or folder below `workdir`.

    Raises what `SourceReader.open` raises.
    """
    workdir.mkdir(parents=True)
    path = await sources.open(uri, sha256=sha256, into=workdir)
    if path.is_dir():
        return await artifacts.put_file(pack(path, workdir / "packed.zip")), path
    if uri.startswith("sha256:"):
        return ArtifactRef(uri.removeprefix("sha256:"), path.stat().st_size), path
    return await artifacts.put_file(path), path
