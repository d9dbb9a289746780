"""What all services do with the plan of a run, and with what requests name."""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections import OrderedDict
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from windtunnel.artifacts import ArtifactRef, Artifacts, ArtifactStore, SourceReader, pack
from windtunnel.errors import InvalidInput, InvalidPlan
from windtunnel.pipeline import Pipeline
from windtunnel.pipeline.pipeline_files import Place, place_words, with_files
from windtunnel.plan import MAX_PLAN_BYTES, Plan, plan_from_json
from windtunnel.service.protobuf_values import artifact_from_proto
from windtunnel.v1 import types_pb2

_PLANS_KEPT: Final = 16
# Every variant of a run comes with the same plan, and reading a large one takes long. Its hash is its content.
_plans: Final[OrderedDict[str, Plan]] = OrderedDict()


async def plan_of(run: types_pb2.RunContext, artifacts: ArtifactStore) -> Plan:
    """The plan of a run, as the converter stored it.

    Args:
        run: names the plan.
        artifacts: the store.

    Returns:
        A resolved plan.

    Raises:
        InvalidPlan: it is not a plan, or not a resolved one.
        InvalidInput: the run names none.
        NotFound: the store does not have it.
        Unavailable: the store does not answer.
    """
    ref = artifact_from_proto(run.plan)
    data = await artifacts.read_bytes(ref.sha256, limit=MAX_PLAN_BYTES)
    plan = _plans[ref.sha256] if ref.sha256 in _plans else _parsed(data)
    _plans[ref.sha256] = plan
    _plans.move_to_end(ref.sha256)
    while len(_plans) > _PLANS_KEPT:
        _plans.popitem(last=False)
    return plan


def _parsed(data: bytes) -> Plan:
    plan = plan_from_json(data)
    for name, uri in (("samples", plan.data.samples), ("calibration", plan.data.calibration)):
        if uri is not None and not uri.startswith("sha256:"):
            raise InvalidPlan(f"the plan of a run names artifacts only, this is {uri!r}", path=f"data.{name}")
    if isinstance(plan.preprocessing, str):
        raise InvalidPlan("the plan of a run holds its pipeline, this is a URI", path="preprocessing")
    return plan


def artifact_of(uri: str | None) -> ArtifactRef | None:
    """The artifact that a plan from `plan_of` names.

    Args:
        uri: `sha256:<hex>`, or None.

    Returns:
        Its size is not known, and 0. None: the plan names none.
    """
    return None if uri is None else ArtifactRef(uri.removeprefix("sha256:"), 0)


def pipeline_in(plan: Plan) -> Mapping[str, Any] | None:
    """The pipeline of a plan from `plan_of`.

    Args:
        plan: resolved.

    Returns:
        Content of a pipeline.json; None: none.
    """
    assert not isinstance(plan.preprocessing, str), "plan_of refuses it"
    return plan.preprocessing


def pipeline_of(text: str) -> Mapping[str, Any] | None:
    """The pipeline of a request.

    Args:
        text: its `preprocessing_json`.

    Returns:
        Content of a pipeline.json; None if the text is empty.

    Raises:
        InvalidInput: it is not a pipeline.
    """
    return Pipeline.parse(json_of(text, "preprocessing_json")).to_json() if text else None


async def with_local_files(pipeline: Mapping[str, Any] | None, artifacts: Artifacts) -> Mapping[str, Any] | None:
    """A pipeline that names files of this machine instead of artifacts: what native code of a job is given.

    Args:
        pipeline: content of a pipeline.json; None: none.
        artifacts: the store.

    Returns:
        The content; None: none.

    Raises:
        InvalidInput: it names a file that is not an artifact.
        NotFound: the store does not have it.
        Unavailable: the store does not answer.
    """

    async def local(named: str, place: Place) -> str:
        if not named.startswith("sha256:"):
            raise InvalidInput(
                f"the pipeline's {place_words(place)} is {named!r}, which is not an artifact",
                hint="give sha256:<hex> of a file in the store",
            )
        return str(await artifacts.path(named.removeprefix("sha256:")))

    return None if pipeline is None else await with_files(pipeline, local)


def json_of(text: str | bytes, what: str) -> Any:
    """Reads JSON.

    Args:
        text: of a request or a file.
        what: its name, for the message.

    Returns:
        The value.

    Raises:
        InvalidInput: it is not JSON.
    """
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"{what} is not JSON: {error}") from error


@asynccontextmanager
async def temporary_folder(prefix: str) -> AsyncIterator[Path]:
    """A new folder, removed after the block. A thread removes it, since a large tree takes seconds.

    Args:
        prefix: of its name.

    Yields:
        The folder.
    """
    folder = await asyncio.to_thread(tempfile.TemporaryDirectory, prefix=prefix)
    try:
        yield Path(folder.name)
    finally:
        await asyncio.to_thread(folder.cleanup)


async def ingest(
    artifacts: ArtifactStore, sources: SourceReader, uri: str, workdir: Path, *, sha256: str | None = None
) -> tuple[ArtifactRef, Path]:
    """Copies what a URI names into the store, and to disk.

    Args:
        artifacts: the store.
        sources: reads the URI.
        uri: of a file or a folder.
        workdir: a new folder for the local copy.
        sha256: what the content must hash to; None: not checked.

    Returns:
        The artifact (a folder as a zip file), and the local file or folder.

    Raises:
        InvalidInput: as from `SourceReader.open`.
        NotFound: as from `SourceReader.open`.
        Unavailable: as from `SourceReader.open`.
    """
    workdir.mkdir(parents=True)
    path = await sources.open(uri, sha256=sha256, into=workdir)
    if path.is_dir():
        packed = await asyncio.to_thread(pack, path, workdir / "packed.zip")
        return await artifacts.put_file(packed), path
    if uri.startswith("sha256:"):
        return ArtifactRef(uri.removeprefix("sha256:"), path.stat().st_size), path
    return await artifacts.put_file(path), path
