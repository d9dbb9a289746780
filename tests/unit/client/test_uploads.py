"""Local files of a submission as artifacts."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import pytest

from windtunnel.artifacts import ArtifactStore, LocalStore, MemoryStore
from windtunnel.client.uploads import (
    check_plan_files,
    is_uri,
    names_local_files,
    read_plan,
    upload,
    upload_plan_files,
)
from windtunnel.errors import InvalidInput, NotFound
from windtunnel.pipeline.pipeline_files import named_files
from windtunnel.plan import Plan, parse_plan_text

PIPELINE = {"schema": "windtunnel.pipeline/1", "steps": [{"op": "mirror"}]}
RULES = [{"regex": ".*", "operation": "*", "algorithm_key": "no_quantize"}]
PLAN = """\
apiVersion: windtunnel/v1
data: {samples: data/test.npz, calibration: "s3://sets/calibration.npz"}
preprocessing: pipeline.json
variants: [float32, {name: other, recipe: recipes/other.json}]
devices: [{farm: local}]
"""


@pytest.fixture(params=["memory", "local"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ArtifactStore:
    return MemoryStore() if request.param == "memory" else LocalStore(tmp_path / "store")


@pytest.fixture
def work(tmp_path: Path) -> Path:
    folder = tmp_path / "work"
    folder.mkdir()
    return folder


async def content(store: ArtifactStore, uri: str) -> bytes:
    assert uri.startswith("sha256:")
    return await store.read_bytes(uri.removeprefix("sha256:"))


async def unpacked(store: ArtifactStore, uri: str) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(await content(store, uri))) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.mark.parametrize("uri", ["s3://b/k", "gs://b/k", "sha256:00", "file:///x"])
def test_uris_are_known(uri: str) -> None:
    assert is_uri(uri)
    assert not is_uri(f"./{uri}")


async def test_a_file_as_it_is(store: ArtifactStore, work: Path) -> None:
    (work / "model.tflite").write_bytes(b"weights")
    assert await content(store, await upload(store, work / "model.tflite")) == b"weights"


async def test_a_folder_is_packed_and_equal_folders_are_one_artifact(store: ArtifactStore, work: Path) -> None:
    for name in ("first", "second"):
        (work / name / "variables").mkdir(parents=True)
        (work / name / "saved_model.pb").write_bytes(b"graph")
        (work / name / "variables" / "index").write_bytes(b"index")
    uris = [await upload(store, work / name) for name in ("first", "second")]
    assert uris[0] == uris[1]
    assert await unpacked(store, uris[0]) == {"saved_model.pb": b"graph", "variables/index": b"index"}


@pytest.mark.parametrize("named", ["model.ckpt", "model.ckpt.meta", "model.ckpt.index"])
async def test_a_checkpoint_by_its_prefix(store: ArtifactStore, work: Path, named: str) -> None:
    files = {
        "model.ckpt.meta": b"graph",
        "model.ckpt.index": b"index",
        "model.ckpt.data-00000-of-00001": b"values",
    }
    for name, data in {**files, "other.ckpt.meta": b"another", "notes.txt": b"no part of it"}.items():
        (work / name).write_bytes(data)
    assert await unpacked(store, await upload(store, work / named)) == files


async def test_what_is_missing_or_empty_is_named(store: ArtifactStore, work: Path) -> None:
    for missing in (work / "absent.keras", work / "no" / "such" / "folder"):
        with pytest.raises(NotFound, match=missing.name):
            await upload(store, missing)
    with pytest.raises(InvalidInput, match="empty"):
        await upload(store, work)


def lay_out(folder: Path) -> Plan:
    """The files that PLAN names, relative to it."""
    for name, data in {
        "data/test.npz": b"samples",
        "pipeline.json": json.dumps(PIPELINE).encode(),
        "recipes/other.json": json.dumps(RULES).encode(),
    }.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(data)
    return parse_plan_text(PLAN)


async def test_paths_of_a_plan_are_relative_to_it(store: ArtifactStore, work: Path) -> None:
    plan = await upload_plan_files(store, lay_out(work), work)
    assert plan.data.samples is not None
    assert await content(store, plan.data.samples) == b"samples"
    assert plan.data.calibration == "s3://sets/calibration.npz"
    assert plan.preprocessing == PIPELINE
    assert [variant.name for variant in plan.variants] == ["float32", "other"]
    assert (plan.variants[1].recipe, plan.variants[1].recipe_uri) == (tuple(RULES), None)


async def test_a_plan_without_files_stays_as_it_is(store: ArtifactStore, work: Path) -> None:
    plan = parse_plan_text("apiVersion: windtunnel/v1\nvariants: [float32]\ndevices: [{farm: local}]\n")
    assert await upload_plan_files(store, plan, work) == plan


@pytest.mark.parametrize("missing", ["data/test.npz", "pipeline.json", "recipes/other.json"])
async def test_a_missing_file_of_a_plan_is_named(store: ArtifactStore, work: Path, missing: str) -> None:
    plan = lay_out(work)
    (work / missing).unlink()
    with pytest.raises(NotFound, match=missing):
        await upload_plan_files(store, plan, work)


@pytest.mark.parametrize(
    ("broken", "text", "message"),
    [
        ("pipeline.json", "{", r"pipeline\.json is not JSON"),
        ("recipes/other.json", "{", r"other\.json is not JSON"),
        ("recipes/other.json", "{}", "list of rules"),
        ("recipes/other.json", "[]", "list of rules"),
    ],
)
async def test_a_broken_file_of_a_plan_is_named(
    store: ArtifactStore, work: Path, broken: str, text: str, message: str
) -> None:
    plan = lay_out(work)
    (work / broken).write_text(text)
    with pytest.raises(InvalidInput, match=message):
        await upload_plan_files(store, plan, work)


async def test_what_never_ends_is_not_read(store: ArtifactStore, work: Path) -> None:
    plan = lay_out(work)
    for name in ("recipes/other.json", "pipeline.json"):
        (work / name).unlink()
        (work / name).symlink_to("/dev/zero")
        with pytest.raises(InvalidInput, match=rf"{name} is larger than .*bytes"):
            await upload_plan_files(store, plan, work)
    with pytest.raises(InvalidInput, match=r"pipeline\.json is larger than .*is it a plan"):
        read_plan(work / "pipeline.json")


TOKENIZE = {"op": "tokenize", "kind": "wordpiece", "vocabulary": "words/vocab.txt"}


def lay_out_text(folder: Path) -> Path:
    """A pipeline in a folder of its own, with the files that it names next to it."""
    home = folder / "text"
    (home / "words").mkdir(parents=True)
    (home / "words/vocab.txt").write_text("[UNK]\na\n")
    (home / "anchors.npy").write_bytes(b"anchors")
    given = {"schema": "windtunnel.pipeline/1", "inputs": {"ids": {"steps": [TOKENIZE]}, "more": {"steps": [TOKENIZE]}}}
    after = {"kind": "ssd", "boxes": "b", "scores": "s", "anchors": "anchors.npy"}
    (home / "pipeline.json").write_text(json.dumps({**given, "postprocess": after}))
    return home


async def test_files_that_a_pipeline_names_become_artifacts(store: ArtifactStore, work: Path) -> None:
    home = lay_out_text(work)
    plan = parse_plan_text(PLAN_OF_TEXT)
    assert names_local_files(plan, work)
    check_plan_files(plan, work)
    uploaded = await upload_plan_files(store, plan, work)
    assert isinstance(uploaded.preprocessing, dict)
    named = [path for _, path in named_files(uploaded.preprocessing)]
    assert await content(store, named[0]) == b"[UNK]\na\n"
    assert named[1] == named[0]
    assert await content(store, named[2]) == b"anchors"
    assert not names_local_files(uploaded, work)
    (home / "words/vocab.txt").unlink()
    with pytest.raises(NotFound, match=r"input 'ids', step 0 \(tokenize\): field 'vocabulary'.*vocab.txt"):
        check_plan_files(plan, work)


PLAN_OF_TEXT = """
apiVersion: windtunnel/v1
preprocessing: text/pipeline.json
variants: [float32]
devices: []
"""
